"""The topic of odometry, whose messages around the stamp of an image are decoded."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING

from nav_msgs.msg import Odometry as OdometryMsg

from mimo_embodied_ros.core.ego_motion import PATH_STEP_NS
from mimo_embodied_ros.core.errors import BadEncodingError, InvalidRequestError
from mimo_embodied_ros.geometry.odometry import interpolate, is_valid_at, why_not_valid_at
from mimo_embodied_ros.ros.odometry import odometry_of
from mimo_embodied_ros.ros.streams import Decoded, Message, Stream, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode

    from mimo_embodied_ros.core.frames import Odometry

_KEPT = 512  # two seconds and more of a fast publisher
_KEPT_POSES = 8  # decoded messages
_PATH_POINTS = 4  # of the past path in ReCogDrive's prompt


class OdometryStream:
    """Odometry of the base; the methods may be called in any thread.

    Attributes:
        stream: of the topic.
        malformed: number of messages that could not be used, by cause; but for their stamps, only
            messages that a request needed are looked at.

    """

    def __init__(self, node: LifecycleNode, topic: str) -> None:
        """Prepare the stream; an empty topic has no odometry."""
        self.malformed: Counter[str] = Counter()
        self.stream = Stream(node, OdometryMsg, topic, 'odometry_topic', kept=_KEPT, polled=False,
                             optional=True, malformed=self.malformed)
        self._poses = Decoded(_odometry_of, self.malformed, _KEPT_POSES)

    def motion(
        self, stamp_ns: int, wait_s: float, stopped: Callable[[], bool], *, needed: bool = True
    ) -> tuple[Odometry, ...]:
        """Odometry at a stamp and at each half second before it, oldest first.

        What lies before is shorter where there is less. Each has its own stamp, which differs by up
        to 0.2 s where no messages around its time are known.

        Args:
            stamp_ns: of an image, nanoseconds of ROS time.
            wait_s: how long to wait for odometry that is behind the image, steady seconds.
            stopped: asked while waiting; True ends the wait.
            needed: whether a request cannot do without.

        Raises:
            InvalidRequestError: there is none at the stamp, and it is needed.

        """
        end, newest = time.monotonic() + wait_s, None
        while (newest := self.at(stamp_ns)) is None and self._is_behind(stamp_ns):
            if not needed or time.monotonic() >= end or stopped():
                break
            time.sleep(0.005)
        if newest is None:
            if needed:
                raise InvalidRequestError(self._why_none(stamp_ns))
            return ()
        path = [newest]
        for step in range(1, _PATH_POINTS):
            pose = self.at(newest.stamp_ns - step * PATH_STEP_NS)
            # poses in different frames cannot be compared
            if pose and (pose.frame_id, pose.child_frame_id) == (
                    newest.frame_id, newest.child_frame_id):
                path.append(pose)
        return tuple(reversed(path))

    def _is_behind(self, stamp_ns: int) -> bool:
        """Whether odometry comes, and has not come up to a stamp yet."""
        newest = self.stream.newest
        return newest is not None and 0 < newest.stamp_ns < stamp_ns

    def _why_none(self, stamp_ns: int) -> str:
        nearest = self.nearest(stamp_ns)
        if not self.stream.name:
            why = 'set odometry_topic'
        elif nearest is not None:
            why = f'on {self.stream.topic} {why_not_valid_at(nearest, stamp_ns)}'
        elif self.stream.refused is not None:
            why = str(self.stream.refused)
        else:
            why = (f'none has arrived on {self.stream.topic}; set odometry_topic and see '
                   'whether it publishes')
        return f'the question states how the vehicle moves, and needs its odometry: {why}'

    def at(self, stamp_ns: int) -> Odometry | None:
        """Odometry interpolated at a stamp, or the nearest within 0.2 s; None without such."""
        odometry = self.nearest(stamp_ns)
        return odometry if is_valid_at(odometry, stamp_ns) else None

    def nearest(self, stamp_ns: int) -> Odometry | None:
        """Odometry interpolated at a stamp, or that of the nearest stamp, however far and broken.

        It is None where none has arrived.
        """
        poses = []
        for message in self.stream.around(stamp_ns):
            with contextlib.suppress(BadEncodingError):  # the image is used without odometry
                poses.append(self._poses.of(message))
        return interpolate(poses[0], poses[-1], stamp_ns) if poses else None


def _odometry_of(message: Message) -> Odometry:
    return odometry_of(read(message, OdometryMsg))
