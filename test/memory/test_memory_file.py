"""The file of a memory: durable, bounded, and no other program's."""

from __future__ import annotations

import contextlib
import resource
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ResultCode
from mimo_embodied_ros.memory.store import Memory
from support.paths import ROOT
from support.sightings import S, search, seen, sighting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PICTURE = bytes(range(256)) * 80  # as long as that of a small image


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'memory.sqlite'


@contextlib.contextmanager
def opened(file: Path, **limits: int) -> Iterator[Memory]:
    memory = Memory(file, **limits)
    memory.begin_session('odom', 'one')
    try:
        yield memory
    finally:
        memory.close()


def test_what_was_added_is_there_when_the_file_is_opened_again(file: Path) -> None:
    with opened(file) as memory:
        memory.add(sighting(seen(), picture=PICTURE))
        memory.add(search('box'))
        things, searches = memory.things(), memory.searches()
    with opened(file) as memory:
        assert (memory.things(), memory.searches()) == (things, searches)
        assert things[0].picture == PICTURE
        assert memory.things(pictures=False)[0].picture == b''
        memory.add(sighting(seen(), stamp_s=2))
        assert memory.things()[0].sightings == 2


def test_the_folder_is_made(tmp_path: Path) -> None:
    with opened(tmp_path / 'a' / 'b' / 'memory.sqlite') as memory:
        memory.add(sighting(seen()))
    assert (tmp_path / 'a' / 'b' / 'memory.sqlite').stat().st_size


ADDER = """
import itertools, sys
from mimo_embodied_ros.memory.store import Memory
from support.sightings import seen, sighting
memory = Memory(sys.argv[1])
for number in itertools.count():
    memory.add(sighting(seen('cup', (number, 0, 0)), stamp_s=number, picture=bytes(20_000)))
    print(number, flush=True)
"""


