"""Streams: the newest serialised messages of a topic, with their rate and losses."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.serialization import deserialize_message
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, Image

from mimo_embodied_ros.core.errors import BadEncodingError, MimoError

from .stamps import RESTART_NS, stamp_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.event_handler import QoSMessageLostInfo
    from rclpy.node import Node
    from rclpy.subscription import Subscription

_TYPES = get_typestore(Stores.ROS2_JAZZY)
_VIEWED = Image, CompressedImage  # types whose data are read as a view, without a copy
_QUEUE = 10  # depth for callbacks, since messages may come faster than the executor spins
_OVERRIDABLE = QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY
_RATE_TICKS = 5  # number of ticks over which rates are measured
T = TypeVar('T')


class Message(NamedTuple):
    """A serialised message."""

    data: bytes
    stamp_ns: int  # of its header, nanoseconds; 0 where the data are too short to have a header
    arrived: float  # when the middleware received it, ``time.monotonic()`` seconds

    @property
    def time_ns(self) -> int:
        """When it was taken, or where it has no stamp, when it arrived; nanoseconds."""
        return self.stamp_ns or round(self.arrived * 1e9)


def read(message: Message, kind: Any) -> Any:
    """Deserialise a message; the data of an image are a view of its bytes.

    Raises:
        BadEncodingError: the bytes are no message of this type.

    """
    try:
        if kind in _VIEWED:
            return _TYPES.deserialize_cdr(memoryview(message.data), type_name(kind))
        return deserialize_message(message.data, kind)
    except Exception as error:  # its type depends on the middleware
        begin = message.data[:8].hex(' ') or 'nothing'
        raise BadEncodingError(
            f'{len(message.data)} bytes, starting with {begin}, are no {type_name(kind)}; see '
            'which node publishes the topic', cause='unreadable bytes') from error


def type_name(kind: Any) -> str:
    """The ROS name of a message class, such as ``sensor_msgs/msg/Image``."""
    package, interface, *_ = kind.__module__.split('.')
    return f'{package}/{interface}/{kind.__name__}'


class Clip:
    """Keeps messages of a stream at a lower rate, as many as fit into a bound in bytes."""

    def __init__(self, frames: int, rate: float, max_bytes: int) -> None:
        """Keep ``frames`` messages, ``rate`` a second by their times; 0 frames: keep none."""
        self._frames, self._max_bytes = frames, max_bytes
        self._period_ns = round(1e9 / rate)
        self._due_ns = 0
        self._kept: deque[Message] = deque()
        self._bytes = 0

    def add(self, message: Message) -> None:
        """Keep a message if the next one is due, and drop the oldest ones for it."""
        late = message.time_ns - self._due_ns
        # a quarter of a period early, since a camera of the same rate is never quite on time
        if not self._frames or late < -self._period_ns // 4:
            return
        self._due_ns = message.time_ns + self._period_ns - (late if late < self._period_ns else 0)
        self._kept.append(message)
        self._bytes += len(message.data)
        while len(self._kept) > self._frames or self._bytes > self._max_bytes:
            self._bytes -= len(self._kept.popleft().data)

    def before(self, time_ns: int) -> list[Message]:
        """The messages that make a clip together with the message of this time after them."""
        earliest, latest = (time_ns - self._frames * self._period_ns,
                            time_ns - self._period_ns // 2)
        messages = [m for m in tuple(self._kept) if earliest <= m.time_ns <= latest]
        return messages[max(0, len(messages) + 1 - self._frames):]

    def forget(self, after_ns: float) -> None:
        """Forget the messages with later stamps, and begin anew."""
        self._kept = deque(m for m in self._kept if m.stamp_ns <= after_ns)
        self._bytes = sum(len(m.data) for m in self._kept)
        self._due_ns = 0


class Polled(CallbackGroup):
    """The callback group of a subscription whose messages stay in the middleware until polled.

    An executor does not wait for entities whose group holds them back, so messages do not wake it.
    Events of the subscription must not be waited for either, since Fast DDS reports them as ready
    as long as a message is there.
    """

    def can_execute(self, entity: Any) -> bool:
        """Tell the executor never to take a message."""
        return False

    def beginning_execution(self, entity: Any) -> bool:
        """Tell the executor never to begin a callback."""
        return self.can_execute(entity)

    def ending_execution(self, entity: Any) -> None:
        """Do nothing, since no callback ever began."""


class Stream:
    """The newest messages of one topic.

    Messages wait in the middleware, which keeps the newest ones, until ``poll`` takes them in the
    thread that needs them, so that thirty images a second are not copied for one question a second.
    Small messages of which many are needed are stored by callbacks instead (``polled`` is false).
    Nothing is decoded here.

    Attributes:
        kind: the messages' class.
        name: of the topic as the parameter gives it; empty: no topic, and no messages.
        topic: the resolved and remapped name.
        parameter: the name of the parameter that sets the topic.
        optional: whether the topic may be without a publisher.
        received: number of messages that have arrived; with those that newer ones displaced before
            a poll, as far as the middleware numbers the messages of a publisher.
        dropped: number of messages that were lost on the way, as the middleware reports it.
        opened: when it was subscribed, ``time.monotonic()``; None while it is not.
        quality: of service of the subscription; None while there is none.
        rate, loss: messages that were received and dropped per second lately; None: not known.
        offset_ns: the smallest time lately from a stamp to the arrival by the node's clock.
        refused: why the message that came last was left out, whose stamp is no time; else None.

    """

    def __init__(
        self, node: Node, kind: Any, name: str, parameter: str, *, kept: int = 1,
        polled: bool = True, optional: bool = False, clip: Clip | None = None,
        malformed: Counter[str] | None = None,
    ) -> None:
        """Prepare to keep the newest ``kept`` messages; ``malformed`` counts those left out."""
        self.kind, self.name, self.parameter, self.optional = kind, name, parameter, optional
        self.topic = node.resolve_topic_name(name) if name else ''
        self._node, self._clock, self._polled = node, node.get_clock(), polled
        self.received = self.dropped = 0
        self.opened: float | None = None
        self.quality: QoSProfile | None = None
        self.rate: float | None = None
        self.loss: float | None = None
        self.offset_ns = 0
        self._lock = threading.RLock()  # between polls in any thread and the executor's callbacks
        self._subscription: Subscription | None = None
        self.refused: BadEncodingError | None = None
        self._malformed: Counter[str] = Counter() if malformed is None else malformed
        self._offsets: list[int] = []
        self._kept: deque[Message] = deque(maxlen=kept)
        self._latest_ns = 0  # the latest stamp of those that were kept since time began anew
        self._clip = clip
        self._last_poll = self._moment()
        self._number: int | None = None  # the publisher's number of the last message
        self._lost = 0  # messages since the last one that arrived
        self._counted = True  # whether ``received`` counts displaced messages, too
        self._ticks: deque[tuple[float, int, int]] = deque(maxlen=_RATE_TICKS + 1)

    def _moment(self) -> tuple[float, int]:
        """The present: steady seconds, and nanoseconds of the node's clock."""
        return time.monotonic(), self._clock.now().nanoseconds

    def open(self, *, reliable: bool = False) -> None:
        """Subscribe, in the executor's thread.

        Args:
            reliable: whether to ask for reliable delivery, which ``qos_overrides`` may set, too.

        """
        depth = self._kept.maxlen if self._polled else _QUEUE
        quality = QoSProfile(depth=depth, reliability=(
            ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT))
        overridable = _OVERRIDABLE if reliable else (*_OVERRIDABLE, QoSPolicyKind.RELIABILITY)
        with self._lock:
            self._number, self._lost, self._last_poll = None, 0, self._moment()
            # /diagnostics reports incompatible qualities of service, so no default callbacks. A
            # callback group of its own, since the node's would keep every destroyed subscription.
            self._subscription = self._node.create_subscription(
                self.kind, self.name, self.store, quality,
                callback_group=Polled() if self._polled else MutuallyExclusiveCallbackGroup(),
                event_callbacks=SubscriptionEventCallbacks(
                    message_lost=self.lose, use_default_callbacks=False),
                qos_overriding_options=QoSOverridingOptions(overridable), raw=True)
            self.opened, self.quality = self._last_poll[0], self._subscription.qos_profile

    def close(self) -> None:
        """Unsubscribe, in the executor's thread, and forget all messages."""
        with self._lock:
            if self._subscription is not None:
                self._node.destroy_subscription(self._subscription)
                self._subscription = None
            self.opened = self.quality = self.rate = self.loss = self.refused = None
            self._ticks.clear()
            self.forget()

    def poll(self) -> None:
        """Take the messages that have arrived since the last poll; in any thread."""
        with self._lock:
            if not self._polled or self._subscription is None:
                return
            moment, handle = self._moment(), self._subscription.handle
            for event in self._subscription.event_handlers:
                event._ready_to_take_data = True  # as if the executor had waited for the event
                if (lost := event.take_data()) is not None:
                    self.lose(lost)
            with handle:
                # at most the queue's depth: large messages may come faster than they are taken
                for _ in range(self._subscription.qos_profile.depth or 1):
                    if (taken := handle.take_message(self.kind, True)) is None:
                        break
                    self._store(taken[0], taken[1], moment)
            self._last_poll = moment

    def store(self, data: bytes, info: dict[str, Any]) -> None:
        """Store a message that the executor has taken; the subscription's callback."""
        with self._lock:
            moment = self._moment()
            self._store(data, info, moment)
            self._last_poll = moment

    def _store(self, data: bytes, info: dict[str, Any], moment: tuple[float, int]) -> None:
        number, arrivals = info['publication_sequence_number'], 1
        if number is None:
            self._counted = not self._polled
        elif self._number is not None:  # max(), since another publisher begins at 1
            arrivals = max(1, number - self._number - self._lost)
        self._number, self._lost = number, 0
        self.received += arrivals
        try:
            stamp_ns, self.refused = stamp_of(data), None
        except BadEncodingError as error:
            self.refused = BadEncodingError(
                f'a {type_name(self.kind)} on {self.topic} is left out: {error}',
                cause=error.cause)
            self._malformed[error.cause] += 1
            return
        arrived, arrived_ns = self._arrival(info, moment)
        message = Message(data, stamp_ns, arrived)
        # a stamp of 0 is none, and tells nothing
        if stamp_ns and stamp_ns < self._latest_ns - RESTART_NS:
            self.forget()
        self._latest_ns = max(self._latest_ns, stamp_ns)
        self._kept.append(message)
        if self._clip is not None:
            self._clip.add(message)
        if self._last_poll[1]:  # before the first /clock nobody knows how late a message is
            self._offsets.append(arrived_ns - stamp_ns)

    def _arrival(self, info: dict[str, Any], moment: tuple[float, int]) -> tuple[float, int]:
        """When a message arrived that is taken now: between the last poll and this moment.

        The middleware tells it by the system's clock, which is not the node's and may be set.
        """
        (then, then_ns), (now, now_ns) = self._last_poll, moment
        timestamp_ns = info.get('received_timestamp') or info.get('source_timestamp')
        ago = (time.time_ns() - timestamp_ns) / 1e9 if timestamp_ns else 0.0
        share = min(1.0, max(0.0, ago / max(now - then, 1e-9)))
        return now - share * (now - then), now_ns - round(share * (now_ns - then_ns))

    def lose(self, lost: QoSMessageLostInfo) -> None:
        """Count lost messages; called by ``poll``, or by the executor."""
        with self._lock:
            self.dropped += lost.total_count_change
            self._lost += lost.total_count_change

    def forget(self, after_ns: float = -math.inf) -> None:
        """Forget the messages with later stamps."""
        with self._lock:
            self._kept = deque(
                (m for m in self._kept if m.stamp_ns <= after_ns), maxlen=self._kept.maxlen)
            self._latest_ns = max((m.stamp_ns for m in self._kept), default=0)
            if self._clip is not None:
                self._clip.forget(after_ns)

    @property
    def is_awaited(self) -> bool:
        """Whether no message has arrived although the topic should have a publisher."""
        return self.newest is None and not (
            self.optional and not self._node.count_publishers(self.topic))

    @property
    def newest(self) -> Message | None:
        """The newest message; None where none has arrived."""
        try:
            return self._kept[-1]
        except IndexError:
            return None

    def nearest(self, stamp_ns: int) -> Message | None:
        """The message whose stamp is nearest; None where none has arrived."""
        # copied in one go, while other threads go on storing
        return min(tuple(self._kept), key=lambda m: abs(m.stamp_ns - stamp_ns), default=None)

    def around(self, stamp_ns: int) -> list[Message]:
        """The last message up to a stamp and the first one after it; fewer where there are none."""
        before: Message | None = None
        after: Message | None = None
        for message in tuple(self._kept):  # copied in one go, as above
            if message.stamp_ns > stamp_ns:
                if after is None or message.stamp_ns < after.stamp_ns:
                    after = message
            elif before is None or message.stamp_ns > before.stamp_ns:
                before = message
        return list(filter(None, (before, after)))

    def before(self, time_ns: int) -> list[Message]:
        """The messages of a clip before a time, see ``Clip.before``; none without a clip."""
        return [] if self._clip is None else self._clip.before(time_ns)

    def tick(self, now: float) -> None:
        """Measure rates and offset; call it about once a second with ``time.monotonic()``."""
        if self.opened is None:
            return
        self.poll()
        if self._offsets:  # the smallest: when a bag begins anew, single offsets are far off
            self.offset_ns, self._offsets = min(self._offsets, key=abs), []
        self._ticks.append((now, self.received, self.dropped))
        (begin, *first), (end, *last) = self._ticks[0], self._ticks[-1]
        if end > begin and self._counted:
            self.rate = (last[0] - first[0]) / (end - begin)
            self.loss = (last[1] - first[1]) / (end - begin)


class Decoded(Generic[T]):
    """Decodes messages, and remembers the latest results and errors."""

    def __init__(
        self, decode: Callable[..., T], malformed: Counter[str], kept: int = 1
    ) -> None:
        """Take the decoder; ``malformed`` counts each message that cannot be decoded, by cause."""
        self._decode, self._malformed = decode, malformed
        self._lock = threading.Lock()
        self._results: deque[tuple[Message, tuple[Any, ...], T | MimoError]] = deque(maxlen=kept)

    def of(self, message: Message, *more: Any) -> T:
        """Return the decoded message, or raise why it cannot be decoded; in any thread.

        Messages are compared by identity, since a camera without a clock gives all of them one
        stamp. ``more`` are further arguments of the decoder.
        """
        with self._lock:
            for earlier, arguments, result in self._results:
                if earlier is message and arguments == more:
                    if isinstance(result, MimoError):
                        raise result.with_traceback(None)  # else it would grow with every raise
                    return result
            try:
                decoded = self._decode(message, *more)
            except MimoError as error:
                self._malformed[error.cause] += 1
                self._results.append((message, more, error))
                raise
            self._results.append((message, more, decoded))
            return decoded
