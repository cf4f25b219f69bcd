r"""Readers of what MiMo-Embodied writes; positions stay in pixels of the model's image.

They follow the vendor's own readers (``lmms_eval/tasks/_task_utils/eval_utils.py``, "vendor" below)
except that they have no fallback values: a robot would take the vendor's ``[0, 0]`` for a position.
All take time linear in the text's length.
"""

from __future__ import annotations

import json
import re
import reprlib
from itertools import chain
from typing import TYPE_CHECKING, Any

from .answers import Affordances, Box, Point
from .errors import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterator

THINK, END_THINK = '<think>', '</think>'
MAX_COORDINATE = 1e6  # pixels; larger numbers are written by a model that repeats digits

_NUMBER = r'\s*(-?[0-9]+(?:\.[0-9]+)?)\s*'
PAIR = re.compile(rf'\[{_NUMBER},{_NUMBER}\]')
_ROUND_PAIR = re.compile(rf'\({_NUMBER},{_NUMBER}\)')
_QUAD = re.compile(r'\[' + ','.join([_NUMBER] * 4) + r'\]')
_ROUND_QUAD = re.compile(r'\(' + ','.join([_NUMBER] * 4) + r'\)')
_QUOTED_NUMBER = re.compile(_NUMBER)
BOX = '\\boxed{'
_BRACE = re.compile(r'[{}]')
_TEXT_COMMAND = re.compile(r'\\text\{([^{}]*)\}')

# It does not match a bare [x, y] in prose, which read_pairs() and read_quads() read.
_JSON_START = re.compile(r'\{(?=\s*["}])|\[(?=\s*["{\[\]])')
_DECODER = json.JSONDecoder(strict=False, parse_int=float, parse_constant=lambda _: None)

_POINT_KEYS = ('points', 'point', 'point_2d')
_BOX_KEYS = ('bbox_2d', 'bbox', 'box')
_LABEL_KEYS = ('label', 'caption', 'caption_and_explanation')


def split_reasoning(text: str) -> tuple[str, str]:
    """Split (reasoning, answer) after the last ``</think>``, as the vendor does.

    Where a reasoning block is not closed, the answer is empty: the model has not decided yet.
    """
    reasoning, end, answer = text.rpartition(END_THINK)
    if is_thinking(text):
        reasoning, answer = reasoning + end + answer, ''
    for tag in (THINK, END_THINK):
        reasoning = reasoning.replace(tag, '')
    return reasoning.strip(), answer.strip()


def is_thinking(text: str) -> bool:
    """Tell whether a text ends inside of its reasoning."""
    return THINK in text.rpartition(END_THINK)[2]


def read_boxed(text: str) -> tuple[str, bool] | None:
    r"""Read the last ``\boxed{}``, the vendor's rule, with braces nested to any depth.

    Returns:
        Its content and whether it is closed (the paper's Fig. 35 ends inside of a box), or None
        if there is no box or it is empty.

    """
    start = text.rfind(BOX)
    if start < 0:
        return None
    start += len(BOX)
    depth, end = 1, len(text)
    for brace in _BRACE.finditer(text, start):
        depth += 1 if brace.group() == '{' else -1
        if depth == 0:
            end = brace.start()
            break
    content = strip_latex(text[start:end])
    return (content, depth == 0) if content else None


def strip_latex(text: str) -> str:
    r"""Strip LaTeX's ``\text{}`` and dollar signs, and a closing quotation mark without opening."""
    text = _TEXT_COMMAND.sub(r'\1', text).strip().strip('$').strip()
    if text.endswith('"') and text.count('"') == 1:  # Fig. 46: {stop, justification: ... red."}
        text = text[:-1].rstrip()
    return text


def json_values(text: str) -> list[Any] | None:
    """Decode the JSON lists and objects in a text, fenced or bare, with or without prose.

    The notebook of MiMo-VL takes JSON out of its fence; the vendor reads only the pairs in it.
    Numbers become floats; NaN and the infinities, which are not JSON, become None.

    Returns:
        The values, or None if one of them cannot be decoded or is not closed.

    """
    values = []
    position = 0
    while start := _JSON_START.search(text, position):
        try:
            value, position = _DECODER.raw_decode(text, start.start())
        except (json.JSONDecodeError, RecursionError):
            return None
        values.append(value)
    return values


