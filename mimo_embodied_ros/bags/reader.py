"""Reads recorded bags: their topics, their times, and their messages as bytes.

Only the storage is read (rosbags) and nothing is deserialised, so that bags whose files carry no
message definitions can be read as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rosbags.interfaces import ConnectionExtRosbag2, QosDurability
from rosbags.rosbag2 import Reader

from mimo_embodied_ros.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIXES = ('.mcap', '.db3')
_ZSTD_MAGIC = b'\x28\xb5\x2f\xfd'


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag.

    Attributes:
        name: name of the topic as recorded.
        type: type of its messages, such as ``sensor_msgs/msg/Image``.
        count: number of messages.
        latched: whether it was recorded with transient-local durability.

    """

    name: str
    type: str
    count: int
    latched: bool


@dataclass(frozen=True)
class BagInfo:
    """The contents of a bag.

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
        """Number of messages of all topics."""
        return sum(topic.count for topic in self.topics)

    def of_type(self, *types: str) -> tuple[BagTopic, ...]:
        """Return topics with messages of these types, the one with most messages first."""
        topics = [topic for topic in self.topics if topic.type in types and topic.count]
        return tuple(sorted(topics, key=lambda topic: -topic.count))


def describe(path: str | Path) -> BagInfo:
    """Return the contents of a bag; only its first message is read.

    Args:
        path: a rosbag2 directory, or a single .mcap or .db3 file.

    Raises:
        InvalidRequestError: there is no bag, or it cannot be read.

    """
    path = Path(path)
    try:
        with _reader(path) as reader:
            return _info(path, reader)
    except InvalidRequestError:
        raise
    except Exception as error:  # rosbags lets struct.error, TypeError and others through
        raise _unreadable(path, error) from error


def _info(path: Path, reader: Reader) -> BagInfo:
    topics = tuple(
        BagTopic(
            name=connection.topic,
            type=connection.msgtype,
            count=connection.msgcount,
            latched=isinstance(connection.ext, ConnectionExtRosbag2)
            and any(
                qos.durability is QosDurability.TRANSIENT_LOCAL
                for qos in connection.ext.offered_qos_profiles
            ),
        )
        for connection in sorted(reader.connections, key=lambda connection: connection.topic)
    )
    # the start in the metadata may be wrong, and the player would wait for it
    first = next(reader.messages(), None)
    if first is None and reader.message_count:
        raise InvalidRequestError(
            f'{path}: metadata.yaml lists {reader.message_count} messages that its files do not '
            'have; repair it with "ros2 bag reindex", or give one of the files'
        )
    if first and bytes(first[2][:4]) == _ZSTD_MAGIC:  # only metadata.yaml says so
        raise InvalidRequestError(
            f'{path}: the messages are compressed one by one, which can be read only with the '
            'metadata.yaml beside the file; give the directory of the bag'
        )
    start_ns = first[1] if first else 0
    return BagInfo(path, start_ns, max(start_ns, reader.end_time - 1), topics)


def _reader(path: Path) -> Reader:
    """Make a reader of the bag; the error says what else the path leads to."""
    if not path.exists():
        raise InvalidRequestError(
            f'{path} does not exist: give the directory of a bag, or its .mcap or .db3 file'
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
            f'{path} is not a bag: give the directory of a bag, or its .mcap or .db3 file'
        )
    return Reader(path)


def _unreadable(path: Path, error: Exception) -> InvalidRequestError:
    return InvalidRequestError(
        f'{path} cannot be read as a bag ({error or type(error).__name__}): it is damaged, or its '
        'recorder was not shut down properly; try "ros2 bag reindex" or "mcap recover"'
    )


def read_messages(
    path: Path, topics: set[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], int, bytes]]:
    """Yield the messages of some topics in order of time.

    Args:
        path: the bag's directory or file.
        topics: names and types of the topics.

    Yields:
        Name and type of the topic, log time in nanoseconds, serialised message.

    Raises:
        InvalidRequestError: the bag cannot be read.

    """
    try:
        with _reader(path) as reader:
            connections = [c for c in reader.connections if (c.topic, c.msgtype) in topics]
            for connection, stamp_ns, data in reader.messages(connections):
                yield (connection.topic, connection.msgtype), stamp_ns, bytes(data)
    except InvalidRequestError:
        raise
    except Exception as error:  # rosbags lets struct.error, TypeError and others through
        raise _unreadable(path, error) from error
