"""One thread that owns the model, and the bounded priority queue before it."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import (
    BackendError,
    CancelledError,
    MimoError,
    ModelNotReadyError,
    PreemptedError,
    QueueFullError,
    RequestTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One request on its way through the worker; ``finish`` is called exactly once.

    Attributes:
        work: runs in the worker's thread; what it returns or raises is the outcome.
        finish: gets the result and None, or None and the error; in the worker's or caller's thread.
        priority: higher goes first; equal ones as they came.
        caller: who asks.
        deadline: ``time.monotonic()`` seconds; a job still waiting then fails with TIMEOUT.
        arrived: ``time.monotonic()`` seconds.

    """

    work: Callable[[Job], Any]
    finish: Callable[[Any, MimoError | None], None]
    priority: int = 0
    caller: str = ''
    deadline: float | None = None
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    _stop: MimoError | None = None
    _done: bool = False

    def stopped(self) -> bool:
        """Whether somebody wants this job to end; asked at every token."""
        return self._stop is not None


class Worker:
    """Runs jobs one after another, the most urgent first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: list[tuple[int, int, Job]] = []
        self._order = itertools.count()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._accepting = False
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def start(self) -> None:
        """Accept and run jobs."""
        self._accepting = True
        self._thread = threading.Thread(target=self._run, name='model', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End what waits and runs with PREEMPTED and wait until the model is free."""
        with self._changed:
            self._accepting = False
            waiting = [job for _, _, job in self._waiting]
            self._waiting.clear()
            running = self._running
            self._changed.notify_all()
        error = PreemptedError('the node is shutting down or was deactivated; activate it again')
        for job in waiting:
            self._end(job, None, error)
        if running is not None:
            running._stop = error
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def submit(self, job: Job) -> None:
        """Put a job in the queue.

        Raises:
            ModelNotReadyError: the worker is not started.
            QueueFullError: as many jobs wait as may.

        """
        with self._changed:
            if not self._accepting:
                msg = 'the node is not active; configure and activate it first'
                raise ModelNotReadyError(msg)
            self._expire()
            if len(self._waiting) >= self._capacity:
                msg = (
                    f'{len(self._waiting)} requests are waiting already; ask again later or raise '
                    'the parameter max_queue'
                )
                raise QueueFullError(msg)
            heapq.heappush(self._waiting, (-job.priority, next(self._order), job))
            self._changed.notify_all()

    def cancel(self, job: Job) -> None:
        """End a job with CANCELLED: at once while it waits, else within a token."""
        error = CancelledError('the caller cancelled the request')
        with self._changed:
            kept = [entry for entry in self._waiting if entry[2] is not job]
            waited = len(kept) < len(self._waiting)
            if waited:
                heapq.heapify(kept)
                self._waiting = kept
            elif job._stop is None:
                job._stop = error
        if waited:
            self._end(job, None, error)

    def poll(self) -> None:
        """Fail the jobs whose deadline passed while they waited; called now and then."""
        with self._changed:
            self._expire()

    def _expire(self) -> None:
        now = time.monotonic()
        late = [e for e in self._waiting if e[2].deadline is not None and e[2].deadline <= now]
        if not late:
            return
        self._waiting = [entry for entry in self._waiting if entry not in late]
        heapq.heapify(self._waiting)
        for _, _, job in late:
            waited = now - job.arrived
            msg = f'waited {waited:.2f} s for the model; raise timeout or ask less often'
            self._end(job, None, RequestTimeoutError(msg))

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._accepting and not self._waiting:
                    self._changed.wait()
                if not self._accepting:
                    return
                self._expire()
                if not self._waiting:
                    continue
                job = heapq.heappop(self._waiting)[2]
                self._running = job
            job.started = time.monotonic()
            result, error = None, None
            try:
                result = job.work(job)
            except MimoError as failure:
                error = failure
            except Exception as failure:  # a fault of ours must not stop the robot's other requests
                _logger.exception('a request failed')
                error = BackendError(f'{type(failure).__name__}: {failure}; see the log')
            with self._changed:
                self._running = None
            # whatever a stopped job failed with, the reason is the stopper's
            if error is not None and job._stop is not None:
                job._stop.raw_text, job._stop.reasoning = error.raw_text, error.reasoning
                error = job._stop
            self._end(job, result, error)

    @staticmethod
    def _end(job: Job, result: Any, error: MimoError | None) -> None:
        if not job._done:
            job._done = True
            try:
                job.finish(result, error)
            except Exception:  # the model must stay free for others
                _logger.exception('a result could not be handed over')
