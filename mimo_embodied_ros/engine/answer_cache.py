"""A cache of answers, shared by requests with the same question about the same frame."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from .answering import State

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from mimo_embodied_ros.core.query import Query

    from .answering import OnState
    from .job import Job
    from .scheduler import Scheduler

_CHECK_S = 0.01  # how often a waiting request checks whether it is to go on
T = TypeVar('T')


def query_key(query: Query) -> Hashable:
    """Return a key that is equal for queries with the same prompt and the same parsing.

    Images are compared by their ``image_id`` and not by their pixels; the deadline is left out.
    """
    uses_odometry = query.task.uses('speed') or query.task.uses('path')
    frames: tuple[Hashable, ...] = ()
    for frame in query.frames:
        frames += ((frame.image_id, frame.camera, frame.stamp_ns, frame.frame_id,
                    frame.odometry if uses_odometry else None),)
    return replace(
        query, frames=(), deadline=None, thinking=query.thinks,
        thinking_tokens=query.thinking_tokens if query.thinks else 0), frames


@dataclass(eq=False)
class _Asker:
    """A job that asks for an answer; ``error`` is what its ``on_progress`` raised."""

    job: Job
    on_progress: OnState
    error: Exception | None = None

    def tell(self, state: State, text: str, tokens: int) -> None:
        try:
            if self.error is None:
                self.on_progress(state, text, tokens)
        except Exception as error:  # noqa: BLE001 its own; the others still want the answer
            self.error = error

    def check(self) -> None:
        if self.error is not None:
            raise self.error
        self.job.check()


@dataclass(frozen=True)
class _Outcome(Generic[T]):
    """An answer, with the states and the text that were told while it was computed."""

    answer: T
    told: list[tuple[State, str, int]]


class Computation(Generic[T]):
    """An answer while it is computed by one job, for all jobs that ask for it.

    It goes on as long as one of them wants it, until the latest of their deadlines.

    Attributes:
        first: the job that computes.
        told: states with their text and the number of tokens, in their order.
        over: whether it has ended.
        outcome: the answer; None where there is none.

    """

    def __init__(self, job: Job, on_progress: OnState) -> None:
        """Begin with the job that computes."""
        self.first = job
        self.told: list[tuple[State, str, int]] = []
        self.over = False
        self.outcome: _Outcome[T] | None = None
        self._askers: tuple[_Asker, ...] = ()
        self._telling = threading.Lock()
        self._leader = self.join(job, on_progress)

    def join(self, job: Job, on_progress: OnState) -> _Asker:
        """Add a job; it is told at once what has been written so far."""
        asker = _Asker(job, on_progress)
        with self._telling:
            for piece in self.told:
                asker.tell(*piece)
            self._askers += (asker,)
        return asker

    def leave(self, asker: _Asker) -> None:
        """Remove a job that waits no more."""
        with self._telling:
            self._askers = tuple(other for other in self._askers if other is not asker)

    def progress(self, state: State, text: str, tokens: int) -> None:
        """Tell all jobs a state, new text and the number of tokens so far."""
        with self._telling:
            if state is State.PREPROCESSING:  # of a second attempt
                self.told.clear()
            if self.told and self.told[-1][0] is state:
                text_before = self.told.pop()[1]
                self.told.append((state, text_before + text, tokens))
            else:
                self.told.append((state, text, tokens))
            for asker in self._askers:
                asker.tell(state, text, tokens)

    def cancelled(self) -> bool:
        """Whether no job wants the answer any more; it does not block."""
        return all(asker.error or asker.job.stopped() for asker in self._askers)

    def deadline(self) -> float | None:
        """``time.monotonic()`` seconds after which no job wants it; None: there is no limit."""
        latest = 0.0
        for asker in self._askers:
            if asker.job.deadline is None:
                return None
            latest = max(latest, asker.job.deadline)
        return latest

    def check(self) -> None:
        """Raise what telling the job that computes has raised."""
        if self._leader.error is not None:
            raise self._leader.error


class AnswerCache(Generic[T]):
    """Keeps the latest answers, and lets only one of several equal requests compute.

    The others join it: they take no runner of the scheduler while they wait, and each keeps its
    own deadline, priority, cancel and feedback. The methods may be called from any thread.
    """

    def __init__(self, scheduler: Scheduler, capacity: int = 64) -> None:
        """Keep at most ``capacity`` answers for the jobs of a scheduler."""
        self._scheduler, self._capacity = scheduler, capacity
        self._answers: OrderedDict[Hashable, _Outcome[T]] = OrderedDict()
        self._computing: dict[Hashable, Computation[T]] = {}
        self._changed = threading.Condition()

    def get_or_compute(
        self, job: Job, key: Hashable, compute: Callable[[Computation[T]], T],
        on_progress: OnState,
    ) -> tuple[T, bool]:
        """Return the answer of a key, from the cache, by computing it or from another job.

        If the job that computes fails, one of those that joined it computes instead.

        Args:
            job: runs in this thread.
            key: equal for equal answers.
            compute: computes the answer, with ``progress``, ``cancelled`` and ``deadline`` of the
                computation; its exceptions are raised from here.
            on_progress: gets the state and the text, also where another job computes.

        Returns:
            The answer, and whether it was computed by another call.

        Raises:
            MimoError: the job was stopped, or its deadline has passed.

        """
        while True:
            job.check()
            with self._changed:
                known, computation = self._answers.get(key), self._computing.get(key)
                if known is not None:
                    self._answers.move_to_end(key)
                elif computation is None:
                    leading = self._computing[key] = Computation(job, on_progress)
            if known is not None:
                for piece in known.told:
                    on_progress(*piece)
                return known.answer, True
            if computation is None:
                return self._compute(key, leading, compute), False
            outcome = self._wait(computation, job, on_progress)
            if outcome is not None:
                return outcome.answer, True
            on_progress(State.PREPROCESSING, '', 0)  # what was written so far does not count

    def _compute(
        self, key: Hashable, computation: Computation[T], compute: Callable[[Computation[T]], T]
    ) -> T:
        try:
            self._scheduler.resume(computation.first)
            answer = compute(computation)
            computation.outcome = _Outcome(answer, computation.told)
        finally:
            with self._changed:
                del self._computing[key]
                if computation.outcome is not None:
                    self._answers[key] = computation.outcome
                    if len(self._answers) > self._capacity:
                        self._answers.popitem(last=False)
                computation.over = True
                self._changed.notify_all()
            computation.check()
        return answer

    def _wait(
        self, computation: Computation[T], job: Job, on_progress: OnState
    ) -> _Outcome[T] | None:
        asker = computation.join(job, on_progress)
        try:
            with self._scheduler.joined(job, computation.first), self._changed:
                while not computation.over:
                    asker.check()
                    self._changed.wait(_CHECK_S)
            if asker.error is not None:
                raise asker.error
        finally:
            computation.leave(asker)
        return computation.outcome
