"""Register a depth image of one camera to the view of another camera beside it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .camera_model import CameraModel
    from .extrinsics import Transform

    Depth = NDArray[np.float32]

_BAND = 1 << 16  # pixels that are projected at once: as many as fit into the processor's cache
_REACH = 0.49  # pixels, a little less than half, so that one that fits exactly covers only one
_CHECK_S = 0.02  # how often a request that waits for another's image looks whether it goes on


def register(
    depth: Depth, source: CameraModel, target: CameraModel, size: tuple[int, int],
    transform: Transform, check: Callable[[], None] = lambda: None,
) -> Depth:
    """Return the depth in the view of another camera; in each pixel the nearest point counts.

    Args:
        depth: (rows, columns) metres along the optical axis of ``source``, NaN where unknown.
        source: camera of the depth image.
        target: camera of the image.
        size: (width, height) of the image.
        transform: maps points of the depth's optical frame to the image's.
        check: called every few milliseconds; what it raises ends the work.

    Returns:
        (rows, columns) metres along the optical axis of ``target``, NaN where unknown. It covers
        the whole image at the resolution of the depth.

    """
    width, height = size
    # at the resolution of the depth: a finer result would have gaps that show the background
    scale = min(1.0, source.focal / target.focal)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    low, high = _field_of_view(target, size)
    # A pixel of the depth covers parts of up to two columns and two rows of the result. Each is
    # noted at the first of them, among those that cover as many, and spread below.
    nearest = np.full((2, 2, rows + 1, columns + 1), np.inf, np.float32)
    flat = nearest.reshape(-1)
    metres = depth.reshape(-1)
    turn, shift = transform.rotation, transform.translation
    for begin in range(0, len(metres), _BAND):
        check()
        z = metres[begin:begin + _BAND].astype(float)
        across, down = source.rays_of(begin, begin + _BAND)
        with np.errstate(all='ignore'):
            ahead = turn[2, 0] * across + turn[2, 1] * down + turn[2, 2]
            ahead *= z
            ahead += shift[2]
            u = ((turn[0, 0] * across + turn[0, 1] * down + turn[0, 2]) * z + shift[0]) / ahead
            v = ((turn[1, 0] * across + turn[1, 1] * down + turn[1, 2]) * z + shift[1]) / ahead
            # false where the depth is not known
            visible = ((ahead > 0) & (u >= low[0]) & (u <= high[0])
                       & (v >= low[1]) & (v <= high[1]))
        x, y = target.project(u[visible], v[visible])
        x, y = x * (columns / width), y * (rows / height)
        # one row and column more, before the first, for what begins outside and reaches into it
        left, top = np.floor(x - _REACH) + 1, np.floor(y - _REACH) + 1
        two_columns, two_rows = np.floor(x + _REACH) >= left, np.floor(y + _REACH) >= top
        inside = (left >= 0) & (left <= columns) & (top >= 0) & (top <= rows)
        index = ((2 * two_columns + two_rows) * (rows + 1) + top) * (columns + 1) + left
        np.minimum.at(flat, index[inside].astype(np.intp),
                      ahead[visible][inside].astype(np.float32))
    for across_too, down_too in ((0, 1), (1, 0), (1, 1)):
        # each pixel becomes the nearest of itself and its neighbours before it
        nearest[across_too, down_too] = cv2.erode(
            nearest[across_too, down_too], np.ones((1 + down_too, 1 + across_too), np.uint8),
            anchor=(across_too, down_too), borderType=cv2.BORDER_CONSTANT, borderValue=np.inf)
    registered: Depth = nearest.min((0, 1))[1:, 1:].copy()
    registered[np.isinf(registered)] = np.nan
    return registered


def _field_of_view(
    target: CameraModel, size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the greatest rays of an image's border, (2,) each.

    Lens models are valid within the image only; far outside they map back into it.
    """
    width, height = size
    edge = np.linspace(0, 1, 33)
    border = target.rays(np.concatenate([
        np.column_stack([edge * width, np.full(33, side * height)]) for side in (0, 1)] + [
        np.column_stack([np.full(33, side * width), edge * height]) for side in (0, 1)]))
    return np.nanmin(border, 0), np.nanmax(border, 0)


class SharedRegistration:
    """Registers each depth image once, for all requests that need it."""

    def __init__(self, capacity: int = 8) -> None:
        """Keep so many results, the latest."""
        self._capacity = capacity
        self._kept: OrderedDict[tuple[Any, ...], tuple[Depth, Depth]] = OrderedDict()
        self._lock = threading.Lock()  # one at a time, since two would take twice as long

    def register(
        self, depth: Depth, source: CameraModel, target: CameraModel, size: tuple[int, int],
        transform: Transform, check: Callable[[], None] = lambda: None,
    ) -> Depth:
        """Do what ``registration.register`` does, or return its result; do not change it."""
        key = (id(depth), source, target, size, transform.rotation.tobytes(),
               transform.translation.tobytes())
        while not self._lock.acquire(timeout=_CHECK_S):
            check()
        try:
            if key not in self._kept:
                # with the depth itself, so that no other one gets its id
                self._kept[key] = depth, register(depth, source, target, size, transform, check)
                while len(self._kept) > self._capacity:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key][1]
        finally:
            self._lock.release()
