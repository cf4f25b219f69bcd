"""The tabletop of `worlds.fixed_table` with physics, seen by its camera; without an arm."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.worlds import fixed_table
from mimo_embodied_ros.worlds.world import WorldCamera

from . import scenery
from .physical_world import PhysicalWorld
from .rays import RayRenderer
from .table import add_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mimo_embodied_ros.worlds.world import Motion, SkillGoal

    from .physical_world import Renderer


class FixedTable(PhysicalWorld):
    """A table with the same things as Gazebo's world.

    Attributes:
        frame: ``base_link``.
        skills: none.

    """

    frame = 'base_link'
    skills: Mapping[str, Callable[[SkillGoal], Motion]] = {}

    def __init__(self, renderer: Callable[[mujoco.MjModel], Renderer] = RayRenderer) -> None:
        """Set the table."""
        spec = mujoco.MjSpec()
        add_table(spec, random.Random(0), fixed_table.THINGS)
        camera = _camera()
        scenery.add_camera(
            spec.worldbody, camera.name, camera.pose, camera.focal, camera.height)
        super().__init__(scenery.compiled(spec), {camera.name: camera},
                         [thing.name for thing in fixed_table.THINGS], renderer)

    def reset(self, _: int | None = None) -> None:
        """Begin anew; there is one scene only."""
        with self.lock:
            self._rewind()
            mujoco.mj_forward(self.model, self.data)


def _camera() -> WorldCamera:
    camera = fixed_table.CAMERA
    sin, cos = math.sin(camera.pitch), math.cos(camera.pitch)
    optical = np.array([[0, -sin, cos], [-1, 0, 0], [0, -cos, -sin]])
    return WorldCamera(
        'camera', camera.width, camera.height, camera.width / 2 / math.tan(camera.across / 2),
        'camera_color_optical_frame', 'base_link',
        Transform(optical, np.array([camera.x, 0, camera.z])))
