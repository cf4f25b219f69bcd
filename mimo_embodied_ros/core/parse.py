"""Parse the text that the model wrote into a typed answer in pixels of the original image."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .answers import (
    Affordances,
    Answer,
    AnswerType,
    Behavior,
    Box,
    Content,
    DrivingDecision,
    Point,
    SpatialAnswer,
    TaskPlan,
    TextAnswer,
)
from .choice_readers import read_choice, read_choices
from .driving_readers import (
    has_trajectory,
    read_decision,
    read_tags,
    read_trajectory,
)
from .errors import EmptyAnswerError, MimoError, OutputTruncatedError, ParseError
from .model_forms import common_form
from .number_readers import read_number
from .place_readers import has_entries, read_bare, read_entries
from .plan_checking import check_plan
from .plan_readers import read_steps
from .readers import (
    holds_reasoning,
    is_thinking,
    read_boxes,
    split_reasoning,
    strip_latex,
)
from .resize import Resize
from .schemas import SHORT, unwrap_short_answer
from .spatial_readers import read_spatial
from .tasks import AnswerKind, Positions, Task
from .vocabulary_readers import read_labels, read_word
from .yes_no_readers import read_yes_no

if TYPE_CHECKING:
    from .prompts import Prompt
    from .query import Query

_END = re.compile(r'[\s.,;:!$*_`\'")\]\u3002]*')  # what may stand behind a box
_EMPTY = 'the model wrote no answer; ask in other words or without thinking'
_ENDED_EARLY = 'the model ended before the box of its answer was closed; ask again'
_LOCATED = (AnswerKind.POINTS, AnswerKind.BOXES, AnswerKind.SPATIAL, AnswerKind.DECISION)
_LISTS = (AnswerKind.PLAN, AnswerKind.POINTS, AnswerKind.BOXES)


def parse_answer(query: Query, prompt: Prompt, reply_text: str, finish_reason: str) -> Answer:
    """Read the model's reply to a query.

    Args:
        query: the request.
        prompt: of `build_prompt` for the query; its resizes lead back to the original images, and
            its profile says what the model's positions mean.
        reply_text: everything that the model wrote.
        finish_reason: 'stop' where the model ended by itself; anything else cut the text short.

    Raises:
        OutputTruncatedError: the text ended before the answer was complete, or inside of the
            reasoning.
        EmptyAnswerError: nothing follows the reasoning, or the box is empty.
        ParseError: the answer does not have the form that the task asks for.
            All carry ``raw_text`` and ``reasoning``.

    """
    turn = prompt.mode.prefill + reply_text
    reasoning, answer = split_reasoning(turn)
    try:
        places = query.task.coordinates is Positions.PIXELS
        answer = common_form(answer, prompt.profile, places=places)
        if query.task.answer in SHORT:
            answer = unwrap_short_answer(answer)
        if finish_reason != 'stop' or is_thinking(turn):
            _check_complete(query.task, answer, finish_reason)
        content = _read(query, answer)
        space = _Space.of(query.task.coordinates, prompt)
        content, mapped = _to_image(content, space)
        if query.skills is not None and isinstance(content, TaskPlan):
            content = check_plan(content, query.skills)
    except MimoError as error:
        error.raw_text, error.reasoning = reply_text, reasoning
        raise
    objects = read_tags(answer)
    outside = tuple([place for place in (*mapped, *objects) if not place.in_image])
    return Answer(content, reasoning, reply_text, outside, objects)


def _check_complete(task: Task, answer: str, finish_reason: str) -> None:
    """Refuse an answer that was cut short, unless its list or box was closed before.

    Free text never shows whether it is complete.
    """
    kind = task.answer
    boxes = read_boxes(answer) if kind not in (*_LISTS, AnswerKind.TEXT) or task.boxed else []
    if boxes:
        end = boxes[-1].end
        complete = end > 0 and (kind is AnswerKind.TEXT or bool(_END.fullmatch(answer[end:])))
    elif kind is AnswerKind.TRAJECTORY:
        complete = has_trajectory(answer)
    else:
        complete = kind in _LOCATED and has_entries(answer)
    if complete:
        return
    name = task.name
    msg = (
        f'generation ended ({finish_reason}) before the {name} answer was complete; raise '
        'max_new_tokens or the timeout, or ask without thinking'
    )
    if finish_reason == 'repetition':
        msg = (
            f'the model began to repeat itself (repetition) before the {name} answer was complete '
            'and was stopped; ask in other words or with another image'
        )
    elif finish_reason == 'stop':
        msg = (
            f'the model ended inside of its reasoning, without the {name} answer; ask without '
            'thinking or in other words'
        )
    raise OutputTruncatedError(msg)


def _read(query: Query, answer: str) -> Content:
    """Read the answer; its positions are in the task's coordinates."""
    task, kind = query.task, query.task.answer
    if not answer:
        raise EmptyAnswerError(_EMPTY)
    words = _decisive_part(query, answer)
    if not words:
        raise EmptyAnswerError(_EMPTY)
    content: Content | None
    if kind is AnswerKind.PLAN:
        steps = read_steps(words, query.skills.skills if query.skills else ())
        content = None if steps is None else TaskPlan(query.text, steps)
    elif kind in (AnswerKind.POINTS, AnswerKind.BOXES):
        content = read_entries(words)
        if content is None:
            content = read_bare(words, boxes=kind is AnswerKind.BOXES)
    elif kind is AnswerKind.TEXT:
        content = TextAnswer(words)
    elif kind is AnswerKind.DECISION:
        content = read_decision(words)
    elif kind is AnswerKind.TRAJECTORY:
        content = read_trajectory(words, task.step)
    else:
        content = _read_short(query, strip_latex(words))
    if content is None or holds_reasoning(answer):
        msg = f'the answer {words[:80]!r} cannot be read as {task.name}; ask in other words'
        raise ParseError(msg)
    return content


