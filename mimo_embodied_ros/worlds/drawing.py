"""Shared by drawn worlds: shades, sub-pixel coordinates, and the lighting of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

FRACTION_BITS = 4
"""Fractional bits of the coordinates given to OpenCV: its parameter ``shift``."""


def shaded(colour: tuple[float, ...], factor: float) -> tuple[float, ...]:
    """Return the colour, darker for a factor below 1 and lighter for one above."""
    if factor <= 1:
        return tuple(c * factor for c in colour)
    return tuple(c + (255 - c) * (factor - 1) for c in colour)


def fixed_point(values: NDArray[np.float64] | list[tuple[float, float]]) -> NDArray[np.int32]:
    """Return pixel coordinates as OpenCV's integers with ``FRACTION_BITS``."""
    return np.round(np.asarray(values, np.float64) * (1 << FRACTION_BITS)).astype(np.int32)


def add_lighting(rng: random.Random, picture: Picture) -> Picture:
    """Return the picture with a random brightness, colour cast, gradient and sensor noise."""
    height, width = picture.shape[:2]
    gain = rng.uniform(0.75, 1.12) * np.array([rng.uniform(0.95, 1.05) for _ in range(3)])
    slope_x, slope_y = rng.uniform(-0.15, 0.15), rng.uniform(-0.12, 0.12)
    ramp = (1 + slope_x * np.linspace(-1, 1, width)[None, :]
            + slope_y * np.linspace(-1, 1, height)[:, None])
    lit = picture * (ramp[:, :, None] * gain).astype(np.float32)
    sigma = rng.choice((0.0, 0.0, 2.0, 5.0))
    if sigma:
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal((height, width, 1))
        lit = lit + sigma * noise.astype(np.float32)
    return np.clip(lit, 0, 255).astype(np.uint8)
