"""A random room with walls and things as large as furniture, as MuJoCo's model.

The frame's origin is on the floor where the base stands at first, and x is where it looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mujoco

from mimo_embodied_ros.worlds.things import COLOURS, ROOM_SHAPES, TableThing

from . import scenery

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from mimo_embodied_ros.worlds.things import Shape

STEP = 0.005
"""Seconds of one step of the physics in a room."""
CAMERA_ABOVE = 'overview'
"""Name of the camera above the room."""
ABOVE_FOVY = 40.0  # degrees
GAP = 0.75
"""Least metres between the circles of two things, so that a base can pass."""
_AWAY = 1.2  # least metres between the base and the circle of a thing
_TO_WALL = 0.45  # least metres between a wall and the circle of a thing
_WALL = 0.05, 1.2  # half of the thickness and of the height of walls, metres
_TRIES = 200
_RISE = 0.001  # metres above the floor at first


@dataclass(frozen=True)
class RoomThing(TableThing):
    """A thing of `ROOM_SHAPES`, and where it stands on the floor at first."""

    @property
    def kind(self) -> Shape:
        """What all things of its shape have in common."""
        return ROOM_SHAPES[self.shape]


@dataclass(frozen=True)
class Room:
    """Walls and things.

    Attributes:
        walls: least and largest x, least and largest y, metres.
        things: on the floor.

    """

    walls: tuple[float, float, float, float]
    things: tuple[RoomThing, ...]


def random_room(
    rng: random.Random, count: int, first: Sequence[tuple[str, str]] = ()
) -> Room:
    """Choose walls, and things with different names on places with ways between them.

    Args:
        rng: source of all random choices.
        count: number of things; fewer are placed where there is no more room.
        first: colours and shapes of the first ones, which are always placed.

    """
    while True:
        walls = (-rng.uniform(1.5, 2.5), rng.uniform(3.8, 5.0), -rng.uniform(2.3, 3.4),
                 rng.uniform(2.3, 3.4))
        others = [(c, s) for c in COLOURS for s in ROOM_SHAPES if (c, s) not in first]
        names = [*first, *rng.sample(others, max(0, count - len(first)))]
        things: list[RoomThing] = []
        for colour, shape in names:
            size = rng.uniform(*ROOM_SHAPES[shape].sizes)
            place = _free_place(rng, ROOM_SHAPES[shape].reach * size, walls, things)
            if place is not None:
                things.append(RoomThing(colour, shape, size, *place, rng.uniform(0, 2 * math.pi)))
        if {(t.colour, t.shape) for t in things} >= set(first):
            return Room(walls, tuple(things))


def _free_place(
    rng: random.Random, radius: float, walls: tuple[float, float, float, float],
    things: Iterable[RoomThing],
) -> tuple[float, float] | None:
    left, right, low, high = walls
    margin = radius + _TO_WALL
    for _ in range(_TRIES):
        x, y = rng.uniform(left + margin, right - margin), rng.uniform(low + margin, high - margin)
        if math.hypot(x, y) > radius + _AWAY and all(
                math.hypot(x - t.x, y - t.y) > radius + t.radius + GAP for t in things):
            return x, y
    return None


def add_room(
    spec: mujoco.MjSpec, rng: random.Random, room: Room, *, fixed: bool = False
) -> None:
    """Add walls, floor, lights, things and the camera above to a spec.

    Args:
        spec: of the world.
        rng: source of all random looks.
        room: walls and things.
        fixed: whether the things do not move, as for pictures.

    """
    scenery.set_options(spec, STEP)
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST  # servos shake with Euler
    spec.option.impratio = 20  # or a base slides sideways
    left, right, low, high = room.walls
    middle = [(left + right) / 2, (low + high) / 2, 0.0]
    scenery.add_lights(spec, rng, [middle[0], middle[1], 1.0])
    # light comes back from walls; all together hardly more than 1
    spec.visual.headlight.ambient = [rng.uniform(0.85, 1.0)] * 3
    for light in spec.lights:
        light.cutoff, light.diffuse = 90, 0.85 * light.diffuse  # a lamp lights all of a room
    for name in ('floor', 'wall'):
        scenery.add_material(
            spec, name, scenery.random_texture(rng), rng.uniform(0.5, 2), rng.uniform(0, 0.2))
    world, thick, tall = spec.worldbody, *_WALL
    wide, deep = (right - left) / 2 + 2 * thick, (high - low) / 2
    world.add_geom(name='floor', type=mujoco.mjtGeom.mjGEOM_PLANE, pos=middle,
                   size=[wide, deep + 2 * thick, 0.1], material='floor',
                   friction=[0.8, 0.005, 0.0001])
    for number, (x, y, half) in enumerate((
            (left - thick, middle[1], [thick, deep, tall]),
            (right + thick, middle[1], [thick, deep, tall]),
            (middle[0], low - thick, [wide, thick, tall]),
            (middle[0], high + thick, [wide, thick, tall]))):
        world.add_geom(name=f'wall {number}', type=mujoco.mjtGeom.mjGEOM_BOX, size=half,
                       pos=[x, y, tall], material='wall')
    for thing in room.things:
        _add_thing(spec, thing, rng, fixed=fixed)
    side = max(right - left, (high - low) * 1.3)
    up = side / 2 / math.tan(math.radians(ABOVE_FOVY / 2)) + 0.6
    world.add_camera(name=CAMERA_ABOVE, pos=[middle[0], middle[1], up], fovy=ABOVE_FOVY,
                     quat=scenery.yaw_quaternion(-math.pi / 2))


def _add_thing(
    spec: mujoco.MjSpec, thing: RoomThing, rng: random.Random, *, fixed: bool
) -> None:
    bright = rng.uniform(0.92, 1.12)
    tint = [min(1.0, c / 255 * bright * rng.uniform(0.96, 1.04))
            for c in COLOURS[thing.colour]] + [1.0]
    spec.add_material(name=thing.name, rgba=tint, specular=rng.uniform(0, 0.4),
                      shininess=rng.uniform(0.1, 0.6))
    body = spec.worldbody.add_body(name=thing.name, pos=[thing.x, thing.y, _RISE],
                                   quat=scenery.yaw_quaternion(thing.yaw))
    if not fixed:
        body.add_freejoint()
    size, half = thing.size, thing.height / 2
    geom: dict[str, Any] = {
        'box': {'type': mujoco.mjtGeom.mjGEOM_BOX, 'size': [size, size, half]},
        'ball': {'type': mujoco.mjtGeom.mjGEOM_SPHERE, 'size': [size, 0, 0]},
        'cylinder': {'type': mujoco.mjtGeom.mjGEOM_CYLINDER, 'size': [size, half, 0]},
        'cone': {'type': mujoco.mjtGeom.mjGEOM_MESH, 'meshname': thing.name},
    }[thing.shape]
    if thing.shape == 'cone':
        scenery.add_turned_mesh(spec, thing.name, thing.kind.profile, size)
    body.add_geom(pos=[0, 0, 0 if thing.shape == 'cone' else half], material=thing.name,
                  mass=thing.mass or thing.kind.mass, condim=6,
                  friction=[thing.friction, 0.005, 0.01], **geom)
