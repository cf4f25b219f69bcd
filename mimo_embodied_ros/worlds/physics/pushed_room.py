"""A room in which a thing is pushed aside while a base drives to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .base import RADIUS
from .base_room import BaseRoom
from .base_skills import STAND_OFF

if TYPE_CHECKING:
    import random

    import mujoco
    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.world import WorldCamera

    from .room import Room, RoomThing

    Floats = NDArray[np.float64]

_DISTANCE, _BEARING = (2.0, 4.0), math.radians(20)  # metres to the thing; angle from ahead
_ASIDE = 0.5, 1.2  # metres by which it is pushed
_AFTER = 0.2, 0.6  # share of the way to the thing that the base has driven then
_DRIVES = 0.2  # metres a second, from which on the base drives and does not search
_PUSH_S = 1.5
_CLEAR = 0.35  # metres that stay free beside ways of base and thing
_TO_WALL = 0.45  # metres between a wall and the circle of the thing
_GAIN = 20.0  # of the push: metres a second squared for a metre a second
_GRAVITY = 9.81


class Push(NamedTuple):
    """How a thing is pushed.

    Attributes:
        velocity: (2,) metres a second.
        after: metres that the base has driven, faster than it searches, when it begins.

    """

    velocity: Floats
    after: float

    def end(self, thing: RoomThing) -> Floats:
        """Where the thing is then, (2,) metres."""
        at: Floats = self.velocity * _PUSH_S + (thing.x, thing.y)
        return at


class PushedRoom(BaseRoom):
    """A `BaseRoom` whose first thing is in view, and is pushed aside once the base drives.

    A force pushes it across the line from which the base has seen it, for a second and a half; it
    stays in the room, and no other thing is in the way of it or of the base. There are no shadows.

    Attributes:
        push: of the present room.

    """

    push: Push

    def step(self, seconds: float) -> None:
        """Let time pass, and push when it is time."""
        with self.lock:
            self._apply()
            super().step(seconds)
            speed = float(self.twist[0])
            self._driven += speed * seconds if speed > _DRIVES else 0.0

    @property
    def pushed(self) -> float:
        """Metres that the thing is from where it stood at first."""
        thing = self.room.things[0]
        with self.lock:
            return math.dist(self.data.body(thing.name).xpos[:2], (thing.x, thing.y))

    def _furnish(self, seed: int) -> tuple[mujoco.MjModel, dict[str, WorldCamera]]:
        model, cameras = super()._furnish(seed)
        # OpenGL's shadows flicker on the sides of things that face away from the lamp
        model.light_castshadow[:] = False
        return model, cameras

    def _choose(self, rng: random.Random) -> Room:
        while True:
            room = super()._choose(rng)
            thing = room.things[0]
            side = rng.choice((-1, 1)) * rng.uniform(*_ASIDE) / _PUSH_S
            distance = math.hypot(thing.x, thing.y)
            across = np.array([-thing.y, thing.x]) / distance
            way = distance - STAND_OFF - RADIUS
            self.push = Push(side * across, way * rng.uniform(*_AFTER))
            if (_DISTANCE[0] < distance < _DISTANCE[1]
                    and abs(math.atan2(thing.y, thing.x)) < _BEARING
                    and _is_free(room, self.push.end(thing))):
                return room

    def _begin(self) -> None:
        super()._begin()
        self._until = math.inf  # when the push ends, seconds
        self._driven = 0.0  # metres

    def _apply(self) -> None:
        body = self.model.body(self.room.things[0].name)
        time = self.data.time
        if self._until == math.inf and self._driven >= self.push.after:
            self._until = time + _PUSH_S
        force = self.data.xfrc_applied[body.id]
        force[:] = 0
        if self._until - _PUSH_S <= time < self._until:
            velocity, wanted = self.data.qvel[body.dofadr[0] :][:2], self.push.velocity
            sliding = self.room.things[0].friction * _GRAVITY * wanted / np.linalg.norm(wanted)
            force[:2] = body.mass[0] * (sliding + _GAIN * (wanted - velocity))


def _is_free(room: Room, end: Floats) -> bool:
    """Whether a room has place for the first thing at its end, and for all ways there."""
    thing, *others = room.things
    left, right, low, high = room.walls
    margin = thing.radius + _TO_WALL
    start, base = np.array([thing.x, thing.y]), np.zeros(2)
    return (left + margin < end[0] < right - margin and low + margin < end[1] < high - margin
            and all(_distance(np.array([other.x, other.y]), a, b) > other.radius + _CLEAR
                    for other in others for a, b in ((base, start), (base, end), (start, end))))


def _distance(point: Floats, start: Floats, end: Floats) -> float:
    """Metres between a point and a straight way."""
    way = end - start
    share = np.clip((point - start) @ way / (way @ way), 0, 1)
    return float(np.linalg.norm(point - start - share * way))
