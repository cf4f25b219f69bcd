"""One camera frame: the image with depth, intrinsics and odometry at its stamp."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .resize import PixelLimits, Resize, resize, resize_to

if TYPE_CHECKING:
    from collections.abc import Hashable

    import numpy as np
    from numpy.typing import NDArray

    from .errors import MimoError

    Resized = tuple[NDArray[np.uint8], Resize]


@dataclass(frozen=True)
class Intrinsics:
    """A camera's model, as sensor_msgs/CameraInfo gives it: pixels whose centres are whole numbers.

    Attributes:
        fx: focal length, pixels.
        fy: focal length, pixels.
        cx: principal point, pixels.
        cy: principal point, pixels.
        model: of the lens: plumb_bob, rational_polynomial or equidistant; empty: a pinhole.
        distortion: the model's coefficients in OpenCV's order; empty or all zero: no distortion,
            which is a pinhole but for equidistant.
        size: (width, height) of the calibrated image; None: that of the image it comes with.

    """

    fx: float
    fy: float
    cx: float
    cy: float
    model: str = ''
    distortion: tuple[float, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class View:
    """The camera of a depth image that is not registered to the colour image."""

    frame_id: str
    intrinsics: Intrinsics | None


@dataclass(frozen=True)
class Odometry:
    """Pose and twist of the base (nav_msgs/Odometry): metres, metres a second, radians a second."""

    stamp_ns: int
    frame_id: str
    child_frame_id: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]  # x, y, z, w
    linear: tuple[float, float, float]
    angular: tuple[float, float, float]


@dataclass
class _ResizedImages:
    """A frame's image at the sizes requested so far; under ``lock`` each is made only once."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    images: dict[PixelLimits | tuple[int, int], Resized] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """One image and the robot's state at its stamp; several requests may use it at once.

    Attributes:
        pixels: (height, width, 3) uint8, RGB, or a smaller version where ``size`` is given.
        stamp_ns: the image's own stamp, nanoseconds of ROS time.
        frame_id: the camera's optical frame.
        camera: the camera's name in the configuration.
        intrinsics: None when no CameraInfo arrived.
        depth: (rows, columns) float32, metres along the optical axis, NaN where unknown.
        depth_view: camera of the depth image; None if it is registered to the image, in any size.
        odometry: at the image's stamp; None where unknown.
        no_3d: why there can be no 3D positions; None where nothing is known to forbid them.
        size: (width, height) of the original image; None is that of ``pixels``.
        image_id: equal only for frames with the same pixels; by default nothing equals it.

    """

    pixels: NDArray[np.uint8]
    stamp_ns: int = 0
    frame_id: str = ''
    camera: str = ''
    intrinsics: Intrinsics | None = None
    depth: NDArray[np.float32] | None = None
    depth_view: View | None = None
    odometry: Odometry | None = None
    no_3d: MimoError | None = None
    size: tuple[int, int] | None = None
    image_id: Hashable = field(default_factory=object, repr=False)
    _resized: _ResizedImages = field(default_factory=_ResizedImages, repr=False, compare=False)

    @property
    def width(self) -> int:
        """Columns of the original image."""
        return self.size[0] if self.size else int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows of the original image."""
        return self.size[1] if self.size else int(self.pixels.shape[0])

    def resized(self, limits: PixelLimits) -> Resized:
        """Return the image at the size that the model sees, and the scale; see ``core.resize``.

        Returns:
            The same array for the same limits, also of a copy by ``dataclasses.replace``.

        Raises:
            InvalidRequestError: as ``core.resize.resize`` does.

        """
        with self._resized.lock:
            images = self._resized.images
            if limits not in images:
                images[limits] = resize(self.pixels, limits, self.size)
            return images[limits]

    def resized_to(self, model_size: tuple[int, int]) -> Resized:
        """Return the image at a given size (height, width), and the scale; else as `resized`."""
        with self._resized.lock:
            images = self._resized.images
            if model_size not in images:
                images[model_size] = resize_to(self.pixels, model_size, self.size)
            return images[model_size]
