"""ROS domains that no two tests or benchmarks on one host share, and no other process is in."""

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

# The ports of these ids are below the ephemeral ones. Those of the demos are left out, which
# run in domains of their own at any time.
DOMAIN_IDS = tuple(sorted({*range(1, 101)} - {73, 74, 75, 76, 77, 78}))
# The UDP ports of a domain, as the RTPS specification has them (9.6.2.3).
FIRST_PORT, PORTS_PER_DOMAIN = 7400, 250
_SOCKET_TABLES = '/proc/net/udp', '/proc/net/udp6'
_turn = itertools.count()


def domains_in_use() -> set[int]:
    """Return the ids of domains in which a process of this host takes part."""
    return {(port - FIRST_PORT) // PORTS_PER_DOMAIN
            for table in _SOCKET_TABLES if Path(table).exists() for port in _bound_ports(table)}


@contextmanager
def claimed_domain() -> Iterator[int]:
    """Hold a domain id that no other test on this host holds and that nobody uses.

    A locked file stands for an id, so that it is free again when its process ends in whatever
    way. Processes that outlive their test, and others that know nothing of the locks, are seen by
    their ports. Each turn starts at another id, so that no test gets a late message of the one
    before.

    Raises:
        RuntimeError: all are taken.

    """
    start = os.getpid() + next(_turn)
    for step in range(len(DOMAIN_IDS)):
        domain = DOMAIN_IDS[(start + step) % len(DOMAIN_IDS)]
        lock = _lock(domain)
        if lock is None:
            continue
        try:
            if domain in domains_in_use():
                continue
            yield domain
        finally:
            os.close(lock)
        return
    msg = (f'all ROS domain ids from {DOMAIN_IDS[0]} to {DOMAIN_IDS[-1]} are taken by tests and '
           'other processes of this host; end some')
    raise RuntimeError(msg)


def _bound_ports(table: str) -> list[int]:
    # sl local_address rem_address …, an address as hexadecimal IP:PORT
    lines = Path(table).read_text('ascii').splitlines()[1:]
    return [int(line.split()[1].rpartition(':')[2], 16) for line in lines]


def _lock(domain: int) -> int | None:
    """Lock an id; returns the open file, or nothing where another process holds it."""
    path = Path(tempfile.gettempdir(), f'ros_test_domain_{domain}.lock')
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
    except PermissionError:  # made by another user
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
