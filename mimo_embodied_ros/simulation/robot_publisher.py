"""Publishes what a robot knows of itself, and takes its commands.

``joint_states`` is that of joint_state_broadcaster; ``odom``, ``/tf`` and ``cmd_vel`` are those of
diff_drive_controller. The robot of an MJCF file has ``sensors/<name>``, and ``joint_commands`` with
the names of its actuators and their set points.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import (
    Point,
    Pose,
    PoseWithCovariance,
    Quaternion,
    TransformStamped,
    Twist,
    TwistStamped,
    TwistWithCovariance,
    Vector3,
)
from nav_msgs.msg import Odometry
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, Header, MultiArrayDimension, MultiArrayLayout

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.geometry.quaternions import quaternion_of

from .capabilities import (
    Drives,
    HasFrames,
    HasOdometry,
    HasSensors,
    TakesCommands,
    joint_states,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builtin_interfaces.msg import Time as TimeMessage
    from rclpy.node import Node

    from .frames import Frames
    from .optional_interfaces import OptionalInterfaces
    from .world_runner import WorldRunner


class RobotPublisher:
    """Publishes at each tick of a world; only what the world has."""

    def __init__(
        self, node: Node, runner: WorldRunner, frames: Frames, interfaces: OptionalInterfaces, *,
        stamped: bool,
    ) -> None:
        """Offer the topics.

        Args:
            node: that publishes.
            runner: of the world.
            frames: that keep where the base was.
            interfaces: for the messages of tf2.
            stamped: whether cmd_vel is a TwistStamped; else it is a Twist.

        """
        world = runner.world
        self._runner, self._frames = runner, frames
        self._joints = node.create_publisher(JointState, 'joint_states', 10) if (
            joint_states(world) is not None) else None
        self._odometry = node.create_publisher(Odometry, 'odom', 10) if isinstance(
            world, HasOdometry) else None
        tf_message = interfaces.find('tf2_msgs/msg/TFMessage', '/tf')
        self._tf = self._static = None
        if tf_message is not None:
            self._tf_message = tf_message
            self._tf = node.create_publisher(tf_message, '/tf', 100)
            self._static = node.create_publisher(
                tf_message, '/tf_static',
                QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self._sent: Any = None  # the cameras whose poses were published
        self._sensors = {
            name: node.create_publisher(Float64MultiArray, f'sensors/{_topic(name)}', 10)
            for name in world.sensors()} if isinstance(world, HasSensors) else {}
        if isinstance(world, TakesCommands):
            node.create_subscription(JointState, 'joint_commands', self._command, 10)
        self._log = node.get_logger()
        if isinstance(world, Drives):
            node.create_subscription(
                TwistStamped if stamped else Twist, 'cmd_vel', self._drive, 10)

    def on_tick(self) -> None:
        """Publish; called in the thread of the world."""
        world, stamp = self._runner.world, Time(nanoseconds=round(self._runner.time * 1e9)).to_msg()
        if self._joints is not None:
            names, positions, velocities, *efforts = joint_states(world) or ()
            self._joints.publish(JointState(
                header=Header(stamp=stamp), name=list(names), position=positions.tolist(),
                velocity=velocities.tolist(), effort=efforts[0].tolist() if efforts else []))
        if self._odometry is not None:
            self._publish_odometry(stamp)
        if self._tf is not None and isinstance(world, HasFrames):
            self._tf.publish(self._tf_message(transforms=[
                _transform(stamp, world.frame, name, pose.translation, quaternion_of(pose.rotation))
                for name, pose in world.frames().items()]))
        if any(publisher.get_subscription_count() for publisher in self._sensors.values()):
            self._publish_sensors()
        if self._static is not None and self._sent is not world.cameras:
            self._sent = world.cameras
            self._static.publish(self._tf_message(transforms=[
                _transform(stamp, camera.parent or world.frame, camera.frame,
                           camera.pose.translation, quaternion_of(camera.pose.rotation))
                for camera in world.cameras.values()]))

    def _publish_odometry(self, stamp: TimeMessage) -> None:
        odometry = replace(self._runner.world.odometry(),
                           stamp_ns=Time.from_msg(stamp).nanoseconds)
        self._frames.add(odometry)
        head = Header(stamp=stamp, frame_id=odometry.frame_id)
        (x, y, z), q = odometry.position, odometry.orientation
        assert self._odometry is not None
        self._odometry.publish(Odometry(
            header=head, child_frame_id=odometry.child_frame_id,
            pose=PoseWithCovariance(pose=Pose(
                position=Point(x=x, y=y, z=z), orientation=Quaternion(**dict(zip('xyzw', q))))),
            twist=TwistWithCovariance(twist=Twist(
                linear=Vector3(**dict(zip('xyz', odometry.linear))),
                angular=Vector3(**dict(zip('xyz', odometry.angular)))))))
        if self._tf is not None:
            self._tf.publish(self._tf_message(transforms=[_transform(
                stamp, odometry.frame_id, odometry.child_frame_id, odometry.position, q)]))

    def _publish_sensors(self) -> None:
        """Publish the values of each sensor, with its kind as the label of their dimension."""
        for name, reading in self._runner.world.sensors().items():
            values = reading.values.tolist()
            dimension = MultiArrayDimension(
                label=reading.kind, size=len(values), stride=len(values))
            self._sensors[name].publish(Float64MultiArray(
                layout=MultiArrayLayout(dim=[dimension]), data=values))

    def _command(self, message: JointState) -> None:
        try:
            with self._runner.held() as world:
                world.command(dict(zip(message.name, message.position)))
        except InvalidRequestError as error:
            self._left_out(f'joint_commands: {error}')

    def _drive(self, message: Any) -> None:
        twist = message.twist if isinstance(message, TwistStamped) else message
        if not (math.isfinite(twist.linear.x) and math.isfinite(twist.angular.z)):
            self._left_out(f'cmd_vel is {twist.linear.x:g} m/s and {twist.angular.z:g} rad/s; '
                           'give finite numbers')
            return
        with self._runner.held() as world:
            world.drive(twist.linear.x, twist.angular.z)

    def _left_out(self, why: str) -> None:
        """Say why a command is left out."""
        self._log.warning(why, throttle_duration_sec=5.0)


def _topic(name: str) -> str:
    """A part of a topic's name for a name of another kind, such as ``act:left_eye``."""
    word = re.sub(r'\W+', '_', name)
    return f'_{word}' if word[:1].isdigit() else word


def _transform(
    stamp: TimeMessage, parent: str, child: str, at: Iterable[float], turn: Iterable[float]
) -> TransformStamped:
    out = TransformStamped(header=Header(stamp=stamp, frame_id=parent), child_frame_id=child)
    shift, rotation = out.transform.translation, out.transform.rotation
    shift.x, shift.y, shift.z = map(float, at)
    rotation.x, rotation.y, rotation.z, rotation.w = map(float, turn)
    return out
