"""Bags of all kinds, as recorders and damage leave them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

import yaml
from rclpy.serialization import serialize_message
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import write_record, write_string
from rosbags.typesys import Stores, get_typestore
from std_msgs.msg import Int32

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

START_NS = 1_700_000_000_000_000_000
STORE = get_typestore(Stores.ROS2_JAZZY)
ZERO = QosTime(0, 0)
LATCHED = Qos(
    QosHistory.KEEP_LAST,
    1,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    ZERO,
    ZERO,
    QosLiveliness.AUTOMATIC,
    ZERO,
    avoid_ros_namespace_conventions=False,
)
NOBODY = 65534
ABSENT = 'absent_msgs/msg/Thing'


def write_bag(
    path: Path,
    messages: Iterable[tuple[str, float, Any]],
    *,
    latched: Collection[str] = (),
    storage: StoragePlugin = StoragePlugin.MCAP,
    compress: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write (topic, seconds, message) triples; bytes stand for a message of an absent type."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compress, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, seconds, message in messages:
            if isinstance(message, bytes):
                name, data = ABSENT, message
                type_options = {'msgdef': 'int32 x', 'rihs01': 'RIHS01_0'}
            else:
                kind = type(message)
                name = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
                data, type_options = serialize_message(message), {'typestore': STORE}
            if topic not in connections:
                connections[topic] = writer.add_connection(
                    topic,
                    name,
                    offered_qos_profiles=[LATCHED] if topic in latched else [],
                    **type_options,
                )
            writer.write(connections[topic], START_NS + round(seconds * 1e9), data)
    return path


def numbers(
    topic: str, count: int, period_s: float, first_s: float = 0.0
) -> list[tuple[str, float, Int32]]:
    """Int32 messages that count from 0."""
    return [(topic, first_s + i * period_s, Int32(data=i)) for i in range(count)]


def change_metadata(bag: Path, **fields: Any) -> Path:
    """Change fields of a bag's ``metadata.yaml``."""
    file = bag / 'metadata.yaml'
    content = yaml.safe_load(file.read_text('utf-8'))
    content['rosbag2_bagfile_information'].update(fields)
    file.write_text(yaml.safe_dump(content), 'utf-8')
    return bag


def write_split_bag(
    path: Path, parts: list[list[tuple[str, float, Any]]], **options: Any
) -> Path:
    """Write a bag of several files, which the metadata lists in the given order."""
    path.mkdir()
    names, topics = [], {}
    for index, messages in enumerate(parts):
        part = write_bag(path / f'part{index}', messages, **options)
        file = next(each for each in part.iterdir() if each.name != 'metadata.yaml')
        names.append(f'{path.name}_{index}{"".join(file.suffixes)}')
        file.rename(path / names[-1])
        metadata = yaml.safe_load((part / 'metadata.yaml').read_text('utf-8'))
        for topic in metadata['rosbag2_bagfile_information']['topics_with_message_count']:
            name = topic['topic_metadata']['name']
            topic['message_count'] += topics.get(name, {'message_count': 0})['message_count']
            topics[name] = topic
        (part / 'metadata.yaml').rename(path / 'metadata.yaml')
        part.rmdir()
    return change_metadata(path, relative_file_paths=names, files=[],
                           topics_with_message_count=list(topics.values()))


def write_mcap(
    path: Path,
    messages: Iterable[tuple[float, bytes]],
    *,
    type_name: str = 'std_msgs/msg/Int32',
    profile: str = 'ros2',
    schema_encoding: str = 'ros2msg',
    encoding: str = 'cdr',
    compression: str | None = None,
) -> Path:
    """Write an mcap file without an index, with (seconds, message) pairs of the topic /count.

    Args:
        path: of the file.
        messages: in the order in which they stand in the file.
        type_name: name of the schema.
        profile: of the file.
        schema_encoding: language of the schema.
        encoding: of the messages.
        compression: name of the compression of one chunk, which is not compressed; None: no chunk.

    """
    def record(code: int, *fields: Any) -> bytes:
        whole, body = BytesIO(), BytesIO()
        for field in fields:
            if isinstance(field, str):
                write_string(body, field)
            elif isinstance(field, bytes):
                body.write(field)
            else:
                size, number = field
                body.write(number.to_bytes(size, 'little'))
        write_record(whole, code, body)
        return whole.getvalue()

    data = record(3, (2, 1), type_name, schema_encoding, 'int32 data')
    data += record(4, (2, 1), (2, 1), '/count', encoding, (4, 0))
    for seconds, message in messages:
        stamp = START_NS + round(seconds * 1e9)
        data += record(5, (2, 1), (4, 0), (8, stamp), (8, stamp), message)
    if compression is not None:
        data = record(6, (8, START_NS), (8, START_NS), (8, len(data)), (4, 0), compression,
                      (8, len(data)), data)
    magic = b'\x89MCAP0\r\n'
    path.write_bytes(
        magic + record(1, profile, 'test') + data + record(15, (4, 0))
        + record(2, (8, 0), (8, 0), (4, 0)) + magic)
    return path


def leave_log(bag: Path) -> Path:
    """Let the messages of a sqlite3 bag stand in the write-ahead log only; return the database.

    So a recorder leaves them that was killed.
    """
    file = next(bag.glob('*.db3'))
    source = file.with_name('source')
    with closing(sqlite3.connect(source)) as target:
        target.execute('PRAGMA journal_mode=WAL')
        target.execute('PRAGMA wal_autocheckpoint=0')
        with closing(sqlite3.connect(file)) as origin:
            target.executescript('\n'.join(origin.iterdump()))
        shutil.copy(source, file)
        shutil.copy(source.with_name('source-wal'), file.with_name(f'{file.name}-wal'))
    source.unlink()
    return file


@contextmanager
def no_rights() -> Iterator[None]:
    """Be a user that owns nothing, where the tests run as root, who may do everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
