"""Any MJCF file as a world: its cameras, joints, sensors, actuators and free bodies.

What has no name in the file gets one, such as ``camera_1``. Where the file has a keyframe named
``home``, the world begins there.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import mujoco
import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.suggestions import suggestion
from mimo_embodied_ros.geometry.extrinsics import Transform

from . import scenery
from .arm import JointStates
from .physical_world import PhysicalWorld
from .rays import RayRenderer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.world import Motion, SkillGoal, WorldCamera

    from .physical_world import Renderer

SIZE = (640, 480)
"""Columns and rows of a camera whose resolution the file does not give."""
_HOME = 'home'
_FREE = int(mujoco.mjtJoint.mjJNT_FREE)
_MOVING = int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE)
_FIXED = int(mujoco.mjtCamLight.mjCAMLIGHT_FIXED)


class SensorReading(NamedTuple):
    """What a sensor measures: its kind, such as ``gyro``, and (n,) values in MuJoCo's units."""

    kind: str
    values: NDArray[np.float64]


class MjcfWorld(PhysicalWorld):
    """The world of an MJCF file.

    Attributes:
        frame: ``world``.
        skills: none; `command` sets the actuators.
        actuators: their names, in the file's order.

    """

    frame = 'world'
    skills: Mapping[str, Callable[[SkillGoal], Motion]] = {}

    def __init__(
        self, file: str | Path, size: tuple[int, int] = SIZE,
        renderer: Callable[[mujoco.MjModel], Renderer] = RayRenderer,
    ) -> None:
        """Load a file.

        Args:
            file: its path.
            size: columns and rows of cameras whose resolution the file does not give.
            renderer: makes the renderer.

        Raises:
            InvalidRequestError: it cannot be loaded, or it has no camera.

        """
        model = _load_model(Path(file), size)
        bodies = [model.body(model.jnt_bodyid[joint]).name
                  for joint in np.flatnonzero(model.jnt_type == _FREE)]
        cameras = {camera.name: camera for camera in
                   (_camera(model, number, size) for number in range(model.ncam))}
        super().__init__(model, cameras, bodies, renderer)
        self._joints = np.flatnonzero(np.isin(model.jnt_type, _MOVING))
        self._joint_names = tuple(model.joint(joint).name for joint in self._joints)
        self.actuators = tuple(model.actuator(number).name for number in range(model.nu))
        self.reset()

    def reset(self, _: int | None = None) -> None:
        """Begin anew; the file has one scene only."""
        with self.lock:
            self._rewind()
            home = scenery.find(self.model, mujoco.mjtObj.mjOBJ_KEY, _HOME)
            if home >= 0:
                mujoco.mj_resetDataKeyframe(self.model, self.data, home)
            mujoco.mj_forward(self.model, self.data)

    def joint_states(self) -> JointStates:
        """Return the state of all hinges (radians) and slides (metres)."""
        model, data = self.model, self.data
        with self.lock:
            dofs = model.jnt_dofadr[self._joints]
            efforts = data.qfrc_actuator[dofs]
            return JointStates(self._joint_names, data.qpos[model.jnt_qposadr[self._joints]],
                               data.qvel[dofs], efforts)

    def sensors(self) -> dict[str, SensorReading]:
        """Return what the sensors measure, by their names."""
        with self.lock:
            sensors = [self.model.sensor(number) for number in range(self.model.nsensor)]
            return {s.name: SensorReading(
                mujoco.mjtSensor(int(s.type[0])).name.removeprefix('mjSENS_').lower(),
                self.data.sensor(s.id).data.copy()) for s in sensors}

    def frames(self) -> dict[str, Transform]:
        """Return the poses, in the world's frame, of the bodies that carry cameras.

        A camera that follows something, or turns to it, has a frame of its own.
        """
        with self.lock:
            carriers = {camera.parent: self.data.camera(name) if camera.parent == _link(name)
                        else self.data.body(camera.parent)
                        for name, camera in self.cameras.items() if camera.parent}
            return {name: Transform(carrier.xmat.reshape(3, 3).copy(), carrier.xpos.copy())
                    for name, carrier in carriers.items()}

    def command(self, set_points: Mapping[str, float]) -> None:
        """Set actuators, by their names, to values in their own units; ranges of the file hold.

        Raises:
            InvalidRequestError: there is no such actuator, or a value is not finite.

        """
        for name, value in set_points.items():
            if name not in self.actuators:
                hint = suggestion(name, self.actuators) or (
                    f'give one of {", ".join(self.actuators) or "none: the file has none"}')
                msg = f'there is no actuator {name!r}; {hint}'
                raise InvalidRequestError(msg)
            if not math.isfinite(value):
                msg = f'the set point of {name} is {value:g}; give a finite number'
                raise InvalidRequestError(msg)
        with self.lock:
            for name, value in set_points.items():
                self.data.actuator(name).ctrl[0] = value


