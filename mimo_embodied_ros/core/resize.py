"""Resize images to the sizes that the model's processor chooses, and map positions back.

The model answers in pixels of the image that it sees. That image is made here, at a size that the
processor does not change any more, and the scale to the original image is kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from .errors import InvalidRequestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACTOR = 28  # patch of 14 pixels times a spatial merge of 2
MAX_ASPECT_RATIO = 200
_GAP = 1.5  # the bicubic step shrinks by at least so much after the image was halved by means


@dataclass(frozen=True)
class PixelLimits:
    """Smallest and largest image area of the loaded model's processor, in pixels.

    The sides of images are multiples of ``factor``, in pixels.
    """

    min_pixels: int
    max_pixels: int
    factor: int = FACTOR

    def __post_init__(self) -> None:
        """Refuse limits that no image can meet."""
        if not 1 <= self.min_pixels <= self.max_pixels:
            msg = (
                f'min_pixels={self.min_pixels} and max_pixels={self.max_pixels} are no range of '
                'areas; give 1 <= min_pixels <= max_pixels'
            )
            raise InvalidRequestError(msg)


@dataclass(frozen=True)
class Resize:
    """The scale between an original image and the one that the model sees, sizes in pixels.

    Plain ratios without a half-pixel offset, as the vendor's evaluation scales its ground truth
    (``lmms_eval/tasks/_task_utils/eval_utils.py``, ``normalize_bbox``).
    """

    width: int
    height: int
    model_width: int
    model_height: int

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """Map a position in the model's image to the original one."""
        return x * self.width / self.model_width, y * self.height / self.model_height

    def to_model(self, x: float, y: float) -> tuple[float, float]:
        """Map a position in the original image to the model's one."""
        return x * self.model_width / self.width, y * self.model_height / self.height


def smart_resize(height: int, width: int, limits: PixelLimits) -> tuple[int, int]:
    """Choose the size at which the model sees an image.

    Both sides become the nearest multiple of the factor; if the area is then outside of the limits,
    both are scaled into them, as ``Qwen2VLImageProcessor`` in transformers does.

    Args:
        height: rows of the original image.
        width: columns of the original image.
        limits: image areas of the loaded processor, and the factor.

    Returns:
        (height, width) in pixels.

    Raises:
        InvalidRequestError: a side is below 1 or one side is over 200 times the other.

    """
    if min(height, width) < 1:
        msg = f'the image is {width}x{height} pixels; send one with at least 1x1'
        raise InvalidRequestError(msg)
    if max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
        msg = (
            f'the image is {width}x{height} pixels and the model takes sides of at most '
            f'{MAX_ASPECT_RATIO}:1; crop it'
        )
        raise InvalidRequestError(msg)
    factor = limits.factor
    rows = round(height / factor) * factor
    columns = round(width / factor) * factor
    if rows * columns > limits.max_pixels:
        shrink = math.sqrt(height * width / limits.max_pixels)
        rows = max(factor, math.floor(height / shrink / factor) * factor)
        columns = max(factor, math.floor(width / shrink / factor) * factor)
    elif rows * columns < limits.min_pixels:
        grow = math.sqrt(limits.min_pixels / (height * width))
        rows = math.ceil(height * grow / factor) * factor
        columns = math.ceil(width * grow / factor) * factor
    return rows, columns


def stable_size(
    height: int, width: int, limits: PixelLimits, within: PixelLimits | None = None
) -> tuple[int, int]:
    """Choose the size at which the model sees an image, so that its processor keeps it.

    Args:
        height: rows of the original image.
        width: columns of the original image.
        limits: image areas of the loaded processor.
        within: other areas to choose the size from, as for a frame of a video; None: ``limits``.

    Returns:
        (height, width) in pixels.

    Raises:
        InvalidRequestError: `smart_resize` refuses the size, or the processor would resize the
            result once more, which would shift every coordinate.

    """
    rows, columns = smart_resize(height, width, within or limits)
    if max(rows, columns) > MAX_ASPECT_RATIO * min(rows, columns) or (
            smart_resize(rows, columns, limits) != (rows, columns)):
        # Only far from square: rounding leaves the ratio, or limits that are close to each other.
        msg = (
            f'an image of {width}x{height} pixels has no size within {limits.min_pixels} to '
            f'{limits.max_pixels} pixels and {MAX_ASPECT_RATIO}:1 whose sides are multiples of '
            f'{limits.factor}; crop it'
        )
        raise InvalidRequestError(msg)
    return rows, columns


def resize(
    pixels: NDArray[np.uint8], target: PixelLimits | tuple[int, int],
    size: tuple[int, int] | None = None,
) -> tuple[NDArray[np.uint8], Resize]:
    """Resize an image to what the model sees.

    The filter is PIL's bicubic one, as in the processor, whose own resize (also that of a remote
    server) then changes nothing. Much larger images are halved by means first, as PIL's
    ``reducing_gap`` does, in a tenth of the time.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        target: image areas of the loaded processor, or a (height, width) of `stable_size`.
        size: (width, height) of the original image if ``pixels`` is a smaller copy of it.

    Returns:
        (model_height, model_width, 3) uint8, RGB, and the scale between the two.

    Raises:
        InvalidRequestError: ``pixels`` is no such array, or as `stable_size` does.

    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        msg = f'pixels are {pixels.dtype} {pixels.shape}; give uint8 (height, width, 3), RGB'
        raise InvalidRequestError(msg)
    width, height = size or pixels.shape[1::-1]
    rows, columns = (
        stable_size(height, width, target) if isinstance(target, PixelLimits) else target)
    if (rows, columns) != pixels.shape[:2]:
        while min(pixels.shape[0] / rows, pixels.shape[1] / columns) >= 2 * _GAP:
            half = pixels.shape[1] // 2, pixels.shape[0] // 2
            pixels = np.asarray(cv2.resize(pixels, half, interpolation=cv2.INTER_AREA), np.uint8)
        image = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BICUBIC)
        pixels = np.asarray(image)
    return pixels, Resize(width, height, columns, rows)
