"""The plain way to register depth: slow, and the measure of what the package's own way returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mimo_embodied_ros.geometry.camera_model import CameraModel
    from mimo_embodied_ros.geometry.extrinsics import Transform


def register_plainly(
    depth: NDArray[np.float32], source: CameraModel, target: CameraModel, size: tuple[int, int],
    transform: Transform,
) -> NDArray[np.float32]:
    """Take and return what ``geometry.registration.register`` does."""
    width, height = size
    scale = min(1.0, source.focal / target.focal)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    v, u = np.nonzero(np.isfinite(depth))
    z = depth[v, u].astype(float)
    rays = source.rays(np.column_stack([u, v]) + 0.5)
    points = transform.apply(np.column_stack([rays * z[:, None], z]))
    edge = np.linspace(0, 1, 33)
    border = target.rays(np.concatenate([
        np.column_stack([edge * width, np.full(33, side * height)]) for side in (0, 1)] + [
        np.column_stack([np.full(33, side * width), edge * height]) for side in (0, 1)]))
    low, high = np.nanmin(border, 0), np.nanmax(border, 0)
    with np.errstate(all='ignore'):
        ahead = points[:, :2] / points[:, 2:]
        visible = (points[:, 2] > 0) & ((ahead >= low) & (ahead <= high)).all(1)
    points = points[visible]
    pixels = pixels_by_opencv(target, points) * (columns / width, rows / height)
    registered = np.full((rows, columns), np.inf, np.float32)
    for shift in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)):
        column, row = np.floor(pixels + np.multiply(shift, 0.98)).astype(int).T
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        np.minimum.at(
            registered, (row[inside], column[inside]), points[inside, 2].astype(np.float32))
    registered[np.isinf(registered)] = np.nan
    return registered


def pixels_by_opencv(
    camera: CameraModel, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Project (n, 3) points before a camera to (n, 2) pixels by OpenCV's own functions."""
    if not len(points):
        return np.empty((0, 2))
    k, d, zero = camera._k, camera._d, np.zeros(3)
    ahead = np.column_stack([points[:, :2] / points[:, 2:], np.ones(len(points))])[:, None]
    project = cv2.fisheye.projectPoints if camera._fisheye else cv2.projectPoints
    pixels: NDArray[np.float64] = project(ahead, zero, zero, k, d if d.size else None)[0]
    return pixels.reshape(-1, 2) + 0.5
