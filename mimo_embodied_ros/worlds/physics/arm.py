"""An arm with a gripper: inverse kinematics, set points of joints, and what the gripper feels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import mujoco
import numpy as np

from mimo_embodied_ros.worlds.world import TICK

from .robots import TOUCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from mimo_embodied_ros.worlds.world import Motion

    from .physical_world import PhysicalWorld
    from .robots import Robot

    Floats = NDArray[np.float64]

SPEED, SLOW = 0.5, 0.2
"""Metres a second of the tool: above things, and near them."""
_TURNING = 2.5  # radians a second of the tool, at most
_JOINT_SPEED = 1.8  # radians a second, at most
_DAMPING = 1e-4  # of the least squares
_LARGEST = 0.2  # radians that one step of inverse kinematics moves a joint, at most
_STEPS = 2  # of inverse kinematics at each set point
_SEARCH = 80  # of inverse kinematics to a pose that is far away
_CLOSE = 0.003  # metres beside a pose that is reached
_SETTLE = 0.6  # seconds by which joints may be late
_GRIP = 0.7  # seconds until the fingers have closed, at most
_STILL = 0.01  # metres a second of the fingers
_HELD = 0.004  # metres between the fingers' set point and where they are
_TOUCHED = 5.0  # newtons on the gripper, beside its weight
_ARRIVED, _BLOCKED = 0.01, 0.06  # radians beside where a joint is told to be


class JointStates(NamedTuple):
    """Names, positions (radians), velocities (radians a second), efforts (newton metres)."""

    names: tuple[str, ...]
    positions: Floats
    velocities: Floats
    efforts: Floats


class Arm:
    """The motions of an arm in a world.

    Attributes:
        robot: which arm.

    """

    def __init__(self, world: PhysicalWorld, robot: Robot) -> None:
        """Find the arm in the world's model.

        Args:
            world: whose model holds the arm, with the names of the robot.
            robot: which arm.

        """
        self.robot, self._world = robot, world
        model = world.model
        joints = [model.joint(name) for name in robot.joints]
        drives = {int(model.actuator_trnid[a, 0]): a for a in range(model.nu)
                  if int(model.actuator_trntype[a]) == int(mujoco.mjtTrn.mjTRN_JOINT)}
        self._q = np.array([int(j.qposadr[0]) for j in joints])
        self._v = np.array([int(j.dofadr[0]) for j in joints])
        self._control = np.array([drives[j.id] for j in joints])
        drive = model.actuator_biasprm[self._control]
        self._lag = np.divide(drive[:, 2], drive[:, 1], out=np.zeros(len(drive)),
                              where=drive[:, 1] != 0)  # seconds by which positions are late
        self._told = np.array(robot.home)
        self._finger = model.joint(robot.finger_joint)
        self._gripper = model.actuator(robot.gripper).id
        self._full = model.actuator_forcerange[self._gripper].copy()
        self._touch = model.sensor(TOUCH).adr[0]
        self._tool = model.site(robot.tool).id
        # set points are computed on a model of the arm alone: it knows nothing of what happens
        self._alone = robot.kinematics()
        self._plan = mujoco.MjData(self._alone)
        alone = [self._alone.joint(name) for name in robot.joints]
        self._alone_q = np.array([int(j.qposadr[0]) for j in alone])
        self._alone_v = np.array([int(j.dofadr[0]) for j in alone])
        self.limits: Floats = np.array([j.range for j in alone])
        self._site = self._alone.site(robot.tool).id

    def begin(self) -> None:
        """Put the arm at home, with an open gripper."""
        self.put(self.robot.home)
        self._world.model.actuator_forcerange[self._gripper] = self._full

    def joint_states(self) -> JointStates:
        """Return the state of the arm's joints and of the one that tells the gripper's width."""
        with self._world.lock:
            data = self._world.data
            q = np.append(self._q, self._finger.qposadr)
            v = np.append(self._v, self._finger.dofadr)
            return JointStates((*self.robot.joints, self.robot.finger_joint), data.qpos[q].copy(),
                               data.qvel[v].copy(), data.qfrc_actuator[v].copy())

    @property
    def set_points(self) -> Floats:
        """Where the joints are told to be, (n,) radians."""
        told: Floats = self._told.copy()
        return told

    @property
    def tool_at(self) -> Floats:
        """Where the middle between the fingers is, (3,) metres."""
        with self._world.lock:
            return np.array(self._world.data.site_xpos[self._tool])

    @property
    def gripper_width(self) -> float:
        """Metres between the fingers."""
        opened, closed = self.robot.finger_range
        angle = float(self._world.data.qpos[self._finger.qposadr[0]])
        return self.robot.stroke * (closed - angle) / (closed - opened)

    @property
    def stalled(self) -> bool:
        """Whether something keeps the fingers from closing."""
        opened, closed = self.robot.gripper_range
        told = self.robot.stroke * (closed - self._world.data.ctrl[self._gripper]) / (
            closed - opened)
        lever = self.robot.stroke / abs(self.robot.finger_range[1] - self.robot.finger_range[0])
        moving = lever * abs(float(self._world.data.qvel[self._finger.dofadr[0]]))
        return bool(self.gripper_width - told > _HELD and moving < _STILL)

    def grip(self, width: float, max_effort: float = 0.0) -> Motion:
        """Open or close the gripper.

        Args:
            width: metres between the fingers.
            max_effort: newtons; 0: as much as the gripper can.

        """
        robot = self.robot
        opened, closed = robot.gripper_range
        share = 1 - min(max(width / robot.stroke, 0.0), 1.0)
        effort = min(max_effort / robot.force, 1.0) if max_effort > 0 else 1.0
        with self._world.lock:
            self._world.data.ctrl[self._gripper] = opened + share * (closed - opened)
            self._world.model.actuator_forcerange[self._gripper] = effort * self._full
        ticks = round(_GRIP / TICK)
        for tick in range(ticks):
            yield
            if abs(self.gripper_width - width) < _HELD / 2 or (tick > ticks / 3 and self.stalled):
                break
        return ''

    def home(self) -> Motion:
        """Move the arm out of the camera's view."""
        return (yield from self.follow_joints(self.robot.home))

    def follow_joints(self, positions: Sequence[float], speed: float = _JOINT_SPEED) -> Motion:
        """Move all joints to positions, radians, none faster than ``speed`` radians a second."""
        way = float(np.abs(np.asarray(positions, float) - self.set_points).max())
        return (yield from self.follow([(way / speed * math.pi / 2, positions)]))

    def follow(self, points: Sequence[tuple[float, Sequence[float]]]) -> Motion:
        """Follow a trajectory of the joints; between points they start and stop smoothly.

        Args:
            points: seconds from the start, and radians of each joint.

        """
        for _, positions in points:
            for name, value, (low, high) in zip(
                    self.robot.joints, positions, self.limits, strict=True):
                if not low <= value <= high:
                    return (f'{name} cannot be at {value:.2f} rad; it moves from {low:.2f} to '
                            f'{high:.2f} rad')
        start, begin, ticks = self.set_points, 0.0, 0
        try:
            for end, positions in points:
                goal = np.asarray(positions, float)
                while (ticks + 1) * TICK < end:
                    ticks += 1
                    self._command(start + _smooth((ticks * TICK - begin) / (end - begin))
                                  * (goal - start))
                    yield
                start, begin = goal, end
            self._command(start)
        finally:
            self._stop()
        return (yield from self._settle())

    def wait(self, seconds: float) -> Motion:
        """Keep the set points."""
        for _ in range(round(seconds / TICK)):
            yield
        return ''

    def move(self, point: ArrayLike, yaw: float, speed: float = SPEED, *, feel: bool = False
             ) -> Motion:
        """Move the tool in a straight line, pointing down.

        Args:
            point: (3,) metres.
            yaw: of the tool, radians; the fingers close along the direction across it.
            speed: metres a second.
            feel: stop where something pushes against the gripper.

        """
        goal, down = np.asarray(point, float), pointing_down(yaw)
        start, was = self._set(self.set_points)
        kept = self.set_points
        if self._toward(goal, down, _SEARCH) > _CLOSE:
            return 'the arm cannot reach ({:.2f}, {:.2f}, {:.2f}) m'.format(*goal)
        self._set(kept)
        turn = _rotation(down @ was.T)
        ticks = max(1, round(max(np.linalg.norm(goal - start) / speed,
                                 np.linalg.norm(turn) / _TURNING) * math.pi / 2 / TICK))
        weight = self._pushed()
        try:
            for tick in range(1, ticks + 1):
                share = _smooth(tick / ticks)
                self._toward(start + share * (goal - start), _turned(share * turn) @ was,
                             _STEPS if tick < ticks else 4 * _STEPS)
                self._command(self._plan.qpos[self._alone_q])
                yield
                if feel and abs(self._pushed() - weight) > _TOUCHED:
                    return ''
        finally:
            self._stop()
        return (yield from self._settle())

    def joints_at(self, point: ArrayLike, yaw: float) -> Floats | None:
        """Return positions of the joints, radians, for a tool that points down at a point.

        Args:
            point: (3,) metres.
            yaw: see `move`.

        Returns:
            None where the arm cannot reach it.

        """
        self._set(np.array(self.robot.home))
        miss = self._toward(np.asarray(point, float), pointing_down(yaw), _SEARCH)
        return self._plan.qpos[self._alone_q].copy() if miss < _CLOSE else None

    def put(self, joints: ArrayLike, closed: float = 0.0) -> None:
        """Put the arm somewhere at once, as for a picture; nothing moves it there.

        Args:
            joints: their positions, radians.
            closed: what the gripper is told, from 0, open, to 1.

        """
        data, (opened, shut) = self._world.data, self.robot.gripper_range
        data.qpos[self._q] = data.ctrl[self._control] = self._told = np.array(joints)
        data.ctrl[self._gripper] = opened + closed * (shut - opened)

    @property
    def yaw(self) -> float:
        """The yaw of the tool at the set points, radians; see `move`."""
        _, axes = self._set(self.set_points)
        return math.atan2(axes[1, 0], axes[0, 0])

    def _pushed(self) -> float:
        """Newtons on the gripper along the tool's axis."""
        return float(self._world.data.sensordata[self._touch + 2])

    def _command(self, joints: Floats) -> None:
        """Tell the joints where to be after the next tick."""
        speed, self._told = (joints - self._told) / TICK, joints.copy()
        with self._world.lock:
            self._world.data.ctrl[self._control] = joints + self._lag * speed

    def _stop(self) -> None:
        """Tell the joints to stay where they were told to be last."""
        with self._world.lock:
            self._world.data.ctrl[self._control] = self._told

    def _settle(self) -> Motion:
        """Wait until the joints are where they were told to be."""
        beside = np.zeros(1)
        for _ in range(round(_SETTLE / TICK)):
            yield
            with self._world.lock:
                beside = np.abs(self._world.data.qpos[self._q] - self._told)
            if beside.max() < _ARRIVED:
                return ''
        worst = int(beside.argmax())
        return '' if beside[worst] < _BLOCKED else (
            f'something stops {self.robot.joints[worst]} {beside[worst]:.2f} rad before its goal')

    def _set(self, joints: Floats) -> tuple[Floats, Floats]:
        """Set the planned joints; return the tool's position, and its axes as columns."""
        plan = self._plan
        plan.qpos[self._alone_q] = np.clip(joints, self.limits[:, 0], self.limits[:, 1])
        mujoco.mj_kinematics(self._alone, plan)
        mujoco.mj_comPos(self._alone, plan)
        return plan.site_xpos[self._site].copy(), plan.site_xmat[self._site].reshape(3, 3).copy()

    def _toward(self, point: Floats, axes: Floats, steps: int) -> float:
        """Move the planned joints to a pose by damped least squares; return metres that miss."""
        plan = self._plan
        jacobian = np.zeros((6, self._alone.nv))
        for _ in range(steps):
            now = plan.site_xmat[self._site].reshape(3, 3)
            error = np.append(point - plan.site_xpos[self._site], 0.5 * _rotation(axes @ now.T))
            if np.abs(error).max() < _CLOSE / 30:
                break
            mujoco.mj_jacSite(self._alone, plan, jacobian[:3], jacobian[3:], self._site)
            part = jacobian[:, self._alone_v]
            step = part.T @ np.linalg.solve(part @ part.T + _DAMPING * np.eye(6), error)
            step *= min(1.0, _LARGEST / max(1e-9, float(np.abs(step).max())))
            self._set(plan.qpos[self._alone_q] + step)
        now = plan.site_xmat[self._site].reshape(3, 3)
        miss = np.append(point - plan.site_xpos[self._site], 0.1 * _rotation(axes @ now.T))
        return float(np.linalg.norm(miss))


def pointing_down(yaw: float) -> Floats:
    """Return the axes, as columns, of a tool that points down and is turned by ``yaw``."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return np.array([[cos, sin, 0.0], [sin, -cos, 0.0], [0.0, 0.0, -1.0]])


def _smooth(share: float) -> float:
    """Begin and end slowly: 0 to 1 for 0 to 1."""
    return 0.5 - 0.5 * math.cos(math.pi * share)


def _rotation(matrix: Floats) -> Floats:
    """Axis times angle of a rotation, (3,) radians."""
    quaternion, out = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, matrix.ravel())
    mujoco.mju_quat2Vel(out, quaternion, 1)
    return out


def _turned(rotation: Floats) -> Floats:
    """The (3, 3) matrix of an axis times angle."""
    angle = float(np.linalg.norm(rotation))
    quaternion, out = np.zeros(4), np.zeros(9)
    mujoco.mju_axisAngle2Quat(quaternion, rotation / max(1e-9, angle), angle)
    mujoco.mju_quat2Mat(out, quaternion)
    return out.reshape(3, 3)
