"""What is wrong with a topic, in words: the cause as far as it can be seen, and the remedy."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from rclpy.qos import QoSCompatibility, qos_check_compatible

from mimo_embodied_ros.ros.streams import type_name
from mimo_embodied_ros.share import share_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.qos import QoSProfile
    from rclpy.topic_endpoint_info import TopicEndpointInfo

    from mimo_embodied_ros.ros.streams import Stream

SILENCE_S = 5.0
"""A topic from which nothing came for so long has something wrong."""
_AHEAD_S = 0.2  # /clock may come ten times a second; stamps further ahead are of another clock
_BEHIND_S = 1.0  # no camera takes so long
_LARGE_BYTES = 500_000  # near the segment of Fast DDS' default shared memory
_AGAIN_S = 60.0  # what is back after so long is said again
_UNNAMED = '_NODE_NAME_UNKNOWN_'  # until the graph has told it
_PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')


class Fault(NamedTuple):
    """One thing that is wrong; ``text`` names cause and remedy, ``kind`` stays while they last."""

    kind: str
    text: str


class Said:
    """Says each fault once, and again if it comes back much later."""

    def __init__(self, say: Callable[[str], object]) -> None:
        """Nothing has been said; ``say`` is a logger's."""
        self._say = say
        self._seen: dict[tuple[str, str], float] = {}

    def update(self, found: Mapping[Stream, Fault | None]) -> list[Fault]:
        """Take what is wrong with some topics now; returns it without what is not."""
        now = time.monotonic()
        for stream, fault in found.items():
            if fault is not None:
                key = stream.topic, fault.kind
                seen, self._seen[key] = self._seen.get(key), now
                if seen is None or now - seen > _AGAIN_S:
                    self._say(fault.text)
        return [fault for fault in found.values() if fault is not None]


def silence(
    stream: Stream, asked: QoSProfile, publishers: Sequence[TopicEndpointInfo]
) -> Fault | None:
    """Why nothing comes from a topic; None: nobody publishes it and nobody need.

    Args:
        stream: of the topic.
        asked: the quality of service of the subscription.
        publishers: all that the graph has for the topic.

    """
    topic, kind = stream.topic, type_name(stream.kind)
    if not publishers:
        return None if stream.optional else Fault('no publisher', (
            f'nothing publishes {topic}; start the camera, or set {stream.parameter} to its topic '
            '(ros2 topic list names them)'))
    fitting = [p for p in publishers if p.topic_type == kind]
    if not fitting:
        others = ', '.join(sorted({p.topic_type for p in publishers}))
        transport = stream.parameter.replace('_topic', '_transport')
        compressed = 'CompressedImage' in others or 'CompressedImage' in kind
        remedy = f'set {transport}, or ' * compressed + f'set {stream.parameter} to a topic of it'
        return Fault('wrong type', f'{topic} carries {others} and {kind} is expected; {remedy}')
    checks = [qos_check_compatible(p.qos_profile, asked) for p in fitting]
    if all(compatibility == QoSCompatibility.ERROR for compatibility, _ in checks):
        reasons = checks[0][1].replace('ERROR: ', '').strip('; ')
        return Fault('incompatible quality of service', (
            f'{topic} cannot be received: {reasons}; set '
            f'qos_overrides.{topic}.subscription.reliability (or .durability) to what '
            f'{_name(fitting[0])} offers'))
    why = (f'{stream.loss:.1f} messages a second get lost' if stream.loss else
           'either it sends nothing (ros2 topic hz), or its messages get lost')
    return Fault('silent', (
        f'{_name(fitting[0])} publishes {topic} and nothing arrives; {why}. {_large_messages()}'))


def _name(publisher: TopicEndpointInfo) -> str:
    if publisher.node_name == _UNNAMED:
        return 'a node'
    return f'{publisher.node_namespace.rstrip("/")}/{publisher.node_name}'


def loss(images: Stream) -> Fault | None:
    """Whether large images get lost, more than arrive."""
    newest, rate, lost = images.newest, images.rate, images.loss
    if newest is None or rate is None or lost is None:
        return None
    if len(newest.data) < _LARGE_BYTES or lost < rate + 1:
        return None
    return Fault('loss', (
        f'images of {len(newest.data) / 1e6:.1f} MB arrive on {images.topic} {rate:.1f} times a '
        f'second, and {lost:.1f} a second get lost. {_large_messages()}'))


def clock(images: Stream, now_ns: int) -> Fault | None:
    """Whether the stamps are of another clock than the node's.

    Args:
        images: of the camera.
        now_ns: of the node's clock.

    """
    newest = images.newest
    if newest is None:
        return None
    if now_ns == 0:
        return Fault('no clock', (
            'use_sim_time is set and nothing has arrived on /clock; start what publishes it, or '
            'set use_sim_time to false'))
    if newest.stamp_ns == 0:
        return Fault('no stamp', (
            f'images on {images.topic} are stamped 0; let the driver stamp them, or set '
            'max_image_age to 0 and do without 3D'))
    late = images.offset_ns / 1e9
    if -_AHEAD_S <= late <= _BEHIND_S:
        return None
    where = f'{-late:.3f} s in the future' if late < 0 else f'{late:.3f} s before they arrive'
    return Fault('clock', (
        f'images on {images.topic} are stamped {where} by the clock of this node; let all machines '
        'have one clock (chrony or PTP), set use_sim_time with a bag or simulator, or see what '
        'delays them'))


def _large_messages() -> str:
    profile = os.environ.get(_PROFILES[0]) or os.environ.get(_PROFILES[1])
    if profile:
        return ('Large messages need a transport that carries them: see that the driver of the '
                f'camera has the profile of this node, {profile}, too')
    shipped = share_folder() / 'config' / 'fastdds_large_images.xml'
    return ('Fast DDS loses large messages by default: start this node and the driver of the '
            f'camera with {_PROFILES[0]}={shipped} (with Kilted {_PROFILES[1]})')
