"""Actions each of whose goals is a motion of the robot, which the thread of its world makes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future

from mimo_embodied_ros.core.errors import TransformError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.action.server import ServerGoalHandle
    from rclpy.node import Node

    from mimo_embodied_ros.worlds.world import Motion

    from .camera_publisher import CameraPublisher
    from .world_runner import End, WorldRunner

ROBOT = frozenset({'arm', 'gripper', 'base'})
"""The parts of a robot; each makes one motion at a time."""


class RefusedError(Exception):
    """A goal cannot begin; the message says why.

    Attributes:
        code: of the action's own, for its result; 0: none.

    """

    def __init__(self, reason: str, code: int = 0) -> None:
        """Take the reason and the code."""
        super().__init__(reason)
        self.code = code


def require_finite(what: str, *numbers: float) -> None:
    """Refuse a goal some of whose numbers are not finite; physics would go on with them.

    Raises:
        RefusedError: they are not.

    """
    if not all(map(math.isfinite, numbers)):
        msg = f'{what} is {", ".join(f"{number:g}" for number in numbers)}; give finite numbers'
        raise RefusedError(msg)


@dataclass(frozen=True)
class Outcome:
    """How a goal ended.

    Attributes:
        request: the goal.
        problem: what failed; empty: nothing.
        code: why the goal could not begin; see `RefusedError`.
        cancelled: whether it was cancelled.

    """

    request: Any
    problem: str = ''
    code: int = 0
    cancelled: bool = False


@dataclass(frozen=True)
class MotionAction:
    """What an action does.

    Attributes:
        parts: of the robot, that it moves.
        words: says what a goal does.
        begin: makes the motion of a goal; raises RefusedError or TransformError.
        result: makes the result.
        on_accepted: called with the handle of a goal at first, for feedback.

    """

    parts: frozenset[str]
    words: Callable[[Any], str]
    begin: Callable[[Any], Motion]
    result: Callable[[Outcome], Any]
    on_accepted: Callable[[ServerGoalHandle], None] = lambda _: None


class MotionActions:
    """The action servers of one world's robot."""

    def __init__(self, node: Node, runner: WorldRunner, cameras: CameraPublisher) -> None:
        """Take the node whose executor runs the goals, and what moves and looks."""
        self._node, self._runner, self._cameras = node, runner, cameras
        self._servers: list[ActionServer] = []

    def serve(self, kind: Any, name: str, action: MotionAction) -> None:
        """Serve an action.

        Args:
            kind: class of the action.
            name: of the action.
            action: what it does.

        """
        self._servers.append(ActionServer(
            self._node, kind, name, partial(self._execute, action),
            cancel_callback=lambda _: CancelResponse.ACCEPT))

    def destroy(self) -> None:
        """Destroy all servers."""
        for server in self._servers:
            server.destroy()

    async def _execute(self, action: MotionAction, handle: ServerGoalHandle) -> Any:
        request = handle.request
        action.on_accepted(handle)
        try:
            end = await self._run(handle, action.begin(request), action)
        except (RefusedError, TransformError) as error:
            handle.abort()
            return action.result(Outcome(request, str(error), getattr(error, 'code', 0)))
        cancelled = bool(handle.is_cancel_requested)
        if cancelled:
            handle.canceled()
        elif end.problem:
            handle.abort()
        else:
            handle.succeed()
        return action.result(Outcome(request, end.problem, cancelled=cancelled))

    async def _run(self, handle: ServerGoalHandle, motion: Motion, action: MotionAction) -> End:
        """Run a motion to its end, or until the goal is cancelled.

        It returns when the cameras have shown the end.
        """
        executor = self._node.executor
        ended = Future(executor=executor)

        def done(end: End) -> None:
            self._cameras.after(end.time, lambda: executor.create_task(ended.set_result, end))

        if busy := self._runner.run(
                motion, action.words(handle.request), action.parts, done,
                stop=lambda: bool(handle.is_cancel_requested)):
            raise RefusedError(busy)
        return await ended
