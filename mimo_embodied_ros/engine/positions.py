"""Positions of tokens in time, row and column (M-RoPE of Qwen2.5-VL, arXiv:2502.13923).

They are computed here, and not by ``get_rope_index`` of transformers, because libraries get them
wrong without an error. Of transformers' releases, 5.3.0 to 5.5.3 multiply the temporal start of a
still image by ``tokens_per_second``, 5.3.0 to 5.5.4 that of a video, 4.57 and many later ones
drop the fraction of the seconds between the pairs of a video, and since 5.3.0 the text after a
video begins before the video's end if its time is larger than its rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class Grid(NamedTuple):
    """The tokens of an image or a video.

    Attributes:
        pairs: pairs of frames; 1 for an image.
        rows: of tokens in each.
        columns: of tokens in each.
        step: positions in time from one pair to the next, the seconds between them times the
            checkpoint's ``tokens_per_second``; it is no whole number.

    """

    pairs: int
    rows: int
    columns: int
    step: float = 0.0

    @property
    def tokens(self) -> int:
        """How many there are."""
        return self.pairs * self.rows * self.columns


def mrope_positions(parts: Iterable[int | Grid]) -> NDArray[np.int64]:
    """Return the positions of all tokens of a prompt.

    The three positions of a text's token are the same. An image or a video begins at the next
    position on all axes, and what follows it begins after its largest one.

    Args:
        parts: of the prompt, in its order: the number of tokens of a text, or a grid.

    Returns:
        (tokens, 3): time, row and column.

    """
    positions, start = [np.zeros((0, 3), np.int64)], 0
    for part in parts:
        if isinstance(part, Grid):
            # single precision as where the model was trained, so that times are rounded alike
            times = np.arange(part.pairs, dtype=np.float32) * np.float32(part.step)
            axes = times.astype(np.int64), np.arange(part.rows), np.arange(part.columns)
            own = np.stack(np.meshgrid(*axes, indexing='ij'), -1).reshape(-1, 3)
        else:
            own = np.arange(part)[:, None].repeat(3, 1)
        positions.append(start + own)
        start += int(own.max(initial=-1)) + 1
    return np.concatenate(positions)
