"""Poses to reach a thing: for the tool of an arm, and goals for a mobile base."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError

from .quaternions import quaternion_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .extrinsics import Transform
    from .quaternions import Quaternion

_X_AXIS = (1.0, 0.0, 0.0)
_PARALLEL = 0.99  # cosine; an axis so close to the normal does not define a rotation


@dataclass(frozen=True)
class Pose:
    """Metres and a quaternion x, y, z, w, in the frame of the points that it was made of."""

    position: tuple[float, float, float]
    orientation: Quaternion

    @classmethod
    def of(cls, transform: Transform) -> Pose:
        """Return the pose of a transform's source frame in its target frame."""
        x, y, z = (float(value) for value in transform.translation)
        return cls((x, y, z), quaternion_of(transform.rotation))


def tool_pose(
    point: ArrayLike, normal: ArrayLike, distance: float = 0.0, x_axis: ArrayLike = _X_AXIS
) -> Pose:
    """Return the pose of a tool whose z axis points at a surface, as of most arms' last frame.

    For a grasp, the distance is that from the tool's frame to the point between its fingers; for
    the approach it is about 0.1 m more; to put a thing down, add the height of the thing.

    Args:
        point: on the surface, metres.
        normal: of the surface, pointing out of it, of any length.
        distance: of the tool's frame from the point along the normal, metres.
        x_axis: desired direction of the tool's x axis; it is made perpendicular to the normal.

    Raises:
        InvalidRequestError: the normal is zero or not finite.

    """
    out = np.asarray(normal, float)
    length = float(np.linalg.norm(out))
    if not math.isfinite(length) or length == 0:
        msg = f'the normal is {out}; ask only where normal_valid is true'
        raise InvalidRequestError(msg)
    z = -out / length
    axis = np.asarray(x_axis, float)
    if abs(z @ axis) > _PARALLEL * np.linalg.norm(axis):
        axis = np.roll(axis, 1)
    x = axis - (axis @ z) * z
    x /= np.linalg.norm(x)
    a, b, c = (float(v) for v in np.asarray(point, float) - distance * z)
    return Pose((a, b, c), quaternion_of(np.column_stack([x, np.cross(z, x), z])))


def goals_before(
    thing: ArrayLike, base: ArrayLike, distance: float, count: int = 8
) -> tuple[Pose, ...]:
    """Return poses of a base that face a thing, all at one distance from it.

    The first is on the straight line from the base to the thing. The others lie around the thing,
    shortest detours first, in case that the first cannot be reached, which a planner has to find
    out.

    Args:
        thing: position, metres, in a frame whose z is up.
        base: position of the base in the same frame.
        distance: from the thing to the middle of the base, over the ground, metres.
        count: how many goals.

    Raises:
        InvalidRequestError: the distance is not above zero.

    """
    if not distance > 0:
        msg = f'the distance is {distance}; give metres above 0, more than the base is long'
        raise InvalidRequestError(msg)
    thing, base = np.asarray(thing, float), np.asarray(base, float)
    dx, dy = (base - thing)[:2]
    straight = math.atan2(dy, dx)
    goals = []
    for number in range(count):
        # 0, then one step to the left, one to the right, two to the left, ...
        side = (number + 1) // 2 * (1 if number % 2 else -1)
        angle = straight + side * 2 * math.pi / count
        x, y = thing[0] + distance * math.cos(angle), thing[1] + distance * math.sin(angle)
        half = (angle + math.pi) / 2
        goals.append(Pose((float(x), float(y), float(base[2])),
                          (0.0, 0.0, math.sin(half), math.cos(half))))
    return tuple(goals)
