"""How to grasp what stands at a point, and where to let go: from the depth around the point alone.

Points may lie anywhere on a thing, or a little beside it, as those of a vision-language model do.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

REACH = 0.11
"""Metres around a point that the depth is needed of."""
LOWEST = 0.018
"""Metres above the table of the middle between the fingers when their tips touch it."""
_BESIDE = 0.025  # metres that a point may be beside a thing
_RAISED = 0.008  # metres above what is around, that make a thing
_FACE = 0.012  # metres below its highest point that belong to the upper face of a thing
_DEEP = 0.032  # metres below the highest point where fingers close
_CELL = 0.004  # metres, of the map from above
_FINGER = 0.016, 0.03  # metres: half of a finger's width, and its depth
_EDGE = 0.05  # metres from the edge of a container where something of a thing's size fits
_DIRECTIONS = 8
_WALLED = 6  # directions in which something higher stands around a place in a container
_WALL = 0.02  # metres that it is higher


class Grasp(NamedTuple):
    """A grasp from above.

    Attributes:
        point: (3,) metres, the middle between the fingers.
        yaw: radians; the fingers close across this direction.
        width: metres between the fingers where they touch the thing; 0: nothing stands there.

    """

    point: Floats
    yaw: float
    width: float


class Spot(NamedTuple):
    """A place where something can be put.

    Attributes:
        x: metres.
        y: metres.
        surface: height on which a thing will stand, metres.
        rim: height of what stands around it, as the wall of a bowl; no less than the surface.

    """

    x: float
    y: float
    surface: float
    rim: float


def plan_grasp(cloud: Floats, point: ArrayLike, facing: float, stroke: float) -> Grasp:
    """Choose a grasp of what stands at a point.

    Args:
        cloud: (n, 3) metres, z up from the table, what the camera sees around the point.
        point: (3,) metres.
        facing: the tool's yaw now, radians; it is turned as little as possible.
        stroke: metres between the open fingers.

    Returns:
        The grasp; its width is 0 where nothing stands, and greater than ``stroke`` where what
        stands there is too wide.

    """
    at = np.asarray(point, float)[:2]
    top, face = 0.0, cloud[:0]
    for _ in range(2):  # the second time around the middle of what was found
        near = cloud[_away(cloud, at) < _BESIDE]
        top = float(near[:, 2].max()) if len(near) else 0.0
        if top < _RAISED:
            return Grasp(np.array([*at, LOWEST]), facing, 0.0)
        face = _connected(cloud[cloud[:, 2] > max(top - _FACE, _RAISED / 2)], at)
        at = (face[:, :2].max(0) + face[:, :2].min(0)) / 2
    height = max(LOWEST, top - _DEEP)
    yaw, across, along, middle = _rectangle(face[:, :2])
    turns = [(yaw, across)]
    if along < stroke - 2 * _RAISED:  # it fits between the fingers in both directions
        turns.append((yaw + math.pi / 2, along))
    obstacles = cloud[cloud[:, 2] > height]

    def badness(turn: tuple[float, float]) -> tuple[int, float]:
        nearest = _nearest(turn[0], facing)
        return _in_the_way(obstacles, middle, turn[0], stroke) // 10, abs(nearest - facing)

    yaw, width = min(turns, key=badness)
    return Grasp(np.array([*middle, height]), _nearest(yaw, facing), width)


def plan_place(cloud: Floats, point: ArrayLike) -> Spot:
    """Choose where to put something down near a point, not too near to the edge of a container.

    Args:
        cloud: (n, 3) metres, z up from the table, what the camera sees around the point.
        point: (3,) metres.

    """
    at = np.asarray(point, float)[:2]
    raised = cloud[cloud[:, 2] > _RAISED]
    if len(raised) and _away(raised, at).min() < _BESIDE:
        below = _connected(raised, at)[:, :2]
        middle, half = (below.max(0) + below.min(0)) / 2, (below.max(0) - below.min(0)) / 2
        free = np.maximum(half - _EDGE, 0)
        at = np.clip(at, middle - free, middle + free)
    near = cloud[_away(cloud, at) < 0.6 * _BESIDE]
    surface = max(float(np.median(near[:, 2])) if len(near) else 0.0, 0.0)
    higher = cloud[(cloud[:, 2] > surface + _WALL) & (_away(cloud, at) < REACH)]
    angles = np.arctan2(*(higher[:, :2] - at).T)
    sectors = np.unique((angles / (2 * math.pi) * _DIRECTIONS).round() % _DIRECTIONS)
    walled = len(sectors) >= _WALLED
    rim = float(higher[:, 2].max()) if walled else surface
    return Spot(float(at[0]), float(at[1]), surface, rim)


def _away(cloud: Floats, at: Floats) -> Floats:
    """Horizontal distances from a point."""
    distances: Floats = np.hypot(*(cloud[:, :2] - at).T)
    return distances


def _connected(points: Floats, at: Floats) -> Floats:
    """The points that are connected, seen from above, with the one nearest to ``at``."""
    cells = ((points[:, :2] - points[:, :2].min(0)) / _CELL).astype(int)
    covered = np.zeros(cells.max(0) + 1, np.uint8)
    covered[tuple(cells.T)] = 1
    _, parts = cv2.connectedComponents(cv2.dilate(covered, np.ones((3, 3), np.uint8)))
    part = parts[tuple(cells.T)]
    connected: Floats = points[part == part[_away(points, at).argmin()]]
    return connected


def _rectangle(points: Floats) -> tuple[float, float, float, Floats]:
    """The smallest rectangle around points: yaw of its long side, short and long side, middle."""
    yaw = min(np.arange(0, math.pi / 2, 0.05),
              key=lambda angle: float(np.prod(np.ptp(_along(points, angle), axis=0))))
    box = _along(points, yaw)
    middle = _along((box.max(0) + box.min(0)) / 2, -yaw)
    long, short = np.ptp(box, axis=0)
    if long < short:
        return yaw + math.pi / 2, float(long), float(short), middle
    return float(yaw), float(short), float(long), middle


def _along(points: Floats, yaw: float) -> Floats:
    """Coordinates of points, (..., 2), along a direction and across it."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    turned: Floats = points @ np.array([[cos, -sin], [sin, cos]])
    return turned


def _nearest(yaw: float, facing: float) -> float:
    """The yaw of the same grasp, which may be turned by half a turn, nearest to ``facing``."""
    return yaw + round((facing - yaw) / math.pi) * math.pi


def _in_the_way(obstacles: Floats, middle: Floats, yaw: float, stroke: float) -> int:
    """How many points are where the open fingers would be."""
    along, across = np.abs(_along(obstacles[:, :2] - middle, yaw)).T
    half, deep = _FINGER
    return int(((along < half) & (across > stroke / 2) & (across < stroke / 2 + deep)).sum())
