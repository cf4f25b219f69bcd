"""Parse the text that the model wrote into a typed answer in pixels of the original image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .answers import (
    Affordances,
    Answer,
    Box,
    Content,
    DrivingDecision,
    Point,
    SpatialAnswer,
    TaskPlan,
    TextAnswer,
)
from .driving_readers import has_trajectory, read_decision, read_tags, read_trajectory
from .errors import EmptyAnswerError, MimoError, OutputTruncatedError, ParseError
from .plan_checking import check_plan
from .plan_readers import read_steps
from .readers import BOX, is_thinking, read_boxed, read_entries, split_reasoning, strip_latex
from .resize import Resize
from .spatial_readers import (
    read_bare,
    read_choice,
    read_choices,
    read_labels,
    read_number,
    read_spatial,
    read_word,
    read_yes_no,
)
from .tasks import AnswerKind, Positions, Task

if TYPE_CHECKING:
    from .prompts import Prompt
    from .query import Query

_LOCATED = (AnswerKind.POINTS, AnswerKind.BOXES, AnswerKind.SPATIAL, AnswerKind.DECISION)
_WORDED = (AnswerKind.PLAN, AnswerKind.POINTS, AnswerKind.BOXES, AnswerKind.TEXT)


def parse_answer(query: Query, prompt: Prompt, reply_text: str, finish_reason: str) -> Answer:
    """Read the model's reply to a query.

    Args:
        query: the request.
        prompt: of `build_prompt` for the query; its resizes lead back to the original images.
        reply_text: everything that the model wrote.
        finish_reason: 'stop' where the model ended by itself; anything else cut the text short.

    Raises:
        OutputTruncatedError: the text ended before the answer was complete, or inside of the
            reasoning.
        EmptyAnswerError: nothing follows the reasoning.
        ParseError: the answer does not have the form that the task asks for.
            All carry ``raw_text`` and ``reasoning``.

    """
    reasoning, answer = split_reasoning(reply_text)
    try:
        if finish_reason != 'stop' or is_thinking(reply_text):
            _check_complete(query.task, answer, finish_reason)
        content = _read(query, answer)
        content, places = _to_image(content, query.task.coordinates, prompt.resizes)
        if query.skills is not None and isinstance(content, TaskPlan):
            content = check_plan(content, query.skills)
    except MimoError as error:
        error.raw_text, error.reasoning = reply_text, reasoning
        raise
    objects = read_tags(answer)
    outside = tuple([place for place in (*places, *objects) if not place.in_image])
    return Answer(content, reasoning, reply_text, outside, objects)


def _check_complete(task: Task, answer: str, finish_reason: str) -> None:
    """Refuse an answer that was cut short, unless its list or box was closed before.

    Free text never shows whether it is complete.
    """
    kind = task.answer
    box = read_boxed(answer) if kind not in _WORDED or task.boxed else None
    if box:
        complete = box[1]
    elif kind is AnswerKind.TRAJECTORY:
        complete = has_trajectory(answer)
    else:
        complete = kind in _LOCATED and read_entries(answer) is not None
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
    task = query.task
    words = _decisive_part(task, answer)
    if not words:
        msg = 'the model wrote nothing after its reasoning; ask in other words or without thinking'
        raise EmptyAnswerError(msg)
    content: Content | None
    if task.answer is AnswerKind.PLAN:
        steps = read_steps(words)
        content = None if steps is None else TaskPlan(query.text, steps)
    elif task.answer in (AnswerKind.POINTS, AnswerKind.BOXES):
        content = read_entries(words) or read_bare(words, boxes=task.answer is AnswerKind.BOXES)
    elif task.answer is AnswerKind.TEXT:
        content = TextAnswer(words)
    elif task.answer is AnswerKind.DECISION:
        content = read_decision(words)
    elif task.answer is AnswerKind.TRAJECTORY:
        content = read_trajectory(words, task.step)
    else:
        content = _read_short(query, strip_latex(words))
    if content is None:
        msg = f'the answer {words[:80]!r} cannot be read as {task.name}; ask in other words'
        raise ParseError(msg)
    return content


def _decisive_part(task: Task, answer: str) -> str:
    r"""Return the part of the answer that counts.

    Of a short answer it is the last ``\boxed{}``, wherever it stands: the vendor's rule. Of a text
    or decision it is the box only if the prompt asks for one or the task is a decision, and the box
    is closed: the paper's Fig. 35 gives the whole answer before a box that is not. A box with
    nothing around it always counts.
    """
    box = read_boxed(answer)
    if box is None:
        return answer
    alone = answer.rfind(BOX) == 0 and (answer.endswith('}') or '}' not in answer)
    if task.answer is AnswerKind.TEXT or task.answer is AnswerKind.DECISION:
        counts = box[1] and (task.boxed or task.answer is AnswerKind.DECISION)
    else:
        counts = task.answer not in _WORDED
    return box[0] if counts or alone else answer


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


def _to_image(
    content: Content, coordinates: Positions, resizes: tuple[Resize, ...]
) -> tuple[Content, list[Point | Box]]:
    """Map all positions to the original image, and return them as a list, too."""
    mapped: list[Point | Box] = []
    if isinstance(content, TaskPlan):
        steps = []
        for step in content.steps:
            points = _points_to_image(step.points, coordinates, resizes)
            steps.append(replace(step, points=points))
            mapped += points
        content = replace(content, steps=tuple(steps))
    elif isinstance(content, (Affordances, SpatialAnswer)):
        points = _points_to_image(content.points, coordinates, resizes)
        boxes = tuple([_box_to_image(box, coordinates, resizes) for box in content.boxes])
        content = replace(content, points=points, boxes=boxes)
        mapped += (*points, *boxes)
    elif isinstance(content, DrivingDecision):
        hazards = []
        for hazard in content.hazards:
            if hazard.box is not None:
                box = _box_to_image(hazard.box, coordinates, resizes)
                mapped.append(box)
                hazards.append(replace(hazard, box=box))
            else:
                hazards.append(hazard)
        content = replace(content, hazards=tuple(hazards))
    return content, mapped


def _points_to_image(
    points: tuple[Point, ...], coordinates: Positions, resizes: tuple[Resize, ...]
) -> tuple[Point, ...]:
    mapped = []
    if points:
        scale = _scale(coordinates, resizes)
        for point in points:
            x, y = scale.to_image(point.x, point.y)
            inside = 0 <= x < scale.width and 0 <= y < scale.height
            mapped.append(Point(x, y, point.label, inside))
    return tuple(mapped)


def _box_to_image(box: Box, coordinates: Positions, resizes: tuple[Resize, ...]) -> Box:
    scale = _scale(coordinates, resizes)
    left, top = scale.to_image(box.x_min, box.y_min)
    right, bottom = scale.to_image(box.x_max, box.y_max)
    inside = left >= 0 and top >= 0 and right <= scale.width and bottom <= scale.height
    return Box(left, top, right, bottom, box.label, inside)


def _scale(coordinates: Positions, resizes: tuple[Resize, ...]) -> Resize:
    """Return the scale that all images of the request share.

    Raises:
        ParseError: they have different scales, so that it is unknown which image a pixel is of.

    """
    if len(set(resizes)) != 1:
        msg = (
            f'the answer holds pixel positions, and the request {len(resizes)} images of '
            f'{len(set(resizes))} sizes, so that it is unknown which image they are in; ask about '
            'one image'
        )
        raise ParseError(msg)
    scale = resizes[0]
    if coordinates is Positions.ORIGINAL:
        return Resize(scale.width, scale.height, scale.width, scale.height)
    return scale
