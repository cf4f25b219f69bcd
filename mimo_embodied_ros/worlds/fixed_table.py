"""A tabletop that is always the same: Gazebo's world and the physical one are made of it.

The frame is the arm's: on the table's top, x ahead over the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from .things import SHAPES, TableThing


@dataclass(frozen=True)
class FixedCamera:
    """A camera that looks ahead and down.

    Attributes:
        x: metres.
        z: metres.
        pitch: radians downwards.
        width: columns.
        height: rows.
        across: angle of view from left to right, radians.

    """

    x: float
    z: float
    pitch: float
    width: int = 640
    height: int = 480
    across: float = 1.1


THINGS = tuple(
    TableThing(colour, shape, SHAPES[shape].mean_size, x, y, yaw) for colour, shape, x, y, yaw in (
        ('red', 'cube', 0.5, 0.16, 0.4),
        ('green', 'ball', 0.42, 0.02, 0.0),
        ('blue', 'bowl', 0.6, -0.13, 0.0),
        ('yellow', 'cup', 0.62, 0.2, 0.0),
        ('purple', 'plate', 0.42, -0.2, 0.0)))
CAMERA = FixedCamera(0.05, 0.55, 0.85)
"""The camera of the arm."""
