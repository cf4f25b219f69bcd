"""A short run of what ``make soak`` does at length."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from support.paths import BENCH
from support.programs import run_program

if TYPE_CHECKING:
    from pathlib import Path


def test_200_goals_and_the_requests_to_a_robot_that_dies_each_have_one_end(tmp_path: Path) -> None:
    out = tmp_path / 'soak.json'
    run_program(sys.executable, BENCH / 'soak.py', '--goals', '200', '--robot-requests', '60',
                '--growth-mb', '128', '--out', out, folder=tmp_path)
    report = json.loads(out.read_text())
    assert sum(report['ends'].values()) == report['goals'] == 200
    assert set(report['ends']) == {'succeeded', 'canceled', 'aborted'}
    assert len(report['cancelled_at']) == 4
    robot = report['robot']
    assert sum(robot['ends'].values()) == robot['requests'] == 60
    assert robot['deaths'] > 0
    assert {'succeeded', 'cancelled'} < set(robot['ends'])
