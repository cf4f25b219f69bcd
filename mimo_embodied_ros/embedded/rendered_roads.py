"""Rendered roads with their truth, for training and evaluation: `PhysicalRoad` as a car sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.worlds.physics.road import CAMERAS, PhysicalRoad

if TYPE_CHECKING:
    import random

    from mimo_embodied_ros.worlds.road_scene import Road
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
    return road if _is_clear(view, road, len(world.bodies)) else None


def _vary_camera(world: PhysicalRoad, rng: random.Random) -> None:
    """Give the front camera another lens, height and pitch."""
    camera = world.model.camera(_FRONT)
    camera.fovy[0] *= rng.uniform(0.85, 1.2)
    camera.pos[2] += rng.uniform(-0.3, 0.4)
    pitch, turned = rng.uniform(-0.03, 0.12), np.zeros(4)  # downwards
    mujoco.mju_mulQuat(turned, camera.quat, [math.cos(pitch / 2), -math.sin(pitch / 2), 0, 0])
    camera.quat[:] = turned


def _is_clear(view: View, road: Road, count: int) -> bool:
    """Whether all that is seen is large enough, shows its middle, and has an image token alone."""
    pixels = np.bincount(view.labels.ravel(), minlength=count + 1)[1:]
    seen = pixels > 0
    if (pixels[seen] < LEAST).any() or seen.sum() != len(road.things):
        return False
    cells = {(int(thing.x) // FACTOR, int(thing.y) // FACTOR) for thing in road.things}
    return len(cells) == len(road.things) and all(
        view.labels[int(thing.y), int(thing.x)] for thing in road.things)