def _decisive_part(query: Query, answer: str) -> str:
    r"""Return the part of the answer that counts.

    Of a short answer it is its ``\boxed{}``: the vendor's rule. Of a text or decision it is the box
    only if the prompt asks for one or the task is a decision, and the box is closed: the paper's
    Fig. 35 gives the whole answer before a box that is not. Where a list or a plan is asked for, a
    box is like a fence around it.

    Raises:
        ParseError: boxes differ, or a short answer stands also before or behind its box.

    """
    boxes, kind = read_boxes(answer), query.task.answer
    if not boxes:
        return answer
    content, _, end = boxes[-1]
    closed = end > 0
    before, behind = answer[: boxes[0].start], answer[end:] if closed else ''
    if kind in _LISTS:
        return f'{before} {content} {behind}' if len(boxes) == 1 else answer
    if kind is AnswerKind.TEXT and not (closed and query.task.boxed):
        alone = len(boxes) == 1 and not before.strip() and not behind.strip()
        return content if alone else answer
    if not closed:
        raise OutputTruncatedError(_ENDED_EARLY)
    if len({box.content.casefold() for box in boxes}) > 1:
        msg = f'the answer has {len(boxes)} boxes that differ; ask again or in other words'
        raise ParseError(msg)
    if kind is not AnswerKind.TEXT and (
            _END.fullmatch(behind) is None or _contradicts(query, before, content)):
        msg = (f'the answer {answer[:80]!r} says more than its box {content[:40]!r}; ask again or '
               'in other words')
        raise ParseError(msg)
    return content


def _contradicts(query: Query, before: str, content: str) -> bool:
    """Whether the words before a box are another answer than that in the box."""
    if query.task.answer is AnswerKind.DECISION:
        told = read_decision(before)
        boxed_decision = read_decision(content)
        return told is not None and told.behavior is not Behavior.UNKNOWN and (
            boxed_decision is None or told.behavior is not boxed_decision.behavior)
    if query.task.answer is AnswerKind.TRAJECTORY:
        return has_trajectory(before)
    said, boxed = (_read_short(query, strip_latex(words)) for words in (before, content))
    return said is not None and said.type is not AnswerType.TEXT and (
        boxed is None or replace(said, text='', unit='') != replace(boxed, text='', unit=''))


