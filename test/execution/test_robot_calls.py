"""Steps whose server is killed, takes long or does not stop: none is done beside itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import CancelledError, MimoError, StepFailedError
from mimo_embodied_ros.execution import control, robot_calls
from mimo_embodied_ros.execution.executor_node import MimoExecutor
from support.robot import parameters
from support.robot_process import ACTION, SERVICE, SKILLS, RobotProcess
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# the model is asked nothing, so that no node of a model is needed
POLICY = 'default: {before: false, look: false, after: false, repeat: 100}\n'


@pytest.fixture
def mimo(ros: Any) -> Iterator[MimoClient]:
    node = Node('operator', context=ros.context)
    with MimoClient(node, wait_s=WAIT_S) as client:
        yield client
    node.destroy_node()


@pytest.fixture
def execute(ros: Any, mimo: MimoClient, tmp_path: Path) -> Callable[..., Any]:
    """Start the executor, and give what sends it a plan with one step of a skill.

    Without a skill it is to resume a plan.
    """
    skills, policy = tmp_path / 'my_skills.yaml', tmp_path / 'policy.yaml'
    policy.write_text(POLICY)

    def start(text: str = SKILLS, **values: Any) -> Callable[[str], Any]:
        skills.write_text(text)
        ros.node('mimo_executor', MimoExecutor, parameter_overrides=parameters(
            skills_file=str(skills), policy_file=str(policy), check_goal=False, settle=0.01,
            max_plans=1, **values))

        def send(skill: str) -> Any:
            plan = msg.TaskPlan(steps=[msg.TaskStep(id=1, skill=skill, description=skill)])
            goal = action.ExecutePlan.Goal(
                **{'instruction': skill, 'plan': plan} if skill else {'resume': True})
            return mimo.send(action.ExecutePlan, 'mimo_executor/execute_plan', goal)

        return send

    return start


class Slow:
    """A service and an action that end when they are told to."""

    def __init__(self, ros: Any, on_cancel: CancelResponse = CancelResponse.REJECT) -> None:
        self.node = ros.node('slow')
        self.calls = 0
        self.ends: list[Future] = []
        self.goals: list[Any] = []
        self.node.create_service(Trigger, SERVICE, self._serve,
                                 callback_group=ReentrantCallbackGroup())
        ros.call(lambda: ActionServer(self.node, action.RunSkill, ACTION, self._act,
                                      cancel_callback=lambda _: on_cancel))

    async def _wait(self) -> None:
        self.calls += 1
        self.ends.append(Future(executor=self.node.executor))
        await self.ends[-1]

    async def _serve(self, _: Any, response: Trigger.Response) -> Trigger.Response:
        await self._wait()
        response.success = True
        return response

    async def _act(self, handle: Any) -> action.RunSkill.Result:
        self.goals.append(handle)
        await self._wait()
        (handle.canceled if handle.is_cancel_requested else handle.succeed)()
        return action.RunSkill.Result()


def error_of(request: Any) -> MimoError:
    with pytest.raises(MimoError) as caught:
        request.result(WAIT_S)
    return caught.value


def test_a_step_whose_server_is_killed_fails_and_is_repeated_by_the_next_server(
    ros: Any, execute: Any, tmp_path: Path
) -> None:
    first = RobotProcess(ros, tmp_path)
    request = execute(wait_for_server=WAIT_S)('nod')
    first.wait_for_calls(1)
    first.kill()
    second = RobotProcess(ros, tmp_path, 0.1)
    history = request.result(WAIT_S).history
    second.kill()
    assert [step.status for step in history] == [msg.TaskStep.FAILED, msg.TaskStep.SUCCEEDED]
    assert f'the server of {ACTION} was lost' in history[0].problem


def test_a_step_that_is_sent_to_a_server_that_was_just_killed_is_done_by_the_next_one(
    ros: Any, mimo: MimoClient, execute: Any, tmp_path: Path
) -> None:
    first = RobotProcess(ros, tmp_path)
    send = execute(wait_for_server=0.3)
    mimo.call(Trigger, SERVICE, Trigger.Request())
    first.wait_for_calls(1)
    first.kill()
    request = send('nod')
    second = RobotProcess(ros, tmp_path, 0.1)
    steps = request.result(WAIT_S).plan.steps
    second.kill()
    assert [step.status for step in steps] == [msg.TaskStep.SUCCEEDED]


def test_a_service_may_take_longer_than_its_server_is_waited_for(ros: Any, execute: Any) -> None:
    slow = Slow(ros)
    request = execute(wait_for_server=0.2)('rest')
    ros.wait_for(lambda: slow.calls)
    with pytest.raises(MimoError, match='has no result after'):
        request.result(0.6)
    ros.call(slow.ends[0].set_result, None)
    assert len(request.result(WAIT_S).history) == 1
    assert slow.calls == 1


@pytest.mark.parametrize(('skill', 'why'), [
    ('rest', (f'{SERVICE} took longer than 0.5 s; {SERVICE} may still be running, since a service '
             'cannot be cancelled')),
    ('nod', (f'{ACTION} took longer than 0.5 s, and {ACTION} does not stop, 0.3 s after it was '
            f'cancelled; {ACTION} may still be running')),
])
def test_what_may_still_run_is_given_up_and_not_called_again(
    ros: Any, execute: Any, monkeypatch: pytest.MonkeyPatch, skill: str, why: str
) -> None:
    monkeypatch.setattr(control, 'STOP_S', 0.3)
    slow = Slow(ros)
    send = execute(SKILLS.replace('timeout: 600', 'timeout: 0.5').replace(
        'goal: {skill: nod}', 'goal: {skill: nod}\n      timeout: 0.5'))
    error = error_of(send(skill))
    assert isinstance(error, StepFailedError)
    assert f'{why}, so it is not called again; the plan is given up' in str(error)
    assert [step.status for step in error.reply.history] == [msg.TaskStep.FAILED]
    assert why in error.reply.plan.steps[0].problem
    assert 'may still be doing what it was asked before' in str(error_of(send(skill)))
    assert slow.calls == 1
    ros.call(slow.ends[0].set_result, None)

    def run_again() -> Any:
        # until the executor has heard of the end
        again = send(skill)
        ros.wait_for(lambda: again.is_done() or slow.calls == 2)
        return again if slow.calls == 2 else None

    again = ros.wait_for(run_again)
    ros.call(slow.ends[1].set_result, None)
    ros.wait_for(again.is_done)


def test_a_cancelled_plan_says_what_the_robot_may_still_do(ros: Any, execute: Any) -> None:
    slow = Slow(ros)
    request = execute()('rest')
    ros.wait_for(lambda: slow.calls)
    request.cancel()
    error = error_of(request)
    assert isinstance(error, CancelledError)
    assert f'the plan was cancelled; {SERVICE} may still be running' in str(error)
    assert 'may still be running' in error.reply.plan.steps[0].problem
    ros.call(slow.ends[0].set_result, None)


@pytest.mark.parametrize('ends', [True, False])
def test_a_goal_that_a_dead_executor_left_behind_ends_before_its_step_is_repeated(
    ros: Any, mimo: MimoClient, execute: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    ends: bool,
) -> None:
    for module in (control, robot_calls):
        monkeypatch.setattr(module, 'STOP_S', WAIT_S if ends else 0.3)
    slow = Slow(ros, CancelResponse.ACCEPT if ends else CancelResponse.REJECT)
    send = execute(state_file=str(tmp_path / 'plan.json'), wait_for_server=0.5)
    first = send('nod')
    ros.wait_for(lambda: slow.calls)
    (state,) = tmp_path.glob('plan*.json')
    left = state.read_text()
    ros.call(slow.ends[0].set_result, None)
    first.result(WAIT_S)
    (goal_id,) = json.loads(left)['goal_ids']
    mimo.send(action.RunSkill, ACTION, action.RunSkill.Goal(), bytes(range(16)))
    ros.wait_for(lambda: slow.calls == 2)
    state.write_text(left.replace(goal_id, bytes(range(16)).hex()))
    resumed = send('')
    if not ends:
        assert f'{ACTION} still does what it was asked before' in str(error_of(resumed))
        assert slow.calls == 2
        return
    ros.wait_for(lambda: slow.goals[1].is_cancel_requested)
    assert slow.calls == 2
    ros.call(slow.ends[1].set_result, None)
    ros.wait_for(lambda: slow.calls == 3)
    ros.call(slow.ends[2].set_result, None)
    resumed.result(WAIT_S)


@pytest.mark.parametrize('same', [True, False])
def test_a_service_that_a_dead_executor_has_called_is_not_called_beside_itself(
    ros: Any, mimo: MimoClient, execute: Any, tmp_path: Path, same: bool
) -> None:
    slow = Slow(ros)
    send = execute(state_file=str(tmp_path / 'plan.json'))
    first = send('rest')
    ros.wait_for(lambda: slow.calls)
    (state,) = tmp_path.glob('plan*.json')
    left = state.read_text()
    ((name, (server,)),) = json.loads(left)['servers'].items()
    assert (name, {bytes.fromhex(server)}) == (SERVICE, mimo.servers(SERVICE))
    ros.call(slow.ends[0].set_result, None)
    first.result(WAIT_S)
    # as if the executor had been killed in the call, and the server only in the second case
    state.write_text(left if same else left.replace(server, '00' * 16))
    resumed = send('')
    if same:
        assert f'{SERVICE} may still be doing what it was asked before' in str(error_of(resumed))
        assert slow.calls == 1
        assert state.exists()
        return
    ros.wait_for(lambda: slow.calls == 2)
    ros.call(slow.ends[1].set_result, None)
    resumed.result(WAIT_S)
