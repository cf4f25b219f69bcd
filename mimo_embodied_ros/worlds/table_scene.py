"""Tabletops with coloured objects as a camera sees them, drawn here or rendered, and their truth.

The fields of a scene hold everything that a question can ask about it. Coordinates are pixels of
the drawn image, x to the right and y down. The same primitives draw the picture and the masks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .drawing import FRACTION_BITS, add_lighting, fixed_point, shaded
from .things import COLOURS, PLACES
from .things import SHAPES as ALL_SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .drawing import Picture

# Each shape is a list of primitives: kind, points in units of the object's radius around the point
# where a gripper would touch it, and shade (1: the colour itself, below: darker, above: lighter).
_POLYGON, _ELLIPSE, _RING = 'polygon', 'ellipse', 'ring'
_SHAPES: dict[str, list[tuple[str, list[tuple[float, float]], float]]] = {
    'cube': [
        (_POLYGON, [(-0.9, -0.5), (0.45, -0.5), (0.45, 0.9), (-0.9, 0.9)], 1.0),
        (_POLYGON, [(-0.9, -0.5), (-0.45, -0.95), (0.9, -0.95), (0.45, -0.5)], 1.4),
        (_POLYGON, [(0.45, -0.5), (0.9, -0.95), (0.9, 0.45), (0.45, 0.9)], 0.65),
    ],
    'ball': [
        (_ELLIPSE, [(0.0, 0.0), (0.95, 0.95)], 1.0),
        (_ELLIPSE, [(-0.3, -0.4), (0.27, 0.25)], 1.5),
    ],
    'cone': [
        (_POLYGON, [(0.0, -1.2), (0.85, 0.7), (-0.85, 0.7)], 1.0),
        (_ELLIPSE, [(0.0, 0.7), (0.85, 0.28)], 1.0),
        (_POLYGON, [(0.0, -1.2), (0.85, 0.7), (0.25, 0.93)], 0.65),
    ],
    'cup': [
        (_RING, [(0.68, 0.0), (0.42, 0.45)], 0.85),
        (_POLYGON, [(-0.7, -0.75), (0.7, -0.75), (0.55, 0.95), (-0.55, 0.95)], 1.0),
        (_ELLIPSE, [(0.0, -0.75), (0.7, 0.22)], 0.5),
    ],
    'bowl': [
        (_POLYGON, [(-1.15, -0.3), (1.15, -0.3), (0.8, 0.5), (0.4, 0.75), (-0.4, 0.75),
                    (-0.8, 0.5)], 1.0),
        (_ELLIPSE, [(0.0, -0.3), (1.15, 0.34)], 1.4),
        (_ELLIPSE, [(0.0, -0.27), (0.92, 0.24)], 0.5),
    ],
    'plate': [
        (_ELLIPSE, [(0.0, 0.06), (1.3, 0.62)], 0.7),
        (_ELLIPSE, [(0.0, 0.0), (1.3, 0.6)], 1.0),
        (_ELLIPSE, [(0.0, 0.0), (0.85, 0.36)], 1.35),
    ],
    'mat': [
        (_POLYGON, [(-0.95, -0.6), (1.25, -0.6), (0.95, 0.6), (-1.25, 0.6)], 1.0),
        (_POLYGON, [(-0.72, -0.42), (0.95, -0.42), (0.72, 0.42), (-0.95, 0.42)], 0.8),
    ],
}
SHAPES = tuple(_SHAPES)
_RING_WIDTH = 0.2
_HALF_WIDTH = 1.3  # of the widest shape, in radii
MIN_CLEARANCE = 1.2  # least `clearance` between two things


@dataclass(frozen=True)
class Thing:
    """One object on a table.

    Attributes:
        colour: a key of `COLOURS`.
        shape: one of `SHAPES`.
        x: column of the point where a gripper would touch it, pixels.
        y: row of that point, pixels.
        radius: half of its size, pixels.
        place: where it is, as `ThingState.place`; empty: on the table.

    """

    colour: str
    shape: str
    x: float
    y: float
    radius: float
    place: str = ''

    @property
    def name(self) -> str:
        """Colour and shape, as questions and plans name the object."""
        return f'{self.colour} {self.shape}'

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Smallest box around the drawn object: x_min, y_min, x_max, y_max, pixels."""
        xs, ys = [], []
        for kind, points, _ in _SHAPES[self.shape]:
            if kind == _POLYGON:
                xs += [p[0] for p in points]
                ys += [p[1] for p in points]
            else:
                (cx, cy), (ax, ay) = points
                if kind == _RING:
                    ax, ay = ax + _RING_WIDTH / 2, ay + _RING_WIDTH / 2
                xs += [cx - ax, cx + ax]
                ys += [cy - ay, cy + ay]
        return (
            self.x + min(xs) * self.radius,
            self.y + min(ys) * self.radius,
            self.x + max(xs) * self.radius,
            self.y + max(ys) * self.radius,
        )

    @property
    def size(self) -> float:
        """Area of the box in square pixels, which questions about "bigger" compare."""
        x_min, y_min, x_max, y_max = self.box
        return (x_max - x_min) * (y_max - y_min)


