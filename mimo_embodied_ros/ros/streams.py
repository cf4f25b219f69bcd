"""The serialised messages of one topic: the newest, a few before it, and how they come."""

from __future__ import annotations

import math
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, Image

from mimo_embodied_ros.core.errors import BadEncodingError, MimoError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from rclpy.event_handler import QoSMessageLostInfo
    from rclpy.node import Node
    from rclpy.subscription import Subscription

_TYPES = get_typestore(Stores.ROS2_JAZZY)
_LARGE = Image, CompressedImage  # whose data need not be copied to be read
_QUEUE = 10  # of callbacks; messages may come faster than the executor goes round
_OVERRIDABLE = QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY
_RESTART_NS = 1_000_000_000  # stamps that fall back by more are those of a bag that began anew
_RATE_TICKS = 5  # over so many ticks the rate is told
_HEADER_BYTES = 12  # what CDR says of itself, and the stamp
T = TypeVar('T')


class Message(NamedTuple):
    """A serialised message."""

    data: bytes
    stamp_ns: int  # of its header, nanoseconds; 0 where it is too short to have one
    arrived: float  # when the middleware got it, as far as it tells; time.monotonic()


def stamp_of(data: bytes) -> int:
    """Nanoseconds of the stamp with which a serialised message begins (its header is first)."""
    if len(data) < _HEADER_BYTES:
        return 0
    order = '<' if data[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def read(message: Message, kind: Any) -> Any:
    """Deserialise; the data of an image are a view of the bytes.

    Raises:
        BadEncodingError: the bytes are no message of this type.

    """
    try:
        if kind in _LARGE:
            return _TYPES.deserialize_cdr(memoryview(message.data), type_name(kind))
        return deserialize_message(message.data, kind)
    except Exception as error:  # of whatever middleware
        begin = message.data[:8].hex(' ') or 'nothing'
        raise BadEncodingError(
            f'{len(message.data)} bytes, starting with {begin}, are no {type_name(kind)}; see '
            'what publishes the topic', cause='unreadable bytes') from error


def type_name(kind: Any) -> str:
    """Such as ``sensor_msgs/msg/Image``, of a message's class."""
    package, interface, *_ = kind.__module__.split('.')
    return f'{package}/{interface}/{kind.__name__}'


class Clip:
    """Some of a stream's messages, at a rate, as many as fit into a bound in bytes."""

    def __init__(self, frames: int, rate: float, max_bytes: int) -> None:
        """So many a second of their stamps; 0 frames: none."""
        self._frames, self._max_bytes = frames, max_bytes
        self._period_ns = round(1e9 / rate)
        self._due_ns = 0
        self._kept: deque[Message] = deque()
        self._bytes = 0

    def add(self, message: Message) -> None:
        """Keep it if it is the turn of one; forget the oldest for it."""
        late = message.stamp_ns - self._due_ns
        # a quarter early: a camera of the same rate is never quite on time
        if not self._frames or late < -self._period_ns // 4:
            return
        self._due_ns = message.stamp_ns + self._period_ns - (late if late < self._period_ns else 0)
        self._kept.append(message)
        self._bytes += len(message.data)
        while len(self._kept) > self._frames or self._bytes > self._max_bytes:
            self._bytes -= len(self._kept.popleft().data)

    def before(self, stamp_ns: int) -> list[Message]:
        """What, with the message of the stamp behind it, is a clip of the wanted length."""
        earliest, latest = (stamp_ns - self._frames * self._period_ns,
                            stamp_ns - self._period_ns // 2)
        fitting = [m for m in tuple(self._kept) if earliest <= m.stamp_ns <= latest]
        return fitting[max(0, len(fitting) + 1 - self._frames):]

    def forget(self, after_ns: float) -> None:
        """Forget the messages with later stamps, and begin anew."""
        self._kept = deque(m for m in self._kept if m.stamp_ns <= after_ns)
        self._bytes = sum(len(m.data) for m in self._kept)
        self._due_ns = 0


class Polled(CallbackGroup):
    """Of a subscription whose messages stay in the middleware until they are asked for.

    An executor does not wait for what its group holds back, so messages do not wake it either. Nor
    may events of the subscription: Fast DDS wakes who waits for them as long as a message is there.
    """

    def can_execute(self, entity: Any) -> bool:
        """Whether the executor may take what is there."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Whether a callback may begin."""
        return self.can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        """Nothing waits for the end of a callback."""


class Stream:
    """The newest messages of one topic.

    They wait in the middleware, which keeps the newest ones, until ``poll`` takes them in whatever
    thread needs them: thirty pictures a second are not copied for one question a second. Small ones
    of which more are needed may be stored by callbacks instead. Nothing is decoded here.

    Attributes:
        kind: the messages' class.
        name: of the topic as it was set, which is subscribed; empty: nothing ever arrives.
        topic: the resolved and remapped name.
        parameter: by which the topic is set.
        optional: nobody need publish it.
        received: messages that have come, also those that made room for newer ones before anybody
            asked, as far as the middleware counts what was published.
        dropped: messages that were published and got lost on the way, as the middleware tells.
        opened: since when it is subscribed, ``time.monotonic()``; None: it is not.
        quality: of service, of the subscription; None without one.
        rate, loss: messages received and dropped a second lately; None: not known.
        offset_ns: from stamp to arrival by the node's clock, the least of late.

    """

    def __init__(
        self, node: Node, kind: Any, name: str, parameter: str, *, kept: int = 1,
        polled: bool = True, optional: bool = False, clip: Clip | None = None,
    ) -> None:
        """Keep so many; older ones are forgotten."""
        self.kind, self.name, self.parameter, self.optional = kind, name, parameter, optional
        self.topic = node.resolve_topic_name(name) if name else ''
        self._node, self._clock, self._polled = node, node.get_clock(), polled
        self.received = self.dropped = 0
        self.opened: float | None = None
        self.quality: QoSProfile | None = None
        self.rate: float | None = None
        self.loss: float | None = None
        self.offset_ns = 0
        self._lock = threading.RLock()  # of what polls, in any thread, and the executor's
        self._subscription: Subscription | None = None
        self._offsets: list[int] = []
        self._kept: deque[Message] = deque(maxlen=kept)
        self._clip = clip
        self._looked = self._moment()
        self._number: int | None = None
        self._lost = 0  # since the last message
        self._counted = True
        self._ticks: deque[tuple[float, int, int]] = deque(maxlen=_RATE_TICKS + 1)

    def _moment(self) -> tuple[float, int]:
        """Now: steady seconds, and nanoseconds of the node's clock."""
        return time.monotonic(), self._clock.now().nanoseconds

    def open(self, *, reliable: bool = False) -> None:
        """Subscribe, in the executor's thread; what came before does not count.

        Args:
            reliable: ask for reliable delivery; otherwise by ``qos_overrides`` only.

        """
        depth = self._kept.maxlen if self._polled else _QUEUE
        quality = QoSProfile(depth=depth, reliability=(
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT))
        overridable = _OVERRIDABLE if reliable else (*_OVERRIDABLE, QoSPolicyKind.RELIABILITY)
        with self._lock:
            self._number, self._lost, self._looked = None, 0, self._moment()
            # What does not fit is said by diagnoses. A group of its own: the node's would remember
            # each subscription, also destroyed.
            self._subscription = self._node.create_subscription(
                self.kind, self.name, self.store, quality,
                callback_group=Polled() if self._polled else MutuallyExclusiveCallbackGroup(),
                event_callbacks=SubscriptionEventCallbacks(
                    message_lost=self.lose, use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions(overridable), raw=True)
            self.opened, self.quality = self._looked[0], self._subscription.qos_profile

    def close(self) -> None:
        """Unsubscribe, in the executor's thread, and forget all."""
        with self._lock:
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
                self._subscription = None
            self.opened = self.quality = self.rate = self.loss = None
            self._ticks.clear()
            self.forget()

    def poll(self) -> None:
        """Take what has come since the last time, in any thread."""
        with self._lock:
            if not self._polled or self._subscription is None:
                return
            moment, handle = self._moment(), self._subscription.handle
            for event in self._subscription.event_handlers:
                event._ready_to_take_data = True  # as if it had been waited for
                if (lost := event.take_data()) is not None:
                    self.lose(lost)
            with handle:
                # no more than wait there: large ones may come faster than they can be taken
                for _ in range(self._subscription.qos_profile.depth or 1):
                    if (taken := handle.take_message(self.kind, True)) is None:
                        break
                    self._store(taken[0], taken[1], moment)
            self._looked = moment

    def store(self, data: bytes, info: dict[str, Any]) -> None:
        """Called for every message that the executor takes."""
        with self._lock:
            moment = self._moment()
            self._store(data, info, moment)
            self._looked = moment

    def _store(self, data: bytes, info: dict[str, Any], moment: tuple[float, int]) -> None:
        arrived, arrived_ns = self._arrival(info, moment)
        message = Message(data, stamp_of(data), arrived)
        newest = self.newest
        if newest is not None and message.stamp_ns < newest.stamp_ns - _RESTART_NS:
            self.forget()
        self._kept.append(message)
        if self._clip is not None:
            self._clip.add(message)
        self._offsets.append(arrived_ns - message.stamp_ns)
        number, came = info['publication_sequence_number'], 1
        if number is None:
            self._counted = not self._polled
        elif self._number is not None:  # another publisher begins at 1
            came = max(1, number - self._number - self._lost)
        self._number, self._lost = number, 0
        self.received += came

    def _arrival(self, info: dict[str, Any], moment: tuple[float, int]) -> tuple[float, int]:
        """When a message came that is taken now, after it was not there when last looked.

        The middleware tells it by the system's clock, which is not the node's and may be set.
        """
        (then, then_ns), (now, now_ns) = self._looked, moment
        told = info.get('received_timestamp') or info.get('source_timestamp')
        ago = (time.time_ns() - told) / 1e9 if told else 0.0
        share = min(1.0, max(0.0, ago / max(now - then, 1e-9)))
        return now - share * (now - then), now_ns - round(share * (now_ns - then_ns))

    def lose(self, lost: QoSMessageLostInfo) -> None:
        """Called when messages got lost."""
        with self._lock:
            self.dropped += lost.total_count_change
            self._lost += lost.total_count_change

    def forget(self, after_ns: float = -math.inf) -> None:
        """Forget the messages with later stamps."""
        with self._lock:
            self._kept = deque(
                (m for m in self._kept if m.stamp_ns <= after_ns), maxlen=self._kept.maxlen)
            if self._clip is not None:
                self._clip.forget(after_ns)

    @property
    def is_awaited(self) -> bool:
        """Whether its first message is still to come."""
        return self.newest is None and not (
            self.optional and not self._node.count_publishers(self.topic))

    @property
    def newest(self) -> Message | None:
        """None when nothing has arrived."""
        try:
            return self._kept[-1]
        except IndexError:
            return None

    def nearest(self, stamp_ns: int) -> Message | None:
        """The one whose stamp is nearest; None when nothing has arrived."""
        # the copy is taken in one go while others go on storing
        return min(tuple(self._kept), key=lambda m: abs(m.stamp_ns - stamp_ns), default=None)

    def around(self, stamp_ns: int) -> list[Message]:
        """The nearest up to a stamp and the nearest after it, as far as there are such."""
        kept = tuple(self._kept)
        until = max((m for m in kept if m.stamp_ns <= stamp_ns),
                    key=lambda m: m.stamp_ns, default=None)
        after = min((m for m in kept if m.stamp_ns > stamp_ns),
                    key=lambda m: m.stamp_ns, default=None)
        return [message for message in (until, after) if message is not None]

    def before(self, stamp_ns: int) -> list[Message]:
        """See ``Clip``; empty without one."""
        return [] if self._clip is None else self._clip.before(stamp_ns)

    def tick(self, now: float) -> None:
        """Measure rates and offset; to be called about once a second with ``time.monotonic()``."""
        if self.opened is None:
            return
        self.poll()
        if self._offsets:  # one of many is of a bag that just began anew
            self.offset_ns, self._offsets = min(self._offsets, key=abs), []
        self._ticks.append((now, self.received, self.dropped))
        (begin, came, lost), (end, come, losses) = self._ticks[0], self._ticks[-1]
        if end > begin and self._counted:
            self.rate, self.loss = (come - came) / (end - begin), (losses - lost) / (end - begin)


class Decoded(Generic[T]):
    """What the last few messages were decoded to, or why they could not be."""

    def __init__(
        self, decode: Callable[..., T], malformed: Counter[str], kept: int = 1
    ) -> None:
        """Nothing is decoded yet; ``malformed`` counts, once a message, by cause."""
        self._decode, self._malformed = decode, malformed
        self._lock = threading.Lock()
        self._results: deque[tuple[Message, tuple[Any, ...], T | MimoError]] = deque(maxlen=kept)

    def of(self, message: Message, *more: Any) -> T:
        """Decode, or return or raise what was found out before, in whatever thread.

        Messages are told apart as objects: cameras without a clock stamp all theirs alike.
        """
        with self._lock:
            for known, others, found in self._results:
                if known is message and others == more:
                    if isinstance(found, MimoError):
                        raise found.with_traceback(None)  # else it would grow with every raise
                    return found
            try:
                decoded = self._decode(message, *more)
            except MimoError as error:
                self._malformed[error.cause] += 1
                self._results.append((message, more, error))
                raise
            self._results.append((message, more, decoded))
            return decoded
