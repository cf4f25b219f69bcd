"""Labels of rendered pictures: the point, the box and the free space, from a segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.worlds.table_scene import SeenThing

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

LEAST = 40
"""Fewest pixels of a thing, in the model's own picture, that tell what it is."""
_OWN = 49 * FACTOR**2  # pixels of such a picture, at most


def least_pixels(width: int, height: int) -> float:
    """Return how many pixels of a thing tell what it is in a picture of this size."""
    return LEAST * max(1.0, width * height / _OWN)


def cell(x: float, y: float) -> tuple[int, int]:
    """Return column and row of the image token in which a point lies."""
    return int(x) // FACTOR, int(y) // FACTOR


def seen_thing(
    colour: str, shape: str, mask: Mask, taken: Collection[tuple[int, int]] = (), *,
    place: str = '', ground: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> SeenThing | None:
    """Label a thing.

    Its point is the seen pixel nearest to its middle that lies in a free image token, since a token
    tells of one thing only, and not at the token's edge, so that it stays there when mirrored.

    Args:
        colour: of the thing.
        shape: of the thing.
        mask: (H, W), where it is seen.
        taken: image tokens in which points of other things lie, see `cell`.
        place: see `Thing`.
        ground: see `SeenThing`.

    Returns:
        None where it is not seen, or only in the tokens of others.

    """
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    x_min, x_max, y_min, y_max = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    inside = (((columns + 1) % FACTOR > 1) & ((rows + 1) % FACTOR > 1)
              & [cell(float(x), float(y)) not in taken for x, y in zip(columns, rows)])
    if not inside.any():
        return None
    away = (columns - columns.mean()) ** 2 + (rows - rows.mean()) ** 2
    best = np.flatnonzero(inside)[np.argmin(away[inside])]
    radius = max(x_max - x_min, y_max - y_min) / 2
    edges = float(x_min), float(y_min), float(x_max), float(y_max)
    return SeenThing(colour, shape, float(columns[best]) + 0.5, float(rows[best]) + 0.5,
                     float(radius), place, edges, ground)


def middle_of_free_space(mask: Mask) -> tuple[float, float]:
    """Return the point (x, y) of a mask that is farthest from what is not in it."""
    away = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(np.argmax(away), away.shape)
    return float(column) + 0.5, float(row) + 0.5
