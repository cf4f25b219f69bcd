r"""Readers of places: points and boxes, in pixels of the model's image.

A place is read from a text that holds one list of places and nothing that could mean another one:

- labelled entries, as the prompts ask for them: ``[{"points": [[57, 80]], "label": "cup"}]``, with
  the keys of the paper's figures 2, 33 and 34 and of the base model's notebook;
- bare coordinates: ``[[226, 479], [238, 461], ...]`` (figure 2), ``[57, 80]``, ``(8, 29, 93, 70)``;
- a sentence with one position: ``The lid of the pot is [581,399].`` (figure 7).

Fences and remarks may stand around it; all else raises. The vendor's own reader takes every pair of
numbers in the text. All readers take time linear in the text's length.
"""

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING, Any

from .answers import Affordances, Box, Point
from .errors import OutputTruncatedError, ParseError
from .json_values import FENCE, json_string, split_values

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = r'\s*([-+]?[0-9]+(?:\.[0-9]+)?)\s*'
PAIR = re.compile(rf'\[{_NUMBER},{_NUMBER}\]')
MAX_COORDINATE = 1e6  # pixels; larger numbers are written by a model that repeats digits

_QUOTED_NUMBER = re.compile(r'\s*-?[0-9]+(?:\.[0-9]+)?\s*')

_POINT_KEYS = ('points', 'point', 'point_2d')
_BOX_KEYS = ('bbox_2d', 'bbox', 'box')
_LABEL_KEYS = ('label', 'caption', 'caption_and_explanation')
_SCORE_KEYS = ('confidence', 'score', 'id')  # numbers that are no coordinates
_WRAPPER_KEYS = ('answer', 'answers', 'result', 'results', 'output')

# Remarks around labelled entries: sentences that introduce them, and none that takes one back.
_PUNCTUATION = " .,:;!`'*()-\u2019\u201c\u201d\u3002\uff0c\uff1a\uff01"
_REMARK_CHARACTERS = re.compile(rf'(?:[^\W\d_]|[\s{re.escape(_PUNCTUATION[1:])}])*')
_INTRODUCTION = re.compile(
    r'(?:(?:sure|certainly|okay|ok)\b[,.!]? ?)?(?:(?:here|it|this|these|there|below|based on|json'
    r'|answer|output|result|the (?:final )?(?:answer|output|result|points?|box(?:es)?|bounding box'
    r'(?:es)?|positions?|locations?|coordinates))\b|[\u8fd9\u4ee5\u597d\u7b54\u6839\u56fe]|\Z)',
    re.IGNORECASE,
)
_DOUBT = re.compile(
    r"\b(?:no|not|none|never|nothing|neither|nor|without|cannot|unable|sorry|unfortunately|but"
    r'|however|wait|actually|or|instead|except|maybe|perhaps|possibly|probably|might|unsure|if'
    r'|unless|wrong|incorrect|false|otherwise|rather|ignore|avoid|correction|example)\b'
    r"|n['\u2019]t\b"
    '|[\u4e0d\u6ca1\u65e0\u975e\u522b\u672a\u5426\u4f46\u6216\u9519]',
    re.IGNORECASE,
)
_SELECTION = re.compile(
    r'\b(?:only|first|second|third|last|former|latter|right|left|correct|best|closest|nearest'
    r'|another|other|different|previous|similar|guess|estimated?|approximate(?:ly)?|roughly|would'
    r'|could|should|unclear|uncertain|hidden|missing|absent)\b',
    re.IGNORECASE)
# Labels of a model that fills in the form for a thing that is not there
_ABSENT = re.compile(
    r'none|null|n/?a|unknown|absent|missing|invisible'
    r'|(?:.* )?not (?:found|visible|present|there|detected|available|in (?:the )?(?:image|picture))'
    r'|no (?:match|target|object|such .*|.* (?:found|visible|present|detected))'
    '|\u65e0|.*(?:\u6ca1\u6709|\u672a\u627e\u5230|\u4e0d\u5b58\u5728|\u4e0d\u53ef\u89c1).*',
    re.IGNORECASE)
