"""A base with two driven wheels, a camera, and odometry from the wheels, which slip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.core.frames import Odometry
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.worlds.table_camera import FOCAL, HEIGHT

from . import scenery

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CAMERA = 'camera'
BODY = 'base_link'
"""Name of the base's body and of its frame, whose origin is on the floor."""
ODOM = 'odom'
JOINTS = 'left_wheel_joint', 'right_wheel_joint'
RADIUS = 0.17
"""Radius of the circle that holds the base, metres."""
MAX_SPEED, MAX_TURN = 0.5, 1.2
"""Metres and radians a second."""
_WHEEL, _TRACK = 0.05, 0.3  # radius of a wheel, and between the wheels: metres
_WHEEL_ERROR, _TRACK_ERROR = 0.004, 0.03  # largest relative errors of what the driver believes
_SPEED_UP, _TURN_UP = 1.0, 3.0  # metres and radians a second squared
_TIMEOUT = 0.5  # seconds after which a command does not count any more
_EYE, _DOWN = (0.05, 0.0, 0.53), math.radians(10)  # where the camera is, and its tilt
_AXES = np.array([[0, -math.sin(_DOWN), math.cos(_DOWN)], [-1, 0, 0],
                  [0, -math.cos(_DOWN), -math.sin(_DOWN)]])
CAMERA_POSE = Transform(_AXES, np.array(_EYE))
"""Pose of the camera's optical frame (x right, y down, z ahead) in the base's frame."""


def add_base(spec: mujoco.MjSpec, rng: random.Random, focal: float = FOCAL / HEIGHT) -> None:
    """Add the base at the origin.

    Args:
        spec: of the world.
        rng: source of what its driver does not know: how worn the wheels are.
        focal: focal length of its camera, in heights of the picture.

    """
    geom = mujoco.mjtGeom
    base = spec.worldbody.add_body(name=BODY)
    base.add_freejoint()
    base.add_geom(type=geom.mjGEOM_CYLINDER, size=[RADIUS, 0.06, 0], pos=[0, 0, 0.11], mass=6,
                  rgba=[0.15, 0.15, 0.17, 1])
    base.add_geom(type=geom.mjGEOM_CYLINDER, size=[0.02, 0.2, 0], pos=[-0.05, 0, 0.35], mass=0.3,
                  rgba=[0.6, 0.6, 0.6, 1])
    base.add_geom(type=geom.mjGEOM_BOX, size=[0.03, 0.06, 0.02], pos=[-0.03, 0, 0.53], mass=0.1,
                  rgba=[0.8, 0.8, 0.82, 1])
    for x in (-0.13, 0.13):  # casters; as low as the wheels they would take the weight off them
        base.add_geom(type=geom.mjGEOM_SPHERE, size=[0.02, 0, 0], pos=[x, 0, 0.022], mass=0.1,
                      friction=[0.001, 0, 0], priority=1, condim=1)
    track = _TRACK * (1 + rng.uniform(-_TRACK_ERROR, _TRACK_ERROR))
    for name, y in zip(JOINTS, (track / 2, -track / 2)):
        radius = _WHEEL * (1 + rng.uniform(-_WHEEL_ERROR, _WHEEL_ERROR))
        wheel = base.add_body(name=name.replace('_joint', ''), pos=[0, y, _WHEEL])
        wheel.add_joint(name=name, axis=[0, 1, 0], damping=[0.01, 0, 0], armature=0.002)
        wheel.add_geom(type=geom.mjGEOM_CYLINDER, size=[radius, 0.015, 0], mass=0.3,
                       quat=[math.sqrt(0.5), math.sqrt(0.5), 0, 0],
                       friction=[0.9, 0.005, 0.0001], rgba=[0.05, 0.05, 0.05, 1])
        servo = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.gainprm[0], servo.biastype = 3.0, mujoco.mjtBias.mjBIAS_AFFINE
        servo.biasprm[2], servo.forcerange = -3.0, [-3, 3]
    scenery.add_camera(base, CAMERA, CAMERA_POSE, focal, 1)


class Driver:
    """Turns the wheels as it is told, within limits, and counts their turns.

    Attributes:
        pose: x, y (metres) and yaw (radians) by the wheels.
        twist: metres and radians a second by the wheels.

    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Take a model with a base, and its state."""
        self._data = data
        self._q = [model.joint(name).qposadr[0] for name in JOINTS]
        self._v = [model.joint(name).dofadr[0] for name in JOINTS]
        self._servos = [model.actuator(name).id for name in JOINTS]
        self._last = data.qpos[self._q].copy()
        self.pose, self.twist = np.zeros(3), np.zeros(2)
        self._goal, self._set, self._until = np.zeros(2), np.zeros(2), -math.inf

    def drive(self, forward: float, turn: float) -> None:
        """Command metres and radians a second; without another command the base stops soon."""
        self._goal = np.clip([forward, turn], [-MAX_SPEED, -MAX_TURN], [MAX_SPEED, MAX_TURN])
        self._until = self._data.time + _TIMEOUT

    def control(self, seconds: float) -> None:
        """Set the wheels' speeds for the next seconds."""
        goal = self._goal if self._data.time < self._until else np.zeros(2)
        most = np.array([_SPEED_UP, _TURN_UP]) * seconds
        self._set = self._set + np.clip(goal - self._set, -most, most)
        speed, across = self._set[0], self._set[1] * _TRACK / 2
        self._data.ctrl[self._servos] = (speed - across) / _WHEEL, (speed + across) / _WHEEL

    def count(self, seconds: float) -> None:
        """Add what the wheels have turned in the last seconds."""
        now = self._data.qpos[self._q].copy()
        left, right = (now - self._last) * _WHEEL
        self._last = now
        ahead, turn = (left + right) / 2, (right - left) / _TRACK
        yaw = self.pose[2] + turn / 2
        self.pose = self.pose + np.array([ahead * math.cos(yaw), ahead * math.sin(yaw), turn])
        self.twist = np.array([ahead, turn]) / seconds

    def odometry(self) -> Odometry:
        """Return pose and twist by the wheels; the stamp is the world's time."""
        x, y, yaw = map(float, self.pose)
        return Odometry(
            round(self._data.time * 1e9), ODOM, BODY, (x, y, 0.0),
            (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)), (float(self.twist[0]), 0.0, 0.0),
            (0.0, 0.0, float(self.twist[1])))

    def wheels(self) -> tuple[Floats, Floats]:
        """Return positions (radians) and velocities (radians a second) of `JOINTS`."""
        return self._data.qpos[self._q].copy(), self._data.qvel[self._v].copy()


def true_pose(data: mujoco.MjData) -> Floats:
    """Return where the base is in fact: x, y (metres) and yaw (radians) in the world's frame."""
    axes = data.body(BODY).xmat.reshape(3, 3)
    return np.array([*data.body(BODY).xpos[:2], math.atan2(axes[1, 0], axes[0, 0])])
