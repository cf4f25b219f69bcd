"""Answers that several requests share, because they ask the same about the same frame."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from mimo_embodied_ros.core.query import Query

_LOOK_S = 0.01  # how often one that waits looks whether it is still wanted
T = TypeVar('T')


def query_key(query: Query) -> Hashable:
    """What makes queries the same: all that reaches the prompt or the reading of the answer.

    Images count by their ``image_id`` and not by their pixels; the deadline does not count.
    """
    moves = query.task.uses('speed') or query.task.uses('path')
    frames: tuple[Hashable, ...] = ()
    for frame in query.frames:
        frames += ((frame.image_id, frame.camera, frame.stamp_ns, frame.frame_id,
                    frame.odometry if moves else None),)
    return replace(query, frames=(), deadline=None, thinking=query.thinks), frames


class AnswerCache(Generic[T]):
    """Remembers the latest answers and lets one of several equal requests compute.

    Exact, because the model decodes greedily. Its methods may be called from any thread.
    """

    def __init__(self, kept: int = 64) -> None:
        """Remember so many answers."""
        self._kept = kept
        self._answers: OrderedDict[Hashable, T] = OrderedDict()
        self._computing: set[Hashable] = set()
        self._changed = threading.Condition()

    def get_or_compute(
        self, key: Hashable, compute: Callable[[], T], check: Callable[[], None]
    ) -> tuple[T, bool]:
        """Return the answer of a key, computed here or by another thread.

        Where the thread that computes fails, one that waits takes its place.

        Args:
            key: equal for equal answers.
            compute: makes the answer; what it raises is raised from here.
            check: called every 10 ms while another thread computes, and must not block; what it
                raises ends the wait.

        Returns:
            The answer, and whether it was computed for another call.

        """
        with self._changed:
            while key not in self._answers and key in self._computing:
                check()
                self._changed.wait(_LOOK_S)
            if key in self._answers:
                self._answers.move_to_end(key)
                return self._answers[key], True
            self._computing.add(key)
        try:
            answer = compute()
            with self._changed:
                self._answers[key] = answer
                if len(self._answers) > self._kept:
                    self._answers.popitem(last=False)
        finally:
            with self._changed:
                self._computing.remove(key)
                self._changed.notify_all()
        return answer, False