def _load_model(file: Path, size: tuple[int, int]) -> mujoco.MjModel:
    """Load a file, and name what has no name.

    Raises:
        InvalidRequestError: it cannot be loaded, or it has no camera.

    """
    if not file.is_file():
        msg = f'there is no file {file}; give the path of an MJCF file'
        raise InvalidRequestError(msg)
    try:
        spec = mujoco.MjSpec.from_file(str(file))
        for kind in ('camera', 'body', 'joint', 'sensor', 'actuator'):
            _name(getattr(spec, 'bodies' if kind == 'body' else f'{kind}s'), kind)
        buffer = spec.visual.global_
        sizes = [size, *(tuple(camera.resolution) for camera in spec.cameras)]
        buffer.offwidth = max(buffer.offwidth, *(width for width, _ in sizes))
        buffer.offheight = max(buffer.offheight, *(height for _, height in sizes))
        model = scenery.compiled(spec)
    except ValueError as error:
        raise InvalidRequestError(_why(file, str(error))) from error
    if not model.ncam:
        msg = f'{file} has no camera; add <camera name="camera" .../> to one of its bodies'
        raise InvalidRequestError(msg)
    return model


def _name(elements: Any, kind: str) -> None:
    """Give names to elements without one; those of cameras must be parts of topics' names."""
    taken = {'', *(element.name for element in elements)}
    for number, element in enumerate(elements, 1):
        name = re.sub(r'\W', '_', element.name) if kind == 'camera' else element.name
        if not name or name != element.name:
            numbered = (f'{name or kind}_{i}' for i in itertools.count(number))
            element.name = next(n for n in itertools.chain([name], numbered) if n not in taken)
            taken.add(element.name)


def _why(file: Path, error: str) -> str:
    """Return in one sentence why a file cannot be loaded, and what to do."""
    lines = (line.strip().removesuffix(':') for line in error.splitlines())
    reason = ', '.join(line for line in lines if line)
    missing = re.search(r"Error opening file '(.+?)'", error)
    if missing:
        return (f'{file} needs {missing[1]}, which cannot be opened; put it where the file expects '
                'it, beside it or in its meshdir or texturedir')
    if re.search(r'XML|decoder', error):
        return f'{file} is not an MJCF file: {reason}; give a file that MuJoCo can load'
    return f'{file} cannot be compiled: {reason}; mend the file'


def _camera(model: mujoco.MjModel, number: int, size: tuple[int, int]) -> WorldCamera:
    width, height = (int(side) for side in model.cam_resolution[number])
    camera = scenery.world_camera(
        model, number, (width, height) if min(width, height) > 1 else size)
    if int(model.cam_mode[number]) == _FIXED:
        return camera
    return replace(camera, parent=_link(camera.name), pose=scenery.OPTICAL_POSE)


def _link(camera: str) -> str:
    """The frame of a camera that no body carries."""
    return f'{camera}_link'
