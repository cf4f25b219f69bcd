"""A random road: its course, and who moves on it. Nothing of MuJoCo.

Places on a road are metres along its middle line, from where the vehicle begins, and metres to the
left of this line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimo_embodied_ros.worlds.road_scene import BENDS
from mimo_embodied_ros.worlds.things import COLOURS

if TYPE_CHECKING:
    import random

LANE = 3.5
"""Width of a lane, metres; a road has two."""
CAR = (4.2, 1.8)
"""Length and width of a car, metres."""
BEGIN, END = -60.0, 160.0
"""Where a road begins and ends, metres."""


@dataclass(frozen=True)
class Course:
    """A straight road with at most one bend.

    Attributes:
        bend: one of `BENDS`.
        begin: where the bend begins, metres.
        radius: of the bend, metres.
        angle: by which the road turns in all, radians.

    """

    bend: str = 'straight'
    begin: float = 12.0
    radius: float = 35.0
    angle: float = 1.2

    def heading(self, along: float) -> float:
        """Return the direction of the road, radians to the left of where it begins."""
        turned = min(max(0.0, along - self.begin) / self.radius, self.angle)
        return {'straight': 0.0, 'left': turned, 'right': -turned}[self.bend]

    def place(self, along: float, left: float = 0.0) -> tuple[float, float]:
        """Return x, y, metres; the vehicle's lane begins at the origin and leads along x."""
        heading = self.heading(along)
        turned, side = abs(heading), -1.0 if self.bend == 'right' else 1.0
        curve = self.radius * turned
        straight = along - curve if along <= self.begin or not turned else self.begin
        beyond = along - straight - curve
        x = straight + self.radius * math.sin(turned) + beyond * math.cos(turned)
        y = side * (self.radius * (1 - math.cos(turned)) + beyond * math.sin(turned))
        return (x - left * math.sin(heading),
                y + left * math.cos(heading) + LANE / 2)

    def bends_at(self, along: float, ahead: float = 35.0) -> str:
        """Return how the road goes on in the next metres: one of `BENDS`."""
        turns = self.heading(along + ahead) - self.heading(along)
        return 'straight' if abs(turns) < 0.17 else 'left' if turns > 0 else 'right'


@dataclass
class Vehicle:
    """A car that follows its lane, and stops for what is before it.

    Attributes:
        name: of its body.
        colour: a key of `COLOURS`.
        along: where it is, metres.
        wish: speed that it drives where nothing is in its way, metres a second.
        way: 1 in the right lane, -1 in the other one, where it comes the other way.
        speed: metres a second.

    """

    name: str
    colour: str
    along: float
    wish: float
    way: int = 1
    speed: float = 0.0

    @property
    def left(self) -> float:
        """Metres to the left of the road's middle."""
        return -self.way * LANE / 2


@dataclass
class Walker:
    """A pedestrian who walks across the road and back.

    Attributes:
        coat: a key of `COLOURS`.
        along: where, metres.
        left: where now, metres to the left of the road's middle.
        speed: to the left, metres a second.

    """

    coat: str
    along: float
    left: float
    speed: float

    @property
    def on_road(self) -> bool:
        """Whether the pedestrian is in one of the lanes."""
        return abs(self.left) < LANE


@dataclass
class Light:
    """A traffic light for the right lane.

    Attributes:
        along: where, metres.
        left: where, metres to the left of the road's middle.
        shows: red or green.
        period: seconds after which it changes.

    """

    along: float
    left: float
    shows: str
    period: float = 8.0

    def at(self, time: float) -> str:
        """Return what it shows after a number of seconds."""
        other = 'green' if self.shows == 'red' else 'red'
        return other if int(time / self.period) % 2 else self.shows


@dataclass
class RoadPlan:
    """What is on a road at first.

    Attributes:
        course: of the road.
        ego: the vehicle with the cameras.
        cars: the other ones.
        walker: a pedestrian, or None.
        light: a traffic light, or None.

    """

    course: Course
    ego: Vehicle
    cars: tuple[Vehicle, ...] = ()
    walker: Walker | None = None
    light: Light | None = None


def random_plan(rng: random.Random) -> RoadPlan:
    """Choose a road.

    At most one car is ahead, near or far and never between; on the road ahead is either a
    pedestrian or a near car. Other cars and pedestrians are beside and behind at first.
    """
    course = Course(rng.choice(BENDS), rng.uniform(8, 15), rng.uniform(26, 42),
                    rng.uniform(1.0, 1.4))
    colours = rng.sample(list(COLOURS), 4)
    speed = rng.uniform(3, 9)
    ego = Vehicle('ego', colours[0], 0.0, speed, speed=speed)
    cars = []
    distance = rng.choice(('none', 'near', 'near', 'far'))
    if distance != 'none':
        gap = rng.uniform(4.5, 8) if distance == 'near' else rng.uniform(13, 20)
        pace = rng.uniform(0, 0.7) * speed
        cars.append(Vehicle(f'{colours[1]} car', colours[1], gap + CAR[0], pace, speed=pace))
    if rng.random() < 0.5:
        cars.append(Vehicle(f'{colours[2]} car', colours[2], rng.uniform(-30, -9), speed,
                            speed=speed))
    if rng.random() < 0.5:
        pace = rng.uniform(3, 9)
        cars.append(Vehicle(f'{colours[3]} car', colours[3], rng.uniform(-30, -2), pace, -1, pace))
    return RoadPlan(course, ego, tuple(cars), _random_walker(rng, distance),
                    _random_light(rng))


def _random_walker(rng: random.Random, distance: str) -> Walker | None:
    where = rng.choice(('ahead', 'beside', 'none'))
    coat, speed = rng.choice(list(COLOURS)), rng.choice((-1, 1)) * rng.uniform(0.7, 1.4)
    if where == 'ahead' and distance != 'near':
        return Walker(coat, rng.uniform(7, 12), rng.uniform(-0.8, 0.8) * LANE, speed)
    if where != 'none':
        return Walker(coat, rng.uniform(-12, 1), rng.choice((-1, 1)) * rng.uniform(4.5, 6.5), speed)
    return None


def _random_light(rng: random.Random) -> Light | None:
    if rng.random() < 0.6:
        return None
    return Light(rng.uniform(12, 19), rng.choice((-1, 1)) * (LANE + 0.9),
                 rng.choice(('red', 'green')), rng.uniform(6, 10))
