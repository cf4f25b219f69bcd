"""The node with a file of the robot's skills, over real DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from rclpy.lifecycle import TransitionCallbackReturn

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.answers import ArgumentType, Grounding
from mimo_embodied_ros.core.errors import ResultCode
from support.paths import SKILL_FILES
from support.robot import FRAME, Robot, parameters
from support.tabletop import INSTRUCTION

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def robot(ros: Any) -> Robot:
    return Robot(ros, skills_file=str(SKILL_FILES / 'manipulator.yaml')).start()


@pytest.mark.parametrize('kind', [ArgumentType, Grounding])
def test_constants_are_those_of_the_code(kind: Any) -> None:
    assert {name: getattr(msg.SkillArgument, name) for name in kind.__members__} == kind.__members__


def test_a_plan_of_skills(robot: Robot) -> None:
    robot.see()
    published = robot.received(msg.TaskPlan, '/mimo_embodied/task_plan')
    reply = robot.ask(action.PlanTask, 'plan_task', instruction=INSTRUCTION, target_frame=FRAME)
    assert reply.result.error_code == ResultCode.NO_CAMERA_INFO  # the pixels are given
    pick, place = reply.result.plan.steps
    assert (pick.skill, place.skill) == ('pick', 'place')
    assert [(a.name, a.type, a.value, a.grounding) for a in place.arguments] == [
        ('object', ArgumentType.OBJECT, 'red cube', Grounding.HELD),
        ('where', ArgumentType.CHOICE, 'in', Grounding.NOT_GROUNDED),
        ('place', ArgumentType.PLACE, 'blue bowl', Grounding.SEEN)]
    point = pick.arguments[0].point
    assert (point.x, point.y) == (pytest.approx(180, abs=48), pytest.approx(320, abs=48))
    assert point.position_status == msg.AffordancePoint.NO_DEPTH
    assert (list(pick.depends_on), list(place.depends_on)) == ([], [1])
    assert place.success_condition == 'red cube is in blue bowl'
    assert list(pick.preconditions) == ['red cube can be reached', 'the gripper is empty']
    assert {pick.status, place.status} == {msg.TaskStep.PENDING}
    robot.ros.wait_for(lambda: published)
    assert not published[0].problem


@pytest.mark.parametrize(('goal', 'code', 'says'), [
    ({'instruction': 'put the red cube in the blue bowl and drive away'},
     ResultCode.PLAN_REFUSED, 'drive'),
    ({'instruction': INSTRUCTION, 'max_steps': 1}, ResultCode.PLAN_REFUSED, ''),
    ({'instruction': INSTRUCTION, 'skills': ['fly']}, ResultCode.INVALID_REQUEST, "no skill 'fly'"),
    ({'instruction': INSTRUCTION, 'facts': ['flying']}, ResultCode.INVALID_REQUEST, "'flying'"),
    ({'instruction': INSTRUCTION, 'facts': ['holding green ball']}, ResultCode.PLAN_REFUSED,
     'while holding green ball'),
])
def test_a_refused_plan_has_the_reason(
    robot: Robot, goal: dict[str, Any], code: ResultCode, says: str
) -> None:
    robot.see()
    published = robot.received(msg.TaskPlan, '/mimo_embodied/task_plan')
    reply = robot.ask(action.PlanTask, 'plan_task', **goal)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert ResultCode(reply.result.error_code) is code
    assert says in reply.result.error_msg
    plan = reply.result.plan
    assert {step.status for step in plan.steps} <= {msg.TaskStep.REFUSED}
    assert plan.problem == (reply.result.error_msg if code is ResultCode.PLAN_REFUSED else '')
    if plan.steps:
        robot.ros.wait_for(lambda: published)
        assert published[0].problem == plan.problem  # who listens to the topic sees no code


def test_the_service_plans_with_skills_too(robot: Robot) -> None:
    robot.see()
    plan = robot.call(srv.GetTaskPlan, 'get_task_plan',
                      instruction='pick up the green ball', skills=['pick']).plan
    assert [step.skill for step in plan.steps] == ['pick']


def test_without_a_list_plans_are_words(ros: Any) -> None:
    robot = Robot(ros).start()
    robot.see()
    plan = robot.ask(action.PlanTask, 'plan_task', instruction=INSTRUCTION).result.plan
    assert [(step.skill, step.action) for step in plan.steps] == [('', 'pick up'), ('', 'put')]
    for goal in ({'skills': ['pick']}, {'max_steps': 2}, {'facts': ['holding cup']}):
        reply = robot.ask(action.PlanTask, 'plan_task', instruction=INSTRUCTION, **goal).result
        assert ResultCode(reply.error_code) is ResultCode.INVALID_REQUEST
        assert 'skills_file' in reply.error_msg


@pytest.mark.parametrize(('text', 'line'), [
    ('pick:\n  colour: red\n', 'line 2: unknown field'),
    ((SKILL_FILES / 'tabletop.yaml').read_text().replace('skill: place', 'skil: place'),
     'line 37: skill place cannot call /gripper/run_skill'),
])
def test_a_list_with_a_mistake_is_refused_with_its_line(
    ros: Any, tmp_path: Path, text: str, line: str, log: Any
) -> None:
    file = tmp_path / 'skills.yaml'
    file.write_text(text)
    robot = Robot(ros, wait_for_image=0.0)
    assert robot.node.set_parameters(parameters(skills_file=str(file)))[0].successful
    assert robot.ros.call(robot.node.trigger_configure) is TransitionCallbackReturn.FAILURE
    robot.ros.wait_for(lambda: any(f'{file}, {line}' in said for said in log()))
