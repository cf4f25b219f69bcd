"""What is in a recorded bag.

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
        topics = [topic for topic in self.topics if topic.type in types and topic.count]
        return tuple(sorted(topics, key=lambda topic: -topic.count))


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


def read_messages(
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
