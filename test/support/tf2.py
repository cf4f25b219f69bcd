"""In place of tf2_ros, which comes with a ROS distribution and not with the wheels.

It does what tf2_ros of Jazzy does with the parts that the package uses: which clock is watched,
what is kept and cleared, what is refused, and the errors with their words. tf2_msgs/TFMessage is
missing, too, so each message on /tf and /tf_static is one TransformStamped.
"""

from __future__ import annotations

import bisect
import math
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, JumpThreshold
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile

from mimo_embodied_ros.geometry import quaternions
from mimo_embodied_ros.geometry.extrinsics import Transform

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.time import Time


class TransformException(Exception):  # noqa: N818, as in tf2_ros
    """Base of the others."""


class LookupException(TransformException):
    """A frame is not known."""


class ConnectivityException(TransformException):
    """Both frames are known, and nothing connects them."""


class ExtrapolationException(TransformException):
    """The frames are connected, but not at that time."""


class _Entry(NamedTuple):
    stamp_ns: int
    parent: str
    shift: np.ndarray[Any, Any]
    turn: tuple[float, ...]

    @property
    def transform(self) -> Transform:
        return Transform.of(self.shift, self.turn)


class Buffer:
    """Keeps the transforms of each frame to its parent, over the latest ``cache_time``."""

    def __init__(self, cache_time: Duration | None = None, node: Node | None = None) -> None:
        self._cache_ns = (cache_time or Duration(seconds=10)).nanoseconds
        self._frames: set[str] = set()
        self._static: dict[str, _Entry] = {}
        self._moving: dict[str, list[_Entry]] = {}
        self._lock = threading.Lock()
        self.clock = Clock() if node is None else node.get_clock()
        self.jump_handle = self.clock.create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1)),
            post_callback=lambda _: self.clear())

    def clear(self) -> None:
        """Forget what moves; static transforms and the names of all frames stay."""
        with self._lock:
            for entries in self._moving.values():
                entries.clear()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Take a transform that may change."""
        entry, child = self._entry(transform, authority), transform.child_frame_id
        if entry is None:
            return
        with self._lock:
            entries = self._moving.setdefault(child, [])
            latest = entries[-1].stamp_ns if entries else 0
            entries[:] = [e for e in entries if e.stamp_ns >= latest - self._cache_ns]
            if entries and entry.stamp_ns < latest - self._cache_ns:
                sys.stderr.write(f'TF_OLD_DATA ignoring data from the past for frame {child}\n')
                return
            bisect.insort(entries, entry, key=lambda e: e.stamp_ns)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Take a transform that holds at all times."""
        entry = self._entry(transform, authority)
        if entry is not None:
            with self._lock:
                self._static[transform.child_frame_id] = entry

    def _entry(self, transform: TransformStamped, authority: str) -> _Entry | None:
        shift, turn = transform.transform.translation, transform.transform.rotation
        at, q = np.array([shift.x, shift.y, shift.z]), (turn.x, turn.y, turn.z, turn.w)
        if np.isnan([*at, *q]).any() or not abs(math.hypot(*q) ** 2 - 1) < 10e-3:
            sys.stderr.write(f'TF_NAN_INPUT or TF_DENORMALIZED_QUATERNION by {authority}\n')
            return None
        self._frames |= {transform.header.frame_id, transform.child_frame_id}
        stamp = transform.header.stamp
        return _Entry(stamp.sec * 10**9 + stamp.nanosec, transform.header.frame_id, at, q)

    def lookup_transform(
        self, target: str, source: str, time: Time, timeout: Duration | None = None
    ) -> TransformStamped:
        """Return the pose of a frame in another one at a time; 0 is not supported here."""
        assert timeout is None, 'it would block the thread by the clock of the system'
        for name, frame in (('target', target), ('source', source)):
            if frame not in self._frames:
                text = (f'"{frame}" passed to lookupTransform argument {name}_frame does not '
                        'exist. ')
                raise LookupException(text)
        with self._lock:
            way = f', when looking up transform from frame [{source}] to frame [{target}]'
            up, problem = self._walk(source, time.nanoseconds)
            down, problem_down = self._walk(target, time.nanoseconds)
        common = next((frame for frame in up if frame in down), None)
        if common is None:
            problem = problem if problem is not None else problem_down
            if problem is not None:
                raise ExtrapolationException(problem + way)
            text = (f"Could not find a connection between '{target}' and '{source}' because they "
                    'are not part of the same tree.Tf has two or more unconnected trees.')
            raise ConnectivityException(text)
        found, out = down[common].inverse @ up[common], TransformStamped()
        out.header.frame_id, out.child_frame_id = target, source
        shift, turn = out.transform.translation, out.transform.rotation
        shift.x, shift.y, shift.z = found.translation.tolist()
        turn.x, turn.y, turn.z, turn.w = quaternions.quaternion_of(found.rotation)
        return out

    def _walk(self, frame: str, time_ns: int) -> tuple[dict[str, Transform], str | None]:
        """The ancestors of a frame with its poses in them, and why there are no more of them."""
        poses, pose = {frame: Transform()}, Transform()
        while True:
            if frame in self._static:
                entry = self._static[frame]
            elif frame in self._moving:
                found = self._at(self._moving[frame], time_ns)
                if isinstance(found, str):
                    return poses, found
                entry = found
            else:
                return poses, None
            frame, pose = entry.parent, entry.transform @ pose
            poses[frame] = pose

    @staticmethod
    def _at(entries: list[_Entry], time_ns: int) -> _Entry | str:
        def seconds(nanoseconds: int) -> str:
            return f'{nanoseconds / 1e9:.6f}'

        if not entries:
            return ''
        first, last = entries[0], entries[-1]
        if first is last and time_ns != first.stamp_ns:
            return (f'Lookup would require extrapolation at time {seconds(time_ns)}, but only time '
                    f'{seconds(first.stamp_ns)} is in the buffer')
        for side, beyond, bound, limit_ns in (
                ('future', time_ns > last.stamp_ns, 'latest', last.stamp_ns),
                ('past', time_ns < first.stamp_ns, 'earliest', first.stamp_ns)):
            if beyond:
                return (f'Lookup would require extrapolation into the {side}.  Requested time '
                        f'{seconds(time_ns)} but the {bound} data is at time {seconds(limit_ns)}')
        index = bisect.bisect_right(entries, time_ns, key=lambda e: e.stamp_ns)
        older = entries[index - 1]
        if older.stamp_ns == time_ns:
            return older
        newer = entries[index]
        share = (time_ns - older.stamp_ns) / (newer.stamp_ns - older.stamp_ns)
        return older._replace(
            shift=(1 - share) * older.shift + share * newer.shift,
            turn=quaternions.slerp(older.turn, newer.turn, share))


