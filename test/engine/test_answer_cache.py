"""Equal questions are answered once."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mimo_embodied_ros.core.errors import (
    BackendError,
    CancelledError,
    MimoError,
    RequestTimeoutError,
)
from mimo_embodied_ros.core.frames import Frame, Odometry
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.engine.answer_cache import AnswerCache, query_key
from mimo_embodied_ros.engine.answering import State
from mimo_embodied_ros.engine.job import Job
from mimo_embodied_ros.engine.scheduler import Scheduler
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMITS = PixelLimits(3136, 100_000)


class Asking(Job):
    """A job that asks for the answer of a key; ``told`` is what it hears meanwhile."""

    def __init__(self, cache: AnswerCache[Any], key: str, compute: Any, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[tuple[State, str, int]] = []
        self.over = threading.Event()
        self._ask = lambda: cache.get_or_compute(self, key, compute, self.on_progress)

    def on_progress(self, state: State, text: str, tokens: int) -> None:
        self.told.append((state, text, tokens))

    def run(self) -> Any:
        return self._ask()

    def finish(self, result: Any, error: MimoError | None) -> None:
        self.outcome = result if error is None else type(error)
        self.over.set()

    @property
    def end(self) -> Any:
        """The answer and whether it was shared, or the type of the error."""
        assert self.over.wait(WAIT_S)
        return self.outcome

    @property
    def text(self) -> str:
        return ''.join(text for _, text, _ in self.told)


class Model:
    """Writes ``answer`` letter by letter, each when it is let; ends as an engine does."""

    def __init__(self) -> None:
        self.letters = threading.Semaphore(0)
        self.error: MimoError | None = None
        self.calls, self.written = 0, 0

    def __call__(self, computation: Any) -> str:
        self.calls += 1
        for number, letter in enumerate('answer'):
            while not self.letters.acquire(timeout=0.001):
                deadline = computation.deadline()
                if computation.cancelled():
                    raise CancelledError('not wanted')
                if deadline is not None and time.monotonic() >= deadline:
                    raise RequestTimeoutError('too slow')
                if self.error is not None:
                    error, self.error = self.error, None
                    raise error
            computation.progress(State.ANSWERING, letter, number + 1)
            self.written += 1
        return 'answer'

    def write(self, letters: int = 6) -> None:
        """Let it write so many letters, and wait until they are written."""
        before = self.written
        self.letters.release(letters)
        wait_for(lambda: self.written == before + letters)


class Desk:
    """A scheduler with two runners, a cache and a model."""

    def __init__(self, runners: int = 2) -> None:
        self.scheduler = Scheduler(8, runners)
        self.cache: AnswerCache[Any] = AnswerCache(self.scheduler, capacity=2)
        self.model = Model()

    def ask(self, key: str = 'key', compute: Any = None, **options: Any) -> Asking:
        job = Asking(self.cache, key, compute or self.model, **options)
        self.scheduler.submit(job)
        return job

    def begin(self, followers: int = 1, **options: Any) -> list[Asking]:
        """A job that computes, and others that have joined it."""
        jobs = [self.ask(**options)]
        wait_for(lambda: self.model.calls)
        jobs += [self.ask() for _ in range(followers)]
        wait_for(lambda: len(self.scheduler._joined) == followers)
        return jobs


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    desk.scheduler.start()
    yield desk
    desk.scheduler.stop()


def test_callers_that_ask_meanwhile_get_the_same_answer_and_all_of_its_text(desk: Desk) -> None:
    first, *early = desk.begin(3)
    desk.model.write(2)
    late = desk.ask()
    wait_for(lambda: late.told)
    assert late.told == [(State.ANSWERING, 'an', 2)]
    assert desk.ask('another key', lambda _: 'other').end == ('other', False)  # a runner is free
    desk.model.write(4)
    assert first.end == ('answer', False)
    assert [job.end for job in (*early, late)] == [('answer', True)] * 4
    assert desk.model.calls == 1
    afterwards = desk.ask()
    assert afterwards.end == ('answer', True)
    assert {job.text for job in (first, *early, late, afterwards)} == {'answer'}
    assert early[0].told == first.told


def test_a_request_of_priority_does_not_wait_for_equal_ones(desk: Desk) -> None:
    jobs = desk.begin(5)
    assert desk.ask('another', lambda _: 'quick', priority=9).end == ('quick', False)
    desk.model.write()
    assert [job.end for job in jobs] == [('answer', False)] + [('answer', True)] * 5


@pytest.mark.parametrize('ends', ['cancel', 'deadline'])
def test_the_answer_goes_on_for_the_others_when_the_first_has_ended(
    desk: Desk, ends: str
) -> None:
    first, second, third = desk.begin(2)
    desk.model.write(2)
    if ends == 'cancel':
        assert desk.scheduler.cancel(first)
    else:
        first.deadline = time.monotonic()
        assert desk.ask('another', lambda _: 'other').end == ('other', False)
    assert first.end is (CancelledError if ends == 'cancel' else RequestTimeoutError)
    desk.scheduler.cancel(third)
    assert third.end is CancelledError
    desk.model.write(4)
    assert second.end == ('answer', True)
    assert (second.text, desk.model.calls) == ('answer', 1)


def test_an_answer_that_nobody_wants_any_more_ends(desk: Desk) -> None:
    jobs = desk.begin(2)
    for job in jobs:
        desk.scheduler.cancel(job)
    wait_for(lambda: not desk.scheduler.running)
    assert (desk.model.written, len(desk.scheduler)) == (0, 0)


def test_a_request_that_joined_keeps_its_own_deadline(desk: Desk) -> None:
    (first,) = desk.begin(0)
    assert desk.ask(deadline=time.monotonic() + 0.05).end is RequestTimeoutError
    desk.model.write()
    assert first.end == ('answer', False)


def test_the_next_caller_computes_where_the_first_failed(desk: Desk) -> None:
    first, second = desk.begin()
    desk.model.write(2)
    desk.model.error = BackendError('out of order')
    assert first.end is BackendError
    desk.model.write()
    assert second.end == ('answer', False)
    begins_again = second.told.index((State.PREPROCESSING, '', 0))
    assert ''.join(text for _, text, _ in second.told[begins_again:]) == 'answer'


def test_who_cannot_be_told_fails_alone(desk: Desk) -> None:
    def fail(*_: Any) -> None:
        raise BackendError('the client is gone')

    first, second = desk.begin()
    gone = Asking(desk.cache, 'key', desk.model)
    gone.on_progress = fail  # type: ignore[method-assign]
    desk.scheduler.submit(gone)
    wait_for(lambda: len(desk.scheduler._joined) == 2)
    desk.model.write()
    assert (first.end, second.end) == (('answer', False), ('answer', True))
    assert gone.end is BackendError


def test_the_answer_of_a_job_that_cannot_be_told_ends(desk: Desk) -> None:
    def fail(*_: Any) -> None:
        raise BackendError('the client is gone')

    job = Asking(desk.cache, 'key', desk.model)
    job.on_progress = fail  # type: ignore[method-assign]
    desk.scheduler.submit(job)
    desk.model.letters.release(1)
    assert job.end is BackendError


def test_the_answer_used_longest_ago_is_forgotten(desk: Desk) -> None:
    ends = [desk.ask(key, lambda _: 'done').end[1] for key in 'abacab']
    assert ends == [False, False, True, False, True, False]


def test_a_kept_answer_holds_no_job(desk: Desk) -> None:
    """A job holds the images of its request."""
    desk.model.letters.release(6)
    job = desk.ask()
    assert job.end == ('answer', False)
    gone = weakref.ref(job)
    del job
    assert wait_for(lambda: gc.collect() and gone() is None)
    assert len(desk.cache._answers) == 1


PIXELS = np.zeros((100, 100, 3), np.uint8)
FRAME = Frame(PIXELS, 10, 'optical', 'front')
QUERY = Query(Task.POINTS, 'the cup', (FRAME,))
MOVING = Odometry(10, 'odom', 'base', (0, 0, 0), (0, 0, 0, 1), (1, 0, 0), (0, 0, 0))


@pytest.mark.parametrize('other', [
    replace(QUERY, deadline=3.0),
    replace(QUERY, thinking=False),
    replace(QUERY, thinking_tokens=5),  # it does not think
    replace(QUERY, frames=(replace(FRAME, depth=np.ones((2, 2), np.float32)),)),
    replace(QUERY, frames=(replace(FRAME, odometry=MOVING),)),
])
def test_queries_that_are_the_same(other: Query) -> None:
    assert query_key(other) == query_key(QUERY)
    assert hash(query_key(other)) == hash(query_key(QUERY))


@pytest.mark.parametrize('other', [
    replace(QUERY, text='the bowl'),
    replace(QUERY, task=Task.BOXES),
    replace(QUERY, thinking=True),
    replace(QUERY, system='Be kind.'),
    replace(QUERY, max_new_tokens=5),
    replace(QUERY, odometry=(MOVING,)),
    replace(QUERY, options=('a',)),
    replace(QUERY, frames=(FRAME, FRAME)),
    replace(QUERY, frames=(Frame(PIXELS, 10, 'optical', 'front'),)),
    replace(QUERY, frames=(replace(FRAME, stamp_ns=11),)),
])
def test_queries_that_are_not(other: Query) -> None:
    assert query_key(other) != query_key(QUERY)


def test_the_longest_reasoning_counts_where_there_is_one() -> None:
    thinking = replace(QUERY, thinking=True)
    assert query_key(thinking) != query_key(replace(thinking, thinking_tokens=5))


def test_the_odometry_of_a_frame_counts_where_the_prompt_tells_of_it() -> None:
    still = Query(TASKS['drive'], '', (FRAME,), experimental=True)
    assert query_key(still) != query_key(replace(still, frames=(replace(FRAME, odometry=MOVING),)))


def test_a_frame_is_resized_once_for_all_requests() -> None:
    frame = Frame(np.zeros((480, 640, 3), np.uint8))
    with ThreadPoolExecutor(8) as threads:
        prompts = list(threads.map(
            lambda n: build_prompt(Query(Task.ASK, f'question {n}', (frame,)), LIMITS), range(16)))
    assert len({id(prompt.images[0]) for prompt in prompts}) == 1
    lifted = replace(frame, depth=np.ones((2, 2), np.float32))
    assert lifted.resized(LIMITS)[0] is prompts[0].images[0]
    assert frame.resized(PixelLimits(3136, 50_000))[0].size < prompts[0].images[0].size
