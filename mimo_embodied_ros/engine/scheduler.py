"""A bounded queue of jobs with priorities, turns and deadlines, and the threads that run them."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict, defaultdict, deque
from typing import Any

from mimo_embodied_ros.core.errors import (
    BackendError,
    CancelledError,
    MimoError,
    ModelNotReadyError,
    PreemptedError,
    QueueFullError,
    RequestTimeoutError,
)

_REMEMBERED_CALLERS = 1000  # whose latest turn is remembered
# Durations of each workload: how many are remembered, and how many are needed to refuse a job by.
_REMEMBERED_DURATIONS, _TRUSTED_DURATIONS = 32, 8

_logger = logging.getLogger(__name__)


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
        if self.deadline is not None and time.monotonic() >= self.deadline:
            msg = f'no answer within {self.deadline - self.arrived:.2f} s; raise timeout'
            raise RequestTimeoutError(msg)


class Scheduler:
    """Runs several jobs at once, the most urgent first.

    A job ends once: in the thread that ran it, or in the thread that takes it out of the queue or
    stops it. A stopped job ends at once, although the model may still be busy with it; the thread
    that runs it is free as soon as its work has noticed.
    """

    def __init__(self, capacity: int, runners: int) -> None:
        """Let at most ``capacity`` jobs wait while at most ``runners`` jobs run."""
        self._capacity, self._runners = capacity, runners
        self._waiting: list[Job] = []  # in the order of their arrival
        self._running: list[Job] = []  # in the order of their start
        self._turn = itertools.count()
        self._served: OrderedDict[str, int] = OrderedDict()  # the latest turn of each caller
        self._durations: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=_REMEMBERED_DURATIONS)
        )
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)  # wakes the threads that run jobs
        self._change = threading.Condition(self._lock)  # wakes the thread that keeps deadlines
        self._accepting = False
        self._threads: list[threading.Thread] = []

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many jobs run."""
        return len(self._running)

    def start(self) -> None:
        """Accept and run jobs."""
        self._accepting = True
        self._threads = [
            threading.Thread(target=self._run, name=f'runner {number}', daemon=True)
            for number in range(self._runners)
        ]
        self._threads.append(
            threading.Thread(target=self._keep_deadlines, name='deadlines', daemon=True)
        )
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all jobs with PREEMPTED, and wait until the threads that ran them are free."""
        error = PreemptedError('the node is shutting down or was deactivated; activate it again')
        with self._lock:
            self._accepting = False
            ended, self._waiting = self._waiting, []
            for job in self._running:
                if not job.stopped():
                    job._stop = error
                    ended.append(job)
            self._arrival.notify_all()
            self._change.notify_all()
        for job in ended:
            self._end(job, None, error)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def submit(self, job: Job) -> None:
        """Put a job in the queue.

        Where the queue is full, a job takes the place of a preemptible job that waits; where all
        threads are busy, a preemptible job that runs is stopped for it.

        Raises:
            ModelNotReadyError: the scheduler is not started.
            QueueFullError: ``capacity`` jobs wait already.

        """
        displaced = preempted = None
        with self._lock:
            if not self._accepting:
                msg = 'the node is not active; configure and activate it first'
                raise ModelNotReadyError(msg)
            # jobs that a free thread is about to take do not count as waiting
            if len(self._waiting) >= self._capacity + self._runners - len(self._running):
                if not job.preemptible:
                    displaced = next((w for w in reversed(self._waiting) if w.preemptible), None)
                if displaced is None:
                    msg = (
                        f'{self._capacity} requests are waiting already; ask again later or raise '
                        'the parameter max_queue'
                    )
                    raise QueueFullError(msg)
                self._waiting.remove(displaced)
            self._waiting.append(job)
            if not job.preemptible:
                preempted = self._preempt()
            self._arrival.notify()
            self._change.notify()
        if displaced is not None:
            self._end(displaced, None, PreemptedError('a goal needed the place in the queue'))
        if preempted is not None:
            self._end(preempted, None, preempted._stop)

    def cancel(self, job: Job) -> bool:
        """End a job with CANCELLED, unless it has ended.

        Returns:
            Whether this call ended it.

        """
        error = CancelledError('the caller cancelled the request')
        with self._lock:
            if job in self._waiting:
                self._waiting.remove(job)
            elif job not in self._running or job.stopped():
                return False
            job._stop = error
        self._end(job, None, error)
        return True

    def _preempt(self) -> Job | None:
        """Stop a preemptible job if more goals wait than threads are free or about to be."""
        busy, preempted = 0, None
        for job in self._running:
            if job._stop is None:
                busy += 1
                preempted = job if job.preemptible else preempted
        for job in self._waiting:
            busy += not job.preemptible
        if preempted is not None and busy > self._runners:
            preempted._stop = PreemptedError('a goal needed the model')
            return preempted
        return None

    def _urgency(self, job: Job) -> tuple[bool, int, int]:
        """Sort key: the smallest goes first."""
        return job.preemptible, -job.priority, self._served.get(job.caller, -1)

    def _keep_deadlines(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                deadlines = [j.deadline for j in self._waiting if j.deadline is not None]
                nearest = min(deadlines, default=None)
                if nearest is None or nearest > now:
                    if not self._accepting:
                        return
                    self._change.wait(None if nearest is None else nearest - now)
                    continue
                late = [j for j in self._waiting if j.deadline is not None and j.deadline <= now]
                self._waiting = [job for job in self._waiting if job not in late]
            for job in late:
                msg = (
                    f'waited {now - job.arrived:.2f} s for the model; raise timeout or ask less '
                    'often'
                )
                self._end(job, None, RequestTimeoutError(msg))

    def _run(self) -> None:
        while True:
            with self._lock:
                while self._accepting and not self._waiting:
                    self._arrival.wait()
                if not self._accepting:
                    return
                job = self._take()
                error = self._too_late(job)
            result = None
            if error is None:
                result, error = self._do(job)
            with self._lock:
                self._running.remove(job)
                if job.stopped():
                    continue  # whoever stopped it has ended it already
                if error is None:
                    self._durations[job.workload].append(time.monotonic() - job.started)
            self._end(job, result, error)

    def _take(self) -> Job:
        """Choose the job that runs next; the lock is held.

        Among jobs of equal priority, the caller that was served longest ago has its turn, with its
        oldest job.
        """
        job = min(self._waiting, key=self._urgency)
        self._waiting.remove(job)
        self._running.append(job)
        self._served[job.caller] = next(self._turn)
        self._served.move_to_end(job.caller)
        if len(self._served) > _REMEMBERED_CALLERS:
            self._served.popitem(last=False)
        job.started = time.monotonic()
        return job

    def _too_late(self, job: Job) -> MimoError | None:
        """Refuse a job that has less time left than the quickest of its workload took."""
        durations = self._durations[job.workload]
        if job.deadline is None or len(durations) < _TRUSTED_DURATIONS:
            return None
        left, needed = job.deadline - job.started, min(durations)
        if left >= needed:
            return None
        durations.popleft()  # so that a job is tried again when such jobs have become quicker
        msg = (
            f'{max(0.0, left):.2f} s were left when the model was free and the quickest of the '
            f'last such requests took {needed:.2f} s; raise timeout or ask less often'
        )
        return RequestTimeoutError(msg)

    @staticmethod
    def _do(job: Job) -> tuple[Any, MimoError | None]:
        try:
            return job.run(), None
        except MimoError as error:
            return None, error
        except Exception as error:  # a fault in one job must not stop the others
            _logger.exception('a request failed')
            return None, BackendError(f'{type(error).__name__}: {error}; see the log')

    @staticmethod
    def _end(job: Job, result: Any, error: MimoError | None) -> None:
        try:
            job.finish(result, error)
        except Exception:  # the thread must stay free for other jobs
            _logger.exception('a result could not be handed over')
