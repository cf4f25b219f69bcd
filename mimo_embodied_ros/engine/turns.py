"""Whose turn it is among callers that wait: round robin, which invented names do not beat."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_REMEMBERED = 1000  # callers


class Turns:
    """A place in the rotation for each caller; the lowest goes next. For use under a lock.

    A caller that begins to wait goes behind those that wait already, but before the one that was
    served last; who is served goes to the end. So a caller that waits is passed at most once by
    each other one, and only by those that wait with it when the next job is served: by fewer than
    can wait at all.

    Names are free to choose. Callers that were not served before therefore share one place, in the
    order of their arrival: who takes a new name for each job gets what one caller gets. Who keeps
    many names has a place for each; then the bound above still holds. The 1000 callers that were
    served last are known; others are newcomers again.
    """

    def __init__(self) -> None:
        """Begin without callers."""
        self._served = 0  # jobs
        # numbered so that newcomers go before the caller that was one of them until now
        self._places: OrderedDict[str, int] = OrderedDict()
        self._newcomers = 0

    def place(self, caller: str) -> int:
        """Return the place of a caller that waits; the lowest goes next, of equals the oldest."""
        return self._places.get(caller, self._newcomers)

    def begin(self, caller: str, waiting: AbstractSet[str]) -> None:
        """Let a caller wait beside others; no effect if it, or another newcomer, waits already."""
        place = max(self.place(caller), 2 * self._served - 1)
        if caller in self._places:
            if caller not in waiting:
                self._places[caller] = place
        elif waiting <= self._places.keys():
            self._newcomers = place

    def serve(self, caller: str) -> None:
        """Move a caller to the end, since one of its jobs is served."""
        self._served += 1
        if caller not in self._places:
            self._newcomers = 2 * self._served
        self._places[caller] = 2 * self._served + 1
        self._places.move_to_end(caller)
        if len(self._places) > _REMEMBERED:
            self._places.popitem(last=False)
