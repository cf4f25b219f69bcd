"""A tabletop that is always the same: Gazebo's world and the physical one are made of it.

The frame is the arm's: on the table's top, x ahead over the table.
"""

from __future__ import annotations

from dataclasses import dataclass

from .things import SHAPES


@dataclass(frozen=True)
class PlacedThing:
    """A thing, and where it stands.

    Attributes:
        colour: a key of `COLOURS`.
        shape: a key of `SHAPES`.
        x: metres.
        y: metres.
        yaw: radians.

    """

    colour: str
    shape: str
    x: float
    y: float
    yaw: float = 0.0

    @property
    def name(self) -> str:
        """Colour and shape."""
        return f'{self.colour} {self.shape}'

    @property
    def size(self) -> float:
        """Metres, see `Shape`: the mean of the shape's sizes."""
        return sum(SHAPES[self.shape].sizes) / 2


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


THINGS = (
    PlacedThing('red', 'cube', 0.5, 0.16, 0.4),
    PlacedThing('green', 'ball', 0.42, 0.02),
    PlacedThing('blue', 'bowl', 0.6, -0.13),
    PlacedThing('yellow', 'cup', 0.62, 0.2),
    PlacedThing('purple', 'plate', 0.42, -0.2),
)
CAMERA = FixedCamera(0.05, 0.55, 0.85)
"""The camera of the arm."""
