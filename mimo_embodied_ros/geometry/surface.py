"""The piece of surface that is seen in one place of a depth image.

Sensors leave holes, noise, and at the edges of things depths of neither side. A place counts as
measured only where nearly everything around it is on one surface; the rest of a window may show
other things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Mask = NDArray[np.bool_]

_MEASURED = 0.7  # share of the pixels around that must have a depth
_AGREEING = 0.85  # share of these that must be on the surface; more than at an edge or a corner
# Neighbours on one surface differ by no more than this share of their depth, or, where the sensor
# is noisy or the surface inclined, by a multiple of the usual difference.
_STEP, _LARGEST_STEP, _USUAL = 0.012, 0.03, 4.0
_SAME = (0.01, 0.015)  # share of the depth by which one surface differs from its plane: usual, most
_OUTLIERS = 3.0  # standard deviations
_FEWEST = 6  # pixels from which a plane is fitted


class NoSurfaceError(ValueError):
    """There is no depth, or of more than one thing; the message says which."""


def connected_surface(window: Floats, around: Mask, agreeing: float = _AGREEING) -> Mask:
    """Which pixels of a window are on the surface that most of its inner part shows.

    Args:
        window: (rows, columns) metres, NaN where unknown.
        around: the inner part, as a mask of the window.
        agreeing: share of the inner part's known pixels that must be on the surface; where it is
            small, as few need be known.

    Raises:
        NoSurfaceError: the inner part shows none, or several.

    """
    known = np.isfinite(window)
    inner = known & around
    if inner.sum() < min(_MEASURED, agreeing) * around.sum():
        msg = 'the depth image has too few values there: a hole, or beyond the sensor'
        raise NoSurfaceError(msg)
    middle = float(np.median(window[inner]))
    rows, columns = np.nonzero(inner)
    first = int(np.argmin(np.abs(window[inner] - middle)))
    with np.errstate(invalid='ignore'):
        steps = np.abs(np.concatenate([np.diff(window, axis=0).ravel(),
                                       np.diff(window, axis=1).ravel()]))
    usual = float(np.median(steps[np.isfinite(steps)])) if np.isfinite(steps).any() else 0.0
    step = min(max(_STEP * middle, _USUAL * usual), _LARGEST_STEP * middle)
    mask = np.zeros((window.shape[0] + 2, window.shape[1] + 2), np.uint8)
    # what is unknown is far below everything
    cv2.floodFill(np.where(known, window, -1e6).astype(np.float32), mask,
                  (int(columns[first]), int(rows[first])), 0.0, step, step,
                  8 | cv2.FLOODFILL_MASK_ONLY)
    surface = mask[1:-1, 1:-1].astype(bool)
    _check(window[inner], surface[inner], agreeing)
    return surface


def check_plane(plane: Plane, rays: Floats, depths: Floats) -> None:
    """Look whether pixels are all on a plane but for a few, and not on two surfaces that it mixes.

    Raises:
        NoSurfaceError: they are not.

    """
    expected = plane.depth(rays)
    usual, most = _SAME
    allowed = np.clip(_OUTLIERS * plane.stddev, usual * expected, most * expected)
    _check(depths, np.abs(depths - expected) <= allowed, _AGREEING)


def _check(depths: Floats, agree: Mask, agreeing: float) -> None:
    if agree.sum() < agreeing * agree.size:
        low, high = np.quantile(depths, (0.1, 0.9))
        msg = (f'there is an edge there, between {low:.2f} m and {high:.2f} m; ask for a point '
               'further inside')
        raise NoSurfaceError(msg)


@dataclass(frozen=True)
class Plane:
    """A plane in the optical frame, ``a x + b y + c z = 1``, and the spread of the depths on it."""

    abc: tuple[float, float, float]
    stddev: float

    def depth(self, rays: Floats) -> Floats:
        """Metres along the optical axis to the plane, for (n, 2) rays."""
        with np.errstate(divide='ignore'):  # of rays along it
            return np.asarray(1 / (rays @ self.abc[:2] + self.abc[2]))

    @property
    def normal(self) -> Floats:
        """Unit vector out of the surface, to the side of the camera."""
        return np.asarray(-np.array(self.abc) / np.linalg.norm(self.abc))


def fit_plane(rays: Floats, depths: Floats) -> Plane | None:
    """The plane on which most of the points lie, without outliers.

    On a plane one over the depth is linear in the ray, so that an inclined surface and a window cut
    by an edge shift nothing.

    Args:
        rays: (n, 2) on the plane one metre ahead.
        depths: (n,) metres.

    Returns:
        None where the points are too few or in one line.

    """
    system = np.column_stack([rays, np.ones(len(rays))])
    good = np.isfinite(system).all(1)
    abc = np.zeros(3)
    for _ in range(3):
        if good.sum() < _FEWEST:
            return None
        # about their middle, where a step of a ray is no longer small against one
        middle = system[good].mean(0) * (1, 1, 0)
        solution, _, rank, _ = np.linalg.lstsq(
            system[good] - middle, 1 / depths[good], rcond=1e-9)
        if rank < 3:
            return None
        abc = solution - (0, 0, solution @ middle)
        off = depths - 1 / (system @ abc)
        # 1.4826 makes the median deviation a standard deviation; 1 mm keeps a flat surface whole
        spread = 1.4826 * float(np.median(np.abs(off[good]))) + 1e-3
        good = np.isfinite(off) & (np.abs(off) <= _OUTLIERS * spread)
    return Plane((abc[0], abc[1], abc[2]), float(off[good].std()))
