"""Work on several items at once: how many, in which order, and how it ends before its time."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from mimo_embodied_ros.evaluation.side_by_side import side_by_side
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    Cancelled = Callable[[], bool]


def test_one_at_a_time_is_done_here() -> None:
    threads = [thread for _, thread in side_by_side(
        lambda *_: threading.current_thread(), range(3), 1)]
    assert threads == [threading.current_thread()] * 3


def test_as_many_as_asked_for_are_under_way() -> None:
    """Three meet at a barrier, twice: with fewer at once they would wait for ever."""
    barrier, lock, begun, most = threading.Barrier(3, timeout=WAIT_S), threading.Lock(), [0], [0]

    def work(item: int, _: Cancelled) -> int:
        with lock:
            begun[0] += 1
            most[0] = max(most[0], begun[0])
        barrier.wait()
        with lock:
            begun[0] -= 1
        return item * item

    assert dict(side_by_side(work, range(5, 11), 3)) == {
        index: (index + 5) ** 2 for index in range(6)}
    assert most == [3]


def waiting(begun: list[int], ended: list[int]) -> Callable[[int, Cancelled], int]:
    """Work that is done at once at item 0, fails at -1, and else waits until it is cancelled."""
    def work(item: int, cancelled: Cancelled) -> int:
        begun.append(item)
        if item > 0:
            wait_for(cancelled)
            ended.append(item)
        elif item < 0:
            wait_for(lambda: 1 in begun)
            msg = 'the model is gone'
            raise ValueError(msg)
        return item

    return work


def test_an_error_ends_all_that_is_under_way() -> None:
    begun, ended = list[int](), list[int]()
    with pytest.raises(ValueError, match='the model is gone'):
        list(side_by_side(waiting(begun, ended), (-1, 1, 2, 3, 4), 2))
    assert sorted(ended) == [item for item in sorted(begun) if item > 0]
    assert len(begun) < 5, 'what had not begun never does'


def test_what_is_not_taken_is_ended() -> None:
    begun, ended = list[int](), list[int]()
    with contextlib.closing(side_by_side(waiting(begun, ended), (0, 1, 2, 3, 4), 2)) as done:
        assert next(done) == (0, 0)
        wait_for(lambda: 1 in begun)
    assert sorted(ended) == sorted(begun)[1:]
    assert len(begun) < 5
