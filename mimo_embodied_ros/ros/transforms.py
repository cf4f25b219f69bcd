"""Transforms between frames: by tf2 where it is installed, else by extrinsics and odometry."""

from __future__ import annotations

import itertools
import math
import time
from typing import TYPE_CHECKING, Any

from rclpy.duration import Duration
from rclpy.time import Time

from mimo_embodied_ros.core.errors import BadEncodingError, TransformError
from mimo_embodied_ros.geometry.extrinsics import LATE, NOT_THEN, Extrinsics, Transform

from .stamps import RESTART_NS, nanoseconds_of, when_time_falls_back

try:
    import tf2_ros
except ImportError:  # it comes with a ROS distribution and not from pip
    tf2_ros = None

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node

    from mimo_embodied_ros.core.frames import Odometry

_NO_STAMP = 'the image has no stamp (it is 0); let the driver stamp its images'
_DISCOVERY_S = 2.0  # after tf2 began to listen, within which frames become known
_POLL_S = 0.01
_NAMED = 3  # transforms that were left out, at most, in a message
_UNIT = 0.01  # by how much the length of a quaternion may differ from 1


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
        self._tf2: Tf2Transforms | None = None
        self._without = 'tf2 is not used (tf_buffer is 0)' if tf2_ros else 'tf2 is not installed'
        if tf2_ros is not None and buffer_s:
            self._tf2 = Tf2Transforms(node, buffer_s)

    def lookup(
        self, target: str, source: str, stamp_ns: int, odometry: Callable[[], Odometry | None],
        until: float = 0.0, stopped: Callable[[], bool] = lambda: False,
    ) -> Transform:
        """The transform that takes points of ``source`` to ``target``; see Extrinsics.lookup.

        What is only late is waited for, in the calling thread.

        Args:
            target: frame.
            source: frame.
            stamp_ns: of the image.
            odometry: returns the odometry nearest to the stamp so far; None without any.
            until: when the wait ends, ``time.monotonic()`` seconds.
            stopped: asked while waiting; True ends the wait.

        Raises:
            TransformError: neither tf2 nor extrinsics know the transform; the message begins with
                the reason of the one that knows the frames.

        """
        begin = time.monotonic()
        while True:
            try:
                return self._look_up(target, source, stamp_ns, odometry())
            except TransformError as error:
                now = time.monotonic()
                if error.cause != LATE or now >= until or stopped():
                    waited = f'; waited for {now - begin:.1f} s' if now >= begin + 0.1 else ''
                    text = f'{error}{waited}'
                    raise TransformError(text, cause=error.cause) from error
            time.sleep(_POLL_S)

    def _look_up(
        self, target: str, source: str, stamp_ns: int, odometry: Odometry | None
    ) -> Transform:
        reasons: list[TransformError] = []
        if self._tf2 is not None:
            try:
                return self._tf2.lookup(target, source, stamp_ns)
            except TransformError as error:
                reasons.append(error)
        try:
            return self._extrinsics.lookup(target, source, stamp_ns, odometry)
        except TransformError as error:
            reasons.append(TransformError(
                f'{error} (extrinsics_file, odometry)', cause=error.cause))
        # the reason of the one that connects the frames is the true one
        known = [reason for reason in reasons if reason.cause in (LATE, NOT_THEN)]
        late = any(reason.cause == LATE for reason in known) or (
            not known and self._tf2 is not None and self._tf2.is_new)
        frames = [source, target]
        if odometry is not None:
            frames += [odometry.frame_id, odometry.child_frame_id]
        remarks = [str(reason) for reason in known or reasons]
        if self._tf2 is None:
            remarks.append(self._without)
        remarks += dict.fromkeys(filter(None, map(_fault_of, frames)))
        if not stamp_ns and not any(_NO_STAMP in remark for remark in remarks):
            remarks.append(_NO_STAMP)
        raise TransformError('; '.join(remarks), cause=LATE if late and stamp_ns else '')

    def close(self) -> None:
        """Stop to listen to tf2."""
        if self._tf2 is not None:
            self._tf2.close()
            self._tf2 = None


