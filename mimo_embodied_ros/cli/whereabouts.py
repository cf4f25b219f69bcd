"""Where a thing is on the floor, as a client of the node hears it: tracked, or asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.msg import AffordancePoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.msg import TrackedAffordances

    Floats = NDArray[np.float64]

STATES = 'tracked', 'occluded', 'lost', 'asked for again'
"""The states of msg/TrackedPoint in words."""
_NO_ANSWER, _NOT_FOUND = 'the model has not answered', 'the model does not find it'


class Whereabouts(Protocol):
    """Says where a thing is; asked in any thread."""

    def where(self) -> Floats | None:
        """Return (2,) metres; None: it is not known now."""
        ...

    def words(self) -> str:
        """Say what is known."""
        ...

    def close(self) -> None:
        """Ask no more."""
        ...


class Tracked:
    """Where a thing is in the newest image, by TrackAffordances.

    The model is asked again and again, as with `Asked`; a new answer takes over, unless it has no
    position in the newest image and the last one does.
    """

    def __init__(self, mimo: MimoClient, query: str, frame: str) -> None:
        """Begin to ask.

        Args:
            mimo: client of the node.
            query: the thing.
            frame: of the positions.

        """
        self._begin = lambda: mimo.track(query, target_frame=frame)
        self._goal = self._next = self._begin()

    @property
    def newest(self) -> TrackedAffordances | None:
        """The points in the newest image; None: there is no answer yet."""
        return _newest(self._goal)

    def where(self) -> Floats | None:
        """Return (2,) metres; None: the point is not seen, or its depth is not known."""
        if self._next.is_done() or _newest(self._next) is not None:
            old, new = self._goal, self._next
            if _place(new) is None and _place(old) is not None:
                old, new = new, old
            if old is not new:
                old.cancel()
            self._goal, self._next = new, self._begin()
        return _place(self._goal)

    def words(self) -> str:
        """Say what is known."""
        newest = self.newest
        if newest is None or not newest.points:
            return _NO_ANSWER if newest is None else _NOT_FOUND
        return f'its point is {STATES[newest.points[0].state]}'

    def close(self) -> None:
        """Ask no more."""
        for goal in self._goal, self._next:
            goal.cancel()


class Asked:
    """Where a thing was in the image of the last answer; FindAffordances is asked all the time."""

    def __init__(self, mimo: MimoClient, query: str, frame: str) -> None:
        """Begin to ask; see `Tracked`."""
        self._begin = lambda: mimo.find(query, target_frame=frame)
        self._goal = self._begin()
        self._at: Floats | None = None
        self._words = _NO_ANSWER

    def where(self) -> Floats | None:
        """Return (2,) metres; None: the last answer gives no position."""
        if self._goal.is_done():
            self._at, self._words = _taken(self._goal)
            self._goal = self._begin()
        return self._at

    def words(self) -> str:
        """Say what is known."""
        return self._words

    def close(self) -> None:
        """Ask no more."""
        self._goal.cancel()


def _taken(goal: Any) -> tuple[Floats | None, str]:
    try:
        points = goal.result().affordances.points
    except MimoError as error:
        return None, str(error)
    return _first(points), 'the model has found it' if points else _NOT_FOUND


def _first(points: list[AffordancePoint]) -> Floats | None:
    if not points or points[0].position_status != AffordancePoint.OK:
        return None
    return np.array([points[0].position.x, points[0].position.y])


def _newest(goal: Any) -> TrackedAffordances | None:
    feedback = goal.feedback()
    return None if feedback is None else feedback.affordances


def _place(goal: Any) -> Floats | None:
    newest = _newest(goal)
    return None if newest is None else _first([tracked.point for tracked in newest.points])
