"""From what the model wrote to a typed answer in pixels of the original image."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from .answers import (
    Affordances,
    Answer,
    AnswerType,
    Box,
    Content,
    Point,
    SpatialAnswer,
    TaskPlan,
    TextAnswer,
)
from .errors import EmptyAnswerError, MimoError, OutputTruncatedError, ParseError
from .plans import read_steps
from .query import Query, Task
from .readers import BOX, PAIR, boxed, pairs, plain, quads, read_entries, split_reasoning

if TYPE_CHECKING:
    from .prompts import Prompt
    from .resize import Resize

_YES_NO = re.compile(r'(yes|no)(?![\w-])', re.IGNORECASE)
_ANSWER_IS = re.compile(
    r'(?:the )?(?:correct |final |best )?(?:answer|option|choice)(?: is)?:? *', re.IGNORECASE
)
_CHOICE = re.compile(r'\(?([A-Za-z])\)?\.?|(?:\(([A-Za-z])\)|([A-Z])[.):])\s.*', re.DOTALL)
_QUANTITY = re.compile(
    r'(-?[0-9]+(?:\.[0-9]+)?) *(?:\\[,; ] *)?\\?([^\W\d_][^\d\s]{0,19}|[%°][A-Za-z]?)?\.?'
)
_WORD = re.compile(r'[^\W\d]')


def parse_answer(query: Query, prompt: Prompt, reply_text: str, finish_reason: str) -> Answer:
    """Read the model's reply to a query.

    Args:
        query: what was asked.
        prompt: what `build_prompt` made of it; its resizes lead back to the original images.
        reply_text: everything that the model wrote.
        finish_reason: 'stop' where the model ended by itself; anything else cut it short.

    Raises:
        OutputTruncatedError: cut short before the answer was complete.
        EmptyAnswerError: nothing stands after the reasoning.
        ParseError: the answer has not the form that the task asks for.
            All carry ``raw_text`` and ``reasoning``.

    """
    reasoning, answer = split_reasoning(reply_text)
    try:
        content = _read(query, answer, cut='' if finish_reason == 'stop' else finish_reason)
        content, outside = _to_image(content, prompt.resizes)
    except MimoError as error:
        error.raw_text, error.reasoning = reply_text, reasoning
        raise
    return Answer(content, reasoning, reply_text, outside)


def _read(query: Query, answer: str, cut: str) -> Content:
    """Read the answer; positions in pixels of the model's image."""
    task, box = query.task, boxed(answer)
    if cut and not _is_complete(task, answer):
        msg = (
            f'generation ended ({cut}) before the {task.value} answer was complete; raise '
            'max_new_tokens or the timeout, or ask without thinking'
        )
        raise OutputTruncatedError(msg)
    words = box[0] if box and (task is Task.SPATIAL or _is_boxed(answer)) else answer
    if not words:
        msg = 'the model said nothing after its reasoning; ask in other words or without thinking'
        raise EmptyAnswerError(msg)
    content: Content | None
    if task is Task.PLAN:
        steps = read_steps(words)
        content = None if steps is None else TaskPlan(query.text, steps)
    elif task is Task.SPATIAL:
        content = _read_spatial(plain(words))
    elif task is Task.ASK:
        content = TextAnswer(words)
    else:
        content = read_entries(words) or _read_bare(words, boxes=task is Task.BOXES)
    if content is None:
        msg = f'the answer {words[:80]!r} cannot be read as {task.value}; ask in other words'
        raise ParseError(msg)
    return content


def _is_complete(task: Task, answer: str) -> bool:
    """Tell whether an answer that was cut short closed before; words never show it."""
    if task is Task.SPATIAL and (box := boxed(answer)):
        return box[1]
    return task in (Task.POINTS, Task.BOXES, Task.SPATIAL) and read_entries(answer) is not None


def _is_boxed(answer: str) -> bool:
    return answer.rfind(BOX) == 0 and (answer.endswith('}') or '}' not in answer)


def _read_bare(words: str, *, boxes: bool) -> Affordances | None:
    if boxes:
        return Affordances(boxes=found) if (found := quads(words)) else None
    return Affordances(marks) if (marks := pairs(words)) else None


def _read_spatial(words: str) -> SpatialAnswer:
    """Read a spatial answer as what it looks like, words if nothing else."""
    if found := _YES_NO.match(words):
        return SpatialAnswer(words, AnswerType.YES_NO, yes=found.group(1).lower() == 'yes')
    if found := _CHOICE.fullmatch(_ANSWER_IS.sub('', words, count=1)):
        letter = next(filter(None, found.groups())).upper()
        return SpatialAnswer(words, AnswerType.CHOICE, choice=letter)
    if (found := _QUANTITY.fullmatch(words)) and math.isfinite(number := float(found.group(1))):
        unit = (found.group(2) or '').rstrip('.')
        return SpatialAnswer(words, AnswerType.NUMBER, number=number, unit=unit)
    places = read_entries(words)
    if places is None and not _WORD.search(words):
        places = _read_bare(words, boxes=True) or _read_bare(words, boxes=False)
    if places is None and PAIR.search(words):
        places = Affordances(pairs(words))
    if places is None:
        return SpatialAnswer(words)
    only_boxes = places.boxes and not places.points
    kind = AnswerType.BOX if only_boxes else AnswerType.POINTS
    return SpatialAnswer(words, kind, points=places.points, boxes=places.boxes)


def _to_image(
    content: Content, resizes: tuple[Resize, ...]
) -> tuple[Content, tuple[Point | Box, ...]]:
    """Map all positions to the original image; returns those outside of it as well."""
    marks: tuple[Point | Box, ...] = ()
    if isinstance(content, TaskPlan):
        steps = tuple(
            replace(step, points=tuple(_point(p, resizes) for p in step.points))
            for step in content.steps
        )
        content = replace(content, steps=steps)
        marks = tuple(point for step in steps for point in step.points)
    elif isinstance(content, (Affordances, SpatialAnswer)):
        points = tuple(_point(p, resizes) for p in content.points)
        boxes = tuple(_box(b, resizes) for b in content.boxes)
        content = replace(content, points=points, boxes=boxes)
        marks = (*points, *boxes)
    return content, tuple(mark for mark in marks if not mark.in_image)


def _point(point: Point, resizes: tuple[Resize, ...]) -> Point:
    scale = _scale(resizes)
    x, y = scale.to_image(point.x, point.y)
    inside = 0 <= x < scale.width and 0 <= y < scale.height
    return Point(x, y, point.label, inside)


def _box(box: Box, resizes: tuple[Resize, ...]) -> Box:
    scale = _scale(resizes)
    left, top = scale.to_image(box.x_min, box.y_min)
    right, bottom = scale.to_image(box.x_max, box.y_max)
    inside = left >= 0 and top >= 0 and right <= scale.width and bottom <= scale.height
    return Box(left, top, right, bottom, box.label, inside)


def _scale(resizes: tuple[Resize, ...]) -> Resize:
    """Return the one scale of a request's images; without one, pixels have no meaning."""
    if len(set(resizes)) == 1:
        return resizes[0]
    msg = (
        f'the answer holds pixels, and the request {len(resizes)} images of {len(set(resizes))} '
        'sizes, so that they mean nothing; ask about one image'
    )
    raise ParseError(msg)
