"""A bounded queue of jobs with priorities, turns and deadlines, and the threads that run them."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from contextlib import contextmanager
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

from .turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .job import Job

# Durations of each workload: how many are remembered, and how many are needed to refuse a job by.
_REMEMBERED_DURATIONS, _TRUSTED_DURATIONS = 32, 8

DEACTIVATED = 'the node is shutting down or was deactivated; activate it again'
"""Why what runs or waits ends when the node does."""
_logger = logging.getLogger(__name__)


class Scheduler:
    """Runs several jobs at once, the most urgent first.

    Among jobs of equal priority, callers take turns (see ``Turns``), each with its oldest job.

    A job ends once: in the thread that ran it, or in the thread that takes it out of the queue or
    stops it. A stopped job ends at once, although the model may still be busy with it; its runner
    is free as soon as its work has noticed.

    A job that only waits for another one's answer (``joined``) takes no runner. It counts as
    waiting, and the other one is as urgent as the most urgent job that waits for it.
    """

    def __init__(self, capacity: int, runners: int) -> None:
        """Let at most ``capacity`` jobs wait while at most ``runners`` jobs run."""
        self._capacity, self._runners = capacity, runners
        self._waiting: list[Job] = []  # in the order of their arrival
        self._running: list[Job] = []  # in the order of their start
        # begun, but without a runner: for whose answer each waits
        self._joined: dict[Job, Job | None] = {}
        self._turns = Turns()
        self._durations: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=_REMEMBERED_DURATIONS)
        )
        self._lock = threading.Lock()
        self._arrival = threading.Condition(self._lock)  # wakes the threads that run jobs
        self._change = threading.Condition(self._lock)  # wakes the thread that keeps deadlines
        self._resumed = threading.Condition(self._lock)  # wakes jobs that wait for a runner again
        self._accepting = False
        self._threads: list[threading.Thread] = []  # one for each runner and each job without one
        self._keeper = threading.Thread()

    def __len__(self) -> int:
        """How many jobs wait."""
        with self._lock:
            return len({*self._waiting, *self._joined})

    @property
    def running(self) -> int:
        """How many jobs run."""
        return len(self._running)

    def start(self) -> None:
        """Accept and run jobs."""
        self._accepting = True
        for _ in range(self._runners):
            self._add_thread()
        self._keeper = threading.Thread(
            target=self._keep_deadlines, name='deadlines', daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """End all jobs with PREEMPTED, and wait until the threads that ran them are free."""
        error = PreemptedError(DEACTIVATED)
        with self._lock:
            self._accepting = False
            ended = [job for job in dict.fromkeys((*self._waiting, *self._running, *self._joined))
                     if not job.stopped()]
            for job in ended:
                job._stop = error
            self._waiting = []
            threads = [self._keeper, *self._threads]
            for condition in (self._arrival, self._change, self._resumed):
                condition.notify_all()
        for job in ended:
            self._end(job, None, error)
        for thread in threads:
            thread.join()

    def submit(self, job: Job) -> None:
        """Put a job in the queue.

        Where the queue is full, a job takes the place of a preemptible job that waits; where all
        runners are busy, a preemptible job that runs is stopped for it.

        Raises:
            ModelNotReadyError: the scheduler is not started.
            QueueFullError: ``capacity`` jobs wait already.

        """
        ended: list[Job] = []
        with self._lock:
            if not self._accepting:
                msg = 'the node is not active; configure and activate it first'
                raise ModelNotReadyError(msg)
            # jobs that a free thread is about to take do not count as waiting
            queued = len({*self._waiting, *self._joined})
            if queued >= self._capacity + self._runners - len(self._running):
                displaced = None
                if not job.preemptible:
                    displaced = next((w for w in reversed(self._waiting) if w.preemptible), None)
                if displaced is None:
                    msg = (
                        f'{self._capacity} requests are waiting already; ask again later or raise '
                        'the parameter max_queue'
                    )
                    raise QueueFullError(msg)
                self._waiting.remove(displaced)
                displaced._stop = PreemptedError('a goal needed the place in the queue')
                ended.append(displaced)
            self._turns.begin(job.caller, {w.caller for w in self._waiting})
            self._waiting.append(job)
            if not job.preemptible:
                ended += self._preempt()
            self._arrival.notify()
            self._change.notify()
            self._resumed.notify_all()
        for other in ended:
            self._end(other, None, other._stop)

    def cancel(self, job: Job) -> bool:
        """End a job with CANCELLED, unless it has ended.

        Returns:
            Whether this call ended it.

        """
        error = CancelledError('the caller cancelled the request')
        with self._lock:
            if job.stopped() or not (
                    job in self._waiting or job in self._running or job in self._joined):
                return False
            if job in self._waiting:
                self._waiting.remove(job)
            job._stop = error
            self._resumed.notify_all()
        self._end(job, None, error)
        return True

    @contextmanager
    def joined(self, job: Job, other: Job) -> Iterator[None]:
        """Let a job that runs wait for another one's answer; it gives its runner back.

        It goes on without one, until ``resume``.
        """
        with self._lock:
            if job in self._running:
                self._running.remove(job)
                if self._accepting:
                    self._add_thread()
            self._joined[job] = other
            job.alone = False
            self._arrival.notify()
            self._change.notify()
        try:
            yield
        finally:
            with self._lock:
                self._joined[job] = None

    def resume(self, job: Job) -> None:
        """Wait for a runner, in the job's thread, if the job gave its own back.

        It waits before other jobs of the same priority, because it has had its turn.

        Raises:
            MimoError: the job was stopped, or its deadline has passed.

        """
        with self._lock:
            if job not in self._joined:
                return
            job.check()
            self._waiting.append(job)
            self._arrival.notify()
            self._change.notify()
            while job in self._waiting:
                self._resumed.wait()
        job.check()

    def _add_thread(self) -> None:
        thread = threading.Thread(
            target=self._run, name=f'runner {len(self._threads)}', daemon=True)
        self._threads.append(thread)
        thread.start()

    def _asking(self, job: Job) -> list[Job]:
        """Of a job and those that wait for its answer, the ones that have not been stopped."""
        if not self._joined:
            return [] if job.stopped() else [job]
        asking = [job]
        for each in asking:  # grows meanwhile
            asking += [j for j, other in self._joined.items() if other is each]
        return [j for j in asking if not j.stopped()]

    def _preempt(self) -> list[Job]:
        """Stop a preemptible job if more goals wait than runners are free or about to be."""
        busy, preempted = 0, []
        for job in self._running:
            asking = self._asking(job)
            busy += bool(asking)
            if asking and all(j.preemptible for j in asking):
                preempted = asking
        for job in self._waiting:
            busy += not job.preemptible
        if busy <= self._runners:
            return []
        for job in preempted:
            job._stop = PreemptedError('a goal needed the model')
        return preempted

    def _urgency(self, job: Job) -> tuple[bool, int, int]:
        """Sort key: the smallest goes first."""
        asking = self._asking(job)
        return (all(j.preemptible for j in asking), -max(j.priority for j in asking),
                -1 if job in self._joined else self._turns.place(job.caller))

    def _keep_deadlines(self) -> None:
        """End jobs whose deadline passes while nobody else looks at it.

        These are the ones that wait, and those whose work goes on for others.
        """
        while True:
            with self._lock:
                now = time.monotonic()
                leading = (j for j in self._joined.values() if j is not None and not j.stopped())
                kept = [j for j in dict.fromkeys((*self._waiting, *leading))
                        if j.deadline is not None]
                nearest = min((j.deadline for j in kept if j.deadline is not None), default=None)
                if nearest is None or nearest > now:
                    if not self._accepting:
                        return
                    self._change.wait(None if nearest is None else nearest - now)
                    continue
                late = [j for j in kept if j.deadline is not None and j.deadline <= now]
                self._waiting = [job for job in self._waiting if job not in late]
                for job in late:
                    job._stop = job.lateness()
                self._resumed.notify_all()
            for job in late:
                self._end(job, None, job._stop)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._serve(job)
            del job  # it holds the images of its request

    def _serve(self, job: Job) -> None:
        """Run a job, and end it."""
        with self._lock:
            error = self._too_late(job)
        result = None
        if error is None:
            result, error = self._do(job)
        with self._lock:
            if job in self._joined:
                del self._joined[job]
            else:
                self._running.remove(job)
            if job.stopped():
                return  # whoever stopped it has ended it already
            if error is None and job.alone:
                self._durations[job.workload].append(time.monotonic() - job.started)
        self._end(job, result, error)

    def _next(self) -> Job | None:
        """Wait for a job to run; None when there are enough threads without this one."""
        with self._lock:
            while self._accepting and len(self._threads) <= self._runners + len(self._joined):
                if not self._waiting or len(self._running) >= self._runners:
                    self._arrival.wait()
                elif (job := self._take()) is not None:
                    return job
            self._threads.remove(threading.current_thread())
            self._arrival.notify()  # what this thread was woken for is left to another one
            return None

    def _take(self) -> Job | None:
        """Give a runner to the job that is next; None if that goes on in its own thread."""
        job = min(self._waiting, key=self._urgency)
        self._waiting.remove(job)
        self._running.append(job)
        if job in self._joined:
            del self._joined[job]
            self._resumed.notify_all()
            return None
        self._turns.serve(job.caller)
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
