"""The frames of a world: where its cameras are, and where its base was."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mimo_embodied_ros.geometry.extrinsics import Extrinsics, Transform
from mimo_embodied_ros.ros.stamps import nanoseconds_of

if TYPE_CHECKING:
    from std_msgs.msg import Header

    from mimo_embodied_ros.core.frames import Odometry
    from mimo_embodied_ros.worlds.world import World

_KEPT = 1000  # poses of the base, one a tick


class Frames:
    """Transforms to the frame in which a world takes points."""

    def __init__(self, world: World) -> None:
        """Take a world, whose cameras may be elsewhere after a reset."""
        self._world = world
        self._odometry: deque[Odometry] = deque(maxlen=_KEPT)

    def add(self, odometry: Odometry) -> None:
        """Keep a pose of the base."""
        self._odometry.append(odometry)

    def lookup(self, header: Header) -> Transform:
        """Return the transform from the frame of a message to the world's, at its stamp.

        A stamp of 0 means now.

        Raises:
            TransformError: the world does not know the frame.

        """
        stamp_ns, kept = nanoseconds_of(header.stamp), [*self._odometry]
        odometry = None
        if kept:
            odometry = min(kept, key=lambda o: abs(o.stamp_ns - stamp_ns)) if stamp_ns else kept[-1]
            stamp_ns = stamp_ns or odometry.stamp_ns
        extrinsics = Extrinsics({
            camera.frame: (camera.parent or self._world.frame, camera.pose)
            for camera in self._world.cameras.values()})
        return extrinsics.lookup(self._world.frame, header.frame_id, stamp_ns, odometry)
