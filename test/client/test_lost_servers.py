"""Requests whose server comes late, takes long, is killed, or is started anew; all of them end."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus, GoalStatusArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import qos_profile_action_status_default
from rclpy.task import Future
from std_srvs.srv import Trigger

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import CancelledError, SendGoalError
from support.robot_process import ACTION, SERVICE, RobotProcess
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def caller(ros: Any) -> Iterator[Node]:
    node = Node('caller', context=ros.context)
    yield node
    node.destroy_node()


def act(client: MimoClient) -> Any:
    return client.send(RunSkill, ACTION, RunSkill.Goal(skill='nod'))


def call(client: MimoClient) -> Any:
    return client.call(Trigger, SERVICE, Trigger.Request())


class Head:
    """The action and the service in this process; what they were asked, and when they end."""

    def __init__(self, ros: Any) -> None:
        self.node = ros.node('head')
        self.goals: list[Any] = []
        self.calls = 0
        self.end = Future(executor=ros.executor)
        ros.call(lambda: ActionServer(
            self.node, RunSkill, ACTION, self._run,
            cancel_callback=lambda _: CancelResponse.ACCEPT))
        # else nothing else runs in the node until it has ended
        self.node.create_service(
            Trigger, SERVICE, self._rest, callback_group=ReentrantCallbackGroup())

    async def _run(self, handle: Any) -> RunSkill.Result:
        self.goals.append(handle)
        await self.end
        (handle.canceled if handle.is_cancel_requested else handle.succeed)()
        return RunSkill.Result()

    async def _rest(self, _: Any, response: Trigger.Response) -> Trigger.Response:
        self.calls += 1
        await self.end
        response.success = True
        return response


def test_what_was_cancelled_before_its_server_came_is_never_sent(ros: Any, caller: Node) -> None:
    with MimoClient(caller, wait_s=WAIT_S) as mimo:
        requests = [ask(mimo) for ask in (act, call) for _ in range(20)]
        held = threading.Event()
        mimo._spinner.call(lambda: held.wait(WAIT_S))
        for request in requests:
            request.cancel()
        head = Head(ros)
        head.end.set_result(None)
        # as the client sees it: it is of the same participant
        ros.wait_for(lambda: caller.count_services(SERVICE) and caller.count_publishers(
            f'{ACTION}/_action/status'))
        held.set()
        for request in requests:
            with pytest.raises(CancelledError):
                request.result(WAIT_S)
        assert [act(mimo).result(WAIT_S), call(mimo).result(WAIT_S)]
        assert (len(head.goals), head.calls) == (1, 1)
        assert not any(request.may_still_run() for request in requests)


def test_a_server_that_is_there_may_take_longer_than_one_is_waited_for(
    ros: Any, caller: Node
) -> None:
    head = Head(ros)
    with MimoClient(caller, wait_s=0.2) as mimo:
        wait_for(lambda: caller.count_services(SERVICE))
        requests = [act(mimo), call(mimo)]
        ros.wait_for(lambda: head.goals and head.calls)
        threading.Event().wait(3 * mimo.wait_s)  # so long nothing comes
        assert not any(request.is_done() for request in requests)
        ros.call(head.end.set_result, None)
        assert all(request.result(WAIT_S) for request in requests)
        assert (len(head.goals), head.calls) == (1, 1)


def test_a_call_that_was_cancelled_may_still_run_until_its_server_has_ended_it(
    ros: Any, caller: Node
) -> None:
    head = Head(ros)
    with MimoClient(caller, wait_s=WAIT_S) as mimo:
        requests = [act(mimo), call(mimo)]
        ros.wait_for(lambda: head.goals and head.calls)
        assert mimo.given_up(ACTION) == mimo.given_up(SERVICE) == []
        for request in requests:
            request.cancel()
        with pytest.raises(CancelledError):
            requests[1].result(WAIT_S)
        assert [mimo.given_up(ACTION), mimo.given_up(SERVICE)] == [[r] for r in requests]
        ros.wait_for(lambda: head.goals[0].is_cancel_requested)
        ros.call(head.end.set_result, None)
        with pytest.raises(CancelledError):
            requests[0].result(WAIT_S)
        wait_for(lambda: not mimo.given_up(SERVICE))
        assert mimo.given_up(ACTION) == []


def test_a_goal_that_is_accepted_too_late_is_cancelled(ros: Any, caller: Node) -> None:
    head = Head(ros)
    with MimoClient(caller, wait_s=WAIT_S) as mimo:
        call(mimo)
        ros.wait_for(lambda: head.calls)  # both have found each other
        mimo.wait_s = 0.2
        busy = threading.Event()
        ros.executor.create_task(busy.wait, WAIT_S)
        request = act(mimo)
        with pytest.raises(SendGoalError, match=r'did not accept the goal within 0\.2 s'):
            request.result(WAIT_S)
        assert mimo.given_up(ACTION) == [request]
        busy.set()
        ros.wait_for(lambda: head.goals and head.goals[0].is_cancel_requested)
        ros.call(head.end.set_result, None)
        wait_for(lambda: not mimo.given_up(ACTION))


def test_a_result_that_is_lost_on_the_way_is_asked_for_again(
    ros: Any, caller: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As happens where a server answers before the client's reader is known to it."""
    monkeypatch.setattr('mimo_embodied_ros.client.goal._ASK_AGAIN_S', 0.2)
    node, impl, asked = ros.node('head'), RunSkill.Impl, []

    def accept(_: Any, response: Any) -> Any:
        response.accepted = True
        return response

    async def give_result(_: Any, response: Any) -> Any:
        asked.append(response)
        if len(asked) == 1:
            await Future(executor=ros.executor)
        response.status = GoalStatus.STATUS_SUCCEEDED
        return response

    node.create_publisher(
        GoalStatusArray, f'{ACTION}/_action/status', qos_profile_action_status_default)
    node.create_publisher(impl.FeedbackMessage, f'{ACTION}/_action/feedback', 10)
    node.create_service(impl.CancelGoalService, f'{ACTION}/_action/cancel_goal', lambda _, r: r)
    node.create_service(impl.SendGoalService, f'{ACTION}/_action/send_goal', accept)
    node.create_service(impl.GetResultService, f'{ACTION}/_action/get_result', give_result,
                        callback_group=ReentrantCallbackGroup())
    with MimoClient(caller, wait_s=WAIT_S) as mimo:
        assert act(mimo).result(WAIT_S) == RunSkill.Result()
    assert len(asked) >= 2


