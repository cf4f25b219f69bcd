"""Drawn worlds with known truth: tabletops with coloured objects, and a simple road.

Everything that a question can ask of a scene is in its fields; pixels are of the drawn image,
x right, y down. The same primitives draw the picture and the mask, so a hit can be checked.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

COLOURS = {
    'red': (208, 38, 38),
    'green': (44, 158, 62),
    'blue': (40, 88, 212),
    'yellow': (234, 206, 44),
    'purple': (138, 58, 178),
    'orange': (240, 128, 28),
}

# Each shape is a list of primitives in units of the object's radius, around the point where one
# would touch it. Shade 1 is the colour itself, less is darker, more is lighter.
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
MOVABLE = ('cube', 'ball', 'cone')
CONTAINERS = ('cup', 'bowl')
PLACES = ('plate', 'mat')
_RING_WIDTH = 0.2
_HALF_WIDTH = 1.3  # of the widest shape, in radii
APART = 1.2  # how far things are from each other, in the sum of their radii


@dataclass(frozen=True)
class Thing:
    """One object: ``x, y`` is a point on it, ``radius`` its scale, both in pixels."""

    colour: str
    shape: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        """How people and plans call it."""
        return f'{self.colour} {self.shape}'

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Smallest box around what is drawn: x_min, y_min, x_max, y_max."""
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
        """Area of the box in square pixels: what "bigger" means here."""
        x_min, y_min, x_max, y_max = self.box
        return (x_max - x_min) * (y_max - y_min)


@dataclass(frozen=True)
class Table:
    """A tabletop seen by a camera."""

    pixels: Picture
    things: tuple[Thing, ...]
    horizon: float  # row where the table ends and the wall begins; 0 when no wall is seen


@dataclass(frozen=True)
class Seen:
    """Something at a road.

    Attributes:
        name: car, pedestrian or traffic light.
        colour: of the car or the light; empty where it does not matter.
        box: around it, pixels: x_min, y_min, x_max, y_max.
        near: whether it is just in front.

    """

    name: str
    colour: str
    box: tuple[float, float, float, float]
    near: bool = False

    @property
    def shape(self) -> str:
        """What it is, as of a thing on a table."""
        return self.name

    @property
    def x(self) -> float:
        """Middle of the box, pixels."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        """Middle of the box, pixels."""
        return (self.box[1] + self.box[3]) / 2

    @property
    def size(self) -> float:
        """Area of the box in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True)
class Road:
    """A road seen from the car; what is None is not there."""

    pixels: Picture
    bend: str  # one of BENDS
    light: str  # none, red, green
    traffic_light: Seen | None
    pedestrian: Seen | None  # on the road, in front of the car
    car: Seen | None  # ahead

    @property
    def things(self) -> tuple[Seen, ...]:
        """All that is there."""
        return tuple(t for t in (self.traffic_light, self.pedestrian, self.car) if t is not None)


def _shade(colour: tuple[float, ...], factor: float) -> tuple[float, ...]:
    if factor <= 1:
        return tuple(c * factor for c in colour)
    return tuple(c + (255 - c) * (factor - 1) for c in colour)


_SHIFT = 4  # fractional bits of the drawing coordinates


def _fixed(values: NDArray[np.float64] | list[tuple[float, float]]) -> NDArray[np.int32]:
    return np.round(np.asarray(values, np.float64) * (1 << _SHIFT)).astype(np.int32)


def _draw_thing(
    canvas: Picture, thing: Thing, scale: float, colour: tuple[float, ...], *, flat: bool = False
) -> None:
    centre, radius = np.array([thing.x, thing.y]) * scale, thing.radius * scale
    for kind, points, shade in _SHAPES[thing.shape]:
        fill = colour if flat else _shade(colour, shade)
        if kind == _POLYGON:
            outline = _fixed(centre + radius * np.asarray(points))
            cv2.fillPoly(canvas, [outline], fill, cv2.LINE_AA, _SHIFT)
            continue
        middle = _fixed(centre + radius * np.asarray(points[0]))
        axes = _fixed(radius * np.asarray(points[1]))
        thickness = -1 if kind == _ELLIPSE else max(1, round(_RING_WIDTH * radius))
        cv2.ellipse(canvas, tuple(int(v) for v in middle), tuple(int(v) for v in axes), 0, 0, 360,
                    fill, thickness, cv2.LINE_AA, _SHIFT)


