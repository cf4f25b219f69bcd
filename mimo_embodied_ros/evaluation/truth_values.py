"""Checks of the JSON values of right answers; what is wrong is a ValueError."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 1e15


def wrong(name: str, value: Any, expected: str) -> ValueError:
    """Return the error that says what was expected."""
    return ValueError(f'{name} is {reprlib.repr(value)}; give {expected}')


def as_list(value: Any, name: str) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise wrong(name, value, 'a list')
    return value


def finite(value: Any, name: str) -> float:
    """Return a number that is not too large to compute with."""
    # NaN fails the comparison, too, and integers may be too large for a float
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
        raise wrong(name, value, 'a finite number')
    return float(value)


def as_rows(value: Any, count: int, name: str) -> list[list[float]]:
    """Return a list of lists of ``count`` numbers."""
    rows = [as_list(row, name) for row in as_list(value, name)]
    if any(len(row) != count for row in rows):
        raise wrong(name, value, f'a list of lists of {count} numbers')
    return [[finite(number, name) for number in row] for row in rows]


def strings(value: Any, name: str) -> tuple[str, ...]:
    """Return one text or several, none of them empty."""
    texts: Sequence[Any] = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise wrong(name, value, 'words, or a list of them')
    return tuple(texts)
