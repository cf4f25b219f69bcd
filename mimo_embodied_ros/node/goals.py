"""The node's actions: goals are requests whose state, feedback and result their client sees."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future

from mimo_embodied_ros.core.characters import valid_text
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.engine.answering import State
from mimo_embodied_ros.ros.messages import duration
from mimo_embodied_ros.ros.request_kinds import ACTION_QOS, KINDS

from .feedback import Feedback
from .served_request import ServedRequest

if TYPE_CHECKING:
    from rclpy.action.server import ServerGoalHandle

    from mimo_embodied_ros.ros.request_kinds import Kind

# How long a goal is remembered after its end, for clients that ask for its result late; with its
# images. As rclcpp does; rclpy's own 15 minutes would be gigabytes.
RESULT_TIMEOUT_S = 10


class GoalRequest(ServedRequest):
    """A goal of one of the actions.

    Its state changes in the executor's thread only, where cancel requests arrive, too: rclpy
    looks at the state and changes it in two steps. rclpy does not tell that a client has died: the
    goal of a dead client ends by its deadline at the latest.

    Attributes:
        result: the action's result, once the request has ended.

    """

    def __init__(self, host: Any, kind: Kind, handle: ServerGoalHandle) -> None:
        """Take a goal that was accepted now."""
        super().__init__(host, kind, handle.request)
        self.result = Future(executor=host.executor)
        self._handle = handle
        self._feedback = Feedback(self._publish_feedback)
        self._executing = False

    def submit(self) -> None:
        """Tell the client that the goal is queued, and queue it."""
        self.on_progress(State.QUEUED, '', 0)
        super().submit()

    def on_start(self) -> None:
        """Let the goal be in the state EXECUTING."""
        self.host.in_executor(self._execute)

    def on_progress(self, state: State, text: str, tokens: int) -> None:
        """Send feedback, soon."""
        self._feedback.add(state, text, tokens)

    def on_end(self, fields: dict[str, Any]) -> None:
        """Let :meth:`GoalServers.execute` return the result."""
        self._feedback.flush()
        self.result.set_result(self.kind.action.Result(**fields))
        self.host.in_executor(self._execute)

    def _execute(self) -> None:
        """Begin to execute the goal; also one that ended in the queue, since only such can end."""
        if not self._executing:
            self._executing = True
            self._handle.execute()

    def _publish_feedback(self, state: State, text: str, tokens: int) -> None:
        self._handle.publish_feedback(self.kind.action.Feedback(
            state=int(state), delta=valid_text(text), tokens=tokens,
            elapsed=duration(time.monotonic() - self.arrived)))


class GoalServers:
    """An action server for each kind of request.

    Goals that cannot be served are accepted and aborted with their error code, because a rejected
    goal cannot carry a reason.
    """

    def __init__(self, node: Any) -> None:
        """Open the servers of the node that is the host of all requests."""
        self._node = node
        self._requests: dict[bytes, GoalRequest] = {}
        self._servers = [
            ActionServer(
                node, kind.action, f'~/{kind.action_name}', self._execute,
                handle_accepted_callback=partial(self._on_accepted, kind),
                cancel_callback=self._on_cancel, result_timeout=RESULT_TIMEOUT_S, **ACTION_QOS)
            for kind in KINDS]

    def destroy(self) -> None:
        """Close the servers."""
        for server in self._servers:
            server.destroy()

    def _on_accepted(self, kind: Kind, handle: ServerGoalHandle) -> None:
        request = GoalRequest(self._node, kind, handle)
        self._requests[bytes(handle.goal_id.uuid)] = request
        request.submit()

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        """Accept exactly those cancel requests that make the goal end with CANCELLED."""
        request = self._requests.get(bytes(handle.goal_id.uuid))
        cancelled = request is not None and request.cancel()
        return CancelResponse.ACCEPT if cancelled else CancelResponse.REJECT

    async def _execute(self, handle: ServerGoalHandle) -> Any:
        """Wait for the request's end, give the goal its last state and return the result."""
        request = self._requests[bytes(handle.goal_id.uuid)]
        result = await request.result
        del self._requests[bytes(handle.goal_id.uuid)]
        conclude(self._node, handle, request.kind.action_name, result)
        return result


def conclude(node: Any, handle: ServerGoalHandle, name: str, result: Any) -> None:
    """Give a goal of an action of the node its last state, by the error code of its result."""
    if result.error_code == ResultCode.NONE:
        handle.succeed()
    elif result.error_code == ResultCode.CANCELLED and handle.is_cancel_requested:
        handle.canceled()
    else:
        node.get_logger().warning(
            f'{name} failed, {ResultCode(result.error_code).name}: {result.error_msg}')
        handle.abort()
