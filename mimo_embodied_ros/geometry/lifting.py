"""From a pixel to a position in the camera's optical frame (z forwards, x right, y down)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mimo_embodied_ros.core.frames import Frame

_RADIUS = 0.005  # of the window, in widths of the depth image; at least one pixel
_OUTLIERS = 3.0  # depths further from the median than so many deviations are of something else


class PositionStatus(IntEnum):
    """The values of ``position_status`` in AffordancePoint."""

    NOT_REQUESTED = 0
    OK = 1
    NO_DEPTH = 2
    DEPTH_INVALID = 3
    TF_ERROR = 4
    OUT_OF_RANGE = 5


@dataclass(frozen=True)
class Position:
    """Metres in the optical frame, and the spread of the depth; zero unless the status is OK."""

    status: PositionStatus
    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    depth_stddev: float = 0.0


def lift(frame: Frame, x: float, y: float) -> Position:
    """Position of pixel (x, y) of the original image, by the pinhole model without distortion.

    The depth is the median of a small window without its outliers. A depth image of another size
    is taken to show the same view.
    """
    depth, camera = frame.depth, frame.intrinsics
    if depth is None or camera is None:
        return Position(PositionStatus.NO_DEPTH)
    if not (0 <= x < frame.width and 0 <= y < frame.height):
        return Position(PositionStatus.OUT_OF_RANGE)
    rows, columns = depth.shape
    column, row = int(x * columns / frame.width), int(y * rows / frame.height)
    radius = max(1, round(_RADIUS * columns))
    window = depth[max(0, row - radius) : row + radius + 1,
                   max(0, column - radius) : column + radius + 1]
    values = window[np.isfinite(window)]
    if values.size == 0:
        return Position(PositionStatus.DEPTH_INVALID)
    median = np.median(values)
    # 1.4826 makes the median deviation a standard deviation; 1 mm keeps a flat window whole
    deviation = 1.4826 * np.median(np.abs(values - median)) + 1e-3
    values = values[np.abs(values - median) <= _OUTLIERS * deviation]
    z = float(np.median(values))
    xyz = ((x - camera.cx) / camera.fx * z, (y - camera.cy) / camera.fy * z, z)
    return Position(PositionStatus.OK, xyz, float(values.std()))