class Tf2Transforms:
    """The transforms of tf2, without those that are no transforms, and of one pass of time only.

    It stands between tf2's listener and its buffer. The buffer keeps what is newest by its stamp:
    where stamps fall back, as when a bag begins anew or a simulator is reset, it would ignore what
    comes then, and answer with what was before. So it is cleared when the node's clock falls back,
    and when stamps of a frame do, since a node may play a bag by the clock of the system. Static
    transforms stay.
    """

    def __init__(self, node: Node, buffer_s: float) -> None:
        """Listen; transforms are kept for ``buffer_s`` seconds."""
        self._log, self._clock = node.get_logger(), node.get_clock()
        # Not with the node: then it offered a service of a fixed name in each of them.
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=buffer_s))
        self._newest_ns: dict[str, int] = {}  # the latest stamp of each frame
        self._refused: dict[str, str] = {}  # why the last transform of a frame was left out
        self._since = time.monotonic()
        self._jumps = when_time_falls_back(node, self._on_jump)
        self._listener = tf2_ros.TransformListener(self, node, spin_thread=False)

    def lookup(self, target: str, source: str, stamp_ns: int) -> Transform:
        """The transform that takes points of ``source`` to ``target``.

        Raises:
            TransformError: it is not known; the cause is LATE where it may still come.

        """
        if not stamp_ns:
            # tf2 would take 0 for the present, when the robot may be elsewhere
            raise TransformError(_NO_STAMP)
        try:
            stamped = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except tf2_ros.TransformException as error:
            # it says nothing before the comma where a frame has no data since they were cleared
            nothing = 'no data' if str(error).startswith(',') else ''
            reasons, cause = [f'tf2: {nothing}{error}'], ''
            if isinstance(error, tf2_ros.ExtrapolationException):
                if 'into the past' in str(error):  # only the text tells which way
                    cause = NOT_THEN
                    reasons.append('raise tf_buffer if the image is that old')
                else:
                    cause = LATE
                    reasons.append('see whether what publishes it runs, and whether clocks agree')
            refused = dict(self._refused)
            about = {source, target} & refused.keys() or refused
            reasons += [refused[frame] for frame in itertools.islice(about, _NAMED)]
            raise TransformError('; '.join(reasons), cause=cause) from error
        shift, turn = stamped.transform.translation, stamped.transform.rotation
        return Transform.of((shift.x, shift.y, shift.z), (turn.x, turn.y, turn.z, turn.w))

    @property
    def is_new(self) -> bool:
        """Whether it began to listen, or anew, so lately that frames may still become known."""
        return time.monotonic() < self._since + _DISCOVERY_S

    def _on_jump(self) -> None:
        now_ns = self._clock.now().nanoseconds
        # else what has arrived already is of the time that began anew
        if any(newest_ns > now_ns for newest_ns in self._newest_ns.values()):
            self._clear()

    def _clear(self) -> None:
        """Forget all transforms but the static ones."""
        self._newest_ns.clear()
        self._buffer.clear()
        self._since = time.monotonic()

    # -- what the listener calls, in the executor's thread

    def set_transform(self, transform: Any, authority: str) -> None:
        """Take a transform that has arrived."""
        if not self._is_usable(transform):
            return
        frame, stamp_ns = transform.child_frame_id, nanoseconds_of(transform.header.stamp)
        if 0 < stamp_ns < self._newest_ns.get(frame, 0) - RESTART_NS:
            self._log.warning(
                f'the stamps of the transforms of {frame} fell back by '
                f'{(self._newest_ns[frame] - stamp_ns) / 1e9:.1f} s, so the transforms from '
                'before are forgotten; if no bag or simulator began anew, two nodes publish this '
                'transform', throttle_duration_sec=10.0)
            self._clear()
        self._newest_ns[frame] = max(stamp_ns, self._newest_ns.get(frame, 0))
        self._buffer.set_transform(transform, authority)

    def set_transform_static(self, transform: Any, authority: str) -> None:
        """Take a static transform that has arrived."""
        if self._is_usable(transform):
            self._buffer.set_transform_static(transform, authority)

    def _is_usable(self, transform: Any) -> bool:
        frame, problem = transform.child_frame_id, _problem_of(transform)
        if not problem:
            self._refused.pop(frame, None)
            return True
        if frame not in self._refused:
            self._refused[frame] = (
                f'a transform from {frame!r} to {transform.header.frame_id!r} was left out: '
                f'{problem}')
            self._log.warning(self._refused[frame])
        return False

    def close(self) -> None:
        """Stop to listen."""
        self._jumps.unregister()
        self._listener.unregister()


def _problem_of(transform: Any) -> str:
    """What is wrong with a transform message, and the remedy; empty where nothing is."""
    try:
        nanoseconds_of(transform.header.stamp)
    except BadEncodingError as error:
        return str(error)
    shift, turn = transform.transform.translation, transform.transform.rotation
    numbers = [shift.x, shift.y, shift.z, turn.x, turn.y, turn.z, turn.w]
    if not all(map(math.isfinite, numbers)):
        return 'its numbers are not finite; correct its publisher'
    length = math.hypot(*numbers[3:])
    if abs(length - 1) > _UNIT:
        return (f'its rotation has the length {length:.3f}, and a quaternion has 1; correct its '
                'publisher')
    return ''


def _fault_of(frame: str) -> str:
    """What is wrong with the name of a frame, and the remedy; empty where nothing is."""
    if not frame:
        return 'a frame_id is empty; let the driver set it'
    if frame.startswith('/'):
        return (f'the frame_id {frame!r} begins with a slash, and frames of tf2 do not; let its '
                'publisher, or the request, leave the slash out')
    return ''