def _read_short(query: Query, words: str) -> SpatialAnswer | None:
    """Read an answer of a few words."""
    kind, vocabulary, options = query.task.answer, query.task.vocabulary, query.options
    if kind is AnswerKind.YES_NO:
        return read_yes_no(words)
    if kind is AnswerKind.CHOICE:
        return read_choice(words, options)
    if kind is AnswerKind.CHOICES:
        return read_choices(words, options)
    if kind is AnswerKind.NUMBER:
        return read_number(words)
    if kind is AnswerKind.WORD:
        return read_word(words, vocabulary, options)
    if kind is AnswerKind.LABELS:
        return read_labels(words, vocabulary or options)
    return read_spatial(words)


@dataclass(frozen=True)
class _Space:
    """What positions in an answer mean.

    Attributes:
        resizes: the scale between each image and the original one.
        range: the number that stands for a whole side of the image; 0: pixels of the image that
            the model sees.
        original: pixels of the original image.
        y_first: [y, x].

    """

    resizes: tuple[Resize, ...]
    range: int = 0
    original: bool = False
    y_first: bool = False

    @staticmethod
    def of(coordinates: Positions, prompt: Prompt) -> _Space:
        if coordinates is Positions.ORIGINAL:
            return _Space(prompt.answer_resizes, original=True)
        profile = prompt.profile
        return _Space(prompt.answer_resizes, profile.range, y_first=profile.y_first)

    def point_in_image(self, point: Point) -> Point:
        """Map a point to the original image."""
        scale = self._scale()
        x, y = scale.to_image(*((point.y, point.x) if self.y_first else (point.x, point.y)))
        inside = 0 <= x < scale.width and 0 <= y < scale.height
        return Point(x, y, point.label, inside)

    def box_in_image(self, box: Box) -> Box:
        """Map a box to the original image."""
        scale = self._scale()
        if self.y_first:
            box = replace(box, x_min=box.y_min, y_min=box.x_min, x_max=box.y_max, y_max=box.x_max)
        left, top = scale.to_image(box.x_min, box.y_min)
        right, bottom = scale.to_image(box.x_max, box.y_max)
        inside = left >= 0 and top >= 0 and right <= scale.width and bottom <= scale.height
        return Box(left, top, right, bottom, box.label, inside)

    def _scale(self) -> Resize:
        """Return the scale that all images of the request share.

        Raises:
            ParseError: they have different scales, so that it is unknown which image a position is
                in.

        """
        if len(set(self.resizes)) != 1:
            msg = (
                f'the answer holds pixel positions, and the request {len(self.resizes)} images of '
                f'{len(set(self.resizes))} sizes, so that it is unknown which image they are in; '
                'ask about one image'
            )
            raise ParseError(msg)
        scale = self.resizes[0]
        if self.original:
            return Resize(scale.width, scale.height, scale.width, scale.height)
        if self.range:
            return Resize(scale.width, scale.height, self.range, self.range)
        return scale


def _to_image(content: Content, space: _Space) -> tuple[Content, list[Point | Box]]:
    """Map all positions to the original image, and return them as a list, too."""
    mapped: list[Point | Box] = []
    if isinstance(content, TaskPlan):
        steps = []
        for step in content.steps:
            points = tuple(map(space.point_in_image, step.points))
            steps.append(replace(step, points=points))
            mapped += points
        content = replace(content, steps=tuple(steps))
    elif isinstance(content, (Affordances, SpatialAnswer)):
        points = tuple(map(space.point_in_image, content.points))
        boxes = tuple(map(space.box_in_image, content.boxes))
        content = replace(content, points=points, boxes=boxes)
        mapped += (*points, *boxes)
    elif isinstance(content, DrivingDecision):
        hazards = []
        for hazard in content.hazards:
            if hazard.box is not None:
                box = space.box_in_image(hazard.box)
                mapped.append(box)
                hazards.append(replace(hazard, box=box))
            else:
                hazards.append(hazard)
        content = replace(content, hazards=tuple(hazards))
    return content, mapped
