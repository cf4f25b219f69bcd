"""Recorded bags: what is in one, and playing it into topics as ``ros2 bag play`` does.

Messages go out as the bytes that were recorded; nothing is deserialised. Only the storage is
read (rosbags), so that bags whose files carry no message definitions can be played as well.
"""

from __future__ import annotations

import importlib
import math
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosbags.interfaces import ConnectionExtRosbag2, QosDurability
from rosbags.rosbag2 import Reader

from mimo_embodied_ros.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from rclpy.node import Node
    from rclpy.publisher import Publisher
    from typing_extensions import Self

CLOCK_PERIOD_S = 0.025
"""Wall time between messages on ``/clock``, as ``ros2 bag play --clock`` has it."""

PROGRESS_PERIOD_S = 0.1
"""Wall time between reports of progress."""

SHORTEST_LOOP_S = 1.0
"""Bag time that a pass of a loop lasts at least, so that a bag of one image does not race."""


_SUFFIXES = ('.mcap', '.db3')
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag.

    Attributes:
        name: as recorded.
        type: such as ``sensor_msgs/msg/Image``.
        count: number of messages.
        latched: it was offered with transient-local durability.

    """

    name: str
    type: str
    count: int
    latched: bool


@dataclass(frozen=True)
class BagInfo:
    """What a bag holds.

    Attributes:
        path: the bag's directory or file.
        start_ns: log time of the first message, nanoseconds; 0 in an empty bag.
        end_ns: log time of the last message.
        topics: sorted by name.

    """

    path: Path
    start_ns: int
    end_ns: int
    topics: tuple[BagTopic, ...]

    @property
    def duration_s(self) -> float:
        """Seconds from the first message to the last."""
        return (self.end_ns - self.start_ns) * 1e-9

    @property
    def count(self) -> int:
        """Messages of all topics."""
        return sum(topic.count for topic in self.topics)

    def of_type(self, *types: str) -> tuple[BagTopic, ...]:
        """Topics with messages of one of the types, the one with most messages first."""
        found = [topic for topic in self.topics if topic.type in types and topic.count]
        return tuple(sorted(found, key=lambda topic: -topic.count))


@dataclass(frozen=True)
class Progress:
    """How far a bag has been played.

    Attributes:
        position_s: bag time since the first message.
        duration_s: bag time of the whole bag.
        messages: published so far, over all passes.
        passes: begun so far; more than 1 only in a loop.

    """

    position_s: float
    duration_s: float
    messages: int
    passes: int


def describe(path: str | Path) -> BagInfo:
    """Say what a bag holds; of its messages only the first is read.

    Args:
        path: a rosbag2 directory, or a single .mcap or .db3 file.

    Raises:
        InvalidRequestError: there is no bag that can be read.

    """
    path = Path(path)
    try:
        with _reader(path) as reader:
            return _info(path, reader)
    except InvalidRequestError:
        raise
    except Exception as error:  # rosbags lets struct.error, TypeError and others through
        raise _unreadable(path, error) from error


class BagPlayer:
    """Publishes a bag with its own timing, by log time.

    The publishers exist from the start, so that others can find them before :meth:`play`, and
    until :meth:`close`, so that latched messages stay available. They are reliable with a depth
    of 10, and transient local where the recorded topic was.

    Attributes:
        info: what the bag holds.
        skipped: topics whose type is not installed, and that as a sentence; each type is also
            logged once.

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
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Look into the bag and make the publishers.

        Args:
            path: a rosbag2 directory, or a single .mcap or .db3 file.
            node: makes the publishers; it need not be spun.
            rate: speed, 2.0 is twice as fast as recorded.
            loop: start again at the end, until :meth:`stop`.
            clock: publish bag time on ``/clock``; a recorded ``/clock`` is then left out.
            topics: names as recorded; all without it.
            remap: from recorded names to others.
            prefix: put before the names that are not remapped, such as ``/robot1``.
            on_progress: called ten times a second and at the end, in the thread that plays.

        Raises:
            InvalidRequestError: no bag that can be read, nothing in it to play, an unknown
                topic, a name that is not allowed, or a rate that is not above zero.

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
        wanted = (names if topics is None else set(topics)) - ({'/clock'} if clock else set())
        chosen = [topic for topic in self.info.topics if topic.name in wanted and topic.count]
        classes = {topic.type: _message_class(topic.type) for topic in chosen}
        for absent in sorted(name for name, found in classes.items() if found is None):
            why = f'the type {absent} is not installed'
            node.get_logger().warning(f'{path}: {why}, its topics are left out')
            self.skipped.update({topic.name: why for topic in chosen if topic.type == absent})
        if len(self.skipped) == len(chosen):
            why = '; '.join(sorted(set(self.skipped.values()))) or 'the topics are empty'
            raise InvalidRequestError(f'{path} holds no message that can be played: {why}')
        try:
            if clock:
                self._clock = node.create_publisher(Clock, '/clock', 1)
            for topic in chosen:
                if message_class := classes[topic.type]:
                    self._advertise(
                        topic, message_class, remap.get(topic.name, prefix + topic.name)
                    )
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
        """Wait until the topics (recorded names; all without it) have a subscriber each.

        A message sent before its subscriber was found is lost, and some bags have one image.

        Returns:
            Whether all have one; False after the timeout and after :meth:`stop`.

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
            InvalidRequestError: the bag is damaged; what lies before the damage was published.

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
        """End :meth:`play`, for good; may be called from any thread."""
        self._stop.set()

    def close(self) -> None:
        """Stop, and destroy the publishers once nothing is played any more."""
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
        """Play the bag once; tell whether its end was reached.

        Every message has a due time counted from the start of the pass, so no delay adds up.
        """
        self._passes += 1
        for index, (topic, stamp_ns, data) in enumerate(
            _read(self.info.path, {*self._publishers})
        ):
            if not index:  # only now, since opening a large bag takes its time
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
            if not self._stopped():  # else the context was shut down just now
                raise

    def _stopped(self) -> bool:
        return self._stop.is_set() or not self._node.context.ok()

    def _wait_until(self, due: float) -> bool:
        """Wait with clock and progress going on; False if playing was stopped."""
        while not self._stopped():
            now = time.monotonic()
            # before a message that is due, too: else it would be from the future
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
            self._on_progress(
                Progress(self._position_s(), self.info.duration_s, self._messages, self._passes)
            )


def _info(path: Path, reader: Reader) -> BagInfo:
    topics = tuple(
        BagTopic(
            name=each.topic,
            type=each.msgtype,
            count=each.msgcount,
            latched=isinstance(each.ext, ConnectionExtRosbag2)
            and any(
                qos.durability is QosDurability.TRANSIENT_LOCAL
                for qos in each.ext.offered_qos_profiles
            ),
        )
        for each in sorted(reader.connections, key=lambda each: each.topic)
    )
    # the metadata may be wrong about the start, and playing would wait for it
    first = next(reader.messages(), None)
    if first is None and reader.message_count:
        raise InvalidRequestError(
            f'{path}: metadata.yaml speaks of {reader.message_count} messages that its files do '
            'not have; mend it with "ros2 bag reindex", or give one of the files'
        )
    if first and bytes(first[2][:4]) == _ZSTD_MAGIC:  # only metadata.yaml says so
        raise InvalidRequestError(
            f'{path}: the messages are compressed one by one, as only the metadata.yaml beside '
            'the file says; give the directory of the bag'
        )
    start_ns = first[1] if first else 0
    return BagInfo(path, start_ns, max(start_ns, reader.end_time - 1), topics)


def _reader(path: Path) -> Reader:
    """Make a reader of the bag, or say what else is there."""
    if not path.exists():
        raise InvalidRequestError(
            f'there is no {path}: give the directory of a bag, or its .mcap or .db3 file'
        )
    if path.suffix == '.bag':
        raise InvalidRequestError(
            f'{path} is a bag of ROS 1: convert it with '
            f'"rosbags-convert --src {path} --dst {path.with_suffix("")}" and play the result'
        )
    if path.is_dir():
        if not (path / 'metadata.yaml').exists():
            files = sorted(each.name for each in path.iterdir() if each.suffix in _SUFFIXES)
            raise InvalidRequestError(
                f'{path} has no metadata.yaml: give '
                + (f'one of its files ({", ".join(files)})' if files else 'the directory of a bag')
            )
    elif path.suffix not in _SUFFIXES:
        raise InvalidRequestError(
            f'{path} is no bag: give the directory of a bag, or its .mcap or .db3 file'
        )
    return Reader(path)


def _unreadable(path: Path, error: Exception) -> InvalidRequestError:
    return InvalidRequestError(
        f'{path} cannot be read as a bag ({error or type(error).__name__}): it is damaged or its '
        'recorder was not ended properly; try "ros2 bag reindex" or "mcap recover"'
    )


def _read(
    path: Path, topics: set[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], int, bytes]]:
    """Yield (topic and type, log time in nanoseconds, serialised message) in order of time."""
    try:
        with _reader(path) as reader:
            wanted = [each for each in reader.connections if (each.topic, each.msgtype) in topics]
            for connection, stamp_ns, data in reader.messages(wanted):
                yield (connection.topic, connection.msgtype), stamp_ns, bytes(data)
    except InvalidRequestError:
        raise
    except Exception as error:  # rosbags lets struct.error, TypeError and others through
        raise _unreadable(path, error) from error


def _message_class(type_name: str) -> type[Any] | None:
    """The Python class of ``package/msg/Name``, or None where it is not installed."""
    if not (match := re.fullmatch(r'([a-z][a-z0-9_]*)/msg/([A-Z][A-Za-z0-9]*)', type_name)):
        return None
    try:
        found: type[Any] = getattr(importlib.import_module(f'{match[1]}.msg'), match[2])
    except (ImportError, AttributeError):
        return None
    return found
