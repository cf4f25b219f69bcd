"""Between the pixels of a camera and directions in its optical frame (z forwards, x right, y down).

Pixels are as in the interfaces: the image's left and upper edges are 0, so that the centre of the
first pixel is 0.5. CameraInfo and OpenCV count from that centre; the half pixel is added here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from mimo_embodied_ros.core.errors import NoCameraInfoError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from mimo_embodied_ros.core.frames import Intrinsics

    Floats = NDArray[np.float64]

MODELS = ('plumb_bob', 'rational_polynomial', 'equidistant')
_FISHEYE = ('equidistant', 'fisheye')  # one model by the names of ROS and of some drivers
# how many coefficients OpenCV takes
_COUNTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,),
           'fisheye': (4,)}
_CLOSE = 0.05  # pixels by which a ray may miss its pixel
_STEPS = 50


class CameraModel:
    """A camera for an image of a given size."""

    def __init__(self, intrinsics: Intrinsics, width: int, height: int) -> None:
        """Scale the intrinsics to the image, which may be a smaller copy of what they are for.

        Raises:
            NoCameraInfoError: they are not of this image, or of a model that is not known.

        """
        calibrated = intrinsics.size or (width, height)
        sx, sy = width / calibrated[0], height / calibrated[1]
        if abs(sx / sy - 1) > 0.02:
            msg = (f'the camera info is of an image of {calibrated[0]}x{calibrated[1]} and '
                   f'the image is {width}x{height}, so it was cropped in between; set '
                   'camera_info_topic to that of this image')
            raise NoCameraInfoError(msg, cause='intrinsics of another image')
        # the centre of a pixel stays where it is in the picture: (c + 0.5) * s - 0.5
        self._k = np.array([[intrinsics.fx * sx, 0, (intrinsics.cx + 0.5) * sx - 0.5],
                            [0, intrinsics.fy * sy, (intrinsics.cy + 0.5) * sy - 0.5],
                            [0, 0, 1]])
        self._d = np.array(intrinsics.distortion if any(intrinsics.distortion) else ())
        self._fisheye = intrinsics.model in _FISHEYE
        if self._d.size and self._d.size not in _COUNTS.get(intrinsics.model, ()):
            msg = (f'the camera info has {self._d.size} coefficients of the distortion model '
                   f'{intrinsics.model!r}; known are {", ".join(MODELS)} with as many as OpenCV '
                   'takes. Rectify the image, or publish one of these')
            raise NoCameraInfoError(msg, cause='distortion model')

    @property
    def focal(self) -> float:
        """Pixels a radian at the optical axis."""
        return float(self._k[0, 0] + self._k[1, 1]) / 2

    def rays(self, pixels: ArrayLike) -> Floats:
        """Where the rays of pixels cross the plane one metre ahead.

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
            found = cv2.fisheye.undistortPoints(points[:, None], self._k, self._d)
        else:
            found = cv2.undistortPoints(points[:, None], self._k, self._d)
        rays = found.reshape(-1, 2).astype(float)
        # OpenCV stops after a few steps of the same iteration, whether or not it is there
        with np.errstate(all='ignore'):
            for _ in range(_STEPS):
                missed = points + 0.5 - self.pixels(np.column_stack([rays, np.ones(len(rays))]))
                if not (np.abs(missed) > _CLOSE / 10).any():
                    break
                rays = rays + missed / np.diag(self._k)[:2]
            good = np.hypot(*missed.T) < _CLOSE
        return np.where(good[:, None], rays, np.nan)

    def pixels(self, positions: ArrayLike) -> Floats:
        """Where positions in the optical frame are in the image.

        Args:
            positions: (n, 3) metres.

        Returns:
            (n, 2) x and y; NaN for what is not in front of the camera.

        """
        xyz = np.asarray(positions, float).reshape(-1, 3)
        with np.errstate(all='ignore'):
            xyz = np.where(xyz[:, 2:] > 0, xyz, np.nan)
            rays: Floats = xyz[:, :2] / xyz[:, 2:]
        if not self._d.size or not xyz.size:
            return np.asarray(rays * np.diag(self._k)[:2] + self._k[:2, 2] + 0.5)
        ahead, zero = np.column_stack([rays, np.ones(len(rays))])[:, None], np.zeros(3)
        if self._fisheye:
            found = cv2.fisheye.projectPoints(ahead, zero, zero, self._k, self._d)[0]
        else:
            found = cv2.projectPoints(ahead, zero, zero, self._k, self._d)[0]
        return found.reshape(-1, 2).astype(float) + 0.5
