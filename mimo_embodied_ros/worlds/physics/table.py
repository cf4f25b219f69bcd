"""A random table with things, as MuJoCo's model.

The frame's origin is on the table's top, where an arm stands; x points over the table.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mujoco

from mimo_embodied_ros.worlds.things import COLOURS, SHAPES, TABLE, TABLE_AHEAD, TableThing

from . import scenery
from .bodies import add_thing

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

SPACE = (0.34, 0.68, -0.26, 0.26)
"""Where things may stand: least and largest x, least and largest y, metres."""
MIDDLE = (0.5, 0.0, 0.0)
"""What lamps and cameras are turned to, metres."""
GAP = 0.035
"""Least metres between the circles of two things, so that fingers have room."""
_TRIES = 200
_SKY = (0.6, 0.65, 0.7)  # where nothing is, 0 to 1


def random_things(
    rng: random.Random, count: int, first: Sequence[tuple[str, str]] = (),
    shapes: Iterable[str] = SHAPES, gap: float = GAP,
) -> tuple[TableThing, ...]:
    """Choose things with different names, and places for them; fewer where there is no more room.

    Args:
        rng: source of all random choices.
        count: number of things.
        first: colours and shapes of the first ones.
        shapes: of the others.
        gap: least metres between the circles of two things.

    """
    others = [(c, s) for c in COLOURS for s in shapes if (c, s) not in first]
    things: list[TableThing] = []
    for colour, shape in (*first, *rng.sample(others, max(0, count - len(first)))):
        size = rng.uniform(*SHAPES[shape].sizes)
        place = free_place(rng, SHAPES[shape].reach * size, things, gap)
        if place is not None:
            things.append(TableThing(colour, shape, size, *place, rng.uniform(0, 2 * math.pi)))
    return tuple(things)


def free_place(
    rng: random.Random, radius: float, things: Iterable[TableThing], gap: float = GAP
) -> tuple[float, float] | None:
    """Choose a place (x, y), metres, for a circle that touches no thing; None: there is none."""
    left, right, low, high = SPACE
    for _ in range(_TRIES):
        x, y = rng.uniform(left + radius, right - radius), rng.uniform(low + radius, high - radius)
        if all(math.hypot(x - t.x, y - t.y) > radius + t.radius + gap for t in things):
            return x, y
    return None


def add_table(
    spec: mujoco.MjSpec, rng: random.Random, things: Iterable[TableThing], *, fixed: bool = False
) -> None:
    """Add table, floor, wall, lights and things to a spec, which may hold an arm already.

    Args:
        spec: of the world.
        rng: source of all random looks.
        things: that stand on the table.
        fixed: whether they do not move, as for pictures.

    """
    scenery.set_options(spec)
    # OpenGL spreads its map of shadows over the extent, and puts the near and far planes by it
    spec.stat.extent, spec.stat.center = 1.2, MIDDLE
    spec.add_texture(
        name='sky', type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=8, height=48,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT, rgb1=_SKY, rgb2=_SKY)
    scenery.add_lights(spec, rng, MIDDLE)
    for name in ('table', 'wall'):
        scenery.add_material(
            spec, name, scenery.random_texture(rng), rng.uniform(1, 5), rng.uniform(0, 0.3))
    box, plane = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    world = spec.worldbody
    world.add_geom(name='table', type=box, size=[side / 2 for side in TABLE],
                   pos=[TABLE_AHEAD, 0, -TABLE[2] / 2], material='table',
                   friction=[0.8, 0.005, 0.0001])
    world.add_geom(name='floor', type=plane, size=[4, 4, 0.1], pos=[0, 0, -0.75], material='wall')
    world.add_geom(name='wall', type=box, size=[0.05, 3, 2], pos=[-rng.uniform(0.8, 1.6), 0, 0.5],
                   material='wall')
    for thing in things:
        add_thing(spec, thing, rng, fixed=fixed)
