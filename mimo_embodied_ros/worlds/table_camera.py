"""The camera that sees drawn tables: a pinhole, and how far away is what it sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .table_scene import mask

if TYPE_CHECKING:
    from .table_scene import Table

WIDTH, HEIGHT = 640, 480
FOCAL = 525.0  # pixels
MATRIX = (FOCAL, 0.0, WIDTH / 2, 0.0, FOCAL, HEIGHT / 2, 0.0, 0.0, 1.0)
"""As ``k`` of sensor_msgs/CameraInfo."""
FAR, NEAR = 1.6, 0.9  # metres to the upper and lower edge of the picture
OPTICAL_FRAME = 'camera_color_optical_frame'


def depth_at(row: float) -> float:
    """Metres along the optical axis to what stands at ``row``: the table rises to the horizon."""
    return FAR + (NEAR - FAR) * row / HEIGHT


def depth_of(scene: Table) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """(HEIGHT, WIDTH) millimetres: the table, and each thing upright where it stands."""
    rows = np.array([depth_at(row) for row in range(HEIGHT)]) * 1000
    depth = np.repeat(rows[:, None], WIDTH, 1)
    for thing in scene.things:
        depth[mask(scene, thing)] = depth_at(thing.y) * 1000
    millimetres: np.ndarray[Any, np.dtype[np.uint16]] = depth.round().astype(np.uint16)
    return millimetres
