"""Find the surface at one place of a depth image.

Depth images have holes, noise, and at the edges of things depths that belong to neither side. A
place counts as measured only if nearly all pixels around it are on one surface; the rest of the
window may show other things.
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

_MEASURED = 0.7  # share of the pixels around a place that must have a depth
_AGREEING = 0.85  # share of these that must be on the surface; more than at an edge or a corner
# Neighbours on one surface differ by at most this share of their depth, or, if the sensor is noisy
# or the surface inclined, by a multiple of the median difference, up to the largest share.
_STEP, _LARGEST_STEP, _MEDIAN_STEPS = 0.012, 0.03, 4.0
# Shares of the depth by which pixels of a surface may differ from its plane: at least, at most.
_PLANE_TOLERANCE = (0.01, 0.015)
_OUTLIERS = 3.0  # standard deviations
_MIN_PIXELS = 6  # to fit a plane


class NoSurfaceError(ValueError):
    """There is no depth, or more than one surface; the message says which."""


def connected_surface(window: Floats, core: Mask, agreeing: float = _AGREEING) -> Mask:
    """Return the pixels of a window that are on the surface in its inner part.

    Args:
        window: (rows, columns) metres, NaN where unknown.
        core: the inner part, as a mask of the window.
        agreeing: share of the inner part's measured pixels that must be on the surface; if it is
            below 0.7, only this share of the pixels must be measured.

    Raises:
        NoSurfaceError: the inner part shows no surface, or several.

    """
    measured = np.isfinite(window)
    inner = measured & core
    if inner.sum() < min(_MEASURED, agreeing) * core.sum():
        msg = 'the depth image has too few values there: a hole, or beyond the sensor'
        raise NoSurfaceError(msg)
    middle = float(np.median(window[inner]))
    rows, columns = np.nonzero(inner)
    first = int(np.argmin(np.abs(window[inner] - middle)))
    with np.errstate(invalid='ignore'):
        steps = np.abs(np.concatenate([np.diff(window, axis=0).ravel(),
                                       np.diff(window, axis=1).ravel()]))
    median = float(np.median(steps[np.isfinite(steps)])) if np.isfinite(steps).any() else 0.0
    step = min(max(_STEP * middle, _MEDIAN_STEPS * median), _LARGEST_STEP * middle)
    mask = np.zeros((window.shape[0] + 2, window.shape[1] + 2), np.uint8)
    # unknown depths are far from all others
    cv2.floodFill(np.where(measured, window, -1e6).astype(np.float32), mask,
                  (int(columns[first]), int(rows[first])), 0.0, step, step,
                  8 | cv2.FLOODFILL_MASK_ONLY)
    surface = mask[1:-1, 1:-1].astype(bool)
    _check(window[inner], surface[inner], agreeing)
    return surface


def check_plane(plane: Plane, rays: Floats, depths: Floats) -> None:
    """Check that nearly all pixels are on a plane, which could also be a mixture of two surfaces.

    Raises:
        NoSurfaceError: they are not.

    """
    expected = plane.depth(rays)
    least, most = _PLANE_TOLERANCE
    tolerance = np.clip(_OUTLIERS * plane.stddev, least * expected, most * expected)
    _check(depths, np.abs(depths - expected) <= tolerance, _AGREEING)


def _check(depths: Floats, agree: Mask, agreeing: float) -> None:
    if agree.sum() < agreeing * agree.size:
        low, high = np.quantile(depths, (0.1, 0.9))
        msg = (f'there is an edge there, between {low:.2f} m and {high:.2f} m; ask for a point '
               'further inside')
        raise NoSurfaceError(msg)


@dataclass(frozen=True)
class Plane:
    """A plane in the optical frame, ``a x + b y + c z = 1``, and the depths' standard deviation."""

    abc: tuple[float, float, float]
    stddev: float

    def depth(self, rays: Floats) -> Floats:
        """Return the depth of the plane, metres along the optical axis, for (n, 2) rays."""
        with np.errstate(divide='ignore'):  # rays parallel to the plane
            return np.asarray(1 / (rays @ self.abc[:2] + self.abc[2]))

    @property
    def normal(self) -> Floats:
        """Unit vector out of the surface, towards the camera."""
        return np.asarray(-np.array(self.abc) / np.linalg.norm(self.abc))


def fit_plane(rays: Floats, depths: Floats) -> Plane | None:
    """Fit a plane to points, without outliers.

    On a plane the inverse depth is linear in the ray, so that neither an inclined surface nor a
    window that is cut by an edge biases the fit.

    Args:
        rays: (n, 2) on the plane one metre ahead.
        depths: (n,) metres.

    Returns:
        None if the points are too few or on one line.

    """
    system = np.column_stack([rays, np.ones(len(rays))])
    good = np.isfinite(system).all(1)
    abc = np.zeros(3)
    for _ in range(3):
        if good.sum() < _MIN_PIXELS:
            return None
        # rays are centred, because their differences are small against the column of ones
        middle = system[good].mean(0) * (1, 1, 0)
        solution, _, rank, _ = np.linalg.lstsq(
            system[good] - middle, 1 / depths[good], rcond=1e-9)
        if rank < 3:
            return None
        abc = solution - (0, 0, solution @ middle)
        residuals = depths - 1 / (system @ abc)
        # 1.4826 converts the median deviation to a standard deviation; 1 mm keeps all pixels of a
        # perfectly flat surface
        spread = 1.4826 * float(np.median(np.abs(residuals[good]))) + 1e-3
        good = np.isfinite(residuals) & (np.abs(residuals) <= _OUTLIERS * spread)
    return Plane((abc[0], abc[1], abc[2]), float(residuals[good].std()))
