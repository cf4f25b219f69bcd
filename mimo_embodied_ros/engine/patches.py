"""Cut images and frames into the vision tower's patches, faster than transformers' processors.

A processor converts, scales, normalises and copies a large float image, step by step. Here the
bytes are put in the order of the patches first, and a table then maps each byte to its float.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mimo_embodied_ros.core.errors import ModelNotReadyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_VALUES = 256


class Patcher:
    """Cuts images and frames into normalised patches, bit for bit as transformers' processors do.

    Attributes:
        patch: side of a patch, pixels.
        times: frames that a patch holds.

    Raises:
        ModelNotReadyError: the processor does more than to scale, normalise and cut.

    """

    def __init__(self, processor: Any) -> None:
        """Learn the float of each byte from an image processor, and compare the results."""
        self.patch, self._merge = int(processor.patch_size), int(processor.merge_size)
        self.times = int(processor.temporal_patch_size)
        side = self.patch * self._merge
        columns = -(-_VALUES // side**2) * side
        rows = 2 * side  # two rows of tokens, so that the comparison finds a wrong order, too
        values = np.arange(rows * columns).reshape(rows, columns, 1) % _VALUES
        sample = ((values + np.array([0, 85, 170])) % _VALUES).astype(np.uint8)
        expected = processor(
            images=[sample], do_resize=False, input_data_format='channels_last',
            return_tensors='pt')['pixel_values'].numpy()
        channels = self._ordered(sample).transpose(4, 0, 1, 2, 3, 5, 6).reshape(3, -1)
        floats = expected.reshape(-1, 3, self.times, self.patch**2)[:, :, 0].transpose(1, 0, 2)
        self._table = np.zeros((3, _VALUES), np.float32)
        for channel in range(3):
            self._table[channel, channels[channel]] = floats[channel].ravel()
        self._video_table = _video_table(processor)
        if not np.allclose(self._video_table, self._table, atol=1e-5):
            self._video_table = self._table
        if not np.array_equal(self(sample).numpy(), expected):
            raise ModelNotReadyError(
                'this image processor does more than to scale, normalise and cut into patches; '
                'take the preprocessor_config.json that belongs to the model'
            )

    def __call__(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Cut one image, which is its own next frame.

        Args:
            pixels: (height, width, 3) uint8, RGB; both sides are multiples of a token's side.

        Returns:
            (patches, 3 * times * patch * patch) float32; the patches of a token follow each other.

        """
        return self._cut((pixels,), self._table)

    def pair(self, frames: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Cut frames of a video that follow each other, as the processor of videos does.

        Args:
            frames: as many as a patch holds, or fewer at the end, where the last one is repeated;
                each as an image, all of one size.

        Returns:
            As for an image.

        """
        return self._cut(frames, self._video_table)

    def _cut(
        self, frames: Sequence[NDArray[np.uint8]], table: NDArray[np.float32]
    ) -> torch.Tensor:
        rows, columns = (side // (self.patch * self._merge) for side in frames[0].shape[:2])
        out = np.empty(
            (rows, columns, self._merge, self._merge, 3, self.times, self.patch, self.patch),
            np.float32)
        for time, frame in enumerate(frames):
            ordered = self._ordered(frame)
            for channel in range(3):
                np.take(table[channel], ordered[:, :, :, :, channel],
                        out=out[:, :, :, :, channel, time], mode='clip')
        last = len(frames) - 1
        out[:, :, :, :, :, last + 1 :] = out[:, :, :, :, :, last : last + 1]
        return torch.from_numpy(out.reshape(-1, 3 * self.times * self.patch**2))

    def _ordered(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a view of the image, (rows, columns, merge, merge, 3, patch, patch)."""
        patch, merge = self.patch, self._merge
        rows, columns = (side // (patch * merge) for side in pixels.shape[:2])
        split = pixels.reshape(rows, merge, patch, columns, merge, patch, 3)
        ordered: NDArray[np.uint8] = split.transpose(0, 3, 1, 4, 6, 2, 5)
        return ordered


def _video_table(processor: Any) -> NDArray[np.float32]:
    """Return the float of each byte, (channels, 256), that ``Qwen2VLVideoProcessor`` gives it.

    It normalises without scaling before, so that some floats differ in their last bit from those of
    an image processor with the same settings.
    """
    mean, std = (torch.tensor(values)[:, None] * (1.0 / processor.rescale_factor)
                 for values in (processor.image_mean, processor.image_std))
    table: NDArray[np.float32] = ((torch.arange(_VALUES).float() - mean) / std).numpy()
    return table
