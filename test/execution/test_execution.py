"""Plans done by the executor: the real node, a robot's own actions, and a table that changes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from rclpy.lifecycle import TransitionCallbackReturn
from std_srvs.srv import SetBool

from mimo_embodied_ros import msg
from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    PlanRefusedError,
    QueueFullError,
    ResultCode,
    SendGoalError,
    StepFailedError,
)
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.execution.executor_node import MimoExecutor
from mimo_embodied_ros.execution.mock_robot import MockRobot
from mimo_embodied_ros.execution.plan_state import PlanState, StateFile
from mimo_embodied_ros.node.lifecycle_node import MimoEmbodied
from mimo_embodied_ros.ros.skill_interfaces import absent_endpoints
from support.planning_robot import (
    GRASP,
    LIFT,
    NO_CHECKS,
    RELEASE,
    SKILLS,
    Status,
    World,
    error_of,
)
from support.programs import COMMAND_LINE
from support.robot import parameters
from support.tabletop import INSTRUCTION
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from pathlib import Path

def test_each_step_of_a_plan_is_done_by_the_robots_own_calls(make: Any) -> None:
    world = make(NO_CHECKS, check_goal=False)
    request = world.goal()
    result = request.result(5 * WAIT_S)
    assert [(s.skill, s.status) for s in result.plan.steps] == [
        ('pick', msg.TaskStep.SUCCEEDED), ('place', msg.TaskStep.SUCCEEDED)]
    assert world.called() == [GRASP, LIFT, RELEASE]
    assert world.mock.calls[0][1]['object'] == 'red cube'
    assert [s.description for s in result.history] == [
        'pick up the red cube', 'put the red cube in the blue bowl']
    assert (result.plans, result.error_code) == (1, ResultCode.NONE)
    assert not world.state.exists()  # nothing to go on with
    world.ros.wait_for(lambda: Status.ENDED in world.phases())
    assert world.phases()[0] == Status.PLANNING
    assert request.feedback().status.phase == Status.ENDED


def test_a_step_that_fails_is_repeated(make: Any, capfd: Any) -> None:
    world = make(NO_CHECKS, check_goal=False)
    world.mock.fail(LIFT)
    result = world.goal(plan=world.plan()).result(5 * WAIT_S)
    assert world.called() == [GRASP, LIFT, GRASP, LIFT, RELEASE]
    assert [s.status for s in result.history] == [
        msg.TaskStep.FAILED, msg.TaskStep.SUCCEEDED, msg.TaskStep.SUCCEEDED]
    assert 'told to fail' in result.history[0].problem
    refused = error_of(world.goal(instruction=''))
    # the goal, its steps and its end are told in the log, in a line each
    lines = [line.partition('[mimo_executor]: ')[2]
             for line in capfd.readouterr().err.splitlines() if '[mimo_executor]: ' in line]
    assert f"goal accepted: '{INSTRUCTION}'" in lines[0]
    assert lines[1:6:2] == ['step 1 begins: pick up the red cube',
                            'step 1 begins, attempt 2: pick up the red cube',
                            'step 2 begins: put the red cube in the blue bowl']
    assert lines[2].startswith('step 1 failed: ')
    assert lines[4:7:2] == ['step 1 done', 'step 2 done']
    assert lines[7:] == [f"'{INSTRUCTION}' is done, with plan 1", f'goal refused: {refused}']
    assert result.plans == 1


def test_a_policy_may_give_up(make: Any) -> None:
    world = make(NO_CHECKS + 'place: {repeat: 0, then: give_up}\n', check_goal=False)
    world.mock.fail(RELEASE)
    request = world.goal(plan=world.plan())
    error = error_of(request)
    assert isinstance(error, StepFailedError)
    assert f'{RELEASE} says that success is False' in str(error)
    assert [s.status for s in error.reply.plan.steps] == [
        msg.TaskStep.SUCCEEDED, msg.TaskStep.FAILED]
    assert not world.state.exists()


def test_planning_again_is_limited(make: Any) -> None:
    world = make(NO_CHECKS + 'pick: {repeat: 0}\n', check_goal=False, max_plans=2)
    world.mock.fail(GRASP, 9)
    error = error_of(world.goal())
    assert isinstance(error, StepFailedError)
    assert error.reply.plans == 2
    assert world.called() == [GRASP, GRASP]


def test_a_new_plan_follows_the_rules_of_the_first_one(make: Any) -> None:
    world = make(NO_CHECKS + 'pick: {repeat: 0}\n', check_goal=False)
    world.mock.fail(GRASP)
    rules = msg.TaskPlan(skills=['pick', 'place'], open_ended=True, max_steps=3)
    result = world.goal(plan=rules, instruction=INSTRUCTION).result(5 * WAIT_S)
    assert result.plans == 2
    assert (result.plan.skills, result.plan.open_ended, result.plan.max_steps) == (
        rules.skills, True, 3)


def test_cancelling_stops_the_robot(make: Any) -> None:
    world = make(NO_CHECKS)
    world.mock.duration_s = 300.0
    request = world.goal(plan=world.plan())
    world.ros.wait_for(lambda: world.called() == [GRASP])
    busy = error_of(world.goal())
    assert isinstance(busy, QueueFullError)
    request.cancel()
    error = error_of(request)
    assert isinstance(error, CancelledError)
    assert world.mock.cancelled == [GRASP]
    assert [s.status for s in error.reply.plan.steps] == [
        msg.TaskStep.CANCELLED, msg.TaskStep.PENDING]
    assert not world.state.exists()


def test_a_call_that_takes_too_long_is_cancelled(make: Any) -> None:
    world = make(NO_CHECKS + 'pick: {repeat: 0, then: give_up}\n')
    plan = world.plan()

    def slow(name: str, _: Any) -> None:
        world.mock.duration_s = 300.0 if name == GRASP else 0.1

    world.mock.on_done = slow
    error = error_of(world.goal(plan=plan))
    assert f'{LIFT} took longer than 5 s' in str(error)
    assert world.mock.cancelled == [LIFT]


def test_pausing_lets_the_step_end_and_waits(make: Any) -> None:
    world = make(NO_CHECKS, check_goal=False)
    world.mock.duration_s = 1.0
    request = world.goal(plan=world.plan())
    world.ros.wait_for(lambda: world.called() == [GRASP])
    pause = lambda data: world.mimo.call(  # noqa: E731 - twice the same
        SetBool, 'mimo_executor/pause', SetBool.Request(data=data)).result(WAIT_S)
    assert pause(data=True).success
    world.ros.wait_for(lambda: Status.PAUSED in world.phases())
    assert world.called() == [GRASP, LIFT]
    assert not request.is_done()
    assert pause(data=False).success
    request.result(5 * WAIT_S)
    assert world.called() == [GRASP, LIFT, RELEASE]


@pytest.mark.parametrize('sent', [signal.SIGKILL, signal.SIGINT])
def test_a_plan_is_resumed_after_a_crash(
    make: Any, ros: Any, tmp_path: Path, sent: signal.Signals
) -> None:
    world = make('default: {before: false, look: false}\n', start=False, check_goal=False)
    plan = world.plan()
    world.mock.on_done = lambda name, fields: (
        world.change(name, fields), setattr(world.mock, 'duration_s', 300.0))
    arguments = [f'{name}:={value}' for name, value in world.values.items()]
    process = subprocess.Popen(
        [*COMMAND_LINE, 'execute',
         *(word for argument in arguments for word in ('-p', argument))],
        env=ros.environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    world.goal(plan=plan)
    ros.wait_for(lambda: world.called() == [GRASP, LIFT])
    process.send_signal(sent)
    assert 'Traceback' not in process.communicate(timeout=WAIT_S)[1]
    state = json.loads(world.state.read_text())
    assert [step['status'] for step in state['plan']['steps']] == [
        msg.TaskStep.EXECUTING, msg.TaskStep.PENDING]
    assert (state['plans'], state['history']) == (1, [])
    world.start()
    result = world.goal(instruction='', resume=True).result(5 * WAIT_S)
    assert world.called() == [GRASP, LIFT, RELEASE]  # the model saw that the first step was done
    assert world.mock.cancelled == [LIFT]  # which the first executor had left behind
    assert [s.status for s in result.plan.steps] == [msg.TaskStep.SUCCEEDED] * 2
    assert not world.state.exists()


def test_a_thing_that_slips_is_grasped_again(make: Any) -> None:
    world = make()
    world.slips = 1
    result = world.goal().result(5 * WAIT_S)
    assert world.called() == [GRASP, LIFT, GRASP, LIFT, RELEASE]
    assert 'the gripper holds red cube' in result.history[0].problem
    assert result.plans == 1
    assert 'red cube' not in [thing.name for thing in world.things]


def test_a_thing_that_falls_beside_its_place_is_planned_again(make: Any) -> None:
    world = make()
    world.mock.on_done = lambda name, fields: (
        setattr(world, 'slips', int(name == RELEASE and len(world.called()) == 3)),
        world.change(name, fields))
    result = world.goal().result(5 * WAIT_S)
    assert world.called() == [GRASP, LIFT, RELEASE] * 2
    assert [(s.skill, s.status) for s in result.history] == [
        ('pick', msg.TaskStep.SUCCEEDED), ('place', msg.TaskStep.FAILED),
        ('pick', msg.TaskStep.SUCCEEDED), ('place', msg.TaskStep.SUCCEEDED)]
    assert result.plans == 2


@pytest.mark.parametrize('can', [True, False])
def test_yes_or_no_is_always_asked_with_the_answer_held(
    make: Any, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    """Where the model cannot be held, it is asked all the same."""
    pytest.importorskip('llguidance')
    if not can:
        monkeypatch.setitem(sys.modules, 'llguidance', None)
    world = make()
    prompts = world.robot.prompts()
    world.goal().result(5 * WAIT_S)
    assert world.called() == [GRASP, LIFT, RELEASE]
    asked = [prompt for prompt in prompts if 'yes or no' in prompt.text]
    # possible, precondition and success of two steps, and the goal
    assert len(asked) >= 6
    held = ['yes' in prompt.grammar for prompt in asked]
    # one that cannot be held refuses the first question
    assert held == ([True] * len(held) if can else [True] + [False] * (len(held) - 1))


def test_a_step_that_is_not_possible_is_not_tried(make: Any) -> None:
    world = make(max_plans=1)
    plan = world.plan()
    world.show_only('blue bowl', 'green ball')
    error = error_of(world.goal(plan=plan))
    assert 'it is not possible now' in str(error)
    assert world.called() == []


def test_wrong_goals_are_refused_with_the_reason(make: Any) -> None:
    world = make(NO_CHECKS)
    nothing = error_of(world.goal(instruction=''))
    assert 'neither an instruction nor a plan' in str(nothing)
    resumed = error_of(world.goal(resume=True))
    assert isinstance(resumed, InvalidRequestError)
    assert 'there is no plan to resume' in str(resumed)
    words = msg.TaskPlan(instruction=INSTRUCTION, steps=[msg.TaskStep(id=1, description='wave')])
    assert 'has no skill' in str(error_of(world.goal(plan=words)))
    refused = error_of(world.goal(instruction='put the red cube in the blue bowl and drive away'))
    assert isinstance(refused, PlanRefusedError)
    assert world.called() == []


@pytest.mark.parametrize(('text', 'says'), [
    ('fly: {repeat: 1}\n', 'line 1: there is no skill fly; the robot has pick, place'),
    ('pick: {repeat: 1}\nplace: {then: hope}\n',
     "line 2: then is 'hope'; it must be plan or give_up"),
    ('pick: {tries: 1}\n', "line 1: unknown field 'tries'"),
])
def test_a_wrong_policy_names_its_line(
    ros: Any, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / 'skills.yaml').write_text(SKILLS)
    (tmp_path / 'policy.yaml').write_text(text)
    with pytest.raises(InvalidRequestError, match=f'policy.yaml, {says}'):
        MimoExecutor(context=ros.context, parameter_overrides=parameters(
            skills_file=str(tmp_path / 'skills.yaml'), policy_file=str(tmp_path / 'policy.yaml')))


# -- failures beside the steps


def test_an_instruction_for_which_the_model_has_no_plan_is_refused(make: Any) -> None:
    world = make()
    error = error_of(world.goal(instruction='pick up the purple cup'))
    assert isinstance(error, PlanRefusedError)
    assert 'cannot be done: pick up the purple cup' in str(error)
    assert world.called() == []


def test_a_plan_that_was_refused_is_not_done(make: Any) -> None:
    world = make()
    plan = world.plan()
    plan.problem = 'step 1: it needs holding red cube'
    error = error_of(world.goal(plan=plan))
    assert isinstance(error, PlanRefusedError)
    assert str(error) == plan.problem
    assert world.called() == []


def test_where_no_other_plan_is_found_both_reasons_are_given(make: Any) -> None:
    world = make(NO_CHECKS + 'pick: {repeat: 0}\n', check_goal=False, max_plans=2)
    plan = world.plan()
    world.show_only('green ball')
    world.mock.fail(GRASP)
    error = error_of(world.goal(plan=plan))
    assert isinstance(error, StepFailedError)
    assert 'told to fail; planning again failed: the model says' in str(error)
    assert world.called() == [GRASP]


def test_a_thing_that_is_not_visible_fails_its_step(make: Any) -> None:
    world = make('default: {before: false, after: false, repeat: 0, then: give_up}\n')
    plan = world.plan()
    world.show_only('blue bowl', 'green ball')
    error = error_of(world.goal(plan=plan))
    assert 'red cube is not visible' in str(error)
    assert world.called() == []


def test_without_images_facts_are_kept_and_a_plan_is_not_taken_for_done(make: Any) -> None:
    """After the camera has stopped every image is too old."""
    world = make(NO_CHECKS, max_plans=1)
    plan = world.plan()

    def stop_camera(name: str, _: Any) -> None:
        if name == GRASP:
            world.camera_timer.cancel()
            world.robot.node.set_parameters(parameters(wait_for_image=0.1))

    world.mock.on_done = stop_camera
    world.mock.fail(RELEASE)
    error = error_of(world.goal(plan=plan))
    assert world.called() == [GRASP, LIFT, RELEASE, RELEASE]
    assert isinstance(error, StepFailedError)
    assert 'is done' in str(error)
    assert ResultCode(error.reply.error_code) is ResultCode.STEP_FAILED


def test_a_plan_goes_on_in_another_executor_when_the_first_one_ends(make: Any) -> None:
    world = make('default: {before: false, look: false}\n', check_goal=False)
    world.mock.duration_s = 300.0
    world.goal(plan=world.plan())
    world.ros.wait_for(lambda: world.called() == [GRASP])
    world.ros.destroy(world.executor)
    assert world.mock.cancelled == [GRASP]
    world.mock.duration_s = 0.1
    world.start()
    result = world.goal(instruction='', resume=True).result(5 * WAIT_S)
    assert [s.status for s in result.plan.steps] == [msg.TaskStep.SUCCEEDED] * 2
    assert world.called() == [GRASP, GRASP, LIFT, RELEASE]


def test_a_state_file_that_cannot_be_written_ends_no_plan(make: Any) -> None:
    world = make(NO_CHECKS, check_goal=False)
    plan = world.plan()
    in_its_way = world.state.with_name(f'{world.state.name}.part')
    world.mock.on_done = lambda name, _: in_its_way.mkdir() if name == GRASP else None
    result = world.goal(plan=plan).result(5 * WAIT_S)
    assert [s.status for s in result.plan.steps] == [msg.TaskStep.SUCCEEDED] * 2


# -- a model or a robot that is not there


def interrupted(world: World, **fields: Any) -> None:
    """Write the state of a plan whose first step was under way when the power failed."""
    plan = msg.TaskPlan(instruction=INSTRUCTION, steps=[
        msg.TaskStep(id=1, skill='pick', description='pick up the red cube',
                     success_condition='the gripper holds red cube', status=msg.TaskStep.EXECUTING,
                     arguments=[msg.SkillArgument(name='object', value='red cube')])])
    skills = load_skills(world.values['skills_file'])
    state = PlanState(**{'instruction': INSTRUCTION, 'plan': plan, 'plans': 1, **fields})
    StateFile(world.values['state_file'], '/mimo_executor', skills).save(state)


def waits(world: World, text: str) -> bool:
    return any(s.phase == Status.WAITING and text in s.text for s in world.status)


def test_a_resumed_plan_waits_for_the_model_whose_node_comes_late_and_loads(make: Any) -> None:
    world = make(NO_CHECKS.replace('after: false', 'after: true'), start=False, model=False,
                 node='late', check_goal=False, wait_for_server=0.5, max_plans=1)
    interrupted(world)
    world.start()
    request = world.goal(instruction='', resume=True)
    world.ros.wait_for(lambda: waits(world, 'there is no server'))
    late = world.ros.node('late', MimoEmbodied, parameter_overrides=parameters(
        camera__reliable=True, timeout=600.0, wait_for_image=WAIT_S))
    world.ros.wait_for(lambda: waits(world, 'the node is not active'))  # as while it loads
    steps = json.loads(world.state.read_text())['plan']['steps']
    assert [step['status'] for step in steps] == [msg.TaskStep.EXECUTING]
    assert not request.is_done()
    for change in (late.trigger_configure, late.trigger_activate):
        assert world.ros.call(change) is TransitionCallbackReturn.SUCCESS
    result = request.result(5 * WAIT_S)
    assert [s.status for s in result.plan.steps] == [msg.TaskStep.SUCCEEDED]
    assert not world.state.exists()


def test_the_wait_for_the_model_has_a_limit_and_the_plan_stays(make: Any) -> None:
    world = make(start=False, model=False, node='nobody', wait_for_server=0.5, wait_for_model=0.2)
    interrupted(world)
    before = world.state.read_text()
    world.start()
    error = error_of(world.goal(instruction='', resume=True))
    assert isinstance(error, SendGoalError)
    assert 'waited 0.2 s (wait_for_model)' in str(error)
    fields = json.loads(world.state.read_text())
    assert fields == json.loads(before)
    # nor is it lost to a goal that does not fit it
    other = error_of(world.goal(instruction='wave', resume=True))
    assert 'the plan to resume is of' in str(other)
    assert json.loads(world.state.read_text()) == fields


def test_a_model_that_goes_away_in_a_plan_is_waited_for(make: Any) -> None:
    world = make('default: {before: false, look: false}\n', check_goal=False)
    plan = world.plan()
    world.mock.on_done = lambda name, fields: (
        world.change(name, fields), name == LIFT and world.robot.node.trigger_deactivate())
    request = world.goal(plan=plan)
    world.ros.wait_for(lambda: waits(world, 'activate it'))
    assert world.state.exists()
    world.robot.activate()
    assert [s.status for s in request.result(5 * WAIT_S).history] == [
        msg.TaskStep.SUCCEEDED, msg.TaskStep.SUCCEEDED]
    assert world.called() == [GRASP, LIFT, RELEASE]


def test_a_plan_stays_where_the_robots_own_server_is_absent(make: Any, capfd: Any) -> None:
    world = make(NO_CHECKS + 'pick: {repeat: 0, then: give_up}\n', start=False, wait_for_server=0.5)
    skills = load_skills(world.values['skills_file'])
    said: list[str] = []
    world.ros.call(world.mock.destroy)
    world.ros.wait_for(lambda: len(absent_endpoints(world.robot.other, skills)) == 2)
    world.start()
    request = world.goal(plan=world.plan())
    error = error_of(request)
    assert isinstance(error, StepFailedError)
    assert f'there is no server for {GRASP}' in str(error)
    assert world.state.exists()
    world.ros.wait_for(
        lambda: said.append(capfd.readouterr().err) or 'need what is absent' in ''.join(said))
    (line,) = [line for line in ''.join(said).splitlines() if 'need what is absent' in line]
    assert f'the action {GRASP} (mimo_embodied_ros/action/RunSkill) has no server' in line
    assert RELEASE not in line
    world.mock = MockRobot(world.robot.other, {
        name: replace(skill, runs=tuple(call for call in skill.runs if call.action))
        for name, skill in skills.items()}, 0.1, world.change)
    world.goal(instruction='', resume=True).result(5 * WAIT_S)
    assert not world.state.exists()


def test_a_robot_says_at_the_start_which_plan_it_can_or_cannot_resume(
    make: Any, capfd: Any
) -> None:
    world = make(start=False, model=False)
    interrupted(world)
    (world.state.parent / 'plan.json').write_text('{}')
    world.start()
    world.ros.destroy(world.executor)
    world.state.write_text('{')
    world.start()
    text = capfd.readouterr().err
    assert f'a plan was under way when the executor last ended: {INSTRUCTION!r}' in text
    assert 'plan.json is of an earlier release' in text
    assert f'there is a plan that cannot be resumed: {world.state} cannot be read' in text
    assert 'cannot be read' in str(error_of(world.goal(instruction='', resume=True)))
    assert world.state.exists()


def test_a_call_of_a_skill_that_its_type_does_not_have_ends_the_executor(
    ros: Any, tmp_path: Path
) -> None:
    path = tmp_path / 'skills.yaml'
    path.write_text(SKILLS.replace('{skill: lift}', '{skil: lift}'))
    with pytest.raises(InvalidRequestError, match=f'{path}, line 16: .* no field skil'):
        MimoExecutor(context=ros.context, parameter_overrides=parameters(skills_file=str(path)))


def test_an_executor_without_skills_says_what_it_needs(ros: Any) -> None:
    with pytest.raises(InvalidRequestError, match='skills_file is empty'):
        MimoExecutor(context=ros.context)
