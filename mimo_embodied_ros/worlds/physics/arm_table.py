"""A table with an arm that picks and places things by contacts and friction."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.worlds.table_camera import FOCAL, HEIGHT, WIDTH
from mimo_embodied_ros.worlds.things import COLOURS, MOVABLE, SHAPES, TableThing
from mimo_embodied_ros.worlds.world import WorldCamera

from . import scenery
from .arm import Arm
from .arm_skills import ArmSkills
from .bodies import add_thing
from .physical_world import PhysicalWorld
from .rays import RayRenderer
from .robots import ur5e
from .table import MIDDLE, add_table, random_things
from .truth import thing_states

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from mimo_embodied_ros.worlds.world import ThingState

    from .physical_world import Renderer
    from .robots import Robot

FRAME = 'base_link'
CAMERA, OVERVIEW = 'camera', 'overview'
HAND = 'hand'
"""A person's open hand, onto which the arm lays what it hands over."""
HAND_AT = (0.42, 0.58, 0.1)
"""The middle of that hand, metres; it is beside the camera's view."""
_HAND_SIZE, _HAND_RGBA = (0.07, 0.07, 0.01), (0.85, 0.65, 0.53, 1)
EYE = (1.02, 0.0, 0.58)
"""Where the camera is, but for some centimetres."""
_OVERVIEW_EYE, _OVERVIEW_TARGET = (1.25, -1.15, 0.95), (0.25, 0.05, 0.2)  # metres
_REST = 0.5  # seconds until things have come to rest
_SLIPPERY_MASS, _SLIPPERY = 0.4, (0.05, 0.12)  # kilograms; friction
_SLOPES = {'cone': 1 / SHAPES['cone'].height}  # no force holds a cone with less friction
_PUSH, _PUSHED = 1.5, 0.1  # newtons for a thing of 100 g; seconds


