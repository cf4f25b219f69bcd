"""A goal of an action, as its client has it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from action_msgs.msg import GoalStatus
from unique_identifier_msgs.msg import UUID

from mimo_embodied_ros.core.errors import GoalRejectedError, SendGoalError

from .request import Request, error_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from .spinner import Spinner


_ASK_AGAIN_S = 5.0  # until the result is asked for again, and then twice as long each time


class ActionGoal(Request):
    """A goal under way; cancelling it ends it in the server."""

    def __init__(
        self, spinner: Spinner, name: str, connect: Callable[[], Any], message: Any, wait_s: float,
        goal_id: bytes | None = None,
    ) -> None:
        """Prepare to send a goal with an id of 16 bytes, or a random one; see :class:`Request`."""
        super().__init__(spinner, name, connect, message, wait_s)
        self._id = goal_id and UUID(uuid=list(goal_id))
        self._handle: Any = None  # of the accepted goal
        self._sent_at = 0.0
        self._ask_again_s, self._ask_again_at = _ASK_AGAIN_S, 0.0
        self._feedback: Any = None
        self._text = ''

    def feedback(self) -> Any:
        """The newest feedback of the action; None before the first."""
        return self._feedback

    def text(self) -> str:
        """What the model has written so far."""
        return self._text

    # -- what follows runs in the spinner's thread

    def _service_name(self) -> str:
        return f'{self.name}/_action/send_goal'

    def _other_endpoints(self) -> list[Any]:
        return list(self._spinner.own_node.get_publishers_info_by_topic(
            f'{self.name}/_action/status'))

    def _is_server_there(self) -> bool:
        return bool(self._client.server_is_ready())

    def _send(self) -> Any:
        self._sent_at = time.monotonic()
        return self._client.send_goal_async(self._message, self._on_feedback, self._id)

    def _watch_servers(self) -> None:
        super()._watch_servers()
        if self._handle is None and not self.is_done() and (
                time.monotonic() - self._sent_at > self._wait_s):
            # _on_response cancels it if it is accepted later
            self.end(error=SendGoalError(
                f'the server of {self.name} did not accept the goal within {self._wait_s:g} s; '
                'it is busy, or was killed just before'))
        if self._handle is not None and not self._settled and (
                time.monotonic() > self._ask_again_at):
            self._ask_for_result()  # a server may lose a response on the way

    def _on_feedback(self, message: Any) -> None:
        self._feedback = message.feedback
        self._text += getattr(message.feedback, 'delta', '')

    def _on_response(self, future: Any) -> None:
        if future.cancelled():
            return
        handle = future.result()
        if not handle.accepted:
            self._settled = True
            self.end(error=GoalRejectedError(f'{self.name} did not accept the goal'))
            return
        self._handle = handle
        if self._cancelled or self.is_done():  # while the goal was on its way to the server
            handle.cancel_goal_async()
        self._ask_for_result()

    def _ask_for_result(self) -> None:
        self._ask_again_at = time.monotonic() + self._ask_again_s
        self._ask_again_s *= 2
        future = self._handle.get_result_async()
        future.add_done_callback(self._on_result)
        self._awaited.append(future)

    def _on_result(self, future: Any) -> None:
        if future.cancelled() or self._settled:
            return
        reply = future.result()
        if reply.status == GoalStatus.STATUS_UNKNOWN:
            self._settled = len(self._look_for_servers()) == 1  # else another one may have it
            self.end(error=SendGoalError(
                f'the server of {self.name} does not know the goal that was accepted: it was '
                'started anew, or there are several; look what was done, and ask again'))
            return
        self._settled = True
        if reply.status == GoalStatus.STATUS_SUCCEEDED:
            self.end(reply.result)
        else:
            self.end(error=error_in(
                self.name, reply.result, cancelled=reply.status == GoalStatus.STATUS_CANCELED))

    def _cancel(self) -> None:
        if self._handle is not None and not self.is_done():
            self._handle.cancel_goal_async()
        elif not self._sent:  # else _on_response does, once the server has accepted the goal
            super()._cancel()
