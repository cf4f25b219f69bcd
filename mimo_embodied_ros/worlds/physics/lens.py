"""Lenses that are not ideal: rendered pictures as they would be with a barrel distortion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

_SHARE = 0.4  # of the pictures that are distorted
_STRONGEST = 0.25  # how much farther outside the corner of a picture would be


def distort(
    rng: random.Random, pixels: NDArray[np.uint8], geoms: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Distort a share of the pictures by a lens of random strength; the corners stay.

    Args:
        rng: source of the choice.
        pixels: (H, W, 3).
        geoms: (H, W), which geom each pixel shows.

    """
    if rng.random() >= _SHARE:
        return pixels, geoms
    strength = rng.uniform(0.03, _STRONGEST)
    height, width = geoms.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    corner = ((height - 1) ** 2 + (width - 1) ** 2) / 4
    scale = (1 + strength * (x * x + y * y) / corner) / (1 + strength)
    columns, rows = x * scale + (width - 1) / 2, y * scale + (height - 1) / 2
    bent = cv2.remap(pixels, columns, rows, cv2.INTER_LINEAR)
    nearest = np.rint(rows).astype(int), np.rint(columns).astype(int)
    return bent.astype(np.uint8), geoms[nearest]
