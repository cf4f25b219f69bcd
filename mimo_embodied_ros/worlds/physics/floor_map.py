"""What a base has seen standing on the floor, and ways between it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

CELL = 0.1
"""Metres along a side of a cell."""
_HALF = 7.0  # metres from the middle of the map to its sides
_SIDE = round(2 * _HALF / CELL)
_NEAR_COST, _NEAR = 2.0, 0.35  # a cell at an obstacle costs so much more, falling over metres
_THING = 0.35  # metres around a goal in which the thing itself may be the obstacle
_STEPS = ((0, 1, 1.0), (1, 0, 1.0), (0, -1, 1.0), (-1, 0, 1.0), (1, 1, math.sqrt(2)),
          (1, -1, math.sqrt(2)), (-1, 1, math.sqrt(2)), (-1, -1, math.sqrt(2)))


class FloorMap:
    """A grid around a place; what has not been seen counts as free."""

    def __init__(self, middle: ArrayLike, clearance: float) -> None:
        """Begin with a free floor.

        Args:
            middle: (2,) metres, of the map.
            clearance: least metres between the robot's middle and an obstacle.

        """
        self._origin = np.asarray(middle, float) - _HALF
        self._clearance = clearance
        self._blocked = np.zeros((_SIDE, _SIDE), np.uint8)
        self._room = np.full((_SIDE, _SIDE), np.inf, np.float32)  # metres to the next obstacle

    def add(self, points: Floats) -> None:
        """Add obstacles at (n, 2) metres."""
        cells = self._cells(points)
        inside = ((cells >= 0) & (cells < _SIDE)).all(1)
        self._blocked[tuple(cells[inside].T)] = 1
        self._room = CELL * cv2.distanceTransform(
            1 - self._blocked, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

    def is_free(
        self, start: ArrayLike, goal: ArrayLike, short: float, clearance: float | None = None
    ) -> bool:
        """Say whether a straight way is free, but for its last metres.

        Args:
            start: (2,) metres.
            goal: (2,) metres.
            short: how many metres before the goal the way ends.
            clearance: least metres to an obstacle; None: the robot's.

        """
        start, goal = np.asarray(start, float), np.asarray(goal, float)
        length = float(np.linalg.norm(goal - start))
        along = np.arange(CELL, max(length - short, 0), CELL / 2) / max(length, CELL)
        cells = np.clip(self._cells(start + along[:, None] * (goal - start)), 0, _SIDE - 1)
        least = self._clearance if clearance is None else clearance
        return bool((self._room[tuple(cells.T)] >= least).all())

    def way(self, start: ArrayLike, goal: ArrayLike, distance: float) -> Floats | None:
        """Return a way to a place from which nothing hides the goal; None: there is none.

        Args:
            start: (2,) metres.
            goal: (2,) metres.
            distance: metres between that place and the goal.

        Returns:
            (n, 2) metres from the start to that place.

        """
        start, goal = np.asarray(start, float), np.asarray(goal, float)
        free = self._room >= self._clearance
        begin = self._cells(start[None])[0]
        free[tuple(begin)] = True
        cost = self._costs(free, self._ends(free, goal, distance))
        if not np.isfinite(cost[tuple(begin)]):
            return None
        cell, cells = tuple(begin), [begin]
        while cost[cell] > 0:
            cell = min(((cell[0] + a, cell[1] + b) for a, b, _ in _STEPS
                        if 0 <= cell[0] + a < _SIDE and 0 <= cell[1] + b < _SIDE),
                       key=lambda c: cost[c])
            cells.append(np.array(cell))
        out: Floats = self._origin + (np.array(cells) + 0.5) * CELL
        return out

    def _ends(self, free: NDArray[np.bool_], goal: Floats, distance: float) -> NDArray[np.intp]:
        """The free cells at a distance from the goal that see it."""
        middles = self._origin + (np.indices(free.shape).transpose(1, 2, 0) + 0.5) * CELL
        away = np.linalg.norm(middles - goal, axis=2)
        ring = np.argwhere(free & (np.abs(away - distance) < CELL))
        seeing = [cell for cell in ring
                  if self.is_free(middles[tuple(cell)], goal, _THING, clearance=CELL)]
        return np.array(seeing, np.intp).reshape(-1, 2)

    def _costs(self, free: NDArray[np.bool_], ends: NDArray[np.intp]) -> Floats:
        """The cost of the way from each cell to the nearest end, in cells."""
        weight = 1 + _NEAR_COST * np.clip(
            1 - (self._room - self._clearance) / _NEAR, 0, 1).astype(np.float64)
        cost = np.full((_SIDE + 2, _SIDE + 2), np.inf)
        inner = cost[1:-1, 1:-1]
        inner[tuple(ends.T)] = 0
        while True:
            best: Floats = inner.copy()
            for a, b, length in _STEPS:
                beside = cost[1 + a : 1 + a + _SIDE, 1 + b : 1 + b + _SIDE]
                np.minimum(best, beside + length * weight, out=best)
            best[~free] = np.inf
            if np.array_equal(best, inner):
                return best
            inner[:] = best

    def _cells(self, points: Floats) -> NDArray[np.intp]:
        return np.floor((points - self._origin) / CELL).astype(np.intp)
