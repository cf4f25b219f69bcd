"""Faults of topics: the cause, as far as a subscriber can see it, and the remedy."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from rclpy.qos import QoSCompatibility, qos_check_compatible
from sensor_msgs.msg import CompressedImage, Image

from mimo_embodied_ros.ros.streams import type_name
from mimo_embodied_ros.share import fast_dds_variable, share_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rclpy.clock import Clock
    from rclpy.qos import QoSProfile
    from rclpy.topic_endpoint_info import TopicEndpointInfo

    from mimo_embodied_ros.pictures import Picture
    from mimo_embodied_ros.ros.streams import Stream

SILENCE_S = 5.0
"""How long a topic may be silent before that is a fault."""
_AHEAD_S = 0.2  # /clock may come ten times a second; stamps further ahead are of another clock
_BEHIND_S = 1.0  # more than any camera takes from its stamp to the arrival
_LARGE_BYTES = 500_000  # about a segment of Fast DDS' default shared memory
_REPEAT_S = 60.0  # a fault that comes back after so long is logged again
_UNNAMED = '_NODE_NAME_UNKNOWN_'  # until discovery has told the name
_IMAGES = Image, CompressedImage


class Fault(NamedTuple):
    """A fault of a topic: ``kind`` identifies it while it lasts, ``text`` has cause and remedy."""

    kind: str
    text: str


class FaultLog:
    """Logs each fault once, and again if it comes back much later."""

    def __init__(self, log: Callable[[str], object]) -> None:
        """Log by a call of ``log``, the method of a logger."""
        self._log = log
        self._last_seen: dict[tuple[str, str], float] = {}

    def update(self, problems: Iterable[tuple[Stream, Fault | None]]) -> list[Fault]:
        """Log the present faults of some topics where they are new; returns all of them."""
        now = time.monotonic()
        present = []
        for stream, fault in problems:
            if fault is not None:
                present.append(fault)
                key = stream.topic, fault.kind
                last_seen, self._last_seen[key] = self._last_seen.get(key), now
                if last_seen is None or now - last_seen > _REPEAT_S:
                    self._log(fault.text)
        return present


def silence(
    stream: Stream, quality: QoSProfile, publishers: Sequence[TopicEndpointInfo], *,
    needed: bool = False, size: int = 0,
) -> Fault | None:
    """Why no message of a topic arrives; None for an optional topic without a publisher.

    Args:
        stream: of the topic.
        quality: of service of the subscription.
        publishers: all publishers of the topic in the graph.
        needed: whether a request needs the topic, though it is optional.
        size: of its messages, bytes, as far as it is known; else 0.

    """
    topic, kind = stream.topic, type_name(stream.kind)
    if not publishers:
        return None if stream.optional and not needed else Fault('no publisher', (
            f'nothing publishes {topic}; start the camera, or set {stream.parameter} to its topic '
            '(ros2 topic list names them)'))
    fitting = [p for p in publishers if p.topic_type == kind]
    if not fitting:
        others = ', '.join(sorted({p.topic_type for p in publishers}))
        transport = stream.parameter.replace('_topic', '_transport')
        compressed = 'CompressedImage' in others or 'CompressedImage' in kind
        remedy = f'set {transport}, or ' * compressed + f'set {stream.parameter} to a topic of it'
        return Fault('wrong type', f'{topic} carries {others} and {kind} is expected; {remedy}')
    checks = [qos_check_compatible(p.qos_profile, quality) for p in fitting]
    if all(compatibility == QoSCompatibility.ERROR for compatibility, _ in checks):
        reasons = checks[0][1].replace('ERROR: ', '').strip('; ')
        return Fault('incompatible quality of service', (
            f'{topic} cannot be received: {reasons}; set '
            f'qos_overrides.{topic}.subscription.reliability (or .durability) to what '
            f'{_name(fitting[0])} offers'))
    why = (f'{stream.loss:.1f} messages a second get lost' if stream.loss else
           'either it sends nothing (ros2 topic hz), or its messages get lost')
    size = len(stream.newest.data) if stream.newest else size
    large = stream.kind in _IMAGES if not size else size >= _LARGE_BYTES
    hint = f' (about {size / 1e6:.1f} MB each)' * (size >= _LARGE_BYTES)
    return Fault('silent', (
        f'{_name(fitting[0])} publishes {topic}{hint} and nothing arrives; {why}'
        + f'. {_large_messages()}' * large))


def _name(publisher: TopicEndpointInfo) -> str:
    if publisher.node_name == _UNNAMED:
        return 'a node'
    return f'{publisher.node_namespace.rstrip("/")}/{publisher.node_name}'


def loss(images: Stream) -> Fault | None:
    """The fault that more large images get lost than arrive."""
    newest, rate, lost = images.newest, images.rate, images.loss
    if newest is None or rate is None or lost is None:
        return None
    if len(newest.data) < _LARGE_BYTES or lost < rate + 1:
        return None
    return Fault('loss', (
        f'images of {len(newest.data) / 1e6:.1f} MB arrive on {images.topic} {rate:.1f} times a '
        f'second, and {lost:.1f} a second get lost. {_large_messages()}'))


def odometry(
    stream: Stream, publishers: Sequence[TopicEndpointInfo], silent_s: float
) -> Fault | None:
    """The fault that odometry comes no longer, or of several sources, which are mixed.

    Args:
        stream: of the topic.
        publishers: all publishers of the topic in the graph.
        silent_s: since when nothing has arrived, seconds; 0 where that is no fault.

    """
    if silent_s > SILENCE_S:
        return Fault('odometry stopped', (
            f'nothing has arrived on {stream.topic} for {silent_s:.0f} s ({len(publishers)} '
            'publishers), and odometry so old is not used; see whether its publisher runs'))
    if len(publishers) > 1:
        names = ', '.join(sorted(map(_name, publishers)))
        return Fault('several publishers', (
            f'{stream.topic} has {len(publishers)} publishers, {names}, and what they tell is '
            f'mixed; set {stream.parameter} to the topic of one, or remap the others'))
    return None


class ClockWatch:
    """Watches whether the node's clock runs, and whether images are stamped by it."""

    def __init__(self, clock: Clock) -> None:
        """Watch a clock; ``look`` must be called about once a second."""
        self._clock, self._time_ns, self._moved, self._now = clock, 0, 0.0, 0.0

    def look(self, now: float) -> None:
        """Look at the clock; ``now`` is ``time.monotonic()``."""
        time_ns, self._now = self._clock.now().nanoseconds, now
        if time_ns != self._time_ns:
            self._time_ns, self._moved = time_ns, now

    def fault(self, images: Stream) -> Fault | None:
        """The fault that the stamps of a camera's images are of another clock than the node's."""
        newest = images.newest
        if newest is None:
            return None
        if self._time_ns == 0:
            return Fault('no clock', (
                'use_sim_time is set and nothing has arrived on /clock yet; start what publishes '
                'it, or set use_sim_time to false'))
        if newest.stamp_ns == 0:
            return no_stamp(images)
        ahead_s, still_s = (newest.stamp_ns - self._time_ns) / 1e9, self._now - self._moved
        if ahead_s > _AHEAD_S and still_s > SILENCE_S:
            return Fault('clock stands still', (
                f'/clock has stood still for {still_s:.0f} s while images go on arriving on '
                f'{images.topic}; see whether what publishes it has ended or is paused'))
        late = images.offset_ns / 1e9
        if -_AHEAD_S <= late <= _BEHIND_S:
            return None
        where = f'{-late:.3f} s in the future' if late < 0 else f'{late:.3f} s before they arrive'
        return Fault('clock', (
            f'images on {images.topic} are stamped {where} by the clock of this node; synchronise '
            'the clocks of all machines (chrony or PTP), set use_sim_time with a bag or simulator, '
            'or see what delays the images'))


