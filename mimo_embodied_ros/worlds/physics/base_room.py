"""A room with a mobile base in it, which finds its way by odometry and a depth camera."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.worlds.table_camera import FOCAL, HEIGHT, OPTICAL_FRAME, WIDTH
from mimo_embodied_ros.worlds.world import TICK, WorldCamera

from . import scenery
from .base import BODY, CAMERA, CAMERA_POSE, JOINTS, ODOM, Driver, add_base, true_pose
from .base_skills import BaseSkills
from .physical_world import PhysicalWorld
from .rays import RayRenderer
from .room import CAMERA_ABOVE, add_room, random_room
from .truth import thing_states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mimo_embodied_ros.core.frames import Odometry
    from mimo_embodied_ros.worlds.world import Motion, SkillGoal, ThingState

    from .physical_world import Renderer
    from .room import Room

    Floats = NDArray[np.float64]

WORLD = 'world'
"""The frame of the truth, from which odom begins at a reset, and drifts away."""
_REST = 0.3  # seconds until all have come to rest
_SCANNED = 64, 24  # columns and rows of depth that are searched for obstacles
_FAR = 20.0  # metres
_LOW, _HIGH = 0.06, 0.9  # metres above the floor between which a point is an obstacle


class BaseRoom(PhysicalWorld):
    """A random room with things, and a base with a camera.

    Points of skills are in `frame`, which is odom: where the base believes to be. `things` and
    `true_pose` are the truth, in the frame "world".

    Attributes:
        frame: of the points of skills.
        truth_frame: of the things.
        room: walls and things, as they are at first.
        skills: by name: go_to, look_at, look_around.
        motions: the same and more, with numbers.

    """

    frame, truth_frame = ODOM, WORLD
    skills: Mapping[str, Callable[[SkillGoal], Motion]]

    def __init__(
        self, seed: int = 0, *, first: Sequence[tuple[str, str]] = (('yellow', 'box'),),
        others: tuple[int, int] = (3, 5), room: Room | None = None,
        renderer: Callable[[mujoco.MjModel], Renderer] = RayRenderer,
        size: tuple[int, int] = (WIDTH, HEIGHT),
    ) -> None:
        """Furnish the room.

        Args:
            seed: of all that is random.
            first: colours and shapes of the things that each room has.
            others: least and largest number of more things.
            room: walls and things, instead of random ones.
            renderer: makes the renderer.
            size: columns and rows of the camera's pictures.

        """
        self._first, self._others, self._given, self._size = first, others, room, size
        model, cameras = self._furnish(seed)
        super().__init__(model, cameras, [t.name for t in self.room.things], renderer)
        self._begin()

    def reset(self, seed: int | None = None) -> None:
        """Begin anew: with another room, or with None the same one."""
        with self._looking, self.lock:  # in the order of `look`
            if seed is not None:
                model, cameras = self._furnish(seed)
                self._load(model, cameras, [t.name for t in self.room.things])
            self._begin()

    def _furnish(self, seed: int) -> tuple[mujoco.MjModel, dict[str, WorldCamera]]:
        rng = random.Random(seed)
        self.room = self._given or self._choose(rng)
        spec = mujoco.MjSpec()
        add_room(spec, rng, self.room)
        add_base(spec, rng)
        model = scenery.compiled(spec)
        width, height = self._size
        above = scenery.world_camera(model, model.camera(CAMERA_ABOVE).id, self._size)
        return model, {
            CAMERA: WorldCamera(CAMERA, width, height, FOCAL * height / HEIGHT, OPTICAL_FRAME, BODY,
                                CAMERA_POSE),
            CAMERA_ABOVE: replace(above, parent=WORLD, has_depth=False)}

    def _choose(self, rng: random.Random) -> Room:
        """Choose walls and things."""
        return random_room(rng, len(self._first) + rng.randint(*self._others), self._first)

    def _begin(self) -> None:
        with self.lock:
            self._rewind()
            super().step(_REST)
            self.data.time = 0.0
            self._driver = Driver(self.model, self.data)
            self._base = {int(g) for g in np.flatnonzero(
                self.model.geom_bodyid == self.model.body(BODY).id)}
            self._floor = self.model.geom('floor').id
            self._depth = RayRenderer(self.model)
            self.motions = BaseSkills(self)
            self.skills = self.motions.by_name

    # -- the base

    def drive(self, forward: float, turn: float) -> None:
        """Command metres and radians a second; without another command the base stops soon."""
        with self.lock:
            self._driver.drive(forward, turn)

    def step(self, seconds: float) -> None:
        """Let time pass, and the base drive as it was told."""
        with self.lock:
            end = self.data.time + seconds
            while (rest := end - self.data.time) > self.model.opt.timestep / 2:
                part = min(TICK, rest)
                self._driver.control(part)
                super().step(part)
                self._driver.count(part)

    @property
    def pose(self) -> Floats:
        """Where the base believes to be: x, y (metres) and yaw (radians) in odom."""
        return self._driver.pose

    @property
    def twist(self) -> Floats:
        """Metres and radians a second, by the wheels."""
        return self._driver.twist

    def odometry(self) -> Odometry:
        """Return pose and twist by the wheels; the stamp is the world's time."""
        with self.lock:
            return self._driver.odometry()

    def joint_states(self) -> tuple[tuple[str, ...], Floats, Floats]:
        """Return names, positions (radians) and velocities (radians a second) of the wheels."""
        with self.lock:
            return JOINTS, *self._driver.wheels()

    @property
    def bumped(self) -> bool:
        """Whether the base touches something beside the floor."""
        with self.lock:
            return any(
                (int(a) in self._base) != (int(b) in self._base) and self._floor not in (a, b)
                for a, b in self.data.contact.geom)

    def obstacles(self) -> Floats:
        """Return where the depth camera sees something standing on the floor, (n, 2) in odom."""
        columns, rows = _SCANNED
        camera = self.cameras[CAMERA]
        y, x = ((index.ravel() + 0.5) for index in np.mgrid[:rows, :columns])
        with self.lock:
            points = self._depth.positions(  # as a grid of the picture's pixels
                self.data, CAMERA, camera.width, camera.height,
                x / columns * camera.width, y / rows * camera.height)
            truth, pose = self.true_pose(), self.pose
        points = points[(points[:, 2] > _LOW) & (points[:, 2] < _HIGH)]
        # where the base would believe them to be
        return _moved(points[:, :2] - truth[:2], pose[2] - truth[2]) + pose[:2]

    # -- the truth

    def true_pose(self) -> Floats:
        """Return where the base is in fact: x, y (metres) and yaw (radians) in "world"."""
        with self.lock:
            return true_pose(self.data)

    def things(self) -> tuple[ThingState, ...]:
        """Return the truth about all things, in the frame "world"."""
        with self.lock:
            return thing_states(self.model, self.data, self.room.things)

    def gap(self, name: str) -> tuple[float, float]:
        """Return metres between base and thing, and radians to its middle from straight ahead."""
        with self.lock:
            x, y, yaw = self.true_pose()
            body = self.data.body(name)
            distance = mujoco.mj_geomDistance(
                self.model, self.data, min(self._base),
                int(self.model.body(name).geomadr[0]), _FAR, None)
            angle = math.atan2(body.xpos[1] - y, body.xpos[0] - x) - yaw
            return float(distance), float((angle + math.pi) % (2 * math.pi) - math.pi)


def _moved(points: Floats, yaw: float) -> Floats:
    cos, sin = math.cos(yaw), math.sin(yaw)
    out: Floats = points @ np.array([[cos, sin], [-sin, cos]])
    return out
