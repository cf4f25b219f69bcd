"""Where to move for what was found: poses for the tool of an arm, and goals for a base."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError

from .quaternions import quaternion_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .quaternions import Quaternion

_X_AXIS = (1.0, 0.0, 0.0)
_LINED_UP = 0.99  # cosine from which an axis says nothing about the turn


@dataclass(frozen=True)
class Pose:
    """Metres, and a quaternion x, y, z, w, in the frame of what it was made of."""

    position: tuple[float, float, float]
    orientation: Quaternion


def tool_pose(
    point: ArrayLike, normal: ArrayLike, distance: float = 0.0, x_axis: ArrayLike = _X_AXIS
) -> Pose:
    """Pose of a tool whose z axis points straight at a surface, as of most arms' last frame.

    For a grasp the distance is that from the tool's frame to between its fingers, for the way there
    some 0.1 m more; for a place it is that and the height of what is held.

    Args:
        point: on the surface, metres.
        normal: of the surface, out of it, of any length.
        distance: of the tool's frame from the point along the normal, metres.
        x_axis: where the tool's x axis is to point, as nearly as the surface allows.

    Raises:
        InvalidRequestError: the normal is zero or not finite.

    """
    out = np.asarray(normal, float)
    length = float(np.linalg.norm(out))
    if not math.isfinite(length) or length == 0:
        msg = f'the normal is {out}; ask only where normal_valid is true'
        raise InvalidRequestError(msg)
    z = -out / length
    wanted = np.asarray(x_axis, float)
    if abs(z @ wanted) > _LINED_UP * np.linalg.norm(wanted):
        wanted = np.roll(wanted, 1)
    x = wanted - (wanted @ z) * z
    x /= np.linalg.norm(x)
    a, b, c = (float(v) for v in np.asarray(point, float) - distance * z)
    return Pose((a, b, c), quaternion_of(np.column_stack([x, np.cross(z, x), z])))


def goals_before(
    thing: ArrayLike, base: ArrayLike, distance: float, count: int = 8
) -> tuple[Pose, ...]:
    """Poses of a base in front of a thing, which they face, all at one distance from it.

    The first is on the straight way there; the others lie around the thing, those of the shortest
    detours first, for where something stands in the way: which of them can be reached a planner
    knows.

    Args:
        thing: where it is, metres, in a frame whose z is up.
        base: where the base is, in the same frame.
        distance: from the thing to the middle of the base, over the ground, metres.
        count: how many goals.

    Raises:
        InvalidRequestError: the distance is not above zero.

    """
    if not distance > 0:
        msg = f'the distance is {distance}; give metres above 0, more than the base is long'
        raise InvalidRequestError(msg)
    there, here = np.asarray(thing, float), np.asarray(base, float)
    dx, dy = (here - there)[:2]
    straight = math.atan2(dy, dx)
    goals = []
    for number in range(count):
        # 0, then one step to the left, one to the right, two to the left, ...
        side = (number + 1) // 2 * (1 if number % 2 else -1)
        around = straight + side * 2 * math.pi / count
        x, y = there[0] + distance * math.cos(around), there[1] + distance * math.sin(around)
        half = (around + math.pi) / 2
        goals.append(Pose((float(x), float(y), float(here[2])),
                          (0.0, 0.0, math.sin(half), math.cos(half))))
    return tuple(goals)
