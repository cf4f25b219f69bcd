"""Drawn roads as a car sees them, and their ground truth.

The fields of a scene hold everything that a question can ask about it. Coordinates are pixels of
the drawn image, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .drawing import FRACTION_BITS, add_lighting, fixed_point
from .things import COLOURS

if TYPE_CHECKING:
    import random

    from .drawing import Picture

ROAD_OBJECTS = ('car', 'pedestrian', 'traffic light')
BENDS = ('straight', 'left', 'right')
VIEWS = ('front', 'front left', 'front right', 'back', 'back left', 'back right')
"""What the cameras of a car show, in the order in which the model was trained to get them."""


@dataclass(frozen=True)
class RoadObject:
    """A car, a pedestrian or a traffic light.

    Attributes:
        name: one of `ROAD_OBJECTS`.
        colour: colour of the car or of the light; empty for a pedestrian.
        box: x_min, y_min, x_max, y_max, pixels.
        near: whether it is right in front of the car that has the camera.

    """

    name: str
    colour: str
    box: tuple[float, float, float, float]
    near: bool = False

    @property
    def shape(self) -> str:
        """The name, since a thing on a table has a shape too."""
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
    """A road as the camera of a car sees it.

    Attributes:
        pixels: (height, width, 3) uint8, RGB.
        bend: one of `BENDS`; empty: that is not to be seen.
        light: what the traffic light shows: none, red or green.
        traffic_light: the traffic light, or None.
        pedestrian: a pedestrian on the road in front of the car, or None.
        car: a car ahead, or None.

    """

    pixels: Picture
    bend: str
    light: str
    traffic_light: RoadObject | None
    pedestrian: RoadObject | None
    car: RoadObject | None

    @property
    def things(self) -> tuple[RoadObject, ...]:
        """All objects that are there."""
        return tuple(t for t in (self.traffic_light, self.pedestrian, self.car) if t is not None)


@dataclass(frozen=True)
class Surround:
    """A road as all cameras of a car see it at one moment, in the order of `VIEWS`.

    Attributes:
        pixels: (6 * height, width, 3) uint8, RGB: the pictures one below the other.
        bend: how the road ahead goes on, one of `BENDS`.
        light: what the traffic light ahead shows: none, red or green.
        seen: the objects of each picture, in its own coordinates.

    """

    pixels: Picture
    bend: str
    light: str
    seen: tuple[tuple[RoadObject, ...], ...]

    @property
    def roads(self) -> tuple[Road, ...]:
        """What each picture shows; only that of the front has a bend."""
        pictures = np.split(self.pixels, len(VIEWS))
        out = []
        for number, (pixels, objects) in enumerate(zip(pictures, self.seen)):
            named = {thing.name: thing for thing in objects}
            out.append(Road(pixels, self.bend if number == 0 else '',
                            self.light if number == 0 else 'none', named.get('traffic light'),
                            named.get('pedestrian'), named.get('car')))
        return tuple(out)

    def views_of(self, name: str) -> tuple[int, ...]:
        """Return the pictures that show an object, by its name."""
        return tuple(number for number, objects in enumerate(self.seen)
                     if any(thing.name == name for thing in objects))

    @property
    def things(self) -> tuple[RoadObject, ...]:
        """The objects that one picture shows and no other."""
        return tuple(thing for objects in self.seen for thing in objects
                     if len(self.views_of(thing.name)) == 1)


class _RoadBrush:
    """Draws on a picture; coordinates are shares of its width and height."""

    def __init__(self, canvas: Picture) -> None:
        self._canvas = canvas
        self._height, self._width = canvas.shape[:2]

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: tuple[float, ...]
                  ) -> None:
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) * (self._width, self._height)
        cv2.fillPoly(self._canvas, [fixed_point(corners)], fill, cv2.LINE_AA, FRACTION_BITS)

    def ellipse(self, x: float, y: float, w: float, h: float, fill: tuple[float, ...]) -> None:
        middle, axes = (tuple(int(v) for v in fixed_point([(p * self._width, q * self._height)])[0])
                        for p, q in ((x, y), (w, h)))
        cv2.ellipse(self._canvas, middle, axes, 0, 0, 360, fill, -1, cv2.LINE_AA, FRACTION_BITS)

    def _object(self, name: str, colour: str, x0: float, y0: float, x1: float, y1: float, *,
                near: bool = False) -> RoadObject:
        box = (x0 * self._width, y0 * self._height, x1 * self._width, y1 * self._height)
        return RoadObject(name, colour, box, near)

    def car(
        self, x: float, y: float, w: float, tall: float, colour: str, *, near: bool
    ) -> RoadObject:
        self.rectangle(x - w, y - tall, x + w, y, COLOURS[colour])
        self.rectangle(x - 0.75 * w, y - 0.88 * tall, x + 0.75 * w, y - 0.55 * tall, (40, 50, 70))
        return self._object('car', colour, x - w, y - tall, x + w, y, near=near)

    def pedestrian(self, x: float, y: float, w: float, tall: float, coat: str) -> RoadObject:
        skin, trousers = (224, 172, 138), (45, 45, 90)
        self.rectangle(x - 0.6 * w, y - 0.45 * tall, x - 0.1 * w, y, trousers)
        self.rectangle(x + 0.1 * w, y - 0.45 * tall, x + 0.6 * w, y, trousers)
        self.rectangle(x - w, y - 0.8 * tall, x + w, y - 0.42 * tall, COLOURS[coat])
        self.ellipse(x, y - 0.89 * tall, 0.7 * w, 0.11 * tall, skin)
        return self._object('pedestrian', '', x - w, y - tall, x + w, y, near=True)

    def traffic_light(self, x: float, light: str) -> RoadObject:
        self.rectangle(x - 0.04, 0.06, x + 0.04, 0.28, (30, 30, 30))
        red = light == 'red'
        self.ellipse(x, 0.115 if red else 0.225, 0.03, 0.045,
                     (255, 40, 40) if red else (40, 255, 90))
        return self._object('traffic light', light, x - 0.04, 0.06, x + 0.04, 0.28)


def draw_road(rng: random.Random, width: int, height: int) -> Road:
    """Draw a road that may bend, with or without a traffic light, a car and a pedestrian."""
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
        """Column of the road's middle at depth t: 0 at the bumper, 1 at the horizon."""
        return 0.5 + offset * (1 - t) + curve * t * t

    depth = np.linspace(0, 1, 12)
    middle = np.array([centre(t) for t in depth])
    half = 0.34 * (1 - depth) + 0.02
    rows = 1 - (1 - horizon) * depth
    edges = [np.stack([middle + sign * half, rows], 1) * size for sign in (-1, 1)]
    asphalt = [rng.uniform(60, 95)] * 3
    cv2.fillPoly(canvas, [fixed_point(np.concatenate([edges[0], edges[1][::-1]]))], asphalt,
                 cv2.LINE_AA, FRACTION_BITS)
    for edge in edges:
        cv2.polylines(canvas, [fixed_point(edge)], False, (240, 240, 240), max(1, width // 90),
                      cv2.LINE_AA, FRACTION_BITS)

    brush = _RoadBrush(canvas)
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
    return Road(add_lighting(rng, canvas), bend, light, traffic_light, pedestrian, car)


def draw_surround(rng: random.Random, width: int, height: int) -> Surround:
    """Draw six roads as if they were the views of one moment, which they are not."""
    roads = [draw_road(rng, width, height) for _ in VIEWS]
    return Surround(np.concatenate([road.pixels for road in roads]), roads[0].bend, roads[0].light,
                    tuple(road.things for road in roads))