def test_a_server_that_is_killed_and_started_anew_is_not_taken_for_the_first_one(
    ros: Any, caller: Node, tmp_path: Path
) -> None:
    first = RobotProcess(ros, tmp_path)
    with MimoClient(caller, wait_s=WAIT_S) as mimo:
        requests = [act(mimo), call(mimo)]
        first.wait_for_calls(2)
        first.kill()
        second = RobotProcess(ros, tmp_path, 0.1)  # before the first one is missed
        for request in requests:
            with pytest.raises(SendGoalError, match='lost before it gave the result, and another'):
                request.result(WAIT_S)
            assert not request.may_still_run()
        assert act(mimo).result(WAIT_S)
        assert call(mimo).result(WAIT_S).success
        second.wait_for_calls(2)
        second.kill()


def test_a_server_that_is_killed_and_does_not_come_back_is_noticed(
    ros: Any, caller: Node, tmp_path: Path
) -> None:
    robot = RobotProcess(ros, tmp_path)
    with MimoClient(caller, wait_s=WAIT_S) as mimo:
        requests = [act(mimo), call(mimo)]
        robot.wait_for_calls(2)
        robot.kill()
        for request in requests:
            request._wait_s = 0.5  # it was found in more time
            with pytest.raises(SendGoalError, match=r'has been gone for 0\.5 s'):
                request.result(WAIT_S)
