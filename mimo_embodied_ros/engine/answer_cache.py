"""A cache of answers, shared by requests with the same question about the same frame."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from mimo_embodied_ros.core.query import Query

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
    return replace(query, frames=(), deadline=None, thinking=query.thinks), frames


class AnswerCache(Generic[T]):
    """Keeps the latest answers, and lets only one of several equal requests compute.

    A cached answer is what the model would write again, because it decodes greedily. The methods
    may be called from any thread.
    """

    def __init__(self, capacity: int = 64) -> None:
        """Keep at most ``capacity`` answers."""
        self._capacity = capacity
        self._answers: OrderedDict[Hashable, T] = OrderedDict()
        self._computing: set[Hashable] = set()
        self._changed = threading.Condition()

    def get_or_compute(
        self, key: Hashable, compute: Callable[[], T], check: Callable[[], None]
    ) -> tuple[T, bool]:
        """Return the answer of a key, from the cache, by computing it or from another thread.

        If the thread that computes fails, one of the waiting threads computes instead.

        Args:
            key: equal for equal answers.
            compute: computes the answer; its exceptions are raised from here.
            check: called every 10 ms while another thread computes; it must not block, and its
                exceptions end the wait.

        Returns:
            The answer, and whether it was computed by another call.

        """
        with self._changed:
            while key not in self._answers and key in self._computing:
                check()
                self._changed.wait(_CHECK_S)
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key], True
            self._computing.add(key)
        try:
            answer = compute()
            with self._changed:
                self._answers[key] = answer
                if len(self._answers) > self._capacity:
                    self._answers.popitem(last=False)
        finally:
            with self._changed:
                self._computing.remove(key)
                self._changed.notify_all()
        return answer, False
