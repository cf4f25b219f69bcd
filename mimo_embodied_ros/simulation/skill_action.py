"""Serves the skills of a world's robot as the action RunSkill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.worlds.world import SkillGoal

from .motion_actions import ROBOT, MotionAction, RefusedError, require_finite

if TYPE_CHECKING:
    from geometry_msgs.msg import PointStamped
    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.world import Motion, World

    from .frames import Frames
    from .motion_actions import MotionActions, Outcome

FAILED = 1
"""``error_code`` of a skill that the robot failed to do."""


def serve_skills(actions: MotionActions, name: str, world: World, frames: Frames) -> None:
    """Serve all skills of a world; points may be in any of the frames."""

    def begin(goal: RunSkill.Goal) -> Motion:
        if goal.skill not in world.skills:
            msg = (f'there is no skill {goal.skill!r}; the robot can '
                   f'{", ".join(world.skills) or "do nothing"}')
            raise RefusedError(msg)
        return world.skills[goal.skill](SkillGoal(
            goal.skill, goal.object, _point('object_at', goal.object_at, frames),
            goal.place, _point('place_at', goal.place_at, frames)))

    actions.serve(RunSkill, name, MotionAction(
        ROBOT, _words, begin, _result, lambda handle: handle.publish_feedback(
            RunSkill.Feedback(text=_words(handle.request)))))


def _point(name: str, point: PointStamped, frames: Frames) -> NDArray[Any] | None:
    """Return a point in the world's frame; None: it has no frame."""
    if not point.header.frame_id:
        return None
    at = point.point.x, point.point.y, point.point.z
    require_finite(name, *at)
    return frames.lookup(point.header).apply(at)


def _words(goal: RunSkill.Goal) -> str:
    return ' '.join(filter(None, (goal.skill, goal.object, goal.place and f'at {goal.place}')))


def _result(outcome: Outcome) -> RunSkill.Result:
    code = int(ResultCode.CANCELLED) if outcome.cancelled else FAILED if outcome.problem else 0
    return RunSkill.Result(error_code=code, error_msg=outcome.problem)
