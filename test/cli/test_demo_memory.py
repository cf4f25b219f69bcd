"""What is out of view is fetched: tree, node, executor, memory and physics over DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('py_trees', reason='an extra: pip install py_trees')
pytest.importorskip('mujoco', reason='mujoco is not installed')

from support.demos import run_demo

if TYPE_CHECKING:
    from pathlib import Path


def test_a_thing_is_fetched_with_a_memory_only(tmp_path: Path) -> None:
    """The embedded model is not always right, so that it may fail; then the cause is said."""
    report, done = run_demo(tmp_path, 'demo-memory', '--scenes', '1', '--seed', '2')
    (room,) = report['each']
    assert report['with_memory'] == room['with_memory']['done'] == (done.returncode == 0)
    assert room['with_memory']['done'] or 'the yellow box is' in room['with_memory']['cause']
    assert report['without'] == room['without']['done'] == 0
    assert 'yellow box' in room['without']['cause']
    assert '1 rooms: ' in done.stdout
    assert (tmp_path / 'out' / 'overview.png').exists()
    assert (tmp_path / 'out' / 'memory.db').exists()