class TransformListener:
    """Hands the messages of /tf and /tf_static to a buffer."""

    def __init__(self, buffer: Any, node: Node, *, spin_thread: bool = False) -> None:
        assert not spin_thread
        self._node = node
        group = ReentrantCallbackGroup()
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(
                TransformStamped, '/tf', lambda m: buffer.set_transform(m, 'default_authority'),
                100, callback_group=group),
            node.create_subscription(
                TransformStamped, '/tf_static',
                lambda m: buffer.set_transform_static(m, 'default_authority'), latched,
                callback_group=group)]

    def unregister(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class Broadcaster:
    """Publishes transforms as a robot does, and waits until somebody has subscribed."""

    def __init__(self, ros: Any, node: Node) -> None:
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._moving = node.create_publisher(TransformStamped, '/tf', 100)
        self._static = node.create_publisher(TransformStamped, '/tf_static', latched)
        ros.wait_for(lambda: self._moving.get_subscription_count()
                     and self._static.get_subscription_count())

    def send(
        self, parent: str, child: str, x: float, stamp: Any = None, *,
        turn: tuple[float, ...] = (0.0, 0.0, 0.0, 1.0),
    ) -> None:
        """Publish where a frame is: ``x`` metres ahead of its parent; always, without a stamp."""
        message = TransformStamped(child_frame_id=child)
        message.header.frame_id = parent
        message.transform.translation.x = x
        rotation = message.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = turn
        if stamp is not None:
            message.header.stamp = stamp
        (self._static if stamp is None else self._moving).publish(message)