def mask(scene: Table, thing: Thing) -> NDArray[np.bool_]:
    """(height, width) where ``thing`` is drawn and nothing lies before it."""
    out = np.zeros(scene.pixels.shape[:2], np.uint8)
    for other in sorted(scene.things, key=lambda t: t.y):
        _draw_thing(out, other, 1.0, (255.0 if other is thing else 0.0,), flat=True)
    return out > 127


def _background(rng: random.Random, height: int, width: int) -> tuple[Picture, float]:
    """Table and wall; returns the canvas and the row of the horizon."""
    level = rng.uniform(75, 225)
    table = [min(245.0, max(40.0, level + rng.uniform(-20, 20))) for _ in range(3)]
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = table
    pattern = rng.choice(('plain', 'plain', 'planks', 'checks'))
    unit = max(4, int(min(height, width) * rng.uniform(0.08, 0.25)))
    if pattern == 'planks':
        seam = _shade(tuple(table), 0.86)
        for row in range(rng.randrange(unit), height, unit):
            cv2.line(canvas, (0, row), (width, row), seam, max(1, height // 120))
    elif pattern == 'checks':
        rows, columns = np.arange(height) // unit % 2, np.arange(width) // unit % 2
        canvas[rows[:, None] != columns[None, :]] = _shade(tuple(table), rng.uniform(0.86, 0.95))
    horizon = 0.0
    if rng.random() < 0.5:
        horizon = rng.uniform(0.04, 0.2) * height
        grey = rng.uniform(50, 245)
        canvas[: int(horizon)] = [grey + rng.uniform(-10, 10) for _ in range(3)]
    return canvas, horizon


def _light(rng: random.Random, picture: Picture) -> Picture:
    """Brightness, colour cast, a gradient across the picture and sensor noise."""
    height, width = picture.shape[:2]
    gain = rng.uniform(0.75, 1.12) * np.array([rng.uniform(0.95, 1.05) for _ in range(3)])
    slope_x, slope_y = rng.uniform(-0.15, 0.15), rng.uniform(-0.12, 0.12)
    ramp = (1 + slope_x * np.linspace(-1, 1, width)[None, :]
            + slope_y * np.linspace(-1, 1, height)[:, None])
    lit = picture * (ramp[:, :, None] * gain).astype(np.float32)
    sigma = rng.choice((0.0, 0.0, 2.0, 5.0))
    if sigma:
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal((height, width, 1))
        lit = lit + sigma * noise.astype(np.float32)
    return np.clip(lit, 0, 255).astype(np.uint8)


def any_place(
    rng: random.Random, width: int, height: int, radius: float, horizon: float = 0.0
) -> tuple[float, float]:
    """Where a thing of this radius is wholly on the table and in the picture: x, y in pixels."""
    reach = _HALF_WIDTH * radius
    return (rng.uniform(reach, width - reach),
            rng.uniform(max(horizon, 0.0) + reach, height - reach))


def room(x: float, y: float, radius: float, things: Iterable[Thing]) -> float:
    """How far the nearest of ``things`` is, in its and this radius; above `APART` it is clear."""
    return min((float(np.hypot(x - t.x, y - t.y)) / (radius + t.radius) for t in things),
               default=np.inf)


def place_things(
    rng: random.Random, width: int, height: int, count: int, horizon: float = 0.0,
    first: tuple[tuple[str, str], ...] = (),
) -> tuple[Thing, ...]:
    """Up to ``count`` differently named things that do not touch, all inside of the picture.

    ``first`` are colours and shapes of those that come before any others.
    """
    others = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in first]
    things: list[Thing] = []
    for colour, shape in (*first, *rng.sample(others, count - len(first))):
        for _ in range(40):
            radius = rng.uniform(0.085, 0.15) * min(width, height)
            x, y = any_place(rng, width, height, radius, horizon)
            if room(x, y, radius, things) > APART:
                things.append(Thing(colour, shape, x, y, radius))
                break
    return tuple(things)


# What a question about a road can name, and which way it can go.
ROAD = ('car', 'pedestrian', 'traffic light')
BENDS = ('straight', 'left', 'right')


def draw_table(
    rng: random.Random, width: int, height: int, least: int = 2, most: int = 6,
    things: tuple[Thing, ...] = (), *, steady: bool = False,
) -> Table:
    """A tabletop of ``width`` x ``height`` pixels with ``things``, or ``least`` to ``most`` of any.

    Fewer than ``least`` are drawn only where no more find room. With ``steady``, neither the light
    nor what a thing looks like depends on which others there are.
    """
    scale = 2 if width * height < 200_000 else 1  # small pictures are drawn finer, then reduced
    canvas, horizon = _background(rng, height * scale, width * scale)
    horizon /= scale
    things = things or place_things(rng, width, height, rng.randint(least, most), horizon)
    seed = rng.getrandbits(64) if steady else 0

    def of(what: str) -> random.Random:
        return random.Random(f'{seed} {what}') if steady else rng

    for thing in sorted(things, key=lambda t: t.y):
        look = of(thing.name)
        if thing.shape not in PLACES:
            x, y = thing.x + 0.25 * thing.radius, thing.y + 0.75 * thing.radius
            rows, columns = canvas.shape[:2]
            under = canvas[min(rows - 1, max(0, int(y * scale))),
                           min(columns - 1, max(0, int(x * scale)))]
            axes = _fixed([(thing.radius * scale, 0.35 * thing.radius * scale)])[0]
            middle = _fixed([(x * scale, y * scale)])[0]
            fill = _shade(tuple(float(v) for v in under), look.uniform(0.72, 0.9))
            cv2.ellipse(canvas, tuple(int(v) for v in middle), tuple(int(v) for v in axes), 0, 0,
                        360, fill, -1, cv2.LINE_AA, _SHIFT)
        tint = tuple(min(255.0, c * look.uniform(0.92, 1.08)) for c in COLOURS[thing.colour])
        _draw_thing(canvas, thing, scale, tint)
    if scale > 1:
        canvas = cv2.resize(
            canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return Table(_light(of('light'), canvas), things, horizon)


class _Brush:
    """Draws in shares of the picture's sides, x right and y down."""

    def __init__(self, canvas: Picture) -> None:
        self._canvas = canvas
        self._height, self._width = canvas.shape[:2]

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: tuple[float, ...]
                  ) -> None:
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) * (self._width, self._height)
        cv2.fillPoly(self._canvas, [_fixed(corners)], fill, cv2.LINE_AA, _SHIFT)

    def ellipse(self, x: float, y: float, w: float, h: float, fill: tuple[float, ...]) -> None:
        middle, axes = (tuple(int(v) for v in _fixed([(p * self._width, q * self._height)])[0])
                        for p, q in ((x, y), (w, h)))
        cv2.ellipse(self._canvas, middle, axes, 0, 0, 360, fill, -1, cv2.LINE_AA, _SHIFT)

    def seen(self, name: str, colour: str, x0: float, y0: float, x1: float, y1: float, *,
             near: bool = False) -> Seen:
        return Seen(name, colour, (x0 * self._width, y0 * self._height, x1 * self._width,
                                   y1 * self._height), near)

    def car(self, x: float, y: float, w: float, tall: float, colour: str, *, near: bool) -> Seen:
        self.rectangle(x - w, y - tall, x + w, y, COLOURS[colour])
        self.rectangle(x - 0.75 * w, y - 0.88 * tall, x + 0.75 * w, y - 0.55 * tall, (40, 50, 70))
        return self.seen('car', colour, x - w, y - tall, x + w, y, near=near)

    def pedestrian(self, x: float, y: float, w: float, tall: float, coat: str) -> Seen:
        skin, trousers = (224, 172, 138), (45, 45, 90)
        self.rectangle(x - 0.6 * w, y - 0.45 * tall, x - 0.1 * w, y, trousers)
        self.rectangle(x + 0.1 * w, y - 0.45 * tall, x + 0.6 * w, y, trousers)
        self.rectangle(x - w, y - 0.8 * tall, x + w, y - 0.42 * tall, COLOURS[coat])
        self.ellipse(x, y - 0.89 * tall, 0.7 * w, 0.11 * tall, skin)
        return self.seen('pedestrian', '', x - w, y - tall, x + w, y, near=True)

    def traffic_light(self, x: float, light: str) -> Seen:
        self.rectangle(x - 0.04, 0.06, x + 0.04, 0.28, (30, 30, 30))
        red = light == 'red'
        self.ellipse(x, 0.115 if red else 0.225, 0.03, 0.045,
                     (255, 40, 40) if red else (40, 255, 90))
        return self.seen('traffic light', light, x - 0.04, 0.06, x + 0.04, 0.28)


