"""Register a depth image of one camera to the view of another camera beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .camera_model import CameraModel
    from .extrinsics import Transform


def register(
    depth: NDArray[np.float32], source: CameraModel, target: CameraModel, size: tuple[int, int],
    transform: Transform,
) -> NDArray[np.float32]:
    """Return the depth in the view of another camera; in each pixel the nearest point counts.

    Args:
        depth: (rows, columns) metres along the optical axis of ``source``, NaN where unknown.
        source: camera of the depth image.
        target: camera of the image.
        size: (width, height) of the image.
        transform: maps points of the depth's optical frame to the image's.

    Returns:
        (rows, columns) metres along the optical axis of ``target``, NaN where unknown. It covers
        the whole image at the resolution of the depth.

    """
    width, height = size
    # at the resolution of the depth: a finer result would have gaps that show the background
    scale = min(1.0, source.focal / target.focal)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    v, u = np.nonzero(np.isfinite(depth))
    z = depth[v, u].astype(float)
    rays = source.rays(np.column_stack([u, v]) + 0.5)
    points = transform.apply(np.column_stack([rays * z[:, None], z]))
    # lens models are valid within the image only; far outside they map back into it
    edge = np.linspace(0, 1, 33)
    border = target.rays(np.concatenate([
        np.column_stack([edge * width, np.full(33, side * height)]) for side in (0, 1)] + [
        np.column_stack([np.full(33, side * width), edge * height]) for side in (0, 1)]))
    low, high = np.nanmin(border, 0), np.nanmax(border, 0)
    with np.errstate(all='ignore'):
        ahead = points[:, :2] / points[:, 2:]
        visible = (points[:, 2] > 0) & ((ahead >= low) & (ahead <= high)).all(1)
    points = points[visible]
    pixels = target.pixels(points) * (columns / width, rows / height)
    registered = np.full((rows, columns), np.inf, np.float32)
    # a pixel of the depth covers parts of up to four pixels of the result
    for shift in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)):
        # a little less than half, so that a pixel that fits exactly covers only one
        column, row = np.floor(pixels + np.multiply(shift, 0.98)).astype(int).T
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        np.minimum.at(
            registered, (row[inside], column[inside]), points[inside, 2].astype(np.float32))
    registered[np.isinf(registered)] = np.nan
    return registered