@pytest.mark.parametrize('count', [1, 7, 40])
def test_a_process_that_is_killed_loses_nothing_that_it_added(file: Path, count: int) -> None:
    with subprocess.Popen(
        [sys.executable, '-c', ADDER, file], stdout=subprocess.PIPE, text=True, cwd=ROOT / 'test',
    ) as process:
        assert process.stdout is not None
        added = [int(process.stdout.readline()) for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        added += map(int, process.stdout)
    with opened(file) as memory:
        there = {thing.position[0] for thing in memory.things()}
        assert there >= {*added}
        assert there <= {*range(len(added) + 1)}  # the last one may have been added, but not told
        assert all(thing.picture == bytes(20_000) for thing in memory.things())


def test_the_journal_is_one_that_outlives_a_power_cut(file: Path) -> None:
    with opened(file) as memory:
        memory.add(sighting(seen()))
        with contextlib.closing(sqlite3.connect(file)) as other:
            assert other.execute('PRAGMA journal_mode').fetchall() == [('wal',)]
            assert other.execute('PRAGMA integrity_check').fetchall() == [('ok',)]


# -- files that are left as they are


def text_file(file: Path) -> None:
    file.write_text('notes of someone')


def long_file(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 100)


def foreign_database(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute('CREATE TABLE things (name)')


def foreign_database_with_a_log(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute('PRAGMA journal_mode = WAL')
        other.execute('CREATE TABLE things (name)')


def marked_database(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute('PRAGMA application_id = 252006674')


def newer_version(file: Path) -> None:
    Memory(file).close()
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute('PRAGMA user_version = 2')


@pytest.mark.parametrize(('make', 'message'), [
    (text_file, 'not a database; give another file'),
    (long_file, 'not a database; give another file'),
    (foreign_database, 'another program; give another file'),
    (foreign_database_with_a_log, 'another program; give another file'),
    (marked_database, 'another program; give another file'),
    (newer_version, 'update the program'),
])
def test_other_files_are_left_as_they_are(
    file: Path, make: Callable[[Path], None], message: str
) -> None:
    make(file)
    before = file.read_bytes()
    with pytest.raises(InvalidRequestError, match=message) as caught:
        Memory(file)
    assert str(file) in str(caught.value)
    assert file.read_bytes() == before


def test_an_empty_file_becomes_a_memory(file: Path) -> None:
    file.touch()
    with opened(file) as memory:
        memory.add(sighting(seen()))


def test_a_damaged_file_is_told(file: Path) -> None:
    with opened(file) as memory:
        memory.add(sighting(seen(), picture=PICTURE))
    data = bytearray(file.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(MimoError, match='malformed; move the file away'), opened(file) as memory:
        memory.add(sighting(seen()))


@pytest.mark.parametrize('path', ['a/memory', 'a', '~nobody-of-this-name/memory'])
def test_a_file_that_cannot_be_made_is_told(tmp_path: Path, path: str) -> None:
    """In a file instead of a folder, a folder itself, and the home of nobody."""
    if path == 'a':
        (tmp_path / 'a').mkdir()
    else:
        (tmp_path / 'a').touch()
    with pytest.raises(InvalidRequestError, match='; give'):
        Memory(path if path.startswith('~') else tmp_path / path)


def test_a_file_that_cannot_be_written_is_told(file: Path) -> None:
    Memory(file).close()
    with limited_files(file.stat().st_size):
        Memory(file).close()
    file.unlink()
    with limited_files(0), pytest.raises(InvalidRequestError, match='see that the disk has room'):
        Memory(file)


@contextlib.contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_the_memory_goes_on(file: Path) -> None:
    with opened(file) as memory:
        memory.add(sighting(seen('cup'), stamp_s=1, picture=PICTURE))
        log = file.with_name(f'{file.name}-wal')
        with limited_files(log.stat().st_size + 8192):
            with pytest.raises(MimoError, match='see that the disk has room') as caught:
                memory.add(sighting(seen('box'), stamp_s=2, picture=PICTURE))
            assert caught.value.code is ResultCode.UNKNOWN
            assert [thing.name for thing in memory.things()] == ['cup']
        memory.add(sighting(seen('box'), stamp_s=2, picture=PICTURE))
        assert [thing.name for thing in memory.things()] == ['box', 'cup']


# -- limits


def test_the_file_stays_bounded(file: Path) -> None:
    most = 1_000_000
    with opened(file, max_things=100, max_bytes=most) as memory:
        for number in range(2000):
            memory.add(sighting(seen(f'cup {number}', (number, 0, 0)), stamp_s=number,
                                picture=PICTURE))
            if number % 3 == 0:
                memory.add(search('box', stamp_s=number, picture=PICTURE))
        assert most / 2 < memory.bytes <= most
        things = memory.things()
        assert 20 < len(things) <= 100
        assert things[0].name == 'cup 1999'
        assert all(item.picture == PICTURE for item in (*things, *memory.searches()))
        files = [part.stat().st_size for part in file.parent.iterdir()]
        assert sum(files) < most + 8_000_000  # the log is begun anew after 4 MB
    assert file.stat().st_size < 1.5 * most
    with opened(file, max_bytes=200_000) as memory:  # one that allows less
        memory.add(sighting(seen('cup'), stamp_s=3000, picture=PICTURE))
        assert memory.bytes <= 200_000
        assert memory.things()[0].name == 'cup'


def test_one_picture_is_kept_once_and_as_long_as_something_has_it(file: Path) -> None:
    with opened(file) as memory:
        memory.add(sighting(*(seen('cup', (x, 0, 0)) for x in range(50)), picture=PICTURE))
        assert memory.bytes < 150_000
        memory.add(sighting(seen('cup', (0, 0, 0)), stamp_s=2, picture=b'another'))
        assert sorted(len(thing.picture) for thing in memory.things())[:2] == [7, len(PICTURE)]
        before = memory.bytes
        for x in range(50):
            memory.add(sighting(seen('cup', (x, 0, 0)), stamp_s=3 + x, picture=b'another'))
        assert memory.bytes < before - len(PICTURE) + 8192


def test_more_than_the_memory_may_hold_is_forgotten(file: Path) -> None:
    with opened(file, max_bytes=100_000) as memory:
        memory.add(sighting(seen(), picture=bytes(200_000)))
        assert memory.things() == []
        memory.add(sighting(seen(), picture=PICTURE))
        assert len(memory.things()) == 1


# -- forgetting


@pytest.mark.parametrize('fields', [{'everything': True}, {'what': 'cup'}])
def test_what_is_forgotten_is_not_in_the_file_any_more(
    file: Path, fields: dict[str, Any]
) -> None:
    secret = b'what the camera saw ' * 1000
    with opened(file) as memory:
        memory.add(sighting(seen('secret cup'), picture=secret, question='secret'))
        memory.add(sighting(seen('secret cup'), stamp_s=2, picture=secret + b'again'))
        there = {part: part.read_bytes() for part in file.parent.iterdir()}
        assert any(secret[:200] in data for data in there.values())
        memory.forget(**fields)
        for part in file.parent.iterdir():
            data = part.read_bytes()
            assert secret[:100] not in data
            assert b'secret' not in data
        memory.add(sighting(seen(), stamp_s=3))
    assert secret[:100] not in file.read_bytes()


def test_two_programs_may_share_a_file(file: Path) -> None:
    with opened(file) as one, opened(file) as other:
        one.add(sighting(seen('cup')))
        other.add(sighting(seen('cup'), stamp_s=2))
        [thing] = one.things()
        assert (thing.sightings, thing.stamp_ns) == (2, 2 * S)
