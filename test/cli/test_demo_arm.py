"""The closed loop of an arm: tree, node with the embedded model, executor and physics over DDS."""

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


def test_a_scene_is_reported_with_what_came_of_it(tmp_path: Path) -> None:
    """The embedded model is not always right, so that it may fail; then the cause is said."""
    report, done = run_demo(tmp_path, 'demo-arm', '--scenes', '1', '--only', 'hand')
    (scene,) = report['each']
    assert report['scenes'] == report['by_kind']['hand']['scenes'] == 1
    assert report['success_rate'] == scene['done'] == (done.returncode == 0) == (not scene['cause'])
    assert scene['done'] or 'in fact ' in scene['cause']
    assert scene['instruction'].startswith('hand me the ')
    assert '1 scenes, ' in done.stdout
    assert Image.open(tmp_path / 'out' / 'scene.gif').size == (2 * 320, 240)


def test_no_scenes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from mimo_embodied_ros.cli.main import main

    assert main(['demo-arm', '--scenes', '0']) == 1
    assert 'give at least 1' in capsys.readouterr().err
