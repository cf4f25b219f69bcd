"""What a base can do by itself: drive up to a point, turn to it, and look around.

It knows where it is by odometry, and what stands in its way by its depth camera.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.worlds.world import TICK

from .base import MAX_SPEED, MAX_TURN, RADIUS
from .floor_map import FloorMap

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.world import Motion, SkillGoal

    from .base_room import BaseRoom

    Floats = NDArray[np.float64]

STAND_OFF = 0.7
"""Metres between the base's front and a point that it drives up to."""
LOOK_STEP = math.radians(50)
"""Radians that the base turns to the left to look around; a little less than it sees at once."""
_CLEARANCE = 0.07  # metres that the base keeps from what it passes
_STAND = STAND_OFF + RADIUS  # metres from its middle to the point
_ARRIVED, _FACING = 0.02, 0.03  # metres; radians
_AHEAD = 0.8  # metres along the way that the base heads for
_SCAN_TICKS = 15  # from look to look of the depth camera
_LIMIT_S, _STOP_S = 60.0, 2.0
_SLOW = 0.1  # metres or radians a second, to find what is not seen
_PATIENCE_S = 7.0  # for what was seen before, in which a model answers twice


class BaseSkills:
    """The motions of a base.

    Attributes:
        by_name: go_to, look_at, look_around.
        count: how many of these have begun.

    """

    def __init__(self, world: BaseRoom) -> None:
        """Take the world, whose odometry begins anew with a reset."""
        self._world, self.count = world, 0
        self.by_name: dict[str, Callable[[SkillGoal], Motion]] = {
            'go_to': self._go_to, 'look_at': self._look_at, 'look_around': self._look_around}

    def go_to(self, x: float, y: float) -> Motion:
        """Drive to `STAND_OFF` before a point, metres in odom, and face it."""
        try:
            problem = yield from self._approach(np.array([x, y]), _STAND)
            return problem or (yield from self._turn_to(np.array([x, y])))
        finally:
            self._world.drive(0, 0)

    def go_to_pose(self, x: float, y: float, yaw: float) -> Motion:
        """Drive to a place, metres in odom, and turn to a yaw, radians."""
        try:
            problem = yield from self._approach(np.array([x, y]), 0.0)
            return problem or (yield from self._face(lambda: _wrapped(yaw - self._world.pose[2])))
        finally:
            self._world.drive(0, 0)

    def follow(self, where: Callable[[], Floats | None]) -> Motion:
        """Drive straight to `STAND_OFF` before a point that moves, and face it.

        Args:
            where: returns (2,) metres in odom, asked at each tick; None: it is not known. At first
                the base drives slowly ahead then; later it stands, turned to where the point was,
                and after some time it turns slowly to the side on which that was.

        """
        world, at, side, missed = self._world, None, 0.0, 0
        try:
            for _ in range(round(_LIMIT_S / TICK)):
                known = where()
                at, missed = (at, missed + 1) if known is None else (known, 0)
                if at is None:
                    world.drive(_SLOW, 0)
                elif missed > _PATIENCE_S / TICK:
                    world.drive(0, math.copysign(_SLOW, side))
                else:
                    way = at - world.pose[:2]
                    rest = float(np.linalg.norm(way)) - _STAND
                    turn = _wrapped(_angle(*way) - world.pose[2])
                    side = turn if known is not None else side
                    if known is not None and abs(rest) < _ARRIVED and abs(turn) < _FACING:
                        return (yield from self._stop())
                    self._steer(rest if known is not None else 0.0, turn)
                yield
                if world.bumped:
                    return 'the base bumped into something'
            return f'the base did not arrive within {_LIMIT_S:g} s'
        finally:
            self._world.drive(0, 0)

    def turn(self, angle: float) -> Motion:
        """Turn on the spot by an angle, radians to the left."""
        goal = self._world.pose[2] + angle
        try:
            return (yield from self._face(lambda: float(goal - self._world.pose[2])))
        finally:
            self._world.drive(0, 0)

    # -- skills

    def _go_to(self, goal: SkillGoal) -> Motion:
        self.count += 1
        at = _point(goal)
        if at is None:
            return 'the goal does not say where to go; give a point and its frame'
        return (yield from self.go_to(at[0], at[1]))

    def _look_at(self, goal: SkillGoal) -> Motion:
        self.count += 1
        at = _point(goal)
        if at is None:
            return 'the goal does not say what to look at; give a point and its frame'
        try:
            return (yield from self._turn_to(at[:2]))
        finally:
            self._world.drive(0, 0)

    def _look_around(self, _: SkillGoal) -> Motion:
        self.count += 1
        return (yield from self.turn(LOOK_STEP))

    # -- parts of motions

    def _approach(self, goal: Floats, stand: float = _STAND) -> Generator[None, None, str]:
        world = self._world
        floor = FloorMap((world.pose[:2] + goal) / 2, RADIUS + _CLEARANCE)
        way: Floats | None = None
        for tick in range(round(_LIMIT_S / TICK)):
            here = world.pose[:2]
            if tick % _SCAN_TICKS == 0:
                floor.add(world.obstacles())
                way = None
            rest = float(np.linalg.norm(goal - here)) - stand
            if rest > -_ARRIVED and floor.is_free(here, goal, stand):
                if rest < _ARRIVED:
                    return (yield from self._stop())
                target = goal
            else:
                way = way if way is not None else floor.way(here, goal, stand)
                if way is None:
                    return f'the way to {_words(goal)} is blocked'
                target, rest = _ahead(floor, way, here), math.inf
            self._steer(rest, _wrapped(_angle(*(target - here)) - world.pose[2]))
            yield
            if world.bumped:
                return f'the base bumped into something on its way to {_words(goal)}'
        return f'the base did not come to {_words(goal)} within {_LIMIT_S:g} s'

    def _steer(self, left: float, turn: float) -> None:
        """Drive towards what is ``turn`` radians to the left, and stop in ``left`` metres."""
        speed = min(MAX_SPEED, 1.2 * left) * max(0.0, math.cos(turn)) ** 3
        self._world.drive(speed, float(np.clip(2.5 * turn, -MAX_TURN, MAX_TURN)))

    def _turn_to(self, goal: Floats) -> Generator[None, None, str]:
        world = self._world
        return (yield from self._face(
            lambda: _wrapped(_angle(*(goal - world.pose[:2])) - world.pose[2])))

    def _face(self, remaining: Callable[[], float]) -> Generator[None, None, str]:
        """Turn on the spot until nothing remains of an angle, radians."""
        for _ in range(round(_LIMIT_S / TICK)):
            angle = remaining()
            if abs(angle) < _FACING:
                return (yield from self._stop())
            self._world.drive(0, float(np.clip(2.5 * angle, -MAX_TURN, MAX_TURN)))
            yield
        return f'the base did not turn within {_LIMIT_S:g} s'

    def _stop(self) -> Generator[None, None, str]:
        self._world.drive(0, 0)
        for _ in range(round(_STOP_S / TICK)):
            yield
            if np.abs(self._world.twist).max() < 0.005:
                break
        return ''


def _point(goal: SkillGoal) -> NDArray[Any] | None:
    return goal.object_at if goal.place_at is None else goal.place_at


def _ahead(floor: FloorMap, way: Floats, here: Floats) -> Floats:
    """The farthest place on a way that can be driven to straight, at most `_AHEAD` away."""
    start = int(np.linalg.norm(way - here, axis=1).argmin())
    target: Floats = way[min(start + 1, len(way) - 1)]
    for place in way[start + 1 :]:
        if np.linalg.norm(place - here) > _AHEAD or not floor.is_free(here, place, 0):
            break
        target = place
    return target


def _angle(x: float, y: float) -> float:
    return math.atan2(y, x)


def _wrapped(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def _words(point: Floats) -> str:
    return '({:.2f}, {:.2f}) m'.format(*point)
