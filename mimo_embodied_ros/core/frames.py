"""What the robot saw: one camera frame with everything that belongs to its stamp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole model of a camera, in pixels of the original image (sensor_msgs/CameraInfo ``k``)."""

    fx: float
    fy: float
    cx: float
    cy: float


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


@dataclass(frozen=True)
class Frame:
    """One image and what was known at its stamp.

    Attributes:
        pixels: (height, width, 3) uint8, RGB.
        stamp_ns: the image's own stamp, nanoseconds of ROS time.
        frame_id: the camera's optical frame.
        camera: the camera's name in the configuration.
        intrinsics: None when no CameraInfo arrived.
        depth: (height, width) float32, metres along the optical axis, NaN where unknown.
        odometry: the newest odometry at the image's stamp.

    """

    pixels: NDArray[np.uint8]
    stamp_ns: int = 0
    frame_id: str = ''
    camera: str = ''
    intrinsics: Intrinsics | None = None
    depth: NDArray[np.float32] | None = None
    odometry: Odometry | None = None

    @property
    def width(self) -> int:
        """Columns of the original image."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Rows of the original image."""
        return int(self.pixels.shape[0])
