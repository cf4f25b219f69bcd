"""Shared memory of Fast DDS that a test run leaves behind: a node that was killed removes none.

A living process maps its segments and ports, and holds the lock of those that it has made; the
command ``fastdds shm clean`` goes by the locks as well.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

FOLDER = Path('/dev/shm')  # noqa: S108 - where Fast DDS has it
_MAPS = Path('/proc')
_LOCKS = '_el', '_sl'  # of one process, or of several
# fastrtps_ with Jazzy, fastdds_ with Kilted
_NAME = re.compile(r'fast(?:rtps|dds)_(?:port[0-9]+|[0-9a-f]{16})')
_LOOKS_S = 0.5  # a process that is about to make a segment has mapped it by then
_AT_START = pytest.StashKey[frozenset[str]]()


def segments() -> frozenset[str]:
    """The names of all segments and ports, those included of which only a lock is left."""
    names = os.listdir(FOLDER) if FOLDER.is_dir() else []  # noqa: PTH208 - names alone
    return frozenset(match.group() for name in names if (match := _NAME.match(name)))


def mapped(process: str = '[0-9]*') -> frozenset[str]:
    """The names of segments and ports that processes map; all processes, or that of an id."""
    names: set[str] = set()
    for maps in _MAPS.glob(f'{process}/maps'):
        with suppress(OSError):  # it has ended, or is another user's, as its segments are
            names.update(_NAME.findall(maps.read_text('utf-8', 'replace')))
    return frozenset(names)


def remove_dead(known: frozenset[str]) -> None:
    """Remove segments and ports that no process uses, except those that are known.

    Where there are any, it looks twice, so that what a process makes right now is not taken for
    dead.
    """
    dead = segments() - known - mapped()
    if dead:
        time.sleep(_LOOKS_S)
        for name in dead & segments() - mapped():
            _remove(name)


def _remove(name: str) -> None:
    """Remove the files of a segment or a port, unless a process holds its lock."""
    with ExitStack() as stack, suppress(OSError):  # held, or another user's
        for lock in (FOLDER / f'{name}{ending}' for ending in _LOCKS):
            if lock.exists():
                fcntl.flock(stack.enter_context(lock.open('rb')), fcntl.LOCK_EX | fcntl.LOCK_NB)
        for file in (name, f'sem.{name}_mutex', *(f'{name}{ending}' for ending in _LOCKS)):
            (FOLDER / file).unlink(missing_ok=True)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Note what is there before the first test."""
    session.config.stash[_AT_START] = segments()


@pytest.hookimpl(trylast=True)  # when xdist's workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove what the tests' processes have left, once for all workers of xdist."""
    if not hasattr(session.config, 'workerinput'):
        remove_dead(session.config.stash[_AT_START])
