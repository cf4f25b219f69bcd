"""The way to the model: a bounded queue with priorities, turns and deadlines, and its threads."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict, defaultdict, deque
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

_KNOWN_CALLERS = 1000  # whose turn is remembered
_KNOWN_DURATIONS, _TRUSTED_DURATIONS = 32, 8  # of each kind: remembered, and needed to refuse by

_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One request on its way to the model; ``finish`` is called exactly once.

    Attributes:
        work: runs in a thread of the scheduler; what it returns or raises is the outcome, unless
            the job was stopped before.
        finish: gets the result and None, or None and the error; in a thread of the scheduler or
            of whoever stops the job.
        kind: jobs of one kind take about as long.
        caller: who asks; callers take turns.
        priority: higher goes first.
        deadline: ``time.monotonic()`` seconds; a job still waiting then fails with TIMEOUT. A
            running one looks at it itself.
        preemptible: waits behind all that are not, and makes room for them.
        arrived: ``time.monotonic()`` seconds.
        started: the same; 0 while it waits.

    """

    work: Callable[[Job], Any]
    finish: Callable[[Any, MimoError | None], None]
    kind: str = ''
    caller: str = ''
    priority: int = 0
    deadline: float | None = None
    preemptible: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started: float = 0.0
    _stop: MimoError | None = None

    def stopped(self) -> bool:
        """Whether the job has been ended and its work is in vain; asked at every token."""
        return self._stop is not None

    def check(self) -> None:
        """End work that nobody wants any more.

        Raises:
            MimoError: what the one who stopped the job gave as the reason.
            RequestTimeoutError: the deadline passed.

        """
        if self._stop is not None:
            raise self._stop
        if self.deadline is not None and time.monotonic() >= self.deadline:
            msg = f'no answer within {self.deadline - self.arrived:.2f} s; raise timeout'
            raise RequestTimeoutError(msg)


class Scheduler:
    """Runs so many jobs at once, the most urgent first.

    A job ends once: by the thread that ran it, or by whoever takes it out of the queue or stops
    it. The end of one that is stopped does not wait for the model, which may be busy with others;
    its thread is free as soon as its work has noticed.
    """

    def __init__(self, capacity: int, runners: int) -> None:
        """Let ``capacity`` jobs wait while ``runners`` run."""
        self._capacity, self._runners = capacity, runners
        self._waiting: list[Job] = []  # as they came
        self._running: list[Job] = []  # as they were started
        self._turn = itertools.count()
        self._served: OrderedDict[str, int] = OrderedDict()  # the latest turn of each caller
        self._durations: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=_KNOWN_DURATIONS)
        )
        self._lock = threading.Lock()
        self._came = threading.Condition(self._lock)  # for the threads that run jobs
        self._changed = threading.Condition(self._lock)  # for the one that keeps deadlines
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
        """End what waits and runs with PREEMPTED and wait until the model is free."""
        error = PreemptedError('the node is shutting down or was deactivated; activate it again')
        with self._lock:
            self._accepting = False
            ended, self._waiting = self._waiting, []
            for job in self._running:
                if not job.stopped():
                    job._stop = error
                    ended.append(job)
            self._came.notify_all()
            self._changed.notify_all()
        for job in ended:
            self._end(job, None, error)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def submit(self, job: Job) -> None:
        """Put a job in the queue.

        Where the queue is full, a goal takes the place of a preemptible job that waits; where all
        threads are busy, a preemptible one that runs is stopped for it.

        Raises:
            ModelNotReadyError: the scheduler is not started.
            QueueFullError: as many jobs wait as may.

        """
        displaced = preempted = None
        with self._lock:
            if not self._accepting:
                msg = 'the node is not active; configure and activate it first'
                raise ModelNotReadyError(msg)
            # what a free thread is about to take is not waiting
            if len(self._waiting) >= self._capacity + self._free():
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
            self._came.notify()
            self._changed.notify()
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

    def _free(self) -> int:
        return self._runners - len(self._running)

    def _preempt(self) -> Job | None:
        """Stop a preemptible job if more goals wait than threads are free or about to be."""
        goals = sum(not job.preemptible for job in self._waiting)
        ending = sum(job.stopped() for job in self._running)
        if goals > self._free() + ending:
            for job in reversed(self._running):
                if job.preemptible and not job.stopped():
                    job._stop = PreemptedError('a goal needed the model')
                    return job
        return None

    def _keep_deadlines(self) -> None:
        while True:
            with self._lock:
                now = time.monotonic()
                deadlines = [j.deadline for j in self._waiting if j.deadline is not None]
                nearest = min(deadlines, default=None)
                if nearest is None or nearest > now:
                    if not self._accepting:
                        return
                    self._changed.wait(None if nearest is None else nearest - now)
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
                    self._came.wait()
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
                    continue  # whatever it came to, it has ended
                if error is None:
                    self._durations[job.kind].append(time.monotonic() - job.started)
            self._end(job, result, error)

    def _take(self) -> Job:
        """Choose the job that runs next; the lock is held.

        Of equal priority, the caller that was served longest ago is next with its oldest job.
        """
        job = min(
            self._waiting,
            key=lambda job: (job.preemptible, -job.priority, self._served.get(job.caller, -1)),
        )
        self._waiting.remove(job)
        self._running.append(job)
        self._served[job.caller] = next(self._turn)
        self._served.move_to_end(job.caller)
        if len(self._served) > _KNOWN_CALLERS:
            self._served.popitem(last=False)
        job.started = time.monotonic()
        return job

    def _too_late(self, job: Job) -> MimoError | None:
        """Refuse a job with less time left than the quickest of its kind took."""
        known = self._durations[job.kind]
        if job.deadline is None or len(known) < _TRUSTED_DURATIONS:
            return None
        left, needed = job.deadline - job.started, min(known)
        if left >= needed:
            return None
        known.popleft()  # so that it is tried again if such jobs have become quicker
        msg = (
            f'{max(0.0, left):.2f} s were left when the model was free and the quickest of the '
            f'last such requests took {needed:.2f} s; raise timeout or ask less often'
        )
        return RequestTimeoutError(msg)

    @staticmethod
    def _do(job: Job) -> tuple[Any, MimoError | None]:
        try:
            return job.work(job), None
        except MimoError as error:
            return None, error
        except Exception as error:  # a fault of ours must not stop the robot's other requests
            _logger.exception('a request failed')
            return None, BackendError(f'{type(error).__name__}: {error}; see the log')

    @staticmethod
    def _end(job: Job, result: Any, error: MimoError | None) -> None:
        try:
            job.finish(result, error)
        except Exception:  # the model must stay free for others
            _logger.exception('a result could not be handed over')
