"""The files of a bag, mcap or sqlite3: their topics, and their messages in order of time.

What kind a file is follows from its first bytes. mcap is read by rosbags; sqlite3 here, because
rosbags leaves out what is only in the write-ahead log beside the file.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from rosbags.interfaces import QosDurability
from rosbags.rosbag2.metadata import parse_qos
from rosbags.rosbag2.storage_mcap import McapReader

from mimo_embodied_ros.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from rosbags.interfaces import Qos

_MCAP, _SQLITE, ZSTD = b'\x89MCAP0\r\n', b'SQLite format 3\0', b'\x28\xb5\x2f\xfd'
CDR = 'cdr'
"""The encoding of messages that ROS 2 can publish."""

# first bytes of other files that are taken for bags, and what to do about them
_OTHERS = {
    b'#ROSBAG V': 'is a bag of ROS 1: convert it with "rosbags-convert --src {path} --dst '
                  '{folder}" and give the result',
    ZSTD: 'is compressed: give the directory of the bag, whose metadata.yaml says so, or '
          'decompress it with "zstd -d {path}"',
    b'\x1f\x8b': 'is compressed: decompress it with "gzip -d" or "tar -xf", and give the result',
    b'PK\x03\x04': 'is an archive: unpack it with "unzip {path}" and give the bag in it',
    b'version https://git-lfs': 'is a placeholder of Git LFS: get the file with "git lfs pull"',
}


@dataclass(frozen=True)
class StoredTopic:
    """A topic of one file.

    Attributes:
        id: of the topic in this file.
        name: name of the topic.
        type: type of its messages with ``/msg/``, also where the file has the short old name.
        encoding: format of its messages; ``cdr`` can be published.
        count: number of messages.
        latched: whether it was recorded with transient-local durability.

    """

    id: int
    name: str
    type: str
    encoding: str
    count: int
    latched: bool


class Storage(Protocol):
    """An open file of a bag."""

    topics: list[StoredTopic]
    end_ns: int
    """Log time of the last message, nanoseconds; 0 where there is none."""

    def messages(self, ids: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Yield topic id, log time in nanoseconds and message, in order of time."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_storage(path: Path) -> Storage:
    """Open a file of a bag.

    Raises:
        InvalidRequestError: the file is of another kind, or empty.
        OSError: the file cannot be read.
        Exception: the file is damaged; the libraries have no common type for that.

    """
    if path.exists() and not path.is_file():  # reading a pipe or a device could last for ever
        begin = b'?'
    else:
        with path.open('rb') as file:
            begin = file.read(32)
    if begin.startswith(_MCAP):
        return McapFile(path)
    if begin.startswith(_SQLITE):
        return SqliteFile(path)
    usual = 'is not a bag: give the directory of a bag, or its .mcap or .db3 file'
    if not begin:
        usual = 'is empty: nothing was recorded, or a copy failed; copy it again, or record again'
    other = next((text for magic, text in _OTHERS.items() if begin.startswith(magic)), usual)
    raise InvalidRequestError(
        f'{path} {other.format(path=path, folder=path.with_suffix(""))}')


def full_type(name: str) -> str:
    """Return ``package/msg/Name`` for ``package/Name``, as older recorders write it."""
    return re.sub(r'^([^/]+)/([^/]+)$', r'\1/msg/\2', name)


def _latched(profiles: Collection[Qos]) -> bool:
    return any(qos.durability is QosDurability.TRANSIENT_LOCAL for qos in profiles)


class McapFile:
    """An open mcap file."""

    def __init__(self, path: Path) -> None:
        """Open the file and read its index, or all of it where it has none."""
        self._reader = McapReader(path)
        self._reader.open()
        self.topics = [
            StoredTopic(c.id, c.topic, full_type(c.msgtype), _extension(c).serialization_format,
                        c.msgcount, _latched(_extension(c).offered_qos_profiles))
            for c in self._reader.connections]
        self.end_ns = max(0, self._reader.metadata.end_time - 1)

    def messages(self, ids: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Yield topic id, log time in nanoseconds and message, in order of time."""
        connections = [c for c in self._reader.connections if c.id in ids]
        if any(chunk.channel_count for chunk in self._reader.chunks):
            messages: Iterable[Any] = self._reader.messages(connections)
        else:  # no index says in which order to read
            stamps = (stamp for _, stamp, _ in self._reader.messages_scan(connections))
            messages = self._reader.messages_scan(connections)
            if not all(earlier <= later for earlier, later in pairwise(stamps)):
                messages = sorted(messages, key=lambda message: message[1])
        for connection, stamp, data in messages:
            yield connection.id, stamp, data

    def close(self) -> None:
        """Close the file."""
        self._reader.close()


def _extension(connection: Any) -> Any:
    """Format and qualities of service of a connection; rosbags has a type for ROS 1, too."""
    return connection.ext


class SqliteFile:
    """An open sqlite3 file, with the write-ahead log beside it if there is one."""

    def __init__(self, path: Path) -> None:
        """Open the file and count its messages."""
        log = path.resolve().with_name(f'{path.resolve().name}-wal')
        logged = log.exists() and log.stat().st_size > 0
        if logged:
            log.open('rb').close()  # sqlite3 would not say that this is what it may not read
        # without locks and without a shared index, so that nothing is written beside the file
        access = 'mode=ro&vfs=unix-none' if logged else 'immutable=1'
        self._database = sqlite3.connect(
            f'{path.resolve().as_uri()}?{access}', uri=True, check_same_thread=False)
        try:
            self._database.execute('PRAGMA locking_mode=EXCLUSIVE')
            columns = {row[1] for row in self._database.execute('PRAGMA table_info(topics)')}
            profiles = 'offered_qos_profiles' if 'offered_qos_profiles' in columns else "''"
            self.topics = [
                StoredTopic(id_, name, full_type(type_), encoding, count, _latched(parse_qos(qos)))
                for id_, name, type_, encoding, qos, count in self._database.execute(
                    f'SELECT id, name, type, serialization_format, {profiles}, '  # noqa: S608
                    '(SELECT COUNT(*) FROM messages WHERE topic_id = topics.id) FROM topics')]
            ((end_ns,),) = self._database.execute('SELECT MAX(timestamp) FROM messages')
        except BaseException:
            self.close()
            raise
        self.end_ns = end_ns or 0

    def messages(self, ids: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
        """Yield topic id, log time in nanoseconds and message, in order of time."""
        with closing(self._database.execute(
                'SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN '  # noqa: S608
                f'({",".join("?" * len(ids))}) ORDER BY timestamp, id', tuple(ids))) as rows:
            yield from rows

    def close(self) -> None:
        """Close the file."""
        self._database.close()
