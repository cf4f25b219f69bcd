"""JSON in the text of an answer: the values of its brackets, and the words around them.

Brackets are read as JSON, or as Python writes the same ones: with single quotes, tuples, a comma
behind the last entry. All others raise: what could be meant by damaged brackets is not for a robot
to guess. It takes time linear in the text's length.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from .characters import valid_values
from .errors import OutputTruncatedError, ParseError

FENCE = re.compile(r'```(?:json|python|text|plaintext|markdown|typescript)?(?![A-Za-z])')
_BRACKETS = {'[': ']', '{': '}', '(': ')'}

_NUMBER = r'\s*[-+]?[0-9]+(?:\.[0-9]+)?\s*'
_FLAT = re.compile(rf'\[{_NUMBER}(?:,{_NUMBER})+\]|\({_NUMBER}(?:,{_NUMBER})+\)')
_START = re.compile(r'[\[{]|\((?=\s*[-+]?[0-9])')
_JSON_START = re.compile(r'\{(?=\s*["\'}])|\[(?=\s*["\'{\[\]])')  # not a [x, y] behind words
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
# What Python reads in another way than it looks: escapes, comments, 1_000, 0x10, 'a' 'b', --1, .5
_NOT_PLAIN = re.compile(
    r"""[\\#]|[0-9][A-Za-z_]|['"]\s+['"]|\w['"]{2}|[-+](?=[-+\s])|(?<![0-9])\.[0-9]"""
    r'|[0-9]\.(?![0-9])')
_PLAIN_NODES = (ast.Expression, ast.List, ast.Tuple, ast.Dict, ast.Constant, ast.UnaryOp, ast.USub,
                ast.UAdd, ast.Load)


def split_values(text: str, *, json_only: bool = False) -> tuple[list[Any], list[str]]:
    r"""Split a text into the values of its brackets and the words before, between and after them.

    Numbers become floats; NaN and the infinities, which are not JSON, become None. Fences are left
    out. Escapes such as ``\ud83d`` alone, half a UTF-16 pair, become U+FFFD.

    Args:
        text: the answer, without the reasoning.
        json_only: leave brackets that hold only numbers in the words, such as a pixel in a step.

    Raises:
        ParseError: brackets cannot be decoded. OutputTruncatedError: the last are not closed.

    """
    start = _JSON_START if json_only else _START
    values, words, position = [], [], 0
    while found := start.search(text, position):
        words.append(text[position : found.start()])
        value, position = _decode(text, found.start())
        values.append(value)
    words.append(text[position:])
    return values, [' '.join(FENCE.sub(' ', part).split()) for part in words]


def json_string(value: object) -> str:
    """Return a JSON string without outer spaces, or '' for any other value."""
    return value.strip() if isinstance(value, str) else ''


def _decode(text: str, start: int) -> tuple[Any, int]:
    """Decode the brackets at a position; returns the value and where it ends."""
    if flat := _FLAT.match(text, start):
        return _numbers(flat.group()), flat.end()
    try:
        value, end = _DECODER.raw_decode(text, start)
        return valid_values(value), end
    except (ValueError, RecursionError):
        pass
    end = text.rfind(_BRACKETS[text[start]], start) + 1
    try:
        return _python_value(text[start:end]), end
    except (ArithmeticError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        pass
    if not _is_closed(text[start:]):
        msg = 'the model ended before its list was complete; ask again or in other words'
        raise OutputTruncatedError(msg)
    msg = f'the answer holds {text[start : start + 80]!r}, which is damaged; ask again'
    raise ParseError(msg)


def _numbers(flat: str) -> list[float]:
    return [float(number) for number in flat[1:-1].split(',')]


def _python_value(text: str) -> Any:
    """Decode a list or object as Python writes it; raises what `ast.parse` raises.

    Numbers become floats, and tuples lists, as in JSON. The dots of figure 2, ``[[1, 2], ...]``,
    are left out.
    """
    if not text or _NOT_PLAIN.search(text):
        raise ValueError
    tree = ast.parse(text, mode='eval')
    for node in ast.walk(tree):
        if not isinstance(node, _PLAIN_NODES) or isinstance(getattr(node, 'value', 0), bytes):
            raise TypeError
        if isinstance(node, ast.Dict):
            _as_object([(getattr(key, 'value', None), None) for key in node.keys])
    return _as_json(ast.literal_eval(tree))


def _as_json(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        dots = len(value) > 1 and value[-1] is ... and isinstance(value[0], (list, tuple))
        return [_as_json(item) for item in (value[:-1] if dots else value)]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return float(value) if type(value) is int else value


def _as_object(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Make an object, and refuse one in which a key stands twice."""
    value = dict(pairs)
    if len(value) < len(pairs) or not all(isinstance(key, str) for key in value):
        msg = 'a key stands twice, or is no string'
        raise ValueError(msg)
    return value


_DECODER = json.JSONDecoder(strict=False, parse_int=float, parse_constant=lambda _: None,
                            object_pairs_hook=_as_object)


def _is_closed(text: str) -> bool:
    """Whether all brackets and quotation marks of a text that begins with a bracket are closed."""
    expected = []
    for character in _STRING.sub('', text).partition('"')[0]:
        if character in _BRACKETS:
            expected.append(_BRACKETS[character])
        elif character in ']})' and (character != expected.pop() or not expected):
            return True  # or wrong, which more text would not mend
    return False
