"""Sightings of a camera that looks ahead, along x, in a frame whose z is up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.geometry.poses import Pose
from mimo_embodied_ros.memory.sighting import SeenThing, Sighting, View

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from mimo_embodied_ros.geometry.quaternions import Quaternion

S = 10**9
AHEAD = (-0.5, 0.5, -0.5, 0.5)


def view(
    depth: ArrayLike = (), *, position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    orientation: Quaternion = AHEAD,
) -> View:
    """A view of 640 by 480 pixels, with a grid of depth in metres, or one value for all of it."""
    grid = np.full((3, 4), depth, np.float32) if np.ndim(depth) == 0 else (
        np.asarray(depth, np.float32))
    return View(Pose(position, orientation), (500.0, 500.0), (320.0, 240.0), (640, 480),
                grid if grid.size else np.zeros((0, 0), np.float32))


def seen(
    name: str = 'red cup', at: tuple[float, float, float] = (1.0, 0.0, 0.0), **others: Any
) -> SeenThing:
    return SeenThing(name, at, **others)


def sighting(*things: SeenThing, stamp_s: float = 1.0, **others: Any) -> Sighting:
    values = {'camera': 'head', 'question': 'red cup', 'frame_id': 'odom', 'session': 'one',
              'image_size': (640, 480), **others}
    return Sighting(stamp_ns=round(stamp_s * S), things=things, **values)


def search(question: str = 'red cup', *things: SeenThing, **others: Any) -> Sighting:
    """A complete sighting with a view, of things or of none."""
    return sighting(*things, question=question,
                    **{'complete': True, 'view': view(3.0), **others})
