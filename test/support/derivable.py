"""Whether an answer can be derived from its text, told by simpler means than the readers have.

No number may be read that the text does not hold; no point that is not in the answer's own list; no
yes beside a no; no letter beside another one; no step that is not in the text's list.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import (
    Affordances,
    Answer,
    AnswerType,
    DrivingDecision,
    SpatialAnswer,
    TaskPlan,
    Trajectory,
)
from mimo_embodied_ros.core.characters import to_ascii
from mimo_embodied_ros.core.tasks import TASKS, Positions

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = re.compile(r'-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?')
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_PYTHON_STRINGS = re.compile(r"'[^']*'")
_QUOTED_NUMBER = re.compile(r'"\s*-?[0-9.]+\s*"')
_SCORE = re.compile(r'["\'](?:confidence|score|id)["\']:\s*[-0-9.eE+]+')
_TO_TEXT = (1.0, 3.6, 1 / 0.44704)  # from metres a second to the units that speeds come in
_BOX = re.compile(r'\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}')
_NO = re.compile(r"\b(?:no|not|false|incorrect)\b|n't\b|[\u4e0d\u5426\u6ca1]", re.IGNORECASE)
_YES = re.compile(r'\b(?:yes|true)\b|\u662f\u7684', re.IGNORECASE)
_OTHER_LETTERS = re.compile(r'\(([A-H])\)|(?<![A-Za-z(])([A-H])[.):](?=\s|$)')
_FENCE = re.compile(r'```(?:json|python)?')
_PIXELS = re.compile(r'\[[-+0-9., \t\n]*\]')
_WORD = re.compile(r'[^\W_]+')
_NUMBERED_LINE = re.compile(r'^[ \t]*[0-9]{1,3}[.)] ', re.MULTILINE)


def check_derivable(record: dict[str, Any], answer: Answer) -> None:
    """Raise an AssertionError where an answer cannot be derived from its record's text."""
    text = record['text'].rpartition('</think>')[2]
    _check_numbers(record, text, answer)
    content = answer.content
    if isinstance(content, Affordances):
        _check_places(text, content, record)
    elif isinstance(content, SpatialAnswer):
        _check_words(text, content, record)
    elif isinstance(content, TaskPlan):
        _check_steps(text, content, record)


def _check_numbers(record: dict[str, Any], text: str, answer: Answer) -> None:
    in_text = _numbers_in(to_ascii(text))
    original = TASKS[record['task']].coordinates is Positions.ORIGINAL
    for number in _numbers_of(answer, original=original):
        assert _is_near(number, in_text), (number, record)
    speed = getattr(answer.content, 'target_speed', None)
    if speed is not None:
        assert any(_is_near(speed * unit, in_text) for unit in _TO_TEXT), record


def _check_places(text: str, content: Affordances, record: dict[str, Any]) -> None:
    """Outside of its strings the text holds the numbers of the places, and no others."""
    without = _STRINGS.sub(
        lambda s: s.group() if _QUOTED_NUMBER.fullmatch(s.group()) else '', _SCORE.sub('', text))
    read = set(_coordinates((*content.points, *content.boxes), 2))
    for candidate in (without, _PYTHON_STRINGS.sub('', without)):
        numbers = _numbers_in(candidate)
        if all(_is_near(n, read) for n in numbers) and all(_is_near(n, numbers) for n in read):
            return
    raise AssertionError(record)


def _check_words(text: str, content: SpatialAnswer, record: dict[str, Any]) -> None:
    """The box, or the whole text without one, holds no other value of the kind."""
    boxes = _BOX.findall(text)
    words = to_ascii(boxes[-1] if boxes else text)
    if content.type is AnswerType.YES_NO:
        assert not (content.yes and _NO.search(words)), record
        assert content.yes or not _YES.search(words), record
    elif content.type is AnswerType.CHOICE and all(len(c) == 1 for c in content.choices):
        if not any(len(option) == 1 for option in record.get('options', ())):
            named = {first or second for first, second in _OTHER_LETTERS.findall(words)}
            assert named <= {choice.upper() for choice in content.choices}, record
    elif content.type is AnswerType.NUMBER:
        unit = re.escape(content.unit)
        others = _numbers_in(re.sub(rf'{unit}$', '', words.strip().rstrip('.')) if unit else words)
        assert len(others) <= 1 or '\\' in words or 'e' in words.lower(), record


def _check_steps(text: str, content: TaskPlan, record: dict[str, Any]) -> None:
    """Each step's words stand in the text, and no item of a numbered list is lost."""
    written = _words(text)
    for step in content.steps:
        words = _words(step.text)
        # an object may hold them apart: {"action": "pick up", "object": "cup"}
        apart = '{' in text and set(words.split()) <= set(written.split())
        together = words.replace(' ', '') in written.replace(' ', '')  # marks may part a word
        assert '\\' in text or together or apart, (step.text, record)
    numbered = len(_NUMBERED_LINE.findall(text))
    if numbered > 1 and '{' not in text and '["' not in text:
        assert len(content.steps) >= numbered, record


def _words(text: str) -> str:
    """Return the words of a text without pixels, marks and spaces."""
    return ' '.join(_WORD.findall(_PIXELS.sub(' ', _FENCE.sub(' ', text))))


def _numbers_in(text: str) -> set[float]:
    return {float(number) for number in _NUMBER.findall(text)}


def _is_near(number: float, others: set[float]) -> bool:
    return any(abs(other - number) <= 1e-6 * max(1.0, abs(other)) for other in others)


def _numbers_of(answer: Answer, *, original: bool) -> Iterator[float]:
    """Yield every number of an answer, positions as the model counts them."""
    content = answer.content
    marks = [*getattr(content, 'points', ()), *getattr(content, 'boxes', ())]
    if isinstance(content, DrivingDecision):
        marks += [hazard.box for hazard in content.hazards if hazard.box]
    if isinstance(content, Trajectory):
        for point in marks:
            yield from (point.x, point.y)
            yield from () if point.heading is None else (point.heading,)
        marks = []
    for step in getattr(content, 'steps', ()):
        marks += step.points
    yield from _coordinates(marks, 1 if original else 2)
    for reference in answer.objects:
        yield from (reference.x, reference.y)
    if isinstance(content, SpatialAnswer) and content.number is not None:
        yield content.number


def _coordinates(marks: Any, scale: int) -> Iterator[float]:
    for mark in marks:
        names = ('x', 'y') if hasattr(mark, 'x') else ('x_min', 'y_min', 'x_max', 'y_max')
        yield from (getattr(mark, name) / scale for name in names)
