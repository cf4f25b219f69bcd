"""The things of all worlds: one list of colours, shapes, sizes and masses.

Drawings, physics, Gazebo's world, training and evaluation take them from here, so that a "blue
bowl" is the same thing everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

COLOURS = {
    'red': (208, 38, 38),
    'green': (44, 158, 62),
    'blue': (40, 88, 212),
    'yellow': (234, 206, 44),
    'purple': (138, 58, 178),
    'orange': (240, 128, 28),
}
"""RGB from 0 to 255."""


@dataclass(frozen=True)
class Shape:
    """A kind of thing that stands on a table.

    Attributes:
        sizes: least and largest size, metres: half of a side, or the largest radius.
        mass: kilograms.
        reach: radius of the circle on the table that holds it, in units of its size.
        height: in units of its size.
        profile: outline that is turned around the vertical axis, (radius, height) in units of the
            size, from the middle of the bottom outwards and, where it is hollow, inwards again;
            empty: not a turned thing.
        movable: whether the gripper can take it.
        holds: how things lie in or on it: in, on, or empty.

    """

    sizes: tuple[float, float]
    mass: float
    reach: float
    height: float
    profile: tuple[tuple[float, float], ...] = ()
    movable: bool = False
    holds: str = ''

    @property
    def mean_size(self) -> float:
        """Between the least and the largest one, metres."""
        return sum(self.sizes) / 2


SHAPES = {
    'cube': Shape((0.026, 0.031), 0.08, 2**0.5, 2, movable=True),
    'ball': Shape((0.026, 0.033), 0.05, 1, 2, movable=True),
    'cone': Shape((0.03, 0.036), 0.06, 1, 2.2, ((0, 0), (1, 0), (0, 2.2)), movable=True),
    'cup': Shape((0.036, 0.043), 0.2, 1, 2.1, (
        (0, 0), (0.72, 0), (1, 2.1), (0.9, 2.1), (0.64, 0.12), (0, 0.12)), holds='in'),
    'bowl': Shape((0.07, 0.085), 0.2, 1, 0.8, (
        (0, 0), (0.5, 0), (0.85, 0.38), (1, 0.8), (0.93, 0.8), (0.78, 0.42), (0.46, 0.1), (0, 0.1)),
        holds='in'),
    'plate': Shape((0.075, 0.095), 0.2, 1, 0.21, (
        (0, 0), (0.6, 0), (1, 0.17), (0.98, 0.21), (0.6, 0.06), (0, 0.06)), holds='on'),
    'mat': Shape((0.06, 0.075), 0.1, 1.25, 0.04, holds='on'),
    'box': Shape((0.07, 0.085), 0.3, 2**0.5, 0.8, holds='in'),
}
"""What stands on tables. Drawn tables have all but the box."""
MOVABLE = tuple(name for name, shape in SHAPES.items() if shape.movable)
CONTAINERS = tuple(name for name, shape in SHAPES.items() if shape.holds == 'in')
PLACES = tuple(name for name, shape in SHAPES.items() if shape.holds == 'on')
ROOM_SHAPES = {
    'box': Shape((0.16, 0.22), 8, 2**0.5, 2.2),
    'ball': Shape((0.18, 0.25), 3, 1, 2),
    'cone': Shape((0.19, 0.25), 4, 1, 3, ((0, 0), (1, 0), (0, 3))),
    'cylinder': Shape((0.14, 0.2), 8, 1, 3.4, ((0, 0), (1, 0), (1, 3.4), (0, 3.4))),
}
"""What stands in rooms, as large as furniture; a box is closed here."""
TABLE = (0.9, 1.2, 0.04)
"""Length, width and thickness of a table's top, metres; an arm stands on it, and looks along x."""
TABLE_AHEAD = 0.4
"""Metres from the arm to the middle of the table."""


@dataclass(frozen=True)
class TableThing:
    """A thing and where it stands at first.

    Attributes:
        colour: a key of `COLOURS`.
        shape: a key of `SHAPES`.
        size: metres, see `Shape`.
        x: metres in the table's frame.
        y: metres in the table's frame.
        yaw: radians.
        mass: kilograms; 0: the shape's.
        friction: of its surface.
        z: metres of its lowest point above the table.

    """

    colour: str
    shape: str
    size: float
    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0
    mass: float = 0.0
    friction: float = 0.8
    z: float = 0.0

    @property
    def name(self) -> str:
        """Colour and shape, which is also the name of its body."""
        return f'{self.colour} {self.shape}'

    @property
    def kind(self) -> Shape:
        """What all things of its shape have in common."""
        return SHAPES[self.shape]

    @property
    def radius(self) -> float:
        """Radius of the circle on the table that holds it, metres."""
        return self.kind.reach * self.size

    @property
    def height(self) -> float:
        """Metres."""
        return self.kind.height * self.size


@dataclass(frozen=True)
class Wall:
    """What is touched of a hollow thing: a disc as its bottom, and staves around it.

    Attributes:
        bottom: radius and half of the height of the disc, metres; it stands on the ground.
        stave: half of the sides of a stave, metres: across the wall, along it, and up.
        radius: from the axis to the middle of a stave, metres.
        height: of this middle, metres.
        tilt: of the staves outwards, radians.
        yaws: directions of the staves, radians.

    """

    bottom: tuple[float, float]
    stave: tuple[float, float, float]
    radius: float
    height: float
    tilt: float
    yaws: tuple[float, ...]

    BOTTOM_MASS = 0.7
    """Share of the mass that the bottom has; the staves share the rest."""


def wall_of(shape: Shape, size: float, staves: int = 14) -> Wall:
    """Return the wall of a turned thing of some size, metres."""
    low = shape.profile[1]
    high = max(shape.profile, key=lambda point: (point[1], point[0]))
    out, up = (size * (b - a) for a, b in zip(low, high))
    half = max(low[0], high[0]) * size * math.tan(math.pi / staves)
    return Wall((low[0] * size, 0.05 * size), (0.002, half, math.hypot(out, up) / 2),
                size * (low[0] + high[0]) / 2, size * (low[1] + high[1]) / 2,
                math.atan2(out, up),
                tuple(2 * math.pi * (number + 0.5) / staves for number in range(staves)))
