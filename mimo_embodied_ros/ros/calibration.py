"""Intrinsics from sensor_msgs/CameraInfo."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import NoCameraInfoError
from mimo_embodied_ros.core.frames import Intrinsics

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo


def intrinsics_of(info: CameraInfo, *, rectified: bool = False) -> Intrinsics | None:
    """The intrinsics of the camera that took an image.

    Args:
        info: that belongs to the image; its binning and region of interest are applied.
        rectified: whether the image is rectified: ``p`` holds for it, and no lens distortion.

    Returns:
        None where the camera is not calibrated: the first of ``k`` (or ``p``) is zero.

    Raises:
        NoCameraInfoError: the numbers describe no camera.

    """
    fx, cx, fy, cy = (info.p[i] for i in (0, 2, 5, 6)) if rectified else (
        info.k[i] for i in (0, 2, 4, 5))
    if fx == 0:
        return None
    # a rectified image is one of a pinhole, whatever its lens was
    model, lens = ('', ()) if rectified else (
        info.distortion_model, tuple(float(d) for d in info.d))
    if not all(map(math.isfinite, (fx, fy, cx, cy, *lens))) or fx < 0 or fy <= 0:
        name = 'p' if rectified else 'k'
        msg = (f'the camera info describes no camera: {name} is {list(getattr(info, name))}, d is '
               f'{list(info.d)}; calibrate it, or correct its driver')
        raise NoCameraInfoError(msg, cause='intrinsics')
    region, across, down = info.roi, max(1, info.binning_x), max(1, info.binning_y)
    width, height = region.width or info.width, region.height or info.height
    # some drivers leave out the size
    size = (width // across, height // down) if width >= across and height >= down else None
    # the middle of a pixel is at whole coordinates, so the half pixel before it does not scale
    return Intrinsics(
        float(fx) / across, float(fy) / down, (cx - region.x_offset + 0.5) / across - 0.5,
        (cy - region.y_offset + 0.5) / down - 0.5, model, lens, size)
