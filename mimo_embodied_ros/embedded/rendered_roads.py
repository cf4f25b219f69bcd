"""Rendered roads with their truth, for training and evaluation: `PhysicalRoad` as a car sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.worlds.physics.road import CAMERAS, PhysicalRoad
from mimo_embodied_ros.worlds.road_scene import Surround

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from mimo_embodied_ros.worlds.road_scene import Road, RoadObject
    from mimo_embodied_ros.worlds.world import View

LEAST = 40
"""Fewest pixels of a thing that tell what it is."""
_FRONT = CAMERAS[0]


def rendered_road(rng: random.Random, width: int, height: int) -> Road | None:
    """Render a road from the front camera; None: something in it is hard to tell.

    Args:
        rng: source of all random choices.
        width: columns.
        height: rows.

    """
    world = PhysicalRoad(rng.getrandbits(32), size=(width, height))
    _vary_camera(world, rng)
    view = world.look(_FRONT)
    road = world.scene(view)
    return road if _is_clear(view, road.things, len(world.bodies)) else None


def rendered_surround(rng: random.Random, width: int, height: int) -> Surround | None:
    """Render a road from all six cameras; None: something in a picture is hard to tell.

    Args:
        rng: source of all random choices.
        width: columns of a picture.
        height: rows of a picture.

    """
    world = PhysicalRoad(rng.getrandbits(32), size=(width, height))
    views = [world.look(name) for name in CAMERAS]
    front = world.scene(views[0])
    seen = (front.things, *(world.objects(view) for view in views[1:]))
    if not all(_is_clear(*pair, len(world.bodies)) for pair in zip(views, seen)):
        return None
    return Surround(np.concatenate([view.pixels for view in views]), front.bend, front.light, seen)


def _vary_camera(world: PhysicalRoad, rng: random.Random) -> None:
    """Give the front camera another lens, height and pitch."""
    camera = world.model.camera(_FRONT)
    camera.fovy[0] *= rng.uniform(0.85, 1.2)
    camera.pos[2] += rng.uniform(-0.3, 0.4)
    pitch, turned = rng.uniform(-0.03, 0.12), np.zeros(4)  # downwards
    mujoco.mju_mulQuat(turned, camera.quat, [math.cos(pitch / 2), -math.sin(pitch / 2), 0, 0])
    camera.quat[:] = turned


def _is_clear(view: View, things: Sequence[RoadObject], count: int) -> bool:
    """Whether all that is seen is one of a kind, large enough, and in an image token alone."""
    pixels = np.bincount(view.labels.ravel(), minlength=count + 1)[1:]
    seen = pixels > 0
    if (pixels[seen] < LEAST).any() or seen.sum() != len(things):
        return False
    cells = {(int(thing.x) // FACTOR, int(thing.y) // FACTOR) for thing in things}
    return len(cells) == len({thing.name for thing in things}) == len(things) and all(
        view.labels[int(thing.y), int(thing.x)] for thing in things)
