"""The closed loop: tree, node with the embedded model, executor and simulation over real DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('py_trees', reason='an extra: pip install py_trees')

from support.demos import run_demo

if TYPE_CHECKING:
    from pathlib import Path


def test_a_cube_that_the_gripper_drops_is_put_into_the_bowl_in_the_end(
    tmp_path: Path
) -> None:
    # of seed 1 the cube slips out on its way to the bowl
    report, done = run_demo(tmp_path, 'demo-pick', '--scenes', '1', '--seed', '1')
    assert done.returncode == 0, report
    assert (report['scenes'], report['success_rate'], report['failures']) == (1, 1.0, [])
    (scene,) = report['each']
    assert scene['drops'] >= 1
    assert scene['steps'] > 2
    assert scene['plans'] > 1
    assert '1 scenes, 100% done' in done.stdout
    assert Image.open(tmp_path / 'out' / 'scene.png').size[0] == 3 * 640


def test_wrong_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from mimo_embodied_ros.cli.main import main

    assert main(['demo-pick', '--drop', '2']) == 1
    assert 'give a probability, 0 to 1' in capsys.readouterr().err