# A sentence with a position: what is there, and "is at", as in figure 7
_SENTENCE = re.compile(
    r'(?:(?:so|therefore|thus|and|here),? )?(?:(?P<thing>[a-z][a-z\'\u2019 -]{0,120}?)'
    r' (?:is|are)(?: (?:located|situated|found|positioned|shown))?(?: at)?'
    r'(?: (?:the )?(?:pixel|point|position|location|coordinates?))?:?'
    r'|(?:the )?(?P<name>(?:final |target )?(?:answer|points?|pixel|positions?|locations?'
    r'|coordinates?|bounding box|box)(?: of [a-z][a-z\'\u2019 -]{0,120}?)?):'
    r'|there is (?:an?|the) (?P<thing_there>[a-z][a-z\'\u2019 -]{0,120}?) at'
    r'|(?P<thing_zh>[\u4e00-\u9fff]{1,30}?)(?:\u4f4d\u4e8e|\u5728|\u7684?(?:\u4f4d\u7f6e|\u5750\u6807)'
    r'(?:\u662f|\u4e3a|\u5728)?[:\uff1a]?)) ?',
    re.IGNORECASE,
)
_HERE = re.compile(r'(?:here|here (?:it is|is the point|they are)|at):? ?', re.IGNORECASE)
# Words that make more than a thing of what stands before "is at"
_NO_THING = re.compile(
    r'\b(?:is|are|was|were|be|has|have|had|and|than|while|because|since|where|which|that|who'
    r'|match|matches|guess|similar|alternative|candidate|example|image|picture|size|resolution'
    r'|width|height|dimensions?|distance|range|scale|ratio|shape|offset|origin|error|previous)\b',
    re.IGNORECASE)


def read_entries(text: str) -> Affordances | None:
    """Read labelled entries, fenced or bare; ``[]`` gives no points and no boxes.

    Returns:
        None if the text has no list, or one of something else.

    Raises:
        ParseError: an entry is damaged or holds something else where coordinates belong; there are
            several lists that differ, or words that take the list back. OutputTruncatedError: the
            list is not closed.

    """
    value, remarks = _only_value(text, json_only=True)
    if not _is_list_of_entries(value):
        return None
    entries = value if isinstance(value, list) else [value]
    places = Affordances(
        tuple([point for entry in entries for point in entry_points(entry)]),
        tuple([box for entry in entries for box in _entry_boxes(entry)]),
    )
    found = bool(places.points or places.boxes)
    if not all(_REMARK_CHARACTERS.fullmatch(remark) and (
            _is_introduction(remark) or (not found and _DOUBT.search(remark)))
            for remark in remarks):
        raise _unclear(' '.join(remarks))
    return places


def read_bare(text: str, *, boxes: bool) -> Affordances | None:
    """Read coordinates without labels: one list, or a sentence with one position.

    Args:
        text: the answer, without the reasoning.
        boxes: read boxes, else points.

    Returns:
        None if there are none.

    Raises:
        ParseError: there is more than this, or a number that is no pixel.

    """
    value, remarks = _only_value(text)
    rows = _rows(value, 4 if boxes else 2)
    if not rows:
        return None
    before, *between, behind = remarks
    if any(between) or not _is_sentence(before, behind):
        raise _unclear(' '.join(remarks))
    if boxes:
        return Affordances(boxes=tuple(map(_box, rows)))
    return Affordances(tuple(map(_point, rows)))


def _is_introduction(remark: str) -> bool:
    remark = remark.strip(_PUNCTUATION)
    return bool(_INTRODUCTION.match(remark)) and not (
        _DOUBT.search(remark) or _SELECTION.search(remark))


def read_places(text: str) -> Affordances | None:
    """Read the places of an answer that may also be something else than places.

    Returns:
        None if the text is no list of places and no sentence with one.

    Raises:
        ParseError: the text begins with brackets that cannot be read. OutputTruncatedError: they
            are not closed.

    """
    try:
        return (read_entries(text) or read_bare(text, boxes=True) or read_bare(text, boxes=False))
    except (ParseError, OutputTruncatedError):
        if FENCE.sub('', text).lstrip().startswith(('[', '{')):
            raise
        return None


def has_entries(text: str) -> bool:
    """Tell whether a text holds a complete list of labelled entries."""
    try:
        return read_entries(text) is not None
    except (ParseError, OutputTruncatedError):
        return False


def read_pairs(text: str) -> tuple[Point, ...]:
    """Read every ``[x, y]`` of a text, such as those behind the things of a step."""
    return tuple([_point((float(x), float(y))) for x, y in PAIR.findall(text)])


def is_entry(value: object) -> bool:
    """Tell whether a JSON value is an object with a point or box in it."""
    return isinstance(value, dict) and (
        not value.keys().isdisjoint((*_POINT_KEYS, *_BOX_KEYS)) or {'x', 'y'} <= value.keys()
    )


def entry_points(entry: dict[str, Any]) -> Iterator[Point]:
    """Read the points of a JSON object: ``[x, y]``, ``{"x": x, "y": y}``, or a list of those."""
    label = _label(entry)
    places = [entry[key] for key in _POINT_KEYS if key in entry]
    if {'x', 'y'} <= entry.keys():
        places.append({'x': entry['x'], 'y': entry['y']})
    if len(places) > 1:
        raise _no_place(entry, 2)
    for place in places:
        nested = isinstance(place, list) and all(isinstance(p, (list, dict)) for p in place)
        for value in place if nested else (place,):
            if isinstance(value, dict) and value.keys() == {'x', 'y'}:
                yield _point((value['x'], value['y']), label)
            else:
                yield _point(value, label)


