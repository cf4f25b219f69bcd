"""Equal questions are answered once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mimo_embodied_ros.core.errors import BackendError, CancelledError
from mimo_embodied_ros.core.frames import Frame, Odometry
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.engine.answer_cache import AnswerCache, query_key
from support.waiting import WAIT_S

LIMITS = PixelLimits(3136, 100_000)


def wanted() -> None:
    """The check of a caller that waits as long as it takes."""


class Leader:
    """Computes an answer once ``go`` is set; sets ``began`` before."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        self.began.set()
        assert self.go.wait(WAIT_S)
        if self.error is not None:
            raise self.error
        return 'answer'


@pytest.fixture
def shared() -> AnswerCache[Any]:
    return AnswerCache(capacity=2)


def test_callers_that_ask_meanwhile_get_the_same_answer(shared: AnswerCache[Any]) -> None:
    leader, waiting = Leader(), set()
    all_wait = threading.Event()

    def check() -> None:
        waiting.add(threading.get_ident())
        if len(waiting) == 3:
            all_wait.set()

    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(shared.get_or_compute, 'key', leader, wanted)
        leader.began.wait(WAIT_S)
        others = [threads.submit(shared.get_or_compute, 'key', leader, check) for _ in range(3)]
        assert all_wait.wait(WAIT_S)
        other = shared.get_or_compute('another key', lambda: 'other', wanted)
        leader.go.set()
        assert first.result() == ('answer', False)
        assert [future.result() for future in others] == [('answer', True)] * 3
    assert other == ('other', False)
    assert leader.calls == 1
    assert shared.get_or_compute('key', leader, wanted) == ('answer', True)


def test_the_next_caller_computes_where_the_first_failed(shared: AnswerCache[Any]) -> None:
    leader, waits = Leader(), threading.Event()
    leader.error = BackendError('out of order')
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.get_or_compute, 'key', leader, wanted)
        leader.began.wait(WAIT_S)
        second = threads.submit(shared.get_or_compute, 'key', lambda: 'better', waits.set)
        assert waits.wait(WAIT_S)
        leader.go.set()
        with pytest.raises(BackendError):
            first.result()
        assert second.result() == ('better', False)


def test_a_caller_that_waits_can_be_stopped(shared: AnswerCache[Any]) -> None:
    leader = Leader()

    def check() -> None:
        raise CancelledError('not wanted any more')

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(shared.get_or_compute, 'key', leader, wanted)
        leader.began.wait(WAIT_S)
        with pytest.raises(CancelledError):
            shared.get_or_compute('key', leader, check)
        leader.go.set()
        assert first.result() == ('answer', False)


def test_the_answer_used_longest_ago_is_forgotten(shared: AnswerCache[Any]) -> None:
    def once(key: str) -> bool:
        return shared.get_or_compute(key, lambda: key, wanted)[1]

    assert [once(key) for key in 'abacab'] == [False, False, True, False, True, False]


PIXELS = np.zeros((100, 100, 3), np.uint8)
FRAME = Frame(PIXELS, 10, 'optical', 'front')
QUERY = Query(Task.POINTS, 'the cup', (FRAME,))
MOVING = Odometry(10, 'odom', 'base', (0, 0, 0), (0, 0, 0, 1), (1, 0, 0), (0, 0, 0))


@pytest.mark.parametrize('other', [
    replace(QUERY, deadline=3.0),
    replace(QUERY, thinking=False),
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
    replace(QUERY, max_new_tokens=5),
    replace(QUERY, odometry=(MOVING,)),
    replace(QUERY, options=('a',)),
    replace(QUERY, frames=(FRAME, FRAME)),
    replace(QUERY, frames=(Frame(PIXELS, 10, 'optical', 'front'),)),
    replace(QUERY, frames=(replace(FRAME, stamp_ns=11),)),
])
def test_queries_that_are_not(other: Query) -> None:
    assert query_key(other) != query_key(QUERY)


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
