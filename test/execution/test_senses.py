"""Steps whose success the robot itself senses: results of calls, and topics, beside the model."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.errors import ResultCode, StepFailedError
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.execution.plan_state import PlanState, StateFile
from support.planning_robot import GRASP, LIFT, RELEASE, SKILLS, Status, World, error_of
from support.waiting import WAIT_S

FINGERS = '/gripper/joint_states'
NOTHING = {'position': [0.002]}  # metres between the fingers
SENSED = f"""
    - topic: {FINGERS}
      type: sensor_msgs/msg/JointState
      joint: left_finger_joint
      least: {{position: 0.01}}
      timeout: {WAIT_S}"""
SENSED_ONLY = SKILLS.replace('the gripper holds {object}', SENSED)
QUICK: dict[str, Any] = {'check_goal': False, 'settle': 0.05}  # where no camera is looked through
ASKED_AFTER = 'default: {before: false, look: false, repeat: 0}\n'


def goal_of(world: World, *skills: str) -> Any:
    """Ask for a plan with a step for each skill, made without a model."""
    words = {'pick': ('pick up the red cube', ''),
             'place': ('put the red cube in the blue bowl', 'red cube is in blue bowl')}
    steps = [msg.TaskStep(
        id=number, skill=skill, description=words[skill][0], success_condition=words[skill][1],
        arguments=[msg.SkillArgument(name='object', value='red cube'),
                   msg.SkillArgument(name='where', value='in'),
                   msg.SkillArgument(name='place', value='blue bowl')])
        for number, skill in enumerate(skills, 1)]
    return msg.TaskPlan(instruction='tidy up', steps=steps)


def test_the_robots_own_sense_decides_where_the_model_says_something_else(
    make: Any, capfd: Any
) -> None:
    """The model says yes to a pick of nothing, and no to a place that the gripper has noticed."""
    skills = SKILLS.replace('  success: the gripper holds {object}', '  success:\n'
                            '    - "{object} can be reached"' + SENSED)
    skills = skills.replace('  success: "{object} is {where} {place}"', '  success:\n'
                            '    - "{object} is {where} {place}"\n'
                            f'    - {{result: {RELEASE}, equal: {{success: true}}}}')
    world = make(ASKED_AFTER, skills=skills, check_goal=False, settle=0.5, max_plans=2)
    world.slips = 9  # the cube stays where it is
    world.mock.fields[FINGERS] = NOTHING
    planned = []

    def change(name: str, fields: Any) -> None:
        planned.append(name)
        if planned.count(GRASP) == 2:
            world.mock.fields.clear()
        world.change(name, fields)

    world.mock.on_done = change
    result = world.goal().result(5 * WAIT_S)
    assert world.called() == [GRASP, LIFT, GRASP, LIFT, RELEASE]
    assert [(s.skill, s.status) for s in result.history] == [
        ('pick', msg.TaskStep.FAILED), ('pick', msg.TaskStep.SUCCEEDED),
        ('place', msg.TaskStep.SUCCEEDED)]
    assert result.history[0].problem == (
        f'{FINGERS} says that position is [0.002] instead of at least [0.01] (left_finger_joint); '
        'the model says yes')
    assert result.plans == 2
    said = f'{RELEASE} says so; the model says no'
    world.ros.wait_for(lambda: said in [status.text for status in world.status])
    assert f'step 2 done: {said}' in capfd.readouterr().err


def test_what_only_the_robot_senses_is_not_asked_and_a_silent_topic_keeps_the_plan(
    make: Any
) -> None:
    world = make(ASKED_AFTER.replace('repeat: 0', 'repeat: 0, then: give_up'), model=False,
                 skills=SENSED_ONLY.replace(f'timeout: {WAIT_S}', 'timeout: 0.5'), **QUICK)
    world.mock.fields[FINGERS] = {'name': ['right_finger_joint']}
    error = error_of(world.goal(plan=goal_of(world, 'pick')))
    assert isinstance(error, StepFailedError)
    assert (f'no message of {FINGERS} with the joint left_finger_joint has come within 0.5 s, so '
            'what the robot itself knows is missing; publishers: 1, which must publish '
            'sensor_msgs/msg/JointState all the time') in str(error)
    assert world.state.exists()  # as where a server is absent
    assert Status.WAITING not in world.phases()


@pytest.mark.parametrize('holds', [True, False])
def test_a_resumed_plan_does_again_what_the_robot_does_not_sense(make: Any, holds: bool) -> None:
    world = make(ASKED_AFTER, start=False, model=False, skills=SENSED_ONLY, **QUICK)
    if not holds:
        world.mock.fields[FINGERS] = NOTHING
        world.mock.on_done = lambda *_: world.mock.fields.clear()
    plan = goal_of(world, 'pick')
    plan.steps[0].status = msg.TaskStep.EXECUTING
    StateFile(world.values['state_file'], '/mimo_executor', load_skills(
        world.values['skills_file'])).save(PlanState('tidy up', plan=plan, plans=1))
    result = world.start().goal(instruction='', resume=True).result(5 * WAIT_S)
    assert world.called() == ([] if holds else [GRASP, LIFT])
    assert result.error_code == ResultCode.NONE


def test_a_step_is_not_repeated_where_the_robot_senses_that_what_it_needs_is_lost(
    make: Any
) -> None:
    world = make(ASKED_AFTER.replace('repeat: 0', 'repeat: 1'), model=False, skills=SENSED_ONLY,
                 max_plans=1, **QUICK)
    world.mock.fields[RELEASE] = {'success': False}
    world.mock.on_done = lambda name, _: name == RELEASE and world.mock.fields.update(
        {FINGERS: NOTHING})
    error = error_of(world.goal(plan=goal_of(world, 'pick', 'place')))
    assert 'gave up after 1 plans' in str(error)
    assert world.called() == [GRASP, LIFT, RELEASE]