@dataclass(frozen=True)
class SeenThing(Thing):
    """One object in a rendered picture.

    Attributes:
        edges: smallest box around what is seen of it: x_min, y_min, x_max, y_max, pixels.
        ground: the circle that holds it, seen from above: x, y, radius, metres.

    """

    edges: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    ground: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Smallest box around what is seen of it: x_min, y_min, x_max, y_max, pixels."""
        return self.edges


@dataclass(frozen=True)
class Table:
    """A tabletop as a camera sees it.

    Attributes:
        pixels: (height, width, 3) uint8, RGB.
        things: the objects that are seen.
        horizon: row where the table ends and the wall begins; 0: no wall is visible.
        rendered: whether physics made it, so that things are seen in the gripper and in bowls.
        hidden: objects in others that are not seen, or not well enough to be pointed at.
        gripper: whether the fingers of a gripper are seen.
        free: (x, y), pixels, the middle of the largest free space on the table; None: unknown.
        labels: (height, width), n where the nth of `things` is seen, counted from 1; None: not
            known, or the scene is drawn.

    """

    pixels: Picture
    things: tuple[Thing, ...]
    horizon: float
    rendered: bool = False
    hidden: tuple[Thing, ...] = ()
    gripper: bool = False
    free: tuple[float, float] | None = None
    labels: NDArray[np.uint8] | None = None

    @property
    def shapes(self) -> Iterable[str]:
        """The shapes that its things may have."""
        return ALL_SHAPES if self.rendered else SHAPES


def _draw_thing(
    canvas: Picture, thing: Thing, scale: float, colour: tuple[float, ...], *, flat: bool = False
) -> None:
    centre, radius = np.array([thing.x, thing.y]) * scale, thing.radius * scale
    for kind, points, shade in _SHAPES[thing.shape]:
        fill = colour if flat else shaded(colour, shade)
        if kind == _POLYGON:
            outline = fixed_point(centre + radius * np.asarray(points))
            cv2.fillPoly(canvas, [outline], fill, cv2.LINE_AA, FRACTION_BITS)
            continue
        middle = fixed_point(centre + radius * np.asarray(points[0]))
        axes = fixed_point(radius * np.asarray(points[1]))
        thickness = -1 if kind == _ELLIPSE else max(1, round(_RING_WIDTH * radius))
        cv2.ellipse(canvas, tuple(int(v) for v in middle), tuple(int(v) for v in axes), 0, 0, 360,
                    fill, thickness, cv2.LINE_AA, FRACTION_BITS)


def mask(scene: Table, thing: Thing) -> NDArray[np.bool_]:
    """Return (height, width) bool: where ``thing`` is seen, and no other thing hides it."""
    if scene.labels is not None:
        seen: NDArray[np.bool_] = scene.labels == 1 + scene.things.index(thing)
        return seen
    out = np.zeros(scene.pixels.shape[:2], np.uint8)
    for other in sorted(scene.things, key=lambda t: t.y):
        _draw_thing(out, other, 1.0, (255.0 if other is thing else 0.0,), flat=True)
    return out > 127


def _background(rng: random.Random, height: int, width: int) -> tuple[Picture, float]:
    """Draw table and wall; return the canvas and the row of the horizon."""
    level = rng.uniform(75, 225)
    table = [min(245.0, max(40.0, level + rng.uniform(-20, 20))) for _ in range(3)]
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = table
    pattern = rng.choice(('plain', 'plain', 'planks', 'checks'))
    unit = max(4, int(min(height, width) * rng.uniform(0.08, 0.25)))
    if pattern == 'planks':
        seam = shaded(tuple(table), 0.86)
        for row in range(rng.randrange(unit), height, unit):
            cv2.line(canvas, (0, row), (width, row), seam, max(1, height // 120))
    elif pattern == 'checks':
        rows, columns = np.arange(height) // unit % 2, np.arange(width) // unit % 2
        canvas[rows[:, None] != columns[None, :]] = shaded(tuple(table), rng.uniform(0.86, 0.95))
    horizon = 0.0
    if rng.random() < 0.5:
        horizon = rng.uniform(0.04, 0.2) * height
        grey = rng.uniform(50, 245)
        canvas[: int(horizon)] = [grey + rng.uniform(-10, 10) for _ in range(3)]
    return canvas, horizon


def random_place(
    rng: random.Random, width: int, height: int, radius: float, horizon: float = 0.0
) -> tuple[float, float]:
    """Draw a place (x, y), pixels, where a thing of this radius is inside table and picture."""
    reach = _HALF_WIDTH * radius
    return (rng.uniform(reach, width - reach),
            rng.uniform(max(horizon, 0.0) + reach, height - reach))


def clearance(x: float, y: float, radius: float, things: Iterable[Thing]) -> float:
    """Return the distance to the nearest thing, divided by the sum of the two radii."""
    return min((float(np.hypot(x - t.x, y - t.y)) / (radius + t.radius) for t in things),
               default=np.inf)


def place_things(
    rng: random.Random, width: int, height: int, count: int, horizon: float = 0.0,
    first: tuple[tuple[str, str], ...] = (), *, alike: bool = False,
) -> tuple[Thing, ...]:
    """Place up to ``count`` things with different names in the picture, so that none touch.

    Args:
        rng: source of all random choices.
        width: columns of the picture, pixels.
        height: rows of the picture, pixels.
        count: number of things; fewer are placed where they find no room.
        horizon: row above which nothing is placed, pixels.
        first: colours and shapes of the things to place before any others.
        alike: choose the others among two colours, so that most share theirs.

    """
    colours = rng.sample([*COLOURS], 2) if alike else COLOURS
    others = [(c, s) for c in colours for s in SHAPES if (c, s) not in first]
    things: list[Thing] = []
    for colour, shape in (*first, *rng.sample(others, count - len(first))):
        for _ in range(40):
            radius = rng.uniform(0.085, 0.15) * min(width, height)
            x, y = random_place(rng, width, height, radius, horizon)
            if clearance(x, y, radius, things) > MIN_CLEARANCE:
                things.append(Thing(colour, shape, x, y, radius))
                break
    return tuple(things)


def draw_table(
    rng: random.Random, width: int, height: int, least: int = 2, most: int = 6,
    things: tuple[Thing, ...] = (), *, steady: bool = False, alike: bool = False,
) -> Table:
    """Draw a tabletop.

    Args:
        rng: source of all random choices.
        width: columns of the picture, pixels.
        height: rows of the picture, pixels.
        least: least number of random things; fewer only where no more find room.
        most: largest number of random things.
        things: the things to draw instead of random ones.
        steady: make the lighting and the look of each thing independent of the other things.
        alike: see `place_things`.

    """
    scale = 2 if width * height < 200_000 else 1  # small pictures are drawn larger, then reduced
    canvas, horizon = _background(rng, height * scale, width * scale)
    horizon /= scale
    things = things or place_things(
        rng, width, height, rng.randint(least, most), horizon, alike=alike)
    seed = rng.getrandbits(64) if steady else 0

    def rng_for(name: str) -> random.Random:
        return random.Random(f'{seed} {name}') if steady else rng

    for thing in sorted(things, key=lambda t: t.y):
        look = rng_for(thing.name)
        if thing.shape not in PLACES:
            x, y = thing.x + 0.25 * thing.radius, thing.y + 0.75 * thing.radius
            rows, columns = canvas.shape[:2]
            under = canvas[min(rows - 1, max(0, int(y * scale))),
                           min(columns - 1, max(0, int(x * scale)))]
            axes = fixed_point([(thing.radius * scale, 0.35 * thing.radius * scale)])[0]
            middle = fixed_point([(x * scale, y * scale)])[0]
            fill = shaded(tuple(float(v) for v in under), look.uniform(0.72, 0.9))
            cv2.ellipse(canvas, tuple(int(v) for v in middle), tuple(int(v) for v in axes), 0, 0,
                        360, fill, -1, cv2.LINE_AA, FRACTION_BITS)
        tint = tuple(min(255.0, c * look.uniform(0.92, 1.08)) for c in COLOURS[thing.colour])
        _draw_thing(canvas, thing, scale, tint)
    if scale > 1:
        canvas = cv2.resize(
            canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Table(add_lighting(rng_for('light'), canvas), things, horizon)
