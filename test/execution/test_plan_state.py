"""The progress of a plan on disk: written, read again, or refused where it cannot be read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.execution.plan_state import HeldFact, PlanState, StateFile

if TYPE_CHECKING:
    from pathlib import Path

PROGRESS = PlanState(
    'tidy up', ('front',), msg.TaskPlan(steps=[msg.TaskStep(id=1, status=msg.TaskStep.EXECUTING)]),
    2, [msg.TaskStep(id=7, problem='it slipped')],
    [HeldFact('holding red cube', 'the gripper holds red cube')], ['put the ball in the bowl'])


def test_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = StateFile(str(tmp_path / 'new' / 'plan.json'))
    state.save(PROGRESS)
    progress = state.load()
    progress.cameras = tuple(progress.cameras)
    assert progress == PROGRESS
    state.delete()
    state.delete()
    with pytest.raises(InvalidRequestError, match=r'no plan to resume.*plan\.json does not exist'):
        state.load()


def test_without_a_path_nothing_is_kept() -> None:
    state = StateFile('')
    state.save(PROGRESS)
    state.delete()
    with pytest.raises(InvalidRequestError, match='set state_file'):
        state.load()


@pytest.mark.parametrize('text', ['', '[]', '{"version": 1}', json.dumps({'version': 99})])
def test_a_file_that_cannot_be_read_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'plan.json'
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match=f'{path} cannot be read.*delete it'):
        StateFile(str(path)).load()
