"""The pinhole camera that sees drawn tables: its intrinsics and its depth image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .table_scene import mask

if TYPE_CHECKING:
    from .table_scene import Table

WIDTH, HEIGHT = 640, 480
FOCAL = 525.0  # pixels
FAR, NEAR = 1.6, 0.9  # metres to the table at the upper and the lower edge of the picture
OPTICAL_FRAME = 'camera_color_optical_frame'


def depth_at(row: float) -> float:
    """Return the metres along the optical axis to the table at a row of the picture."""
    return FAR + (NEAR - FAR) * row / HEIGHT


def depth_of(scene: Table) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return the depth image, (HEIGHT, WIDTH) uint16 millimetres; things stand upright."""
    rows = np.array([depth_at(row) for row in range(HEIGHT)]) * 1000
    depth = np.repeat(rows[:, None], WIDTH, 1)
    for thing in scene.things:
        depth[mask(scene, thing)] = depth_at(thing.y) * 1000
    millimetres: np.ndarray[Any, np.dtype[np.uint16]] = depth.round().astype(np.uint16)
    return millimetres
