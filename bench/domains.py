"""ROS domains that tests and benchmarks on one host do not share."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_turn = itertools.count()


@contextmanager
def claimed_domain() -> Iterator[int]:
    """Hold a domain id that no other test on this host holds.

    Ids from 1 to 100 keep DDS below the ephemeral ports. A locked file stands for an id, so that
    it is free again when its process ends in whatever way. Each turn starts at another id, so
    that no test hears the last words of the one before.

    Raises:
        RuntimeError: all are taken.

    """
    start = os.getpid() + next(_turn)
    for domain in (1 + (start + step) % 100 for step in range(100)):
        path = Path(tempfile.gettempdir(), f'ros_test_domain_{domain}.lock')
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT)
        except PermissionError:  # made by another user
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield domain
        finally:
            os.close(lock)
        return
    msg = 'all ROS domain ids from 1 to 100 are taken by other tests on this host; end some'
    raise RuntimeError(msg)
