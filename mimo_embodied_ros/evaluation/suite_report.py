"""The table of the report's benchmarks: published scores and ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .suite_run import Row

_HEAD = ('benchmark', 'published', 'ours', 'robot-safe', 'difference', '95 % interval', 'answers',
         'state')
_RIGHT = range(1, 7)  # columns of numbers


def suite_table(rows: Sequence[Row]) -> str:
    """Return the rows as a text table; below it, why rows are not ok."""
    cells = [_HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ['  '.join(cell.rjust(w) if i in _RIGHT else cell.ljust(w)
                       for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in cells]
    reasons = [f'{row.title}: {row.state}: {row.reason}' for row in rows if row.reason]
    return '\n'.join([*lines, *(['', *reasons] if reasons else [])])


def _cells(row: Row) -> tuple[str, ...]:
    ends = '-' if row.interval is None else f'{row.interval[0]:.2f} to {row.interval[1]:.2f}'
    return (row.title, f'{row.published:.2f}', _number(row.ours), _number(row.robot),
            _number(row.difference, '+'), ends, f'{row.answered}/{row.questions}', row.state)


def _number(value: float | None, sign: str = '') -> str:
    return '-' if value is None else f'{value:{sign}.2f}'
