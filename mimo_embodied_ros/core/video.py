"""Clips as videos: the model sees the frames of a camera in pairs, each pair with its time.

A video takes about half as many tokens as its frames would take as images, and tells the model how
much time is between them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .errors import InvalidRequestError
from .resize import FACTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .frames import Frame
    from .resize import PixelLimits, Resize

PAIR = 2  # frames that one temporal patch holds
DEFAULT_INTERVAL = 0.5  # seconds between frames whose stamps do not say it: 2 Hz, as the vendor's
# What MiMo-Embodied was evaluated with (XiaomiMiMo/MiMo-Embodied, README): 2 Hz, at most 256
# frames, 4096 tokens a frame and 16384 tokens a video.
MAX_FRAMES = 256
_VIDEO_PIXELS = 16384 * FACTOR**2


@dataclass(frozen=True)
class Video:
    """The frames of one camera, oldest first.

    Attributes:
        frames: (height, width, 3) uint8 each, RGB, all of one size, as the model sees them.
        interval: seconds between two frames.

    """

    frames: tuple[NDArray[np.uint8], ...]
    interval: float

    @property
    def pair_seconds(self) -> float:
        """Seconds between two pairs of frames, ``second_per_grid_ts`` of the model."""
        return PAIR * self.interval


def video_limits(limits: PixelLimits, count: int) -> PixelLimits:
    """Return the image areas for each of ``count`` frames, so that the whole video is bounded.

    As qwen-vl-utils does: the pixels of a video are shared by its pairs, and a frame keeps at least
    five hundredths more than the smallest area.
    """
    share = max(_VIDEO_PIXELS * PAIR // count, int(1.05 * limits.min_pixels))
    return replace(limits, max_pixels=max(limits.min_pixels, min(limits.max_pixels, share)))


def make_video(
    frames: Sequence[Frame], limits: PixelLimits
) -> tuple[Video, tuple[Resize, ...]]:
    """Make the video of a clip.

    Args:
        frames: of one camera, oldest first; their stamps give the time between them.
        limits: image areas of the loaded processor.

    Returns:
        The video, and the scale between each of its frames and the original.

    Raises:
        InvalidRequestError: there are more than ``MAX_FRAMES`` frames, or as ``resize`` does.

    """
    if len(frames) > MAX_FRAMES:
        msg = (f'the clip has {len(frames)} frames and the model takes {MAX_FRAMES}; send fewer, '
               'or lower the rate')
        raise InvalidRequestError(msg)
    each = video_limits(limits, len(frames))
    resized = [frame.resized(each) for frame in frames]
    if any(a.shape != b.shape for (a, _), (b, _) in itertools.pairwise(resized)):
        msg = 'the frames of a video differ in size; send frames of one size'
        raise InvalidRequestError(msg)
    pixels, scales = zip(*resized, strict=True)
    return Video(pixels, _interval(frames)), scales


def _interval(frames: Sequence[Frame]) -> float:
    """Seconds between two frames, by the stamps of the first and the last."""
    seconds = (frames[-1].stamp_ns - frames[0].stamp_ns) / 1e9
    return seconds / (len(frames) - 1) if seconds > 0 else DEFAULT_INTERVAL
