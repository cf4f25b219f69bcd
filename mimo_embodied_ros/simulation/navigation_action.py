"""Serves ``navigate_to_pose`` as Nav2 does, where nav2_msgs is installed, without a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from mimo_embodied_ros.geometry.quaternions import matrix_of

from .motion_actions import ROBOT, MotionAction, require_finite

if TYPE_CHECKING:
    from mimo_embodied_ros.worlds.world import Motion

    from .frames import Frames
    from .motion_actions import MotionActions, Outcome
    from .optional_interfaces import OptionalInterfaces

NAME = 'navigate_to_pose'


class Navigation(Protocol):
    """The motions of a base."""

    def go_to_pose(self, x: float, y: float, yaw: float) -> Motion:
        """Drive to a place, metres in the world's frame, and turn to a yaw, radians."""
        ...


@runtime_checkable
class Navigates(Protocol):
    """A world whose base finds its way; a reset may replace the motions."""

    motions: Navigation


def serve_navigation(
    actions: MotionActions, world: Navigates, frames: Frames, interfaces: OptionalInterfaces
) -> None:
    """Serve the action if its interface is installed; poses may be in any of the frames."""
    kind = interfaces.find('nav2_msgs/action/NavigateToPose', NAME)
    if kind is None:
        return

    def begin(goal: Any) -> Motion:
        at, turn = goal.pose.pose.position, goal.pose.pose.orientation
        require_finite('pose', at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w)
        to_world = frames.lookup(goal.pose.header)
        x, y, _ = to_world.apply([at.x, at.y, at.z])
        ahead = to_world.rotate(matrix_of((turn.x, turn.y, turn.z, turn.w))[:, 0])
        return world.motions.go_to_pose(float(x), float(y), float(np.arctan2(ahead[1], ahead[0])))

    def result(outcome: Outcome) -> Any:
        out = kind.Result()
        if outcome.problem:
            out.error_code = kind.Result.UNKNOWN
            if hasattr(out, 'error_msg'):  # since Kilted
                out.error_msg = outcome.problem
        return out

    actions.serve(kind, NAME, MotionAction(ROBOT, lambda _: 'navigate to a pose', begin, result))
