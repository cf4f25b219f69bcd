"""Print how much of each room of the package the tests have run; fail where it is too little.

Reads what ``pytest --cov`` has written. To see the lines that no test runs:
``.venv/bin/coverage report -m --include '*/engine/*'``
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from coverage import Coverage
from coverage.exceptions import NoDataError

PACKAGE = 'mimo_embodied_ros'
REQUIRED = {'core', 'engine', 'geometry', 'execution', 'client', 'node', 'tracking'}
LEAST_PERCENT = 95.0


class Count(NamedTuple):
    """Statements, and how many of them no test has run."""

    statements: int
    missed: int

    @property
    def percent(self) -> float:
        """The share of statements that tests have run."""
        return 100.0 * (1 - self.missed / self.statements) if self.statements else 100.0


def count_by_room(coverage: Coverage) -> dict[str, Count]:
    """Count the statements of each folder of the package; '' is the package's own.

    Raises:
        NoDataError: no file of the package has been measured.

    """
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file in coverage.get_data().measured_files():
        parts = Path(file).parts
        folders = parts[parts.index(PACKAGE) + 1:-1]
        room = folders[0] if folders else ''
        _, statements, _, missing, _ = coverage.analysis2(file)
        counts[room][0] += len(statements)
        counts[room][1] += len(missing)
    if not counts:
        raise NoDataError('nothing of the package has been measured')
    return {room: Count(*counts[room]) for room in sorted(counts)}


def print_table(rooms: dict[str, Count]) -> None:
    """Print a line for each room, and one for all."""
    whole = Count(*(sum(column) for column in zip(*rooms.values())))
    print(f'{"room":<12} {"statements":>10} {"missed":>8} {"covered":>9}')
    for room, count in (*rooms.items(), ('all', whole)):
        mark = f'  at least {LEAST_PERCENT:g} %' if room in REQUIRED else ''
        print(f'{room or "(top)":<12} {count.statements:>10} {count.missed:>8} '
              f'{count.percent:>7.1f} %{mark}')


def main() -> int:
    coverage = Coverage()
    coverage.load()
    try:
        rooms = count_by_room(coverage)
    except NoDataError as error:
        print(f'{coverage.config.data_file}: {error}; run pytest --cov first')
        return 1
    print_table(rooms)
    low = [room for room in sorted(REQUIRED)
           if room not in rooms or rooms[room].percent < LEAST_PERCENT]
    for room in low:
        print(f'FAILED: tests must run at least {LEAST_PERCENT:g} % of {room}; see the lines that '
              f"are missed with: coverage report -m --include '*/{PACKAGE}/{room}/*'")
    return bool(low)


if __name__ == '__main__':
    sys.exit(main())
