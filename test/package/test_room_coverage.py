"""The table of coverage by room, and the rooms that fail."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from coverage import CoverageData

from support.paths import ROOT
from support.programs import run_program
from support.room_coverage import REQUIRED

if TYPE_CHECKING:
    from pathlib import Path


def measured(folder: Path, lines: dict[str, int]) -> tuple[int, str]:
    """Exit code and table where so many of the 20 lines of each room were run."""
    data = CoverageData(str(folder / 'measured'))
    for room, number in lines.items():
        file = folder / 'mimo_embodied_ros' / room / 'module.py'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text('x = 1\n' * 20)
        data.add_lines({str(file): range(1, number + 1)})
    data.write()
    done = run_program(
        sys.executable, ROOT / 'test' / 'support' / 'room_coverage.py', folder=folder,
        environment={**os.environ, 'COVERAGE_FILE': str(folder / 'measured')}, succeeds=False)
    return done.returncode, done.stdout


def test_each_room_has_a_line_and_95_percent_pass(tmp_path: Path) -> None:
    code, table = measured(tmp_path, {'': 20, 'cli': 0, **dict.fromkeys(REQUIRED, 19)})
    assert code == 0, table
    assert [line.split()[:3] for line in table.splitlines()[1:4]] == [
        ['(top)', '20', '0'], ['cli', '20', '20'], ['client', '20', '1']]
    assert table.splitlines()[-1].split() == ['all', '180', '27', '85.0', '%']


def test_too_little_of_a_room_fails(tmp_path: Path) -> None:
    code, table = measured(tmp_path, {**dict.fromkeys(REQUIRED - {'node'}, 20), 'core': 18})
    assert code == 1
    failed = [line for line in table.splitlines() if line.startswith('FAILED')]
    assert ['of core' in line or 'of node' in line for line in failed] == [True, True]


def test_nothing_measured_fails(tmp_path: Path) -> None:
    code, printed = measured(tmp_path, {})
    assert code == 1
    assert 'run pytest --cov first' in printed