def json_list_end(text: str) -> int:
    """Return where the JSON list at the start of a text ends; -1 if there is no complete list.

    The list is bare or in a fence that is still open.
    """
    start = len(text) - len(text.removeprefix('```json').lstrip())
    if text[start : start + 1] != '[' or not _JSON_START.match(text, start):
        return -1
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (json.JSONDecodeError, RecursionError):
        return -1


def json_string(value: object) -> str:
    r"""Return a JSON string without outer spaces, or '' for any other value.

    Unpaired surrogates (``\ud83d`` alone) are replaced, because ROS messages cannot carry them.
    """
    return value.encode(errors='replace').decode().strip() if isinstance(value, str) else ''


def read_entries(text: str) -> Affordances | None:
    """Read labelled JSON entries, fenced or bare; ``[]`` gives no points and no boxes.

    Their keys are those that the prompts ask for (roborefit, refcoco, drama) and those of the
    paper's Fig. 33 and 34.

    Returns:
        None if the text has no JSON, or JSON that cannot be decoded or is something else.

    Raises:
        ParseError: an entry holds something else where coordinates belong.

    """
    values = json_values(text)
    entries: list[Any] = []
    for value in values or ():
        entries += value if isinstance(value, list) else [value]
    if not values or not all(map(is_entry, entries)):
        return None
    return Affordances(
        tuple(chain.from_iterable(map(entry_points, entries))),
        tuple(chain.from_iterable(map(_entry_boxes, entries))),
    )


def read_pairs(text: str) -> tuple[Point, ...]:
    """Read every ``[a, b]``, or every ``(a, b)`` if there are none: the vendor's rule."""
    return tuple(map(_point, PAIR.findall(text) or _ROUND_PAIR.findall(text)))


def read_quads(text: str) -> tuple[Box, ...]:
    """Read every ``[a, b, c, d]``, or every ``(a, b, c, d)`` if there are none.

    The vendor reads only the first.
    """
    return tuple(map(_box, _QUAD.findall(text) or _ROUND_QUAD.findall(text)))


def is_entry(value: object) -> bool:
    """Tell whether a JSON value is an object with a point or box in it."""
    return isinstance(value, dict) and (
        not value.keys().isdisjoint((*_POINT_KEYS, *_BOX_KEYS)) or {'x', 'y'} <= value.keys()
    )


def entry_points(entry: dict[str, Any]) -> Iterator[Point]:
    """Read the points of a JSON object: ``[x, y]``, ``{"x": x, "y": y}``, or a list of those."""
    label = _label(entry)
    places = [entry[key] for key in _POINT_KEYS if key in entry]
    if 'x' in entry and 'y' in entry:
        places.append(entry)
    for place in places:
        nested = isinstance(place, list) and all(isinstance(p, (list, dict)) for p in place)
        for value in place if nested else (place,):
            if isinstance(value, dict):
                yield _point((value.get('x'), value.get('y')), label)
            else:
                yield _point(value, label)


def _entry_boxes(entry: dict[str, Any]) -> Iterator[Box]:
    for key in _BOX_KEYS:
        if key in entry:
            place = entry[key]
            nested = isinstance(place, list) and all(isinstance(p, list) for p in place)
            for value in place if nested else (place,):
                yield _box(value, _label(entry))


def _label(entry: dict[str, Any]) -> str:
    for key in _LABEL_KEYS:
        if label := json_string(entry.get(key)):
            return label
    return ''


def _point(values: object, label: str = '') -> Point:
    x, y = _coordinates(values, 2)
    return Point(x, y, label)


def _box(values: object, label: str = '') -> Box:
    left, top, right, bottom = _coordinates(values, 4)
    return Box(min(left, right), min(top, bottom), max(left, right), max(top, bottom), label)


def _coordinates(values: object, count: int) -> list[float]:
    """Return the values as ``count`` coordinates, numbers in quotes included.

    Raises:
        ParseError: they are not so many numbers, or one is too large for a pixel.

    """
    if isinstance(values, (list, tuple)) and len(values) == count:
        numbers = []
        for value in values:
            quoted = isinstance(value, str) and _QUOTED_NUMBER.fullmatch(value)
            number = float(value) if quoted else value
            # the decoder makes numbers floats; true and false, integers in Python, are none
            if type(number) is not float or not abs(number) <= MAX_COORDINATE:
                break
            numbers.append(number)
        else:
            return numbers
    msg = (
        f'the answer holds {reprlib.repr(values)} where {count} pixel coordinates belong; '
        'ask again or in other words'
    )
    raise ParseError(msg)
