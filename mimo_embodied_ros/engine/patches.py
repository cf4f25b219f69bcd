"""Cut images into the vision tower's patches, faster than the image processor.

The processor converts, scales, normalises and copies a large float image, step by step. Here the
bytes are put in the order of the patches first, and a table then maps each byte to its float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mimo_embodied_ros.core.errors import ModelNotReadyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VALUES = 256


class Patcher:
    """Cuts images into normalised patches, bit for bit as the given image processor does.

    Raises:
        ModelNotReadyError: the processor does more than to scale, normalise and cut.

    """

    def __init__(self, processor: Any) -> None:
        """Learn the float of each byte from an image processor, and compare the results."""
        self.patch, self._merge = int(processor.patch_size), int(processor.merge_size)
        self._times = int(processor.temporal_patch_size)
        side = self.patch * self._merge
        columns = -(-_VALUES // side**2) * side
        rows = 2 * side  # two rows of tokens, so that the comparison finds a wrong order, too
        values = np.arange(rows * columns).reshape(rows, columns, 1) % _VALUES
        sample = ((values + np.array([0, 85, 170])) % _VALUES).astype(np.uint8)
        expected = processor(
            images=[sample], do_resize=False, input_data_format='channels_last',
            return_tensors='pt')['pixel_values'].numpy()
        channels = self._ordered(sample).transpose(4, 0, 1, 2, 3, 5, 6).reshape(3, -1)
        floats = expected.reshape(-1, 3, self._times, self.patch**2)[:, :, 0].transpose(1, 0, 2)
        self._table = np.zeros((3, _VALUES), np.float32)
        for channel in range(3):
            self._table[channel, channels[channel]] = floats[channel].ravel()
        if not np.array_equal(self(sample).numpy(), expected):
            raise ModelNotReadyError(
                'this image processor does more than to scale, normalise and cut into patches; '
                'take the preprocessor_config.json that belongs to the model'
            )

    def __call__(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Cut one image.

        Args:
            pixels: (height, width, 3) uint8, RGB; both sides are multiples of a token's side.

        Returns:
            (patches, 3 * times * patch * patch) float32; the patches of a token follow each other.

        """
        ordered = self._ordered(pixels)
        out = np.empty((*ordered.shape[:5], self._times, self.patch, self.patch), np.float32)
        for channel in range(3):
            first = out[:, :, :, :, channel, 0]
            np.take(self._table[channel], ordered[:, :, :, :, channel], out=first, mode='clip')
        out[:, :, :, :, :, 1:] = out[:, :, :, :, :, :1]
        return torch.from_numpy(out.reshape(-1, 3 * self._times * self.patch**2))

    def _ordered(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of the image, (rows, columns, merge, merge, 3, patch, patch)."""
        patch, merge = self.patch, self._merge
        rows, columns = (side // (patch * merge) for side in pixels.shape[:2])
        split = pixels.reshape(rows, merge, patch, columns, merge, patch, 3)
        ordered: NDArray[np.uint8] = split.transpose(0, 3, 1, 4, 6, 2, 5)
        return ordered
