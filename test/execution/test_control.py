"""Cancelling a robot's action, also one that goes on."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node
from rclpy.task import Future

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import CancelledError, RequestTimeoutError
from mimo_embodied_ros.execution import control as module
from mimo_embodied_ros.execution.control import Control
from support.waiting import WAIT_S


def test_an_action_that_does_not_stop_when_it_is_cancelled_is_named(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, 'STOP_S', 0.5)
    node = ros.node('arm')
    end = Future(executor=ros.executor)

    async def go_on(handle: Any) -> RunSkill.Result:
        await end
        handle.succeed()
        return RunSkill.Result()

    ros.call(lambda: ActionServer(
        node, RunSkill, 'arm/run', go_on, cancel_callback=lambda _: CancelResponse.ACCEPT))
    caller = Node('caller', context=ros.context)
    with MimoClient(caller, wait_s=WAIT_S) as mimo:
        request = mimo.send(RunSkill, 'arm/run', RunSkill.Goal())
        with pytest.raises(RequestTimeoutError, match=r'arm/run does not stop, 0\.5 s'):
            Control().result_of(request, 0.1)
        ros.call(end.set_result, None)
        request.result(WAIT_S)
    caller.destroy_node()


def test_a_pause_ends_when_it_is_cancelled() -> None:
    control, pauses = Control(), []
    control.pause(paused=True)

    def cancel() -> None:
        pauses.append(True)
        control.cancel()

    with pytest.raises(CancelledError):
        control.checkpoint(cancel)
    assert pauses == [True]
