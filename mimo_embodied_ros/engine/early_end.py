"""Whether an answer is to end before the model ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

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
        deadline = self.deadline() if callable(self.deadline) else self.deadline
        if self.cancelled is not None and self.cancelled():
            self.reason = 'cancelled'
        elif deadline is not None and time.monotonic() >= deadline:
            self.reason = 'deadline'
        return self.reason != ''