def _entry_boxes(entry: dict[str, Any]) -> Iterator[Box]:
    places = [entry[key] for key in _BOX_KEYS if key in entry]
    if len(places) > 1:
        raise _no_place(entry, 4)
    for place in places:
        nested = isinstance(place, list) and all(isinstance(p, list) for p in place)
        for value in place if nested else (place,):
            yield _box(value, _label(entry))


def _is_list_of_entries(value: object) -> bool:
    """Whether a value is an entry or a list of entries, all whole.

    Raises:
        ParseError: it is a list in which only some are entries, or an entry has fields that no
            prompt asks for: the size of a box whose corner is the point, or that it is not visible.

    """
    if value is None:
        return False
    entries = value if isinstance(value, list) else [value]
    if not any(map(is_entry, entries)):
        return value == []
    places = (*_POINT_KEYS, *_BOX_KEYS, 'x', 'y')
    known = (*places, *_LABEL_KEYS, *_SCORE_KEYS)
    for entry in entries:
        if not isinstance(entry, dict) or not is_entry(entry) or any(
            key not in known or (key in _LABEL_KEYS and not isinstance(field, str))
            for key, field in entry.items()
        ):
            msg = f'the answer holds {reprlib.repr(entry)}, which is no point and no box; ask again'
            raise ParseError(msg)
        if _ABSENT.fullmatch(_label(entry).rstrip('.')) and any(entry.get(key) for key in places):
            msg = (f'the answer holds {reprlib.repr(entry)}, a place of what its label says is not '
                   'there; ask again or in other words')
            raise ParseError(msg)
    return True


def _label(entry: dict[str, Any]) -> str:
    return next(filter(None, (json_string(entry.get(key)) for key in _LABEL_KEYS)), '')


def _only_value(text: str, *, json_only: bool = False) -> tuple[Any, list[str]]:
    """Return the one value in a text, and the words before and behind it; None without a value.

    A list that is written twice counts once.
    """
    values, remarks = split_values(text, json_only=json_only)
    if not values:
        return None, remarks
    value = values[0]
    if any(other != value for other in values):
        msg = (f'the answer holds {reprlib.repr(values)}, of which only one can be meant; ask '
               'again or in other words')
        raise ParseError(msg)
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if key in _WRAPPER_KEYS and isinstance(inner, list):
            value = inner
    return value, remarks


# -- coordinates


def _rows(value: Any, count: int) -> list[Any]:
    """Return the rows of a bare list of coordinates; empty if the value is none.

    Raises:
        ParseError: only some of its rows have so many coordinates.

    """
    rows = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    fits = [isinstance(row, list) and len(row) == count for row in rows]
    if any(fits) and not all(fits):
        raise _no_place(value, count)
    return rows if all(fits) else []


def _is_sentence(before: str, behind: str) -> bool:
    """Whether the words around bare coordinates say no more than what is there."""
    if behind not in ('', '.', '\u3002'):
        return False
    if not before or _HERE.fullmatch(before + ' '):
        return True
    sentence = _SENTENCE.fullmatch(before + ' ')
    thing = '' if sentence is None else next(filter(None, sentence.groups()))
    return bool(thing) and not (_DOUBT.search(thing) or _NO_THING.search(thing))


def _point(values: object, label: str = '') -> Point:
    x, y = _coordinates(values, 2)
    return Point(x, y, label)


def _box(values: object, label: str = '') -> Box:
    left, top, right, bottom = _coordinates(values, 4)
    return Box(min(left, right), min(top, bottom), max(left, right), max(top, bottom), label)


def _coordinates(values: object, count: int) -> list[float]:
    """Return the values as ``count`` coordinates, numbers in quotes included.

    Raises:
        ParseError: they are not so many numbers, one is too large for a pixel, or they are shares
            of the image, as other models write them.

    """
    if not isinstance(values, (list, tuple)) or len(values) != count:
        raise _no_place(values, count)
    numbers = []
    for value in values:
        quoted = isinstance(value, str) and _QUOTED_NUMBER.fullmatch(value)
        number = float(value) if quoted else value
        # the decoder makes numbers floats; true and false, integers in Python, are none
        if type(number) is not float or not abs(number) <= MAX_COORDINATE:
            raise _no_place(values, count)
        numbers.append(number)
    in_unit_square = all(0 <= number <= 1 for number in numbers)
    if in_unit_square and (count == 4 or not all(map(float.is_integer, numbers))):
        msg = (f'the answer holds {numbers}, which are shares of the image and not its pixels; ask '
               'again, or with a model that writes pixels')
        raise ParseError(msg)
    return numbers


def _no_place(values: object, count: int) -> ParseError:
    return ParseError(
        f'the answer holds {reprlib.repr(values)} where {count} pixel coordinates belong; '
        'ask again or in other words')


def _unclear(words: str) -> ParseError:
    return ParseError(
        f'the answer holds positions and the words {reprlib.repr(words)}, so that it is unclear '
        'whether they are meant; ask again or in other words')