def draw_road(rng: random.Random, width: int, height: int) -> Road:
    """A road that may bend, with or without a light, a car ahead and somebody on it."""
    bend = rng.choice(BENDS)
    light = rng.choice(('none', 'none', 'red', 'green'))
    distance = rng.choice(('none', 'near', 'far'))
    walks = distance != 'near' and rng.random() < 0.35
    curve = {'straight': 0.0, 'left': -1.0, 'right': 1.0}[bend] * rng.uniform(0.22, 0.3)
    offset = rng.uniform(-0.04, 0.04)
    size = np.array([width, height], np.float64)
    sky = [min(255, c + rng.uniform(-25, 25)) for c in (150, 190, 225)]
    grass = [c + rng.uniform(-20, 20) for c in (90, 150, 80)]
    canvas = np.empty((height, width, 3), np.uint8)
    horizon = 0.4
    canvas[:] = sky
    canvas[int(horizon * height):] = grass

    def centre(t: float) -> float:
        """Where the road runs at depth t: 0 at the bumper, 1 at the horizon."""
        return 0.5 + offset * (1 - t) + curve * t * t

    depth = np.linspace(0, 1, 12)
    middle = np.array([centre(t) for t in depth])
    half = 0.34 * (1 - depth) + 0.02
    rows = 1 - (1 - horizon) * depth
    edges = [np.stack([middle + sign * half, rows], 1) * size for sign in (-1, 1)]
    asphalt = [rng.uniform(60, 95)] * 3
    cv2.fillPoly(canvas, [_fixed(np.concatenate([edges[0], edges[1][::-1]]))], asphalt,
                 cv2.LINE_AA, _SHIFT)
    for edge in edges:
        cv2.polylines(canvas, [_fixed(edge)], False, (240, 240, 240), max(1, width // 90),
                      cv2.LINE_AA, _SHIFT)

    brush = _Brush(canvas)
    square = min(width, height * 1.4) / height  # keeps what is drawn in shape on tall pictures
    car = pedestrian = None
    if distance != 'none':
        near = distance == 'near'
        t = rng.uniform(0.2, 0.36) if near else rng.uniform(0.6, 0.72)
        w = 0.17 * (1 - t) + 0.025
        car = brush.car(centre(t), 1 - (1 - horizon) * t, w, 1.3 * w * square,
                        rng.choice(list(COLOURS)), near=near)
    if walks:
        t = rng.uniform(0.1, 0.3)
        x = centre(t) + rng.uniform(-0.7, 0.7) * (0.34 * (1 - t) + 0.02)
        pedestrian = brush.pedestrian(
            x, 1 - (1 - horizon) * t, 0.035 + 0.02 * (1 - t), (0.26 + 0.1 * (1 - t)) * square,
            rng.choice(list(COLOURS)))
    traffic_light = (
        None if light == 'none' else brush.traffic_light(rng.choice((0.12, 0.88)), light))
    return Road(_light(rng, canvas), bend, light, traffic_light, pedestrian, car)
