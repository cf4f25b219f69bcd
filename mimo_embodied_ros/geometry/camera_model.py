"""Map pixels of a camera to rays in its optical frame (z forwards, x right, y down), and back.

Pixels are as in the interfaces: the image's left and upper edges are 0, so that the centre of the
first pixel is 0.5. CameraInfo and OpenCV count from that centre; the half pixel is added here.
"""

from __future__ import annotations

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


class CameraModel:
    """Intrinsics and lens distortion of a camera, for images of one size."""

    def __init__(self, intrinsics: Intrinsics, width: int, height: int) -> None:
        """Scale the intrinsics to the image, which may be a smaller copy of the calibrated one.

        Raises:
            NoCameraInfoError: the intrinsics are of an image of another shape, or their distortion
                model is unknown or has another number of coefficients.

        """
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

    @property
    def focal(self) -> float:
        """Focal length in pixels, the mean of both axes."""
        return float(self._k[0, 0] + self._k[1, 1]) / 2

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
        with np.errstate(all='ignore'):
            for _ in range(_ITERATIONS):
                error = points + 0.5 - self.pixels(np.column_stack([rays, np.ones(len(rays))]))
                if not (np.abs(error) > _TOLERANCE / 10).any():
                    break
                rays = rays + error / np.diag(self._k)[:2]
            converged = np.hypot(*error.T) < _TOLERANCE
        return np.where(converged[:, None], rays, np.nan)

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
            rays: Floats = xyz[:, :2] / xyz[:, 2:]
        if not self._d.size or not xyz.size:
            return np.asarray(rays * np.diag(self._k)[:2] + self._k[:2, 2] + 0.5)
        ahead, zero = np.column_stack([rays, np.ones(len(rays))])[:, None], np.zeros(3)
        if self._fisheye:
            pixels = cv2.fisheye.projectPoints(ahead, zero, zero, self._k, self._d)[0]
        else:
            pixels = cv2.projectPoints(ahead, zero, zero, self._k, self._d)[0]
        return pixels.reshape(-1, 2).astype(float) + 0.5


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
