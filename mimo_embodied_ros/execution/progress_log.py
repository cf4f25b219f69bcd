"""Logs the steps of a plan: one line where an attempt begins, and one where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.msg import TaskStep

if TYPE_CHECKING:
    from collections.abc import Callable

_ENDS = {TaskStep.SUCCEEDED: 'done', TaskStep.FAILED: 'failed', TaskStep.CANCELLED: 'cancelled'}


class ProgressLog:
    """Of one goal."""

    def __init__(self, log: Callable[[str], object]) -> None:
        """Log by a call of ``log``, the method of a logger."""
        self._log = log
        self._begun: tuple[int, int, int] | None = None  # plan, step, attempt

    def report(self, plans: int, step: Any, attempt: int, text: str) -> None:
        """Log what is new; takes what an execution reports."""
        if step is None:
            return
        which = plans, step.id, attempt
        if step.status in _ENDS:
            why = f': {text}' * (text != step.description)
            self._write(f'step {step.id} {_ENDS[step.status]}{why}')
        elif which != self._begun:
            again = f', attempt {attempt}' * (attempt > 1)
            self._write(f'step {step.id} begins{again}: {step.description}')
        self._begun = which

    def _write(self, text: str) -> None:
        self._log(' '.join(text.split()))
