"""Bags of every kind are read in order of time, or refused with the true cause and a remedy."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import sqlite3
import struct
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import CompressionMode, StoragePlugin
from std_msgs.msg import Int32, String

from mimo_embodied_ros.bags import BagPlayer, describe
from mimo_embodied_ros.bags.reader import read_messages
from mimo_embodied_ros.core.errors import InvalidRequestError
from support.bags import (
    START_NS,
    change_metadata,
    leave_log,
    no_rights,
    numbers,
    write_bag,
    write_mcap,
    write_split_bag,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.ros import Ros

KEY = '/count', 'std_msgs/msg/Int32'
FEW = [(i, serialize_message(Int32(data=i))) for i in range(3)]


def read(path: Path) -> list[tuple[float, int]]:
    """Seconds and numbers of the topic /count, as they are read."""
    describe(path)
    return [((stamp - START_NS) / 1e9, struct.unpack('<i', data[4:])[0])
            for _, stamp, data in read_messages(path, {KEY})]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user may enter, other than those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize('order', [(2, 0, 1), (1, 0, 2), (0, 1, 2)])
@pytest.mark.parametrize('options', [
    {}, {'storage': StoragePlugin.SQLITE3}, {'compress': CompressionMode.FILE},
    {'compress': CompressionMode.MESSAGE}], ids=['mcap', 'sqlite3', 'files', 'messages'])
def test_split_files_are_read_in_order_of_time(
    tmp_path: Path, order: tuple[int, ...], options: dict[str, Any]
) -> None:
    messages = numbers('/count', 9, 0.5)
    parts = [messages[:3], messages[3:6], messages[6:]]
    bag = write_split_bag(tmp_path / 'bag', [parts[i] for i in order], **options)
    assert read(bag) == [(i * 0.5, i) for i in range(9)]
    info = describe(bag)
    assert (info.start_ns, info.duration_s, info.count) == (START_NS, 4.0, 9)


def test_files_that_overlap_in_time_are_merged(tmp_path: Path) -> None:
    messages = numbers('/count', 9, 0.5)
    bag = write_split_bag(tmp_path / 'bag', [messages[1::2], messages[::2]])
    assert [number for _, number in read(bag)] == list(range(9))


def test_the_player_sends_split_files_in_order(ros: Ros, tmp_path: Path) -> None:
    messages = numbers('/count', 6, 0.05)
    bag = write_split_bag(tmp_path / 'bag', [messages[3:], messages[:3]])
    reports: list[float] = []
    with BagPlayer(bag, ros.node('player'),
                   on_progress=lambda p: reports.append(p.position_s)) as player:
        assert player.play() == 6
    assert reports == sorted(reports)


def test_messages_in_disorder_without_an_index_are_sorted(tmp_path: Path) -> None:
    for compression, name in ((None, 'plain'), ('', 'chunk')):
        file = write_mcap(tmp_path / f'{name}.mcap', [FEW[1], FEW[2], FEW[0]],
                          compression=compression)
        assert read(file) == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize('old', ['std_msgs/Int32', 'std_msgs/msg/Int32'])
def test_old_names_of_types_are_read(ros: Ros, tmp_path: Path, old: str) -> None:
    file = write_mcap(tmp_path / 'old.mcap', FEW, type_name=old)
    assert [(topic.name, topic.type) for topic in describe(file).topics] == [KEY]
    assert [number for _, number in read(file)] == [0, 1, 2]
    with BagPlayer(file, ros.node('player'), rate=100) as player:
        assert player.skipped == {}
        assert player.play() == 3


def test_old_names_in_the_metadata_are_those_of_the_files(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 3, 1.0))
    file = bag / 'metadata.yaml'
    file.write_text(file.read_text().replace('std_msgs/msg/Int32', 'std_msgs/Int32'))
    assert [topic.type for topic in describe(bag).topics] == [KEY[1]]
    assert [number for _, number in read(bag)] == [0, 1, 2]


def test_qualities_of_service_may_differ_between_file_and_metadata(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 3, 1.0), latched=['/count'])
    file = bag / 'metadata.yaml'
    file.write_text(file.read_text().replace('depth: 1', 'depth: 7'))
    assert [number for _, number in read(bag)] == [0, 1, 2]


@pytest.mark.parametrize('rights', ['rw', 'r'])
@pytest.mark.parametrize('name', ['bag', 'a bag #1?'])
def test_messages_in_the_write_ahead_log_are_read(shared: Path, rights: str, name: str) -> None:
    bag = write_bag(shared / 'bag', numbers('/count', 40, 0.5), storage=StoragePlugin.SQLITE3)
    leave_log(bag)
    bag = bag.rename(shared / name)
    file = bag / 'bag.db3'
    before = {each.name: hashlib.sha256(each.read_bytes()).digest() for each in bag.iterdir()}
    if rights == 'r':
        bag.chmod(0o555)
        with no_rights():
            for path in (bag, file):
                assert [number for _, number in read(path)] == list(range(40))
        bag.chmod(0o755)
    else:
        for path in (bag, file):
            assert [number for _, number in read(path)] == list(range(40))
    after = {each.name: hashlib.sha256(each.read_bytes()).digest() for each in bag.iterdir()}
    assert after == before, 'nothing is written into a bag'


def lost_log(path: Path) -> Path:
    bag = write_bag(path / 'bag', numbers('/count', 2, 1), storage=StoragePlugin.SQLITE3)
    file = leave_log(bag)
    file.with_name(f'{file.name}-wal').unlink()
    return bag


def other_database(path: Path) -> Path:
    with closing(sqlite3.connect(path / 'songs.db3')) as database:
        database.execute('CREATE TABLE songs(name)')
    return path / 'songs.db3'


def pipe(path: Path) -> Path:
    os.mkfifo(path / 'bag.mcap')
    return path / 'bag.mcap'


def large_file(begin: bytes, name: str = 'bag.mcap') -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        (path / name).write_bytes(begin + bytes(500))
        return path / name
    return make


def split_with(**fields: Any) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        return change_metadata(write_bag(path / 'bag', numbers('/count', 2, 1)), **fields)
    return make


def no_index(**options: Any) -> Callable[[Path], Path]:
    return lambda path: write_mcap(path / 'bag.mcap', FEW, **options)


def lost_part(path: Path) -> Path:
    messages = numbers('/count', 4, 1)
    bag = write_split_bag(path / 'bag', [messages[:2], messages[2:]])
    (bag / 'bag_1.mcap').unlink()
    return bag


def cut(path: Path) -> Path:
    bag = write_bag(path / 'bag', numbers('/count', 4, 1))
    file = bag / 'bag.mcap'
    file.write_bytes(file.read_bytes()[:-200])
    return bag


def no_metadata_of_files(path: Path) -> Path:
    messages = numbers('/count', 4, 1)
    bag = write_split_bag(path / 'bag', [messages[:2], messages[2:]])
    (bag / 'metadata.yaml').unlink()
    return bag


@pytest.mark.parametrize(('make', 'text'), [
    (lost_log, '-wal beside it was not copied; copy both'),
    (pipe, r'bag\.mcap is not a bag: give the directory'),
    (other_database, 'no tables of a bag .*another database'),
    (large_file(b''), r'bag\.mcap is not a bag'),
    (large_file(b'#ROSBAG V2.0\n'), 'is a bag of ROS 1: .*rosbags-convert'),
    (large_file(b'\x28\xb5\x2f\xfd', 'bag.mcap.zstd'), 'compressed: .*directory of the bag'),
    (large_file(b'\x1f\x8b'), 'compressed: .*gzip -d'),
    (large_file(b'PK\x03\x04'), 'archive: unpack it'),
    (large_file(b'version https://git-lfs.github.com/spec/v1\n'), 'git lfs pull'),
    (no_index(profile='ros1'), 'another profile than ros2; convert'),
    (no_index(schema_encoding='protobuf'), 'protobuf .*convert'),
    (no_index(compression='brotli'), "compression 'brotli'.*mcap compress"),
    (split_with(compression_mode='FILE', compression_format='lz4'), 'compressed with lz4.*convert'),
    (split_with(compression_mode='PIECES', compression_format='zstd'), "'pieces' is not known"),
    (split_with(relative_file_paths=3), 'not the YAML that a recorder writes .*reindex'),
    (split_with(topics_with_message_count=None), 'not the YAML that a recorder writes'),
    (lost_part, r'lists bag_1\.mcap, which the folder does not have; copy what is missing'),
    (cut, 'recorder was not shut down properly; try "ros2 bag reindex"'),
    (no_metadata_of_files, r'give one of its files \(bag_0\.mcap, bag_1\.mcap\).*reindex'),
])
def test_the_true_cause_is_told(
    tmp_path: Path, make: Callable[[Path], Path], text: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(InvalidRequestError, match=text) as refused:
        read(path)
    assert '\n' not in str(refused.value)
    damaged = 'damaged' in str(refused.value)
    assert damaged is (make is cut), 'only what is damaged is called so'


def test_a_damaged_file_of_several_is_named(tmp_path: Path) -> None:
    messages = numbers('/count', 6, 1)
    for compress in (CompressionMode.NONE, CompressionMode.FILE):
        bag = write_split_bag(tmp_path / compress.name, [messages[:3], messages[3:]],
                              compress=compress)
        file = next(bag.glob(f'{compress.name}_1*'))
        file.write_bytes(file.read_bytes()[:-30])
        with pytest.raises(InvalidRequestError, match='damaged') as refused:
            describe(bag)
        assert str(refused.value).startswith(f'{file} cannot be read as a bag')


def test_no_permission_is_told(shared: Path) -> None:
    bag = write_bag(shared / 'bag', numbers('/count', 2, 1))
    for locked in (bag / 'bag.mcap', bag / 'metadata.yaml', bag):
        mode = locked.stat().st_mode
        locked.chmod(0)
        with no_rights(), pytest.raises(
                InvalidRequestError, match='Permission denied; see to the permissions') as refused:
            read(bag)
        assert str(locked) in str(refused.value)
        assert 'damaged' not in str(refused.value)
        locked.chmod(mode)
    assert len(read(bag)) == 2


def test_no_permission_for_the_write_ahead_log_is_told(shared: Path) -> None:
    file = leave_log(write_bag(
        shared / 'bag', numbers('/count', 2, 1), storage=StoragePlugin.SQLITE3))
    log = file.with_name('bag.db3-wal')
    log.chmod(0)
    with no_rights(), pytest.raises(InvalidRequestError, match='Permission denied') as refused:
        read(file)
    assert str(log) in str(refused.value)


def test_the_name_of_a_file_does_not_count(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', numbers('/count', 2, 1))
    for name in ('bag.mcap.active', 'bag', 'bag.db3'):
        shutil.copy(bag / 'bag.mcap', tmp_path / f'copied {name}')
        assert len(read(tmp_path / f'copied {name}')) == 2


def test_a_home_folder_stands_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bag(tmp_path / 'bag', numbers('/count', 2, 1))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert describe('~/bag').count == 2
    with pytest.raises(InvalidRequestError, match='home folder of this user is not known'):
        describe('~no_such_user/bag')


def test_messages_that_are_not_cdr_are_left_out(ros: Ros, tmp_path: Path) -> None:
    file = write_mcap(tmp_path / 'json.mcap', FEW, encoding='json')
    assert describe(file).of_type(KEY[1]) == ()
    with pytest.raises(InvalidRequestError, match='the messages of /count are json'):
        BagPlayer(file, ros.node('player'))


def test_latched_and_empty_topics_of_split_files(tmp_path: Path) -> None:
    parts: list[list[tuple[str, float, Any]]] = [
        numbers('/count', 2, 1.0), [('/name', 0.5, String(data='n'))]]
    info = describe(write_split_bag(tmp_path / 'bag', parts, latched=['/name']))
    assert [(t.name, t.count, t.latched) for t in info.topics] == [
        ('/count', 2, False), ('/name', 1, True)]


def test_every_order_of_three_messages_is_sorted(tmp_path: Path) -> None:
    for number, order in enumerate(itertools.permutations(FEW)):
        file = write_mcap(tmp_path / f'{number}.mcap', order)
        assert read(file) == [(0, 0), (1, 1), (2, 2)]
