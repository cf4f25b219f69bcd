"""A simulated tabletop: a drawn table seen by a camera, and a gripper that picks and places.

The camera sees neither what the gripper holds nor what is in a bowl or a cup. A thing may slip out
of the gripper and lie somewhere on the table then. The gripper does not notice that; only a look at
the table shows it.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.core.frames import Intrinsics
from mimo_embodied_ros.geometry.camera_model import CameraModel

from .table_camera import FOCAL, HEIGHT, WIDTH, depth_at, depth_of
from .table_scene import MIN_CLEARANCE, clearance, draw_table, place_things, random_place
from .things import CONTAINERS, MOVABLE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from mimo_embodied_ros.geometry.extrinsics import Transform

    from .table_scene import Thing

CUBE, BOWL = ('red', 'cube'), ('blue', 'bowl')
_GRASP = 0.75  # share of a thing's radius within which the gripper closes on it
_CAMERA = CameraModel(Intrinsics(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2), WIDTH, HEIGHT)
_OTHERS = 1, 3  # least and largest number of things besides these two
_TRIES = 100  # random places among which the freest one is chosen


class Tabletop:
    """A red cube, a blue bowl and one to three other things, and a gripper.

    Attributes:
        things: the things that lie on the table.
        held: the thing that the gripper holds; None: nothing.
        inside: the container's name by the name of the thing in it.
        drops: how often a thing slipped out of the gripper.
        steps: how often the gripper picked or placed, with or without success.
        event: what happened last, in words.
        pixels: (480, 640, 3) uint8, RGB, the camera's image.
        depth: (480, 640) uint16, millimetres along the optical axis.

    """

    def __init__(self, seed: int, camera: Transform, drop: float = 0.2) -> None:
        """Draw a table.

        Args:
            seed: decides the scene, and when a thing slips out and where it lies then.
            camera: transform from the camera's optical frame to the gripper's frame.
            drop: probability that a thing slips out during a pick or a place.

        """
        self._seed, self._camera, self._drop_probability = seed, camera, drop
        self._slip_rng = random.Random(f'{seed} luck')
        rng = random.Random(seed)
        self._horizon = draw_table(random.Random(seed), WIDTH, HEIGHT).horizon
        self.things: tuple[Thing, ...] = ()
        count = 2 + rng.randint(*_OTHERS)
        while len(self.things) < count:
            self.things = place_things(rng, WIDTH, HEIGHT, count, self._horizon, (CUBE, BOWL))
        self.held: Thing | None = None
        self.inside: dict[str, str] = {}
        self.drops = self.steps = 0
        self._redraw('')

    @property
    def done(self) -> bool:
        """Whether the red cube is in the blue bowl."""
        return self.inside.get(' '.join(CUBE)) == ' '.join(BOWL)

    def where(self, name: str) -> str:
        """Say where a thing is."""
        if self.held is not None and self.held.name == name:
            return f'the gripper holds the {name}'
        if name in self.inside:
            return f'the {name} is in the {self.inside[name]}'
        return f'the {name} lies on the table'

    def position(self, thing: Thing) -> NDArray[np.float64]:
        """Return the middle of a thing on the table: (3,) metres in the gripper's frame."""
        ray = _CAMERA.rays([(thing.x, thing.y)])[0]
        return self._camera.apply(np.array([*ray, 1.0]) * depth_at(thing.y))

    def pick(self, point: ArrayLike) -> str:
        """Open the gripper, close it at a point, and lift.

        Args:
            point: (3,) metres in the gripper's frame.

        Returns:
            The failure that the gripper notices; empty: none.

        """
        self.steps += 1
        if self.held is not None:
            self._lay_at_random(self.held)
        thing = self._nearest(point, MOVABLE)
        if thing is None or self._distance(thing, point) > grasp_radius(thing):
            self._redraw('the gripper closed on nothing')
            return (f'the gripper closed on nothing at {_point_words(point)}; give the middle of '
                    'a thing')
        self.held = thing
        self.things = tuple(t for t in self.things if t is not thing)
        self._redraw(self._slip() or f'picked up the {thing.name}')
        return ''

    def place(self, point: ArrayLike) -> str:
        """Open the gripper above a point.

        The held thing falls into a bowl or a cup below, or else lies on the table there.

        Args:
            point: (3,) metres in the gripper's frame.

        Returns:
            The failure that the gripper notices; empty: none.

        """
        self.steps += 1
        pixel = _CAMERA.pixels(self._camera.inverse.apply(point))[0]
        if not ((pixel >= 0) & (pixel <= (WIDTH, HEIGHT))).all():
            return f'{_point_words(point)} is not on the table; give a point that the camera sees'
        thing = self.held
        if thing is None:
            self._redraw('the gripper opened, with nothing in it')
            return ''
        slipped = self._slip()
        if slipped:
            self._redraw(slipped)
            return ''
        below = self._thing_below(point)
        if below is not None and below.shape in CONTAINERS:
            self.inside[thing.name] = below.name
            self._redraw(f'put the {thing.name} in the {below.name}')
        else:
            # things are drawn by row: one that lies on another must be drawn after it
            x, y = pixel[0], pixel[1] if below is None else max(pixel[1], below.y)
            self._put_down(thing, x, y)
            self._redraw(f'put the {thing.name} on the {"table" if below is None else below.name}')
        self.held = None
        return ''

    def _nearest(self, point: ArrayLike, shapes: tuple[str, ...] = ()) -> Thing | None:
        return min((t for t in self.things if not shapes or t.shape in shapes),
                   key=lambda t: self._distance(t, point), default=None)

    def _thing_below(self, point: ArrayLike) -> Thing | None:
        """The thing below a point, on which a dropped thing would fall."""
        thing = self._nearest(point)
        if thing is None or self._distance(thing, point) > _radius_m(thing):
            return None
        return thing

    def _distance(self, thing: Thing, point: ArrayLike) -> float:
        """Metres from a thing's middle to a point."""
        return float(np.linalg.norm(self.position(thing) - np.asarray(point, float)))

    def _slip(self) -> str:
        """Let the held thing slip out, by chance; say so, or return '' when it is still held."""
        thing = self.held
        if thing is None or self._slip_rng.random() >= self._drop_probability:
            return ''
        self.drops += 1
        self._lay_at_random(thing)
        return f'the {thing.name} slipped out'

    def _lay_at_random(self, thing: Thing) -> None:
        """Put a thing somewhere on the table, away from the others where there is room."""
        places = [random_place(self._slip_rng, WIDTH, HEIGHT, thing.radius, self._horizon)
                  for _ in range(_TRIES)]
        x, y = max(places, key=lambda at: min(
            clearance(at[0], at[1], thing.radius, self.things), MIN_CLEARANCE))
        self._put_down(thing, x, y)
        self.held = None

    def _put_down(self, thing: Thing, x: float, y: float) -> None:
        self.things = (*self.things, replace(thing, x=float(x), y=float(y)))

    def _redraw(self, event: str) -> None:
        """Draw the table as it is now."""
        scene = draw_table(
            random.Random(self._seed), WIDTH, HEIGHT, things=self.things, steady=True)
        self.event, self.pixels, self.depth = event, scene.pixels, depth_of(scene)


def grasp_radius(thing: Thing) -> float:
    """Return the distance from a thing's middle within which the gripper holds it, metres."""
    return _GRASP * _radius_m(thing)


def _radius_m(thing: Thing) -> float:
    """Radius of a thing, metres."""
    return thing.radius * depth_at(thing.y) / FOCAL


def _point_words(point: ArrayLike) -> str:
    return '({:.2f}, {:.2f}, {:.2f}) m'.format(*np.asarray(point, float))