class ArmTable(PhysicalWorld):
    """A random table with things, an arm, and a camera opposite to it.

    The frame is that of the arm's base, with z = 0 on the table's top.

    Attributes:
        frame: ``base_link``.
        arm: its motions.
        skills: pick, place, look, hand_over, open_gripper and close_gripper.
        table_things: the things as they stood at first, in the order of `things`.

    """

    frame = FRAME

    def __init__(
        self, seed: int = 0, *,
        first: Sequence[tuple[str, str]] = (('red', 'cube'), ('blue', 'bowl')),
        others: tuple[int, int] = (1, 3), things: Sequence[TableThing] | None = None,
        slippery: float = 0.0, knocks: float = 0.0, robot: Robot | None = None,
        renderer: Callable[[mujoco.MjModel], Renderer] = RayRenderer,
        size: tuple[int, int] = (WIDTH, HEIGHT), spread: float = 0.05,
    ) -> None:
        """Set the table.

        Args:
            seed: of all that is random.
            first: colours and shapes of things that each scene has.
            others: least and largest number of more things.
            things: the things and their places, instead of random ones.
            slippery: share of the movable things that are heavy and slippery.
            knocks: how often in a minute something pushes a thing, on average.
            robot: the arm; None: a UR5e.
            renderer: makes the renderer, in the thread that looks first.
            size: columns and rows of the camera's pictures.
            spread: metres by which the camera is elsewhere in each scene, at most.

        Raises:
            InvalidRequestError: the arm's files are not installed.

        """
        self._robot = robot or ur5e()
        self._first, self._others, self._given = tuple(first), others, things
        self._slippery, self._knocks = slippery, knocks
        self._size, self._spread = size, spread
        self._seed, self._spawned = seed, list[TableThing]()
        self.table_things, model, cameras = self._scene()
        super().__init__(
            model, cameras, [t.name for t in self.table_things], renderer)
        self._begin()

    def reset(self, seed: int | None = None) -> None:
        """Begin anew: with another scene, or with None the same one."""
        with self._looking, self.lock:
            if seed is not None or self._spawned:
                self._seed, self._spawned = self._seed if seed is None else seed, []
                self.table_things, model, cameras = self._scene()
                self._load(model, cameras, [t.name for t in self.table_things])
            self._begin()

    def spawn(
        self, name: str, position: ArrayLike, orientation: ArrayLike = (0.0, 0.0, 0.0, 1.0)
    ) -> None:
        """Add a thing until the next reset.

        Args:
            name: colour and shape.
            position: (3,) metres, of its lowest point's middle.
            orientation: quaternion x, y, z, w.

        Raises:
            InvalidRequestError: there is no such thing, or it is there already.

        """
        colour, _, shape = name.partition(' ')
        if colour not in COLOURS or shape not in SHAPES:
            msg = (f'there is no {name!r}; give a colour ({", ".join(COLOURS)}) and a shape '
                   f'({", ".join(SHAPES)})')
            raise InvalidRequestError(msg)
        if name in self.bodies:
            msg = f'there is a {name} already, and names are unique'
            raise InvalidRequestError(msg)
        before = self.data
        self._spawned.append(TableThing(colour, shape, SHAPES[shape].mean_size))
        self.table_things, model, cameras = self._scene()
        self._load(model, cameras, [t.name for t in self.table_things])
        with self.lock:
            # what is new comes last
            self.data.qpos[: len(before.qpos)], self.data.qvel[: len(before.qvel)] = (
                before.qpos, before.qvel)
            self.data.ctrl[:], self.data.time = before.ctrl, before.time
            self.put(name, position, orientation)

    def things(self) -> tuple[ThingState, ...]:
        """Return the truth about all things."""
        with self.lock:
            return thing_states(
                self.model, self.data, self.table_things, self._robot.fingers, HAND)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        with self.lock:
            while seconds > 1e-9:
                until = self._next_push - self.data.time
                if until < scenery.STEP:
                    self._push()
                    continue
                part = min(seconds, until)
                super().step(part)
                seconds -= part

    def _scene(self) -> tuple[tuple[TableThing, ...], mujoco.MjModel, dict[str, WorldCamera]]:
        rng = random.Random(self._seed)
        things = tuple(
            replace(t, mass=_SLIPPERY_MASS,
                    friction=rng.uniform(*_SLIPPERY) + _SLOPES.get(t.shape, 0.0))
            if t.shape in MOVABLE and rng.random() < self._slippery else t
            for t in self._choose(rng))
        spec = self._robot.spec()
        add_table(spec, rng, things)
        _add_hand(spec)
        width, height = self._size
        focal = FOCAL * height / HEIGHT
        eye = np.add(EYE, [rng.uniform(-self._spread, self._spread) for _ in EYE])
        cameras = {
            name: WorldCamera(name, width, height, focal, f'{name}_color_optical_frame', FRAME,
                              scenery.pose_looking_at(at, target), has_depth=depth)
            for name, at, target, depth in (
                (CAMERA, eye, MIDDLE, True), (OVERVIEW, _OVERVIEW_EYE, _OVERVIEW_TARGET, False))}
        for name, camera in cameras.items():
            scenery.add_camera(spec.worldbody, name, camera.pose, focal, height)
        for thing in self._spawned:
            add_thing(spec, thing, random.Random(thing.name))
        return (*things, *self._spawned), scenery.compiled(spec), cameras

    def _choose(self, rng: random.Random) -> Sequence[TableThing]:
        """Choose the things of a scene, and their places."""
        if self._given is not None:
            return self._given
        return random_things(rng, len(self._first) + rng.randint(*self._others), self._first)

    def _begin(self) -> None:
        """Put everything where it is at first, and let it come to rest."""
        with self.lock:
            self._rewind()
            self.arm = Arm(self, self._robot)
            self.skills = ArmSkills(self, self.arm, CAMERA, HAND_AT).by_name
            self._luck = random.Random(f'{self._seed} knocks')
            self.arm.begin()
            super().step(_REST)
            self.data.time = 0.0
            self._plan_push()

    def _plan_push(self) -> None:
        self._pushed = -1
        self._next_push = self.data.time + self._luck.expovariate(self._knocks / 60) if (
            self._knocks) else float('inf')

    def _push(self) -> None:
        """Begin to push a thing, or let go of it."""
        if self._pushed >= 0:
            self.data.xfrc_applied[self._pushed] = 0
            self._plan_push()
            return
        movable = [t.name for t in self.table_things if t.shape in MOVABLE]
        if not movable:
            self._next_push = float('inf')
            return
        self._pushed = self.model.body(self._luck.choice(movable)).id
        angle = self._luck.uniform(0, 2 * np.pi)
        force = _PUSH * self.model.body_mass[self._pushed] / 0.1
        self.data.xfrc_applied[self._pushed, :2] = force * np.cos(angle), force * np.sin(angle)
        self._next_push = self.data.time + _PUSHED


def _add_hand(spec: mujoco.MjSpec) -> None:
    """Add a palm with an edge around it, so that nothing rolls off."""
    body = spec.worldbody.add_body(name=HAND, pos=HAND_AT)
    x, y, z = _HAND_SIZE
    box = mujoco.mjtGeom.mjGEOM_BOX
    body.add_geom(type=box, size=[x, y, z], pos=[0, 0, -z], rgba=_HAND_RGBA)
    for side in (-1, 1):
        body.add_geom(type=box, size=[x, z, z], pos=[0, side * y, 0], rgba=_HAND_RGBA)
        body.add_geom(type=box, size=[z, y, z], pos=[side * x, 0, 0], rgba=_HAND_RGBA)
