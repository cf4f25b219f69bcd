"""Skips that are not expected fail a run, such as those of a broken installation of ROS."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml

from support.paths import ROOT
from support.programs import run_program

ALLOWED = ROOT / 'test' / 'allowed_skips.yaml'
NO_RCLPY = 'raise ModuleNotFoundError("No module named \'rclpy\'", name="rclpy")'


def run_pytest(*arguments: str | Path, path: Path | None = None) -> tuple[int, str]:
    """Run pytest in the repository; return its exit code and what it printed."""
    environment = {name: os.environ[name] for name in os.environ if not name.startswith('PYTEST_')}
    if path is not None:
        environment['PYTHONPATH'] = str(path)
    done = run_program(
        Path(sys.executable).with_name('pytest'), '-q', '-p', 'no:cacheprovider', *arguments,
        folder=ROOT, environment=environment, succeeds=False)
    return done.returncode, done.stdout


def hide_rclpy(folder: Path) -> Path:
    (folder / 'rclpy.py').write_text(NO_RCLPY)
    return folder


FILES = 'test/engine/test_repetition.py', 'test/viewer/test_viewer.py'


def test_without_rclpy_files_are_skipped(tmp_path: Path) -> None:
    code, printed = run_pytest(*FILES, path=hide_rclpy(tmp_path))
    assert code == 0, printed
    assert 'test/viewer/test_viewer.py' in printed


@pytest.mark.parametrize('processes', [0, 2])
def test_a_skip_that_is_not_allowed_fails_the_run(
    tmp_path: Path, processes: int
) -> None:
    code, printed = run_pytest(
        *FILES, f'--numprocesses={processes}', '--allowed-skips', ALLOWED,
        path=hide_rclpy(tmp_path))
    assert code == 1, printed
    assert f'skips that {ALLOWED} does not allow' in printed
    assert '\ntest/viewer/test_viewer.py: ROS is not installed\n' in printed


@pytest.mark.parametrize(('listed', 'code'), [
    ('not on Mondays', 0), ('not on Tuesdays', 1), ('', 1),
])
def test_a_skip_is_allowed_by_its_file_and_its_reason(
    tmp_path: Path, listed: str, code: int
) -> None:
    (tmp_path / 'conftest.py').write_text(
        'from support.allowed_skips import pytest_addoption, pytest_configure\n')
    (tmp_path / 'test_it.py').write_text("""
import pytest

def test_skipped():
    pytest.skip('not on Mondays')

@pytest.mark.xfail
def test_expected_to_fail():
    raise AssertionError
""")
    skips = tmp_path / 'skips.yaml'
    skips.write_text(f'test_it.py: {{{listed}: because}}' if listed else '')
    assert run_pytest(
        '--rootdir', tmp_path, '-c', os.devnull, tmp_path, '--allowed-skips', skips,
        path=ROOT / 'test')[0] == code


def test_each_allowed_skip_has_its_file_and_a_reason() -> None:
    for file, reasons in yaml.safe_load(ALLOWED.read_text('utf-8')).items():
        text = (ROOT / file).read_text('utf-8')
        for reason, why in reasons.items():
            assert repr(reason) in text
            assert why
