"""Serves the skills of a world's robot as the action RunSkill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.core.errors import ResultCode, TransformError
from mimo_embodied_ros.worlds.world import SkillGoal

if TYPE_CHECKING:
    from geometry_msgs.msg import PointStamped
    from numpy.typing import NDArray
    from rclpy.action.server import ServerGoalHandle
    from rclpy.node import Node

    from mimo_embodied_ros.worlds.world import Motion

    from .camera_publisher import CameraPublisher
    from .frames import Frames
    from .world_runner import End, WorldRunner

FAILED = 1
"""``error_code`` of a skill that the robot failed to do."""
ROBOT = frozenset({'arm', 'gripper', 'base'})
"""What a skill may move."""


class MotionServer:
    """Runs motions for goals of actions, one after another, in the thread of a world."""

    def __init__(self, node: Node, runner: WorldRunner, cameras: CameraPublisher) -> None:
        """Take the node whose executor runs the goals, and what moves and looks."""
        self._node, self._runner, self._cameras = node, runner, cameras

    async def run(
        self, handle: ServerGoalHandle, motion: Motion, name: str, parts: frozenset[str]
    ) -> End:
        """Run a motion to its end, or until the goal is cancelled.

        It returns when the cameras have shown the end.

        Raises:
            BusyError: the robot makes another motion.

        """
        ended, executor = Future(executor=self._node.executor), self._node.executor

        def done(end: End) -> None:
            self._cameras.after(end.time, lambda: executor.create_task(ended.set_result, end))

        busy = self._runner.run(
            motion, name, parts, done, stop=lambda: bool(handle.is_cancel_requested))
        if busy:
            raise BusyError(busy)
        return await ended


class BusyError(Exception):
    """The robot makes another motion; the message says which."""


class SkillServer:
    """The action ``<robot>/run_skill``."""

    def __init__(
        self, node: Node, name: str, runner: WorldRunner, motions: MotionServer, frames: Frames
    ) -> None:
        """Serve the skills of the runner's world; points may be in any frame of ``frames``."""
        self._runner, self._motions, self._frames = runner, motions, frames
        self._server = ActionServer(
            node, RunSkill, name, self._execute, cancel_callback=lambda _: CancelResponse.ACCEPT)

    def destroy(self) -> None:
        """Destroy the action server."""
        self._server.destroy()

    async def _execute(self, handle: ServerGoalHandle) -> RunSkill.Result:
        request = handle.request
        skills = self._runner.world.skills
        try:
            if request.skill not in skills:
                return _failed(handle, f'there is no skill {request.skill!r}; the robot can '
                               f'{" and ".join(skills)}')
            goal = SkillGoal(
                request.skill, request.object, self._point(request.object_at),
                request.place, self._point(request.place_at))
            words = _words(request)
            handle.publish_feedback(RunSkill.Feedback(text=words))
            end = await self._motions.run(handle, skills[request.skill](goal), words, ROBOT)
        except (TransformError, BusyError) as error:
            return _failed(handle, str(error))
        if handle.is_cancel_requested:
            handle.canceled()
            return RunSkill.Result(error_code=int(ResultCode.CANCELLED), error_msg=end.problem)
        if end.problem:
            return _failed(handle, end.problem)
        handle.succeed()
        return RunSkill.Result()

    def _point(self, point: PointStamped) -> NDArray[Any] | None:
        """Return a point in the world's frame; None: it has no frame."""
        if not point.header.frame_id:
            return None
        at = [point.point.x, point.point.y, point.point.z]
        return self._frames.lookup(point.header).apply(at)


def _failed(handle: ServerGoalHandle, problem: str) -> RunSkill.Result:
    handle.abort()
    return RunSkill.Result(error_code=FAILED, error_msg=problem)


def _words(goal: RunSkill.Goal) -> str:
    return ' '.join(filter(None, (goal.skill, goal.object, goal.place and f'at {goal.place}')))
