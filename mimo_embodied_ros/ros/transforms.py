"""Transforms between frames: by tf2 where it is installed, else by extrinsics and odometry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.time import Time

from mimo_embodied_ros.core.errors import TransformError
from mimo_embodied_ros.geometry.extrinsics import Extrinsics, Transform

try:
    import tf2_ros
except ImportError:  # it comes with a ROS distribution and not from pip
    tf2_ros = None

if TYPE_CHECKING:
    from rclpy.node import Node

    from mimo_embodied_ros.core.frames import Odometry

_NO_STAMP = 'the image has no stamp (it is 0); let the driver stamp its images'


class Transforms:
    """Looks transforms up at the stamp of an image, which may be long past."""

    def __init__(self, node: Node, extrinsics: Extrinsics, buffer_s: float) -> None:
        """Listen to tf2, if it is installed.

        Args:
            node: whose subscriptions tf2 uses.
            extrinsics: used where tf2 does not know a transform.
            buffer_s: seconds for which transforms are kept; 0: tf2 is not used.

        """
        self._extrinsics = extrinsics
        self._buffer: Any = None
        self._without = 'tf2 is not used (tf_buffer is 0)' if tf2_ros else 'tf2 is not installed'
        if tf2_ros is not None and buffer_s:
            self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=buffer_s))
            self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    def lookup(
        self, target: str, source: str, stamp_ns: int, odometry: Odometry | None
    ) -> Transform:
        """The transform that takes points of ``source`` to ``target``; see Extrinsics.lookup.

        Raises:
            TransformError: neither knows the transform; the message has both reasons.

        """
        tf2_reason = self._without
        if self._buffer is not None:
            try:
                return self._from_tf2(target, source, stamp_ns)
            except (tf2_ros.TransformException, TransformError) as error:
                tf2_reason = f'tf2: {error}'
        try:
            return self._extrinsics.lookup(target, source, stamp_ns, odometry)
        except TransformError as error:
            frames = [source, target]
            if odometry is not None:
                frames += [odometry.frame_id, odometry.child_frame_id]
            remarks = [tf2_reason, *dict.fromkeys(filter(None, map(_fault_of, frames)))]
            if not stamp_ns and _NO_STAMP not in tf2_reason:
                remarks.append(_NO_STAMP)
            msg = f'{error} (extrinsics_file, odometry). {"; ".join(remarks)}'
            raise TransformError(msg) from error

    def _from_tf2(self, target: str, source: str, stamp_ns: int) -> Transform:
        if not stamp_ns:
            # tf2 would take 0 for the present, when the robot may be elsewhere
            raise TransformError(_NO_STAMP)
        stamped = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        shift, turn = stamped.transform.translation, stamped.transform.rotation
        return Transform.of((shift.x, shift.y, shift.z), (turn.x, turn.y, turn.z, turn.w))

    def close(self) -> None:
        """Stop to listen to tf2."""
        if self._buffer is not None:
            self._listener.unregister()
            self._buffer = None


def _fault_of(frame: str) -> str:
    """What is wrong with the name of a frame, and the remedy; empty where nothing is."""
    if not frame:
        return 'a frame_id is empty; let the driver set it'
    if frame.startswith('/'):
        return (f'the frame_id {frame!r} begins with a slash, and frames of tf2 do not; let its '
                'publisher, or the request, leave the slash out')
    return ''
