"""Plays a recorded bag into topics, as ``ros2 bag play`` does.

Messages go out as the bytes that were recorded; nothing is deserialised, so that bags whose files
carry no message definitions can be played as well.
"""

from __future__ import annotations

import importlib
import math
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError

from .reader import describe, read_messages
from .storage import CDR

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from typing_extensions import Self

    from .reader import BagTopic

CLOCK_PERIOD_S = 0.025
"""Seconds of wall time between messages on ``/clock``, as with ``ros2 bag play --clock``."""

PROGRESS_PERIOD_S = 0.1
"""Seconds of wall time between reports of progress."""

SHORTEST_LOOP_S = 1.0
"""Least bag time of one pass in a loop, seconds, so that a bag of one image does not race."""


@dataclass(frozen=True)
class PlaybackProgress:
    """How far a bag has been played.

    Attributes:
        position_s: bag time since the first message, seconds.
        duration_s: bag time from the first message to the last, seconds.
        messages: number of messages published so far, over all passes.
        passes: number of passes begun so far; more than 1 only in a loop.

    """

    position_s: float
    duration_s: float
    messages: int
    passes: int


class BagPlayer:
    """Publishes the messages of a bag with the timing of their log times.

    The publishers exist from the start, so that subscribers can find them before :meth:`play`, and
    until :meth:`close`, so that latched messages stay available. They are reliable with a depth
    of 10, and transient local where the recorded topic was.

    Attributes:
        info: the contents of the bag.
        skipped: the reason by the name of each topic that is not played, because its type is not
            installed or its messages are not CDR; each reason is also logged once.

    """

    def __init__(
        self,
        path: str | Path,
        node: Node,
        *,
        rate: float = 1.0,
        loop: bool = False,
        clock: bool = False,
        topics: Collection[str] | None = None,
        remap: Mapping[str, str] | None = None,
        prefix: str = '',
        on_progress: Callable[[PlaybackProgress], None] | None = None,
    ) -> None:
        """Read the bag's contents and make the publishers.

        Args:
            path: a rosbag2 directory, or a single .mcap or .db3 file.
            node: node of the publishers; it need not be spun.
            rate: speed; 2.0 is twice as fast as recorded.
            loop: start again at the end, until :meth:`stop`.
            clock: publish bag time on ``/clock``; a recorded ``/clock`` is then left out.
            topics: recorded names of the topics to play; None: all.
            remap: new names by recorded names.
            prefix: prefix of the names that are not remapped, such as ``/robot1``.
            on_progress: called ten times a second and at the end, in the thread that plays.

        Raises:
            InvalidRequestError: the bag cannot be read, has nothing to play or not a topic that
                was named; a new name is not allowed; or the rate is not above zero.

        """
        from rosgraph_msgs.msg import Clock

        if not (math.isfinite(rate) and rate > 0):
            raise InvalidRequestError(f'rate is {rate}: give a number above zero, 1.0 as recorded')
        self.info = describe(path)
        self.skipped: dict[str, str] = {}
        self._node = node
        self._rate = rate
        self._loop = loop
        self._on_progress = on_progress
        self._stop = threading.Event()
        self._playing = threading.RLock()
        self._publishers: dict[tuple[str, str], Publisher] = {}
        self._clock: Publisher | None = None
        self._begin = 0.0  # of this pass, monotonic clock
        self._clock_sent = -math.inf  # when the clock was last published, monotonic clock
        self._report_at = 0.0
        self._messages = self._passes = 0

        remap = remap or {}
        names = {topic.name for topic in self.info.topics}
        if unknown := {*(topics or ()), *remap} - names:
            raise InvalidRequestError(
                f'{path} has no topic {", ".join(sorted(unknown))}; '
                f'it has {", ".join(sorted(names)) or "none"}'
            )
        selected = (names if topics is None else set(topics)) - ({'/clock'} if clock else set())
        chosen = [topic for topic in self.info.topics if topic.name in selected and topic.count]
        playable: list[tuple[BagTopic, type[Any]]] = []
        for topic in chosen:
            message_class = _message_class(topic.type)
            if topic.encoding != CDR:
                self.skipped[topic.name] = f'the messages of {topic.name} are {topic.encoding}'
            elif message_class is None:
                self.skipped[topic.name] = f'the type {topic.type} is not installed'
            else:
                playable.append((topic, message_class))
        for reason in sorted(set(self.skipped.values())):
            node.get_logger().warning(f'{path}: {reason}; it is left out')
        if not playable:
            reasons = '; '.join(sorted(set(self.skipped.values()))) or 'the topics are empty'
            raise InvalidRequestError(f'{path} holds no message that can be played: {reasons}')
        try:
            if clock:
                self._clock = node.create_publisher(Clock, '/clock', 1)
            for topic, message_class in playable:
                self._advertise(topic, message_class, remap.get(topic.name, prefix + topic.name))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return the player, to be closed at the end of the block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the player."""
        self.close()

    def wait_for_subscribers(
        self, timeout_s: float, topics: Collection[str] | None = None
    ) -> bool:
        """Wait until each topic has a subscriber.

        A message that is sent before its subscriber is discovered is lost, and some bags have
        only one image.

        Args:
            timeout_s: how long to wait, seconds.
            topics: recorded names of the topics; None: all.

        Returns:
            Whether each has a subscriber; False after the timeout and after :meth:`stop`.

        """
        awaited = [
            publisher
            for (name, _), publisher in self._publishers.items()
            if topics is None or name in topics
        ]
        deadline = time.monotonic() + timeout_s
        while not all(publisher.get_subscription_count() for publisher in awaited):
            if time.monotonic() >= deadline or self._stop.wait(0.02):
                return False
        return True

    def play(self) -> int:
        """Play to the end of the bag, to :meth:`stop`, or to the shutdown of the node's context.

        Returns:
            The number of messages published.

        Raises:
            InvalidRequestError: the bag is damaged; the messages before the damage were published.

        """
        with self._playing:
            self._messages = self._passes = 0
            self._begin = 0.0
            while self._play_once() and self._loop:
                end = self._begin + max(self.info.duration_s, SHORTEST_LOOP_S) / self._rate
                if not self._wait_until(end):
                    break
                self._begin = end
            self._report()
            return self._messages

    def stop(self) -> None:
        """End :meth:`play` for good; may be called from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Stop, wait for the end of :meth:`play`, and destroy the publishers."""
        self.stop()
        with self._playing:
            for publisher in (*self._publishers.values(), self._clock):
                if publisher is not None:
                    self._node.destroy_publisher(publisher)
            self._publishers.clear()
            self._clock = None

    def _advertise(self, topic: BagTopic, message_class: type[Any], name: str) -> None:
        from rclpy.exceptions import InvalidTopicNameException
        from rclpy.qos import DurabilityPolicy, QoSProfile

        qos = QoSProfile(depth=10)
        if topic.latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        try:
            publisher = self._node.create_publisher(message_class, name, qos)
        except InvalidTopicNameException as error:
            raise InvalidRequestError(
                f'{topic.name} cannot be played as {name!r} ({error}); give it another name'
            ) from error
        self._publishers[topic.name, topic.type] = publisher

    def _play_once(self) -> bool:
        """Play the bag once; return whether its end was reached.

        Due times count from the start of the pass, so that delays do not add up.
        """
        self._passes += 1
        for index, (topic, stamp_ns, data) in enumerate(
            read_messages(self.info.path, {*self._publishers})
        ):
            if not index:  # only now, because opening a large bag takes time
                self._begin = max(self._begin, time.monotonic())
            position_s = (stamp_ns - self.info.start_ns) * 1e-9
            if not self._wait_until(self._begin + position_s / self._rate):
                return False
            self._send(self._publishers[topic], data)
            self._messages += 1
        return True

    def _send(self, publisher: Publisher, message: object) -> None:
        try:
            publisher.publish(message)
        except RuntimeError:
            if not self._stopped():  # else the context has just been shut down
                raise

    def _stopped(self) -> bool:
        return self._stop.is_set() or not self._node.context.ok()

    def _wait_until(self, due: float) -> bool:
        """Wait, and publish clock and progress meanwhile; return False if playing was stopped."""
        while not self._stopped():
            now = time.monotonic()
            # also before a message that is due: else its stamp would be in the future
            if self._clock is not None and (
                now >= self._clock_sent + CLOCK_PERIOD_S or self._clock_sent < due <= now
            ):
                self._clock_sent = now
                self._publish_clock(self._clock)
            if now >= self._report_at:
                self._report_at = now + PROGRESS_PERIOD_S
                self._report()
            if now >= due:
                return not self._stopped()
            self._stop.wait(min(due - now, CLOCK_PERIOD_S))
        return False

    def _position_s(self) -> float:
        elapsed_s = (time.monotonic() - self._begin) * self._rate
        return min(max(elapsed_s, 0.0), self.info.duration_s)

    def _publish_clock(self, publisher: Publisher) -> None:
        from rclpy.time import Time
        from rosgraph_msgs.msg import Clock

        now = Time(nanoseconds=self.info.start_ns + round(self._position_s() * 1e9))
        self._send(publisher, Clock(clock=now.to_msg()))

    def _report(self) -> None:
        if self._on_progress is not None:
            self._on_progress(PlaybackProgress(
                self._position_s(), self.info.duration_s, self._messages, self._passes))


def _message_class(type_name: str) -> type[Any] | None:
    """Import the class of ``package/msg/Name``; None where it is not installed."""
    if not (match := re.fullmatch(r'([a-z][a-z0-9_]*)/msg/([A-Z][A-Za-z0-9]*)', type_name)):
        return None
    try:
        message_class: type[Any] = getattr(importlib.import_module(f'{match[1]}.msg'), match[2])
    except (ImportError, AttributeError):
        return None
    return message_class
