"""Drives to a thing that is pushed aside: node with a slow model, and physics over DDS."""

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


def test_a_room_is_reported_with_what_came_of_both_drives(tmp_path: Path) -> None:
    """The embedded model is not always right, so that a drive may fail; then the cause is said."""
    report, done = run_demo(tmp_path, 'demo-drive', '--scenes', '1')
    (room,) = report['each']
    assert report['scenes'] == 1
    for kind in ('with_tracking', 'without'):
        assert report[kind] == room[kind]['reached'] == (not room[kind]['cause'])
        assert room[kind]['reached'] or 'the yellow box is' in room[kind]['cause']
        assert room[kind]['seconds'] > 3  # the model's first answer
    assert report['with_tracking'] == (done.returncode == 0)
    assert '1 rooms: ' in done.stdout
    assert Image.open(tmp_path / 'out' / 'overview.png').size[0] == 3 * 640


@pytest.mark.parametrize(('arguments', 'reason'), [
    (('--scenes', '0'), 'give at least 1'),
    (('--answer-time', '-1'), 'give 0 or more'),
    (('--answer-time', 'nan'), 'give 0 or more'),
])
def test_what_cannot_be_done_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], reason: str
) -> None:
    from mimo_embodied_ros.cli.main import main

    assert main(['demo-drive', *arguments]) == 1
    assert reason in capsys.readouterr().err
