"""A short run of what ``make soak`` does at length."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')


def test_200_goals_each_have_one_end(tmp_path: Path) -> None:
    out = tmp_path / 'soak.json'
    soak = Path(__file__).parents[2] / 'bench' / 'soak.py'
    done = subprocess.run(
        [sys.executable, str(soak), '--goals', '200', '--out', str(out)], capture_output=True,
        text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    assert sum(report['ends'].values()) == report['goals'] == 200
    assert set(report['ends']) == {'succeeded', 'canceled', 'aborted'}
    assert len(report['cancelled_at']) == 4
