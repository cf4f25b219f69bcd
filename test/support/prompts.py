"""Prompts with images of random pixels; without torch."""

from __future__ import annotations

import numpy as np

from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.resize import PixelLimits, resize

LIMITS = PixelLimits(4 * 28 * 28, 60 * 28 * 28)  # of the model with random weights


def make_prompt(
    text: str = 'the red cube', *, seed: int = 0, images: int = 1, limits: PixelLimits = LIMITS
) -> Prompt:
    """Make a prompt whose images are within the limits; the same seed gives the same images."""
    rng = np.random.default_rng(seed)
    pairs = [
        resize(rng.integers(0, 255, (90, 150, 3), dtype=np.uint8), limits) for _ in range(images)
    ]
    return Prompt(text, tuple(p for p, _ in pairs), tuple(s for _, s in pairs), 40)
