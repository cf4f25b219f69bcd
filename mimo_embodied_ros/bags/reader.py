"""Reads recorded bags: their topics, their times, and their messages as bytes.

Only the storage is read and nothing is deserialised, so that bags whose files carry no message
definitions can be read as well. What is in a bag is what its files hold; ``metadata.yaml`` says
only which files these are and how they are compressed.
"""

from __future__ import annotations

import contextlib
import heapq
import shutil
import sqlite3
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand, reason

from .metadata import NAME, read_metadata
from .storage import CDR, ZSTD, open_storage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from .storage import Storage

_SUFFIXES = ('.mcap', '.db3')


@dataclass(frozen=True)
class BagTopic:
    """One topic of a bag.

    Attributes:
        name: name of the topic as recorded.
        type: type of its messages, such as ``sensor_msgs/msg/Image``.
        count: number of messages.
        latched: whether it was recorded with transient-local durability.
        encoding: format of its messages; ``cdr``, that of ROS 2, can be published.

    """

    name: str
    type: str
    count: int
    latched: bool
    encoding: str = CDR


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
        topics = [topic for topic in self.topics
                  if topic.type in types and topic.count and topic.encoding == CDR]
        return tuple(sorted(topics, key=lambda topic: -topic.count))


def describe(path: str | Path) -> BagInfo:
    """Return the contents of a bag; of its messages only the first ones are read.

    Args:
        path: a rosbag2 directory, or a single .mcap or .db3 file; ``~`` is the user's home.

    Raises:
        InvalidRequestError: there is no bag, or it cannot be read.

    """
    path = expand(path)
    with _opened(path) as bag:
        topics = bag.topics()
        counted = {(topic.name, topic.type) for topic in topics if topic.count}
        if lost := sorted(name for name, _ in bag.listed - counted):
            raise InvalidRequestError(
                f'{path}: {NAME} lists messages of {", ".join(lost)} that its files do not have; '
                'repair it with "ros2 bag reindex", or give one of the files')
        # a start that the index of a file tells may be wrong, and the player would wait for it
        first = next(bag.messages(counted), None)
        if first is not None and first[2].startswith(ZSTD):  # only the metadata says so
            raise InvalidRequestError(
                f'{path}: the messages are compressed one by one, which can be read only with the '
                f'{NAME} beside the file; give the directory of the bag')
        start_ns = first[1] if first is not None else 0
        end_ns = max(storage.end_ns for storage in bag.storages) if bag.storages else 0
        return BagInfo(path, start_ns, max(start_ns, end_ns), topics)


def read_messages(
    path: Path, topics: Collection[tuple[str, str]]
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
    with _opened(path) as bag:
        yield from bag.messages(topics)


@dataclass(frozen=True)
class _Bag:
    """The open files of a bag, in any order."""

    storages: list[Storage]
    compressed: bool  # each message is
    listed: frozenset[tuple[str, str]]  # topics with messages in the metadata

    def topics(self) -> tuple[BagTopic, ...]:
        """Return the topics of all files, sorted by name."""
        found = [topic for storage in self.storages for topic in storage.topics]
        count: Counter[tuple[str, str, str]] = Counter()
        for topic in found:
            count[topic.name, topic.type, topic.encoding] += topic.count
        latched = {(topic.name, topic.type) for topic in found if topic.latched}
        return tuple(
            BagTopic(name, type_, number, (name, type_) in latched, encoding)
            for (name, type_, encoding), number in sorted(count.items()))

    def messages(
        self, topics: Collection[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str, str], int, bytes]]:
        """Yield the messages of topics in order of time, also where the files overlap in time."""
        each = (_of_topics(storage, topics) for storage in self.storages)
        for topic, stamp_ns, data in heapq.merge(*each, key=lambda message: message[1]):
            yield topic, stamp_ns, zstd.decompress(data) if self.compressed else data


def _of_topics(
    storage: Storage, topics: Collection[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], int, bytes]]:
    names = {topic.id: (topic.name, topic.type) for topic in storage.topics
             if (topic.name, topic.type) in topics}
    if names:
        for id_, stamp_ns, data in storage.messages(names):
            yield names[id_], stamp_ns, bytes(data)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Bag]:
    """Open a bag; whatever its reading raises becomes one sentence with the cause."""
    with contextlib.ExitStack() as stack:
        try:
            files, compression, listed = _files(path)
            bag = _Bag([], compression == 'message', listed)
            folder = stack.enter_context(TemporaryDirectory()) if compression == 'file' else ''
            for file in files:
                storage = _open(file, folder)
                stack.callback(storage.close)
                bag.storages.append(storage)
            yield bag
        except InvalidRequestError:
            raise
        except Exception as error:  # rosbags lets struct.error, TypeError and others through
            raise _unreadable(path, error) from error


def _files(path: Path) -> tuple[tuple[Path, ...], str, frozenset[tuple[str, str]]]:
    """Find the files of a bag; return them, how they are compressed, and what they should hold."""
    if not path.is_dir():
        return (path,), '', frozenset()
    if (path / NAME).exists():
        metadata = read_metadata(path)
        return metadata.files, metadata.compression, metadata.topics
    files = sorted(each.name for each in path.iterdir() if each.suffix in _SUFFIXES)
    raise InvalidRequestError(
        f'{path} has no {NAME}: give '
        + (f'one of its files ({", ".join(files)}), or make it with "ros2 bag reindex"'
           if files else 'the directory of a bag'))


def _open(file: Path, folder: str) -> Storage:
    """Open a file of a bag, decompressed into a folder if one is given."""
    opened = file
    try:
        if folder:
            opened = Path(folder, file.stem)
            with zstd.open(file, 'rb') as source, opened.open('wb') as target:
                shutil.copyfileobj(source, target)
        return open_storage(opened)
    except InvalidRequestError:
        raise
    except Exception as error:  # as below, and the sentence names this file
        raise _unreadable(file, error) from error


_SCHEMAS = ('protobuf', 'flatbuffer', 'jsonschema', 'ros1msg')  # of mcap files that are not ROS 2's
_CONVERT = 'convert it to messages of ROS 2, or record it again with "ros2 bag record"'


def _unreadable(path: Path, error: Exception) -> InvalidRequestError:
    """Say why a bag cannot be read, and what to do about it."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    text = ' '.join(str(error).split()) or type(error).__name__
    if isinstance(cause, FileNotFoundError):
        return InvalidRequestError(
            f'{path} does not exist: give the directory of a bag, or its .mcap or .db3 file')
    if isinstance(cause, OSError):
        return InvalidRequestError(f'{path} cannot be read as a bag: {reason(cause)}')
    if 'Profile is not ros2' in text:
        return InvalidRequestError(f'{path} is an mcap file of another profile than ros2; '
                                   f'{_CONVERT}')
    if isinstance(error, KeyError) and error.args[0] in _SCHEMAS:
        return InvalidRequestError(
            f'{path} has messages that {error.args[0]} describes, not those of ROS 2; {_CONVERT}, '
            'or leave these topics out with "mcap filter"')
    if 'Unsupported chunk compression' in text:
        return InvalidRequestError(
            f'{path} is compressed in a way that is not known here ({text}); compress it with zstd '
            'or lz4 by "mcap compress"')
    if isinstance(error, sqlite3.OperationalError) and 'no such table' in text:
        return InvalidRequestError(
            f'{path} has no tables of a bag ({text}): it is another database, or the file -wal '
            'beside it was not copied; copy both')
    return InvalidRequestError(
        f'{path} cannot be read as a bag ({text}): it is damaged, or its recorder was not shut '
        'down properly; try "ros2 bag reindex" or "mcap recover"')
