"""What every world is: cameras that see it, the truth about its things, and a robot's skills."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mimo_embodied_ros.geometry.extrinsics import Transform

TICK = 0.02
"""Seconds between two set points of a robot's joints."""

Motion = Generator[None, None, str]
"""A motion of the robot: after each `yield` the world must go on by `TICK`.

It returns the failure that the robot notices; empty: none. Closing it stops the robot where it is.
"""


@dataclass(frozen=True)
class WorldCamera:
    """A pinhole camera with square pixels and its axis in the middle of the picture.

    Attributes:
        name: of the camera, which its topics begin with.
        width: columns.
        height: rows.
        focal: focal length in pixels.
        frame: its optical frame.
        parent: frame that it is fixed to; empty: the world's own frame.
        pose: of the optical frame in its parent.
        has_depth: whether it measures depth.

    """

    name: str
    width: int
    height: int
    focal: float
    frame: str
    parent: str
    pose: Transform
    has_depth: bool = True

    @property
    def matrix(self) -> tuple[float, ...]:
        """The intrinsic matrix, as ``k`` of sensor_msgs/CameraInfo."""
        f = self.focal
        return f, 0.0, self.width / 2, 0.0, f, self.height / 2, 0.0, 0.0, 1.0


@dataclass(frozen=True)
class View:
    """What a camera sees at one moment.

    Attributes:
        pixels: (height, width, 3) uint8, RGB.
        depth: (height, width) float32, metres along the optical axis; 0: nothing there.
        labels: (height, width) int16: n is the nth of the world's `things`, counted from 1;
            0: none of them.
        time: seconds of the world's time.

    """

    pixels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    labels: NDArray[np.int16]
    time: float = 0.0

    @property
    def millimetres(self) -> NDArray[np.uint16]:
        """The depth, (height, width); 0 where nothing is, or too far for 16 bits."""
        depth = np.rint(self.depth * 1000)
        return np.where(depth > np.iinfo(np.uint16).max, 0, depth).astype(np.uint16)


@dataclass(frozen=True)
class ThingState:
    """The truth about a thing.

    Attributes:
        name: colour and shape, such as "red cube".
        position: x, y, z of its lowest point's middle, metres in the world's frame.
        orientation: quaternion x, y, z, w.
        place: where it is: "held" by the gripper, "in" or "on" another thing with its name, such
            as "in the blue bowl"; empty: it lies on the table or on the floor.

    """

    name: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
    place: str = ''


@dataclass(frozen=True)
class SkillGoal:
    """What a skill is to do.

    Attributes:
        skill: name of the skill.
        object: name of the thing; empty: none.
        object_at: (3,) metres in the world's frame; None: not given.
        place: name of the place; empty: none.
        place_at: (3,) metres in the world's frame; None: not given.

    """

    skill: str
    object: str = ''
    object_at: NDArray[np.float64] | None = None
    place: str = ''
    place_at: NDArray[np.float64] | None = None


class World(Protocol):
    """A scene with a known truth, and a robot in it."""

    @property
    def frame(self) -> str:
        """In which positions are given, such as ``base_link``."""
        ...

    @property
    def cameras(self) -> Mapping[str, WorldCamera]:
        """The cameras by name."""
        ...

    @property
    def skills(self) -> Mapping[str, Callable[[SkillGoal], Motion]]:
        """What the robot can do, by name."""
        ...

    @property
    def time(self) -> float:
        """Seconds since the last reset."""
        ...

    def look(self, camera: str) -> View:
        """Return what a camera sees now; may be called beside `step` in another thread."""
        ...

    def things(self) -> tuple[ThingState, ...]:
        """Return the truth about all things, in the order of the labels of a view."""
        ...

    def step(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def reset(self, seed: int | None = None) -> None:
        """Begin anew: with another scene, or with None the same one."""
        ...


def complete(world: World, motion: Motion) -> str:
    """Do a motion to its end, and return the failure that the robot notices, or ''."""
    while True:
        try:
            next(motion)
        except StopIteration as end:
            return str(end.value)
        world.step(TICK)
