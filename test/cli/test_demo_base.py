"""The closed loop of a base: tree, node with the embedded model, executor and physics over DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('py_trees', reason='an extra: pip install py_trees')
pytest.importorskip('mujoco', reason='mujoco is not installed')

from support.demos import run_demo

if TYPE_CHECKING:
    from pathlib import Path


def test_a_room_is_reported_with_what_came_of_it(tmp_path: Path) -> None:
    """The embedded model is not always right, so that it may fail; then the cause is said."""
    report, done = run_demo(tmp_path, 'demo-base', '--scenes', '1', '--seed', '5')
    (room,) = report['each']
    assert report['scenes'] == 1
    assert report['success_rate'] == room['done'] == (done.returncode == 0) == (not room['cause'])
    assert room['done'] or 'the yellow box is' in room['cause']
    assert room['gap'] > 0
    assert '1 rooms, ' in done.stdout
    assert Image.open(tmp_path / 'out' / 'overview.png').size[0] == 2 * 640


def test_no_rooms_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from mimo_embodied_ros.cli.main import main

    assert main(['demo-base', '--scenes', '0']) == 1
    assert 'give at least 1' in capsys.readouterr().err
