"""Work that waits for the model."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import RequestTimeoutError

if TYPE_CHECKING:
    from mimo_embodied_ros.core.errors import MimoError


class Job(ABC):
    """Work that waits for the model; a subclass says what it is, and who gets its result.

    Attributes:
        workload: jobs of one workload take about as long.
        caller: who asks; callers take turns.
        priority: the job with the highest goes first.
        deadline: ``time.monotonic()`` seconds; a job that still waits then fails with TIMEOUT. A
            running job looks at it itself.
        preemptible: it waits behind all jobs that are not, and makes room for them.
        arrived: ``time.monotonic()`` seconds.
        started: the same; 0 while the job waits.
        alone: it has not waited for another job's answer.

    """

    def __init__(
        self, workload: str = '', caller: str = '', priority: int = 0,
        deadline: float | None = None, *, preemptible: bool = False,
    ) -> None:
        """Arrive now."""
        self.workload, self.caller, self.priority = workload, caller, priority
        self.deadline, self.preemptible = deadline, preemptible
        self.arrived = time.monotonic()
        self.started = 0.0
        self.alone = True
        self._stop: MimoError | None = None

    @abstractmethod
    def run(self) -> Any:
        """Do the work, in a thread of the scheduler; returns the result, or raises."""

    @abstractmethod
    def finish(self, result: Any, error: MimoError | None) -> None:
        """Take the result and None, or None and the error; called exactly once.

        It runs in a thread of the scheduler, or in that of whoever ends the job. What ``run``
        returns or raises after the job was stopped is dropped.
        """

    def stopped(self) -> bool:
        """Whether the job has been ended, so that its work is in vain; asked at every token."""
        return self._stop is not None

    def is_over(self) -> bool:
        """Whether the job was stopped or its deadline has passed."""
        return self._stop is not None or (
            self.deadline is not None and time.monotonic() >= self.deadline)

    def check(self) -> None:
        """End work that is in vain.

        Raises:
            MimoError: the reason that was given when the job was stopped.
            RequestTimeoutError: the deadline has passed.

        """
        if self._stop is not None:
            raise self._stop
        if self.is_over():
            raise self.lateness()

    def lateness(self) -> RequestTimeoutError:
        """The error of a job whose deadline has passed."""
        assert self.deadline is not None
        if self.started:
            return RequestTimeoutError(
                f'no answer within {self.deadline - self.arrived:.2f} s; raise timeout')
        return RequestTimeoutError(
            f'waited {time.monotonic() - self.arrived:.2f} s for the model; raise timeout or ask '
            'less often')
