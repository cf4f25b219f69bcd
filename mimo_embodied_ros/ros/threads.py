"""Threads that run in ROS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

_START_S = 1.0  # to start, on a busy machine


def start(thread: threading.Thread, end: Callable[[], None]) -> None:
    """Start a thread; where an interrupt comes meanwhile, call ``end`` and wait for its end.

    ``Thread.start`` waits for the thread, and an interrupt leaves it running. A thread that still
    spins when Python ends makes C++ abort the process.
    """
    try:
        thread.start()
    except KeyboardInterrupt:
        end()
        until = time.monotonic() + _START_S
        while thread.ident is None and time.monotonic() < until:
            time.sleep(0.001)
        if thread.is_alive():
            thread.join()
        raise
