"""Map pixels of a camera to rays in its optical frame (z forwards, x right, y down), and back.

Pixels are as in the interfaces: the image's left and upper edges are 0, so that the centre of the
first pixel is 0.5. CameraInfo and OpenCV count from that centre; the half pixel is added here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mimo_embodied_ros.core.errors import NoCameraInfoError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from mimo_embodied_ros.core.frames import Intrinsics

    Floats = NDArray[np.float64]

_FISHEYE = ('equidistant', 'fisheye')  # the names that ROS and some drivers use for one model
# How many coefficients each model may have, by the names that drivers use. A fisheye model is no
# pinhole without distortion, either: the distance from the middle is proportional to the angle of
# the ray, and not to its tangent.
_COUNTS = {
    **dict.fromkeys(('', 'none', 'pinhole', 'brown_conrady'), (0,)), 'radtan': (0, 4),
    'plumb_bob': (0, 4, 5), 'rational_polynomial': (0, 8, 12, 14),
    **dict.fromkeys(_FISHEYE, (0, 4)),
}
_TOLERANCE = 0.05  # pixels by which a ray may miss its pixel
_ITERATIONS = 50
_TILTED = 12  # the coefficients of rational_polynomial from here on tilt the sensor


class CameraModel:
    """Intrinsics and lens distortion of a camera, for images of one size."""

    def __init__(self, intrinsics: Intrinsics, width: int, height: int) -> None:
        """Scale the intrinsics to the image, which may be a smaller copy of the calibrated one.

        Raises:
            NoCameraInfoError: the intrinsics are of an image of another shape, or their distortion
                model is unknown or has another number of coefficients.

        """
        self._of = intrinsics, width, height
        calibrated = intrinsics.size or (width, height)
        sx, sy = width / calibrated[0], height / calibrated[1]
        if abs(sx / sy - 1) > 0.02:
            msg = (f'the camera info is of an image of {calibrated[0]}x{calibrated[1]} and '
                   f'the image is {width}x{height}, so it was cropped in between; set '
                   'camera_info_topic to that of this image')
            raise NoCameraInfoError(msg, cause='intrinsics of another image')
        # pixel centres are scaled, not pixel numbers: (c + 0.5) * s - 0.5
        self._k = np.array([[intrinsics.fx * sx, 0, (intrinsics.cx + 0.5) * sx - 0.5],
                            [0, intrinsics.fy * sy, (intrinsics.cy + 0.5) * sy - 0.5],
                            [0, 0, 1]])
        self._fisheye = intrinsics.model in _FISHEYE
        self._d = np.array(_coefficients(intrinsics.model, intrinsics.distortion))
        if self._fisheye and not self._d.size:
            self._d = np.zeros(4)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CameraModel) and self._of == other._of

    def __hash__(self) -> int:
        return hash(self._of)

    @property
    def focal(self) -> float:
        """Focal length in pixels, the mean of both axes."""
        return float(self._k[0, 0] + self._k[1, 1]) / 2

    @property
    def matrix(self) -> Floats:
        """(3, 3) from the optical frame to pixels, without the distortion."""
        matrix: Floats = self._k + np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        return matrix

    def rays(self, pixels: ArrayLike) -> Floats:
        """Return where the rays of pixels cross the plane one metre ahead.

        Args:
            pixels: (n, 2), x and y.

        Returns:
            (n, 2) x and y of the optical frame; NaN where the lens model cannot be inverted.

        """
        points = np.asarray(pixels, float).reshape(-1, 2) - 0.5
        ideal: Floats = (points - self._k[:2, 2]) / np.diag(self._k)[:2]
        if not self._d.size or not points.size:
            return ideal
        if self._fisheye:
            undistorted = cv2.fisheye.undistortPoints(points[:, None], self._k, self._d)
        else:
            undistorted = cv2.undistortPoints(points[:, None], self._k, self._d)
        rays = undistorted.reshape(-1, 2).astype(float)
        # OpenCV stops after a few iterations, also if they have not converged; these go on
        far, missed = np.arange(len(rays)), np.zeros(len(rays))
        with np.errstate(all='ignore'):
            for _ in range(_ITERATIONS):
                error = points[far] + 0.5 - np.stack(self.project(*rays[far].T), -1)
                missed[far] = np.hypot(*error.T)
                going_on = ~(missed[far] < _TOLERANCE / 10)
                far, error = far[going_on], error[going_on]
                if not len(far):
                    break
                rays[far] += error / np.diag(self._k)[:2]
            converged = missed < _TOLERANCE
        return np.where(converged[:, None], rays, np.nan)

    def rays_of(self, begin: int, end: int) -> Floats:
        """Return the rays of the centres of some pixels, (2, n) x and y; see ``rays``.

        Pixels are counted row by row. The rays are kept for the next image of such a camera; do not
        change them.
        """
        return _kept_rays(*self._of, begin, end)

    def pixels(self, positions: ArrayLike) -> Floats:
        """Project positions in the optical frame to the image.

        Args:
            positions: (n, 3) metres.

        Returns:
            (n, 2) x and y; NaN for positions that are not in front of the camera.

        """
        xyz = np.asarray(positions, float).reshape(-1, 3)
        with np.errstate(all='ignore'):
            xyz = np.where(xyz[:, 2:] > 0, xyz, np.nan)
            return np.column_stack(self.project(xyz[:, 0] / xyz[:, 2], xyz[:, 1] / xyz[:, 2]))

    def project(self, across: Floats, down: Floats) -> tuple[Floats, Floats]:
        """Return the pixels, x and y, of points on the plane one metre ahead, also x and y.

        The formulas are OpenCV's, whose own functions take several times as long.
        """
        if self._fisheye:
            across, down = _distort_fisheye(across, down, *self._d)
        elif self._d[_TILTED:].any():
            ahead, zero = np.stack([across, down, np.ones_like(across)], -1), np.zeros(3)
            across, down = cv2.projectPoints(
                ahead.reshape(-1, 1, 3), zero, zero, np.eye(3), self._d)[0].reshape(-1, 2).T
        elif self._d.size:
            across, down = _distort(across, down, *self._d[:_TILTED])
        k = self._k
        return across * k[0, 0] + (k[0, 2] + 0.5), down * k[1, 1] + (k[1, 2] + 0.5)


def _distort(
    x: Floats, y: Floats, k1: float, k2: float, p1: float, p2: float, k3: float = 0.0,
    k4: float = 0.0, k5: float = 0.0, k6: float = 0.0, s1: float = 0.0, s2: float = 0.0,
    s3: float = 0.0, s4: float = 0.0,
) -> tuple[Floats, Floats]:
    """Apply plumb_bob or rational_polynomial, with the sensor upright."""
    r2, xy = x * x + y * y, x * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    if k4 or k5 or k6:
        radial = radial / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    across = x * radial + 2 * p1 * xy + p2 * (r2 + 2 * x * x)
    down = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * xy
    if s1 or s2 or s3 or s4:
        across, down = across + r2 * (s1 + r2 * s2), down + r2 * (s3 + r2 * s4)
    return across, down


def _distort_fisheye(
    x: Floats, y: Floats, k1: float, k2: float, k3: float, k4: float
) -> tuple[Floats, Floats]:
    """Apply equidistant."""
    radius = np.hypot(x, y)
    angle = np.arctan(radius)
    square = angle * angle
    distorted = angle * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
    scale = np.divide(distorted, radius, out=np.ones_like(radius), where=radius > 0)
    return x * scale, y * scale


@lru_cache(maxsize=96)  # of 65536 pixels each: a megabyte
def _kept_rays(intrinsics: Intrinsics, width: int, height: int, begin: int, end: int) -> Floats:
    rows, columns = np.divmod(np.arange(begin, min(end, width * height)), width)
    camera = CameraModel(intrinsics, width, height)
    rays: Floats = camera.rays(np.column_stack([columns, rows]) + 0.5).T.copy()
    rays.flags.writeable = False
    return rays


def _coefficients(model: str, given: Sequence[float]) -> Sequence[float]:
    """Return the coefficients of a model without the zeros that pad them; none if all are zero.

    Raises:
        NoCameraInfoError: the model is not known, or has another number of coefficients.

    """
    needed = max((number for number, value in enumerate(given, 1) if value), default=0)
    for count in _COUNTS.get(model, ()):
        if needed <= count <= len(given):
            return given[:count]
    msg = (f'the camera info has {len(given)} coefficients of the distortion model {model!r}: '
           f'{list(given)}. Supported are plumb_bob with 4 or 5, rational_polynomial with 8, 12 or '
           '14 and equidistant with 4, padded with zeros or not; publish one of these, or rectify '
           'the image and set rectified')
    raise NoCameraInfoError(msg, cause='distortion model')
