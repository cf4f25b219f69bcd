"""The things of `worlds.things` as bodies that collide, roll, and can be held by friction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mujoco

from mimo_embodied_ros.worlds.things import COLOURS, SHAPES, wall_of

from .scenery import HIDDEN_GROUP, add_turned_mesh, yaw_quaternion

if TYPE_CHECKING:
    import random

    from mimo_embodied_ros.worlds.things import TableThing

_BOX, _SPHERE = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE
_CYLINDER, _MESH = mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_MESH
_WALL = 0.003  # half of the thickness of a box's walls, metres
_RISE = 0.001  # metres above the table at first, so that nothing begins in a collision


def add_thing(
    spec: mujoco.MjSpec, thing: TableThing, rng: random.Random, *, fixed: bool = False
) -> None:
    """Add a body for a thing; hollow ones are a mesh to be seen, and boxes to be touched.

    Args:
        spec: of the world.
        thing: what, and where.
        rng: source of its tint and shine.
        fixed: whether it does not move, as for pictures.

    """
    tint = [min(1.0, c / 255 * rng.uniform(0.88, 1.12)) for c in COLOURS[thing.colour]] + [1.0]
    spec.add_material(name=thing.name, rgba=tint, specular=rng.uniform(0, 0.5),
                      shininess=rng.uniform(0.1, 0.7))
    body = spec.worldbody.add_body(name=thing.name, pos=[thing.x, thing.y, thing.z + _RISE],
                                   quat=yaw_quaternion(thing.yaw))
    if not fixed:
        body.add_freejoint()
    _SHAPERS[thing.shape](spec, body, thing)


def _touch(thing: TableThing, mass: float, **more: Any) -> dict[str, Any]:
    """What all geoms that are touched have: they decide how their contacts are, not the fingers."""
    return {'priority': 2, 'condim': 4, 'friction': [thing.friction, 0.005, 0.0001],
            'solref': [0.01, 1], 'solimp': [0.95, 0.99, 0.001, 0.5, 2], 'mass': mass, **more}


def _mass(thing: TableThing) -> float:
    return thing.mass or SHAPES[thing.shape].mass


def _cube(_: mujoco.MjSpec, body: Any, thing: TableThing) -> None:
    body.add_geom(type=_BOX, size=[thing.size] * 3, pos=[0, 0, thing.size], material=thing.name,
                  **_touch(thing, _mass(thing)))


def _ball(_: mujoco.MjSpec, body: Any, thing: TableThing) -> None:
    # with friction against rolling, or it never comes to rest
    body.add_geom(type=_SPHERE, size=[thing.size, 0, 0], pos=[0, 0, thing.size],
                  material=thing.name, **_touch(
                      thing, _mass(thing), condim=6, friction=[thing.friction, 0.005, 0.002]))


def _mat(_: mujoco.MjSpec, body: Any, thing: TableThing) -> None:
    thin = SHAPES['mat'].height * thing.size / 2
    body.add_geom(type=_BOX, size=[thing.size, 0.75 * thing.size, thin], pos=[0, 0, thin],
                  material=thing.name, **_touch(thing, _mass(thing)))


def _open_box(_: mujoco.MjSpec, body: Any, thing: TableThing) -> None:
    size, tall = thing.size, SHAPES['box'].height * thing.size / 2
    part = _touch(thing, _mass(thing) / 5, material=thing.name)
    body.add_geom(type=_BOX, size=[size, size, _WALL], pos=[0, 0, _WALL], **part)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        half = [_WALL, size, tall] if x else [size, _WALL, tall]
        at = [x * (size - _WALL), y * (size - _WALL), tall]
        body.add_geom(type=_BOX, size=half, pos=at, **part)


def _cone(spec: mujoco.MjSpec, body: Any, thing: TableThing) -> None:
    add_turned_mesh(spec, thing.name, SHAPES['cone'].profile, thing.size)
    body.add_geom(type=_MESH, meshname=thing.name, material=thing.name,
                  **_touch(thing, _mass(thing)))


def _hollow(spec: mujoco.MjSpec, body: Any, thing: TableThing) -> None:
    shape = SHAPES[thing.shape]
    add_turned_mesh(spec, thing.name, shape.profile, thing.size)
    body.add_geom(type=_MESH, meshname=thing.name, material=thing.name, contype=0, conaffinity=0,
                  mass=0)
    wall = wall_of(shape, thing.size)
    body.add_geom(type=_CYLINDER, size=[*wall.bottom, 0], pos=[0, 0, wall.bottom[1]],
                  **_touch(thing, wall.BOTTOM_MASS * _mass(thing), group=HIDDEN_GROUP))
    part = _touch(thing, (1 - wall.BOTTOM_MASS) * _mass(thing) / len(wall.yaws),
                  group=HIDDEN_GROUP)
    for yaw in wall.yaws:
        body.add_geom(
            type=_BOX, size=wall.stave, quat=_leaning(yaw, wall.tilt),
            pos=[wall.radius * math.cos(yaw), wall.radius * math.sin(yaw), wall.height], **part)


def _leaning(yaw: float, tilt: float) -> list[float]:
    """Quaternion w, x, y, z of a tilt around y, then a turn around z."""
    a, b = yaw / 2, tilt / 2
    return [math.cos(a) * math.cos(b), -math.sin(a) * math.sin(b), math.cos(a) * math.sin(b),
            math.sin(a) * math.cos(b)]


_SHAPERS = {'cube': _cube, 'ball': _ball, 'cone': _cone, 'cup': _hollow, 'bowl': _hollow,
            'plate': _hollow, 'mat': _mat, 'box': _open_box}
