"""Small images for tracking, and a recording of them while a model thinks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mimo_embodied_ros.geometry.extrinsics import Transform

    Floats = NDArray[np.float64]

WIDEST = 960
"""Columns of a small image, at most. A larger one is halved, which is much faster than other sizes;
the flow is exact to a tenth of a pixel."""


class CameraPlace(NamedTuple):
    """What a pinhole camera is, and where it was when it took an image.

    Attributes:
        matrix: (3, 3) intrinsics, in pixels of its own image.
        pose: of its optical frame in a frame that does not move.

    """

    matrix: Floats
    pose: Transform

    def point_at(self, pixel: Floats, depth: float) -> Floats:
        """Return what is at a pixel, (2,), at a depth in metres: (3,) metres in the frame."""
        return self.pose.apply(np.linalg.solve(self.matrix, [*pixel, 1.0]) * depth)

    def pixel_of(self, point: Floats) -> Floats:
        """Return where a point, (3,) metres, is in the image, (2,); NaN: behind the camera."""
        x, y, z = self.matrix @ self.pose.inverse.apply(point)
        return np.array([x, y]) / (z if z > 0 else np.nan)


@dataclass(frozen=True, eq=False)
class SmallImage:
    """An image as it is tracked.

    Attributes:
        stamp_ns: when it was taken, nanoseconds.
        grey: (rows, columns) uint8, no wider than `WIDEST`.
        colours: (rows, columns, 3) uint8, RGB; grey ones where the camera has no colours.
        scale: its columns for one column of the camera's image.
        depth: float32, metres along the optical axis, of any size, aligned with the image; 0 or
            not finite where it is not known; None: not measured.
        camera: where the camera was; None: not known.

    """

    stamp_ns: int
    grey: NDArray[np.uint8]
    colours: NDArray[np.uint8]
    scale: float
    depth: NDArray[np.float32] | None = None
    camera: CameraPlace | None = None

    def depth_at(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the depth at points, (n, 2) pixels of the small image: (n,) metres; 0: unknown."""
        found = np.zeros(len(points), np.float32)
        if self.depth is None:
            return found
        rows, columns = self.depth.shape
        x, y = (points * [columns / self.grey.shape[1], rows / self.grey.shape[0]]).T
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        found[inside] = self.depth[y[inside].astype(int), x[inside].astype(int)]
        return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def small_image(
    pixels: NDArray[np.uint8], stamp_ns: int, *, columns: int = 0,
    depth: NDArray[np.float32] | None = None, camera: CameraPlace | None = None,
) -> SmallImage:
    """Make a small image of a camera's one.

    Args:
        pixels: (rows, columns, 3) uint8, RGB, or (rows, columns) grey.
        stamp_ns: see `SmallImage`.
        columns: of the camera's image, where the pixels are a smaller version of it; 0: theirs.
        depth: see `SmallImage`.
        camera: see `SmallImage`.

    """
    small, scale = pixels, pixels.shape[1] / (columns or pixels.shape[1])
    while small.shape[1] > WIDEST:
        rows, columns = (size // 2 for size in small.shape[:2])
        even = small[: 2 * rows, : 2 * columns]
        small, scale = np.asarray(cv2.resize(
            even, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8), scale / 2
    if depth is not None:
        step = -(-depth.shape[1] // WIDEST)
        depth = np.ascontiguousarray(depth[::step, ::step])
    coloured = small.ndim == 3
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY) if coloured else small
    colours = small if coloured else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    return SmallImage(stamp_ns, np.ascontiguousarray(grey, np.uint8),
                      np.ascontiguousarray(colours, np.uint8), scale, depth, camera)


class Recording:
    """Keeps the images since one that a model is asked about, so that its answer is carried to now.

    It grows no further than to a number of images: the longer it is, the longer lies between them.
    """

    def __init__(self, first: SmallImage, most: int = 60) -> None:
        """Begin with the image that the model is asked about."""
        self._images, self._most = [first], most

    def add(self, image: SmallImage) -> None:
        """Keep an image; one older than the last one, as of a bag that begins anew, ends all."""
        if self._images and image.stamp_ns < self._images[-1].stamp_ns:
            self._images.clear()
        if self._images and image.stamp_ns > self._images[-1].stamp_ns:
            self._images.append(image)
        if len(self._images) > self._most:
            del self._images[1:-1:2]

    def images(self) -> list[SmallImage]:
        """Return the images, oldest first; none where it has ended."""
        return [*self._images]
