"""Tells whether odometry's frame is still the one that it was."""

from __future__ import annotations

import contextlib
import math
import uuid
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import BadEncodingError
from mimo_embodied_ros.geometry.odometry import why_not_valid_at
from mimo_embodied_ros.ros.odometry import odometry_of
from mimo_embodied_ros.ros.stamps import RESTART_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from mimo_embodied_ros.core.frames import Odometry

_FASTEST = 20.0  # metres a second; what moves faster was put elsewhere
_STEP = 0.1  # metres that a pose may be corrected by at once


class OdometrySession:
    """Begins a session whenever odometry begins anew.

    That is so with another publisher, as after a restart of the robot, when stamps fall back, and
    when the base is suddenly elsewhere. A session that an earlier run of the memory began goes on
    where the publisher is still the same and neither has happened.

    Attributes:
        newest: message of odometry; None until the first one.

    """

    def __init__(
        self, node: Node, topic: str, earlier: Callable[[str], tuple[str, int]],
        on_begin: Callable[[str, str], None],
    ) -> None:
        """Take the settings; messages come by `hear`.

        Args:
            node: that looks into the graph.
            topic: of odometry.
            earlier: returns the latest session of a frame that is remembered, and the newest stamp
                of what was seen in it, nanoseconds.
            on_begin: called with a frame and its session when that begins, or goes on.

        """
        self._node, self._topic = node, node.resolve_topic_name(topic)
        self._earlier, self._on_begin = earlier, on_begin
        self.newest: Odometry | None = None
        self._publisher = ''

    def hear(self, odometry: Any) -> None:
        """Take a message, ``nav_msgs/Odometry``."""
        with contextlib.suppress(BadEncodingError):  # its stamp is no time
            newest = odometry_of(odometry)
            if not newest.frame_id or why_not_valid_at(newest, newest.stamp_ns):
                return  # a broken message does not tell that the base is elsewhere
            before, self.newest = self.newest, newest
            if before is None or before.frame_id != newest.frame_id:
                self._resume(newest)
            elif _jumps(before, newest):
                self._begin(newest)

    def check_publisher(self) -> None:
        """Begin anew where the publisher is another one."""
        publisher = self._publisher_now()
        if self.newest is not None and publisher and publisher != self._publisher:
            self._begin(self.newest)

    def _resume(self, odometry: Odometry) -> None:
        """Go on with the session that is remembered, if it is of this publisher."""
        self._publisher = self._publisher_now()
        session, newest_ns = self._earlier(odometry.frame_id)
        if self._publisher and session.startswith(self._publisher) and (
                odometry.stamp_ns >= newest_ns - RESTART_NS):
            self._on_begin(odometry.frame_id, session)
        else:
            self._begin(odometry)

    def _begin(self, odometry: Odometry) -> None:
        self._publisher = self._publisher_now()
        self._on_begin(odometry.frame_id, f'{self._publisher} {uuid.uuid4().hex}')

    def _publisher_now(self) -> str:
        """The id of the publisher, which no other one ever has; empty: there is none."""
        endpoints = self._node.get_publishers_info_by_topic(self._topic)
        return ' '.join(sorted(bytes(endpoint.endpoint_gid).hex() for endpoint in endpoints))


def _jumps(before: Odometry, after: Odometry) -> bool:
    passed_ns = after.stamp_ns - before.stamp_ns
    reach = _STEP + _FASTEST * max(0, passed_ns) / 1e9
    return passed_ns < -RESTART_NS or math.dist(after.position, before.position) > reach
