"""Messages of odometry."""

from __future__ import annotations

from typing import Any

from mimo_embodied_ros.core.frames import Odometry

from .stamps import nanoseconds_of


def odometry_of(message: Any) -> Odometry:
    """Read a ``nav_msgs/Odometry``.

    Raises:
        BadEncodingError: its stamp is no time.

    """
    pose, twist = message.pose.pose, message.twist.twist
    at, turn = pose.position, pose.orientation
    return Odometry(
        nanoseconds_of(message.header.stamp), message.header.frame_id, message.child_frame_id,
        (at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w),
        (twist.linear.x, twist.linear.y, twist.linear.z),
        (twist.angular.x, twist.angular.y, twist.angular.z),
    )