def no_stamp(images: Stream) -> Fault:
    """The fault that images of a topic, also those of depth, have no stamp."""
    return Fault('no stamp', (
        f'images on {images.topic} have the stamp 0; let the driver stamp them, or set '
        'max_image_age to 0 and do without 3D'))


def of_picture(images: Stream, picture: Picture) -> Fault | None:
    """What is wrong with a picture that could be decoded: it is nearly black, or was turned."""
    if picture.turned:
        return Fault('orientation', (
            f'the JPEGs on {images.topic} say in their EXIF data that they must be turned: answers '
            'are pixels of the upright picture, and without 3D, since camera info and depth are '
            'not turned; let the driver write the rows upright, without an orientation'))
    if picture.white:
        return Fault('white level', (
            f'images on {images.topic} are nearly black: their 16-bit values seem to be of '
            f'{picture.white.bit_length()} bits, 0 to {picture.white}; set '
            f'{images.parameter.removesuffix("image_topic")}white_level to {picture.white}'))
    return None


def _large_messages() -> str:
    variable = fast_dds_variable()
    profile = os.environ.get(variable)
    if profile:
        return ('Large messages need a transport that carries them: start the driver of the '
                f'camera with the profile of this node, {profile}, too')
    shipped = share_folder() / 'config' / 'fastdds_large_images.xml'
    return ('Fast DDS loses large messages by default: start this node and the driver of the '
            f'camera with {variable}={shipped}')
