"""The serialised messages of one topic: the newest, a few before it, and how they come."""

from __future__ import annotations

import math
import struct
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from rclpy.serialization import deserialize_message

from mimo_embodied_ros.core.errors import BadEncodingError, MimoError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from rclpy.node import Node

_RESTART_NS = 1_000_000_000  # stamps that fall back by more are those of a bag that began anew
_RATE_TICKS = 5  # over so many ticks the rate is told
_HEADER_BYTES = 12  # what CDR says of itself, and the stamp
T = TypeVar('T')


class Message(NamedTuple):
    """A serialised message."""

    data: bytes
    stamp_ns: int  # of its header, nanoseconds; 0 where it is too short to have one
    arrived: float  # time.monotonic()


def stamp_of(data: bytes) -> int:
    """Nanoseconds of the stamp with which a serialised message begins (its header is first)."""
    if len(data) < _HEADER_BYTES:
        return 0
    order = '<' if data[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def read(message: Message, kind: Any) -> Any:
    """Deserialise.

    Raises:
        BadEncodingError: the bytes are no message of this type.

    """
    try:
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


class Stream:
    """The newest messages of one topic; callbacks store, in the executor's thread.

    Attributes:
        kind: the messages' class.
        name: of the topic as it was set, which is subscribed; empty: nothing ever arrives.
        topic: the resolved and remapped name.
        parameter: by which the topic is set.
        optional: nobody need publish it.
        received: messages so far.
        dropped: messages that were sent in between and did not come through or were not taken.
        opened: since when it is subscribed, ``time.monotonic()``; None: it is not.
        rate: messages a second lately; None: not known.
        offset_ns: from stamp to arrival by the node's clock, the least of late.

    """

    def __init__(
        self, node: Node, kind: Any, name: str, parameter: str, *, kept: int = 1,
        optional: bool = False, clip: Clip | None = None,
    ) -> None:
        """Keep so many; older ones are dropped."""
        self.kind, self.name, self.parameter, self.optional = kind, name, parameter, optional
        self.topic = node.resolve_topic_name(name) if name else ''
        self._clock = node.get_clock()
        self.received = self.dropped = 0
        self.opened: float | None = None
        self.rate: float | None = None
        self.offset_ns = 0
        self._offsets: list[int] = []
        self._kept: deque[Message] = deque(maxlen=kept)
        self._clip = clip
        self._number: int | None = None
        self._ticks: deque[tuple[float, int]] = deque(maxlen=_RATE_TICKS + 1)

    def open(self) -> None:
        """Begin; what came before does not count."""
        self.opened, self._number = time.monotonic(), None

    def close(self) -> None:
        """End."""
        self.opened = self.rate = None
        self._ticks.clear()
        self.forget()

    def store(self, data: bytes, info: dict[str, Any]) -> None:
        """Called for every message; nothing is decoded here."""
        message = Message(data, stamp_of(data), time.monotonic())
        newest = self.newest
        if newest is not None and message.stamp_ns < newest.stamp_ns - _RESTART_NS:
            self.forget()
        self._kept.append(message)
        if self._clip is not None:
            self._clip.add(message)
        self.received += 1
        self._offsets.append(self._clock.now().nanoseconds - message.stamp_ns)
        # None where the middleware does not count; another publisher begins at 1
        number = info['publication_sequence_number']
        if number is not None and self._number is not None:
            self.dropped += max(0, number - self._number - 1)
        self._number = number

    def forget(self, after_ns: float = -math.inf) -> None:
        """Forget the messages with later stamps."""
        self._kept = deque(
            (m for m in self._kept if m.stamp_ns <= after_ns), maxlen=self._kept.maxlen)
        if self._clip is not None:
            self._clip.forget(after_ns)

    @property
    def newest(self) -> Message | None:
        """None when nothing has arrived."""
        try:
            return self._kept[-1]
        except IndexError:
            return None

    def nearest(self, stamp_ns: int) -> Message | None:
        """The one whose stamp is nearest; None when nothing has arrived."""
        # the copy is taken in one go while the executor goes on storing
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
        """Measure rate and offset; to be called about once a second with ``time.monotonic()``."""
        if self._offsets:  # one of many is of a bag that just began anew
            self.offset_ns, self._offsets = min(self._offsets, key=abs), []
        self._ticks.append((now, self.received))
        (begin, before), (end, after) = self._ticks[0], self._ticks[-1]
        if self.opened is not None and end > begin:
            self.rate = (after - before) / (end - begin)


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
