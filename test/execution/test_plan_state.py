"""The progress of a plan on disk: written, read again, or refused where it does not fit."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.errors import (
    InvalidRequestError,
    ResultCode,
    StepFailedError,
    error_of,
)
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.execution.plan_state import HeldFact, PlanState, StateFile, is_over
from support.paths import SKILL_FILES

if TYPE_CHECKING:
    from pathlib import Path

SKILLS = load_skills(SKILL_FILES / 'tabletop.yaml')
ROBOT = '/robot1/mimo_executor'
PROGRESS = PlanState(
    'tidy up', ('front',), msg.TaskPlan(steps=[msg.TaskStep(id=1, status=msg.TaskStep.EXECUTING)]),
    2, [msg.TaskStep(id=7, problem='it slipped')],
    [HeldFact('holding red cube', 'the gripper holds red cube', 'pick')],
    ['put the ball in the bowl'])


def test_progress_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = StateFile(str(tmp_path / 'new' / 'plan.json'), ROBOT, SKILLS)
    state.save(PROGRESS)
    progress = state.load()
    progress.cameras = tuple(progress.cameras)
    assert progress == PROGRESS
    state.delete()
    state.delete()
    with pytest.raises(
            InvalidRequestError, match=r'no plan to resume: .*mimo_executor\.json does not exist'):
        state.load()


def test_without_a_path_nothing_is_kept() -> None:
    state = StateFile('', ROBOT, SKILLS)
    state.save(PROGRESS)
    state.delete()
    with pytest.raises(InvalidRequestError, match='set state_file'):
        state.load()


def test_robots_share_a_path_and_no_file(tmp_path: Path) -> None:
    robots = [
        '/robot1/mimo_executor', '/robot2/mimo_executor', '/mimo_executor', '/a/b_c', '/a_b/c']
    files = [StateFile(str(tmp_path / 'plan.json'), robot, SKILLS) for robot in robots]
    for robot, file in zip(robots, files):
        file.save(replace(PROGRESS, instruction=robot))
    assert [file.load().instruction for file in files] == robots
    assert {path.name for path in tmp_path.iterdir()} == {
        'plan.robot1.mimo_executor.json', 'plan.robot2.mimo_executor.json',
        'plan.mimo_executor.json', 'plan.a.b_c.json', 'plan.a_b.c.json'}
    content = json.loads((tmp_path / 'plan.robot1.mimo_executor.json').read_text())
    assert (content['robot'], content['instruction']) == (robots[0], robots[0])
    assert content['skills'].keys() == SKILLS.keys()


@pytest.mark.parametrize('text', [
    '', '[]', '{"version": 3}', json.dumps({'version': 99}), json.dumps({'version': 1}), '\xff',
    '[' * 100_000])
def test_a_file_that_cannot_be_read_is_refused_with_the_remedy_and_stays(
    tmp_path: Path, text: str
) -> None:
    file = StateFile(str(tmp_path / 'plan.json'), ROBOT, SKILLS)
    assert file.path is not None
    file.path.write_text(text, 'latin-1')
    with pytest.raises(InvalidRequestError, match=f'{file.path} cannot be read.*delete it'):
        file.load()
    assert file.exists()


def test_any_damage_is_refused(tmp_path: Path) -> None:
    file = StateFile(str(tmp_path / 'plan.json'), ROBOT, SKILLS)
    file.save(PROGRESS)
    assert file.path is not None
    text = file.path.read_text()
    for length in range(0, len(text), 97):  # as when a write was cut short
        file.path.write_text(text[:length])
        with pytest.raises(InvalidRequestError, match='cannot be read'):
            file.load()
    for field in json.loads(text):
        file.path.write_text(json.dumps({**json.loads(text), field: None}))
        with pytest.raises(InvalidRequestError, match='delete'):
            file.load()


def test_a_plan_of_another_robot_or_of_other_skills_is_refused_and_stays(tmp_path: Path) -> None:
    path = str(tmp_path / 'plan.json')
    mine, other = (StateFile(path, f'/robot{i}/mimo_executor', SKILLS) for i in (1, 2))
    assert mine.path is not None
    other.save(PROGRESS)
    assert other.path is not None
    other.path.rename(mine.path)
    with pytest.raises(InvalidRequestError, match=r'holds a plan of the robot /robot2/mimo_exec.*, '
                       r'and this one is /robot1/mimo_executor; .* delete the file'):
        mine.load()
    mine.save(PROGRESS)
    pick = replace(SKILLS['pick'], success='it is lifted')
    changed = StateFile(path, '/robot1/mimo_executor', {'pick': pick, 'wave': pick})
    with pytest.raises(InvalidRequestError, match=r'other skills .* \(pick, place, wave\); .*del'):
        changed.load()
    assert mine.load().instruction == 'tidy up'
    # another line in the file of skills is no other skill
    file = tmp_path / 'skills.yaml'
    file.write_text('# a comment\n\n' + (SKILL_FILES / 'tabletop.yaml').read_text())
    assert StateFile(path, '/robot1/mimo_executor', load_skills(file)).load().plans == 2


def test_a_file_of_an_earlier_release_is_named_and_not_used(tmp_path: Path) -> None:
    old = tmp_path / 'plan.json'
    old.write_text('{"version": 1, "instruction": "tidy up"}')
    file = StateFile(str(old), ROBOT, SKILLS)
    with pytest.raises(InvalidRequestError, match=f'no plan to resume.*{old} is of an earlier rel'):
        file.load()
    file.save(PROGRESS)
    file.delete()
    assert old.exists()


def test_a_full_disk_leaves_the_last_state(tmp_path: Path) -> None:
    file = StateFile(str(tmp_path / 'plan.json'), ROBOT, SKILLS)
    file.save(PROGRESS)
    part = tmp_path / 'plan.robot1.mimo_executor.json.part'
    part.symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space left') as caught:
        file.save(replace(PROGRESS, plans=3))
    assert caught.value.errno == errno.ENOSPC
    assert file.load().plans == 2
    part.unlink()
    file.save(replace(PROGRESS, plans=3))
    assert file.load().plans == 3
    assert not part.exists()


def test_a_first_plan_that_was_under_way_does_not_count(tmp_path: Path) -> None:
    file = StateFile(str(tmp_path / 'plan.json'), ROBOT, SKILLS)
    file.save(PlanState('tidy up', plans=1))
    assert file.load().plans == 0


@pytest.mark.parametrize(('code', 'resumed', 'over'), [
    (ResultCode.PLAN_REFUSED, True, True), (ResultCode.STEP_FAILED, True, True),
    (ResultCode.INVALID_REQUEST, False, True), (ResultCode.PARSE_FAILED, False, True),
    (ResultCode.INVALID_REQUEST, True, False), (ResultCode.PARSE_FAILED, True, False),
    (ResultCode.SEND_GOAL_FAILURE, False, False), (ResultCode.GOAL_REJECTED, False, False),
    (ResultCode.MODEL_NOT_READY, False, False), (ResultCode.BACKEND_UNREACHABLE, False, False),
    (ResultCode.BACKEND_ERROR, False, False), (ResultCode.OUT_OF_MEMORY, False, False),
    (ResultCode.NO_IMAGE, True, False), (ResultCode.TIMEOUT, True, False),
    (ResultCode.PREEMPTED, False, False), (ResultCode.UNKNOWN, False, False),
    # by somebody else than the caller, which the executor looks at before
    (ResultCode.CANCELLED, False, False),
])
def test_only_its_own_result_ends_a_plan_for_good(
    code: ResultCode, resumed: bool, over: bool
) -> None:
    assert is_over(error_of(code, ''), None, resumed=resumed) is over
    assert not is_over(RuntimeError(), None, resumed=resumed)
    assert is_over(None, None, resumed=resumed)


@pytest.mark.parametrize(('fault', 'over'), [
    (ResultCode.SEND_GOAL_FAILURE, False), (ResultCode.GOAL_REJECTED, False),
    (ResultCode.STALE_IMAGE, False), (ResultCode.BACKEND_ERROR, False),
    (ResultCode.UNKNOWN, True), (ResultCode.TIMEOUT, True), (ResultCode.PARSE_FAILED, True),
])
def test_a_step_that_failed_since_something_was_absent_ends_no_plan(
    fault: ResultCode, over: bool
) -> None:
    assert is_over(StepFailedError(), error_of(fault, ''), resumed=True) is over
    assert is_over(StepFailedError(), None, resumed=True)
