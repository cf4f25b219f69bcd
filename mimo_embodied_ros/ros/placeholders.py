"""The values of the placeholders in a skill's calls; `core.skill_files` describes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import ArgumentType
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.skills import fill
from mimo_embodied_ros.geometry.poses import Pose, goals_before, tool_pose
from mimo_embodied_ros.msg import AffordancePoint, SkillArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mimo_embodied_ros.core.skills import NamedPose, Skill
    from mimo_embodied_ros.msg import TaskStep

APPROACH_DISTANCE = 0.1  # metres from the surface, along its normal
_UP = (0.0, 0.0, 1.0)


def placeholder_values(
    step: TaskStep, skill: Skill, frame: str, stand_off: float
) -> dict[str, Any]:
    """Return the values by ``argument`` and ``argument.part``; unknown parts are left out.

    Args:
        step: the step whose arguments have the values.
        skill: the skill that does the step.
        frame: frame of the step's positions; z points up, and for ``goal`` and ``bearing`` its
            origin is the robot's base.
        stand_off: distance from an object at which a base stops, metres.

    """
    values: dict[str, Any] = {}
    for argument in step.arguments:
        name, parts = argument.name, {}
        number = argument.type == ArgumentType.NUMBER
        values[name] = argument.number if number else argument.value
        if argument.type == ArgumentType.POSE:
            named_pose = skill.argument(name).poses[argument.value]
            parts = _parts(named_pose.frame, _pose_of(named_pose))
        elif _is_placed(argument):
            parts = _place_parts(argument.point, frame, stand_off)
        values.update({f'{name}.{part}': value for part, value in parts.items()})
    return values


def fill_placeholders(fields: Mapping[str, Any], step: TaskStep, values: Mapping[str, Any]) -> Any:
    """Return the fields of a call with the values in place of the placeholders.

    Raises:
        InvalidRequestError: the value of a placeholder is not known; the message says why.

    """
    try:
        return fill(dict(fields), values)
    except KeyError as error:
        missing = str(error.args[0])
        argument = next(a for a in step.arguments if a.name == missing.split('.', maxsplit=1)[0])
        msg = f'{missing} is not known: {_why(argument)}'
        raise InvalidRequestError(msg) from None


def _is_placed(argument: SkillArgument) -> bool:
    return bool(argument.grounding == SkillArgument.SEEN
                and argument.point.position_status == AffordancePoint.OK)


def _why(argument: SkillArgument) -> str:
    if argument.grounding == SkillArgument.HELD:
        return f'the robot holds {argument.value}'
    if argument.grounding == SkillArgument.NOT_VISIBLE:
        return f'{argument.value} is not visible'
    return argument.point.position_problem or 'no position was requested; set target_frame'


def _pose_of(pose: NamedPose) -> Pose:
    half = math.radians(pose.yaw) / 2
    return Pose(pose.position, (0.0, 0.0, math.sin(half), math.cos(half)))


def _parts(frame: str, pose: Pose) -> dict[str, Any]:
    fields = {'position': _xyz(pose.position), 'orientation': dict(zip('xyzw', pose.orientation))}
    return {**fields, 'frame': frame, 'goal': {'header': {'frame_id': frame}, 'pose': fields}}


def _place_parts(point: AffordancePoint, frame: str, stand_off: float) -> dict[str, Any]:
    at = (point.position.x, point.position.y, point.position.z)
    # most objects lie on something flat and are grasped from above
    normal = (point.normal.x, point.normal.y, point.normal.z) if point.normal_valid else _UP
    before = goals_before(at, (0.0, 0.0, 0.0), stand_off)[0]
    return {
        **_parts(frame, tool_pose(at, normal)), 'goal': _parts(frame, before)['goal'],
        'approach': _xyz(tool_pose(at, normal, APPROACH_DISTANCE).position),
        'bearing': math.atan2(at[1], at[0]),
    }


def _xyz(position: tuple[float, ...]) -> dict[str, float]:
    return dict(zip('xyz', map(float, position)))
