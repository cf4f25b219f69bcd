"""Whether an answer is to end before the model ends it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar('T')
_POLL_S = 0.02  # how often cancel and deadline are checked while a request waits

Cancelled = Callable[[], bool]
"""Called once a token, or once a weight; True stops the answer, or the load."""

Deadline = float | Callable[[], float | None] | None
"""``time.monotonic()`` seconds at which the answer ends, or a function that is asked for them once
a token and must not block; None is no limit."""


@dataclass
class EarlyEnd:
    """Whether an answer is to end before the model ends it, and why.

    Attributes:
        cancelled: of the caller of ``generate``.
        deadline: of the caller of ``generate``.
        reason: 'cancelled' or 'deadline' once ``reached`` has returned True.

    """

    cancelled: Cancelled | None
    deadline: Deadline
    reason: str = ''

    def reached(self) -> bool:
        """Whether the answer is to end now."""
        if self.cancelled is not None and self.cancelled():
            self.reason = 'cancelled'
        elif self.seconds_left() <= 0:
            self.reason = 'deadline'
        return self.reason != ''

    def seconds_left(self) -> float:
        """Seconds until the deadline; infinity where there is none."""
        deadline = self.deadline() if callable(self.deadline) else self.deadline
        return math.inf if deadline is None else deadline - time.monotonic()


class EndedEarlyError(Exception):
    """The request was cancelled, or its deadline passed."""


async def wait_for(
    work: Coroutine[Any, Any, T], limit: Callable[[], float], end: EarlyEnd
) -> asyncio.Task[T] | None:
    """Wait until the work has returned or raised; return None if it takes too long.

    Args:
        work: runs in this thread, and is cancelled if it takes too long.
        limit: returns the ``time.monotonic()`` seconds at which the wait ends; it may change.
        end: ends the wait early.

    Raises:
        EndedEarlyError: the request is to end early. This, and exceptions of ``end``, cancel the
            work.

    """
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            if end.reached():
                raise EndedEarlyError
            if time.monotonic() >= limit():
                return None
            await asyncio.wait((task,), timeout=_POLL_S)
        return task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
