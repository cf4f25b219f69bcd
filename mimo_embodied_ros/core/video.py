"""Clips as videos: the model sees the frames of a camera in pairs, each pair with its time.

A video takes about half as many tokens as its frames would take as images, and tells the model how
much time is between them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from .errors import InvalidRequestError
from .resize import FACTOR, PixelLimits, stable_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .frames import Frame
    from .resize import Resize

PAIR = 2  # frames that one temporal patch holds
DEFAULT_INTERVAL = 0.5  # seconds between frames whose times are not known: 2 Hz, as the vendor's
# A longer step than so many usual ones is a gap. One of two comes of rates that do not divide the
# camera's: of 3 Hz taken at 2 Hz, every second image and then the next one.
_GAP = 2.5
# What MiMo-Embodied was evaluated with (XiaomiMiMo/MiMo-Embodied): 2 Hz, at most 256 frames and
# 16384 tokens a video (README), 128 to 768 tokens a frame (lmms_eval/models/model_utils/qwen/
# vision_process.py, which overrides the 4096 of the README). It told the model 2 Hz also where 4 or
# 256 frames were another rate.
MAX_FRAMES = 256
_VIDEO_PIXELS = 16384 * FACTOR**2
_FRAME_PIXELS = PixelLimits(128 * FACTOR**2, 768 * FACTOR**2)


@dataclass(frozen=True)
class Video:
    """The frames of one camera, oldest first.

    Attributes:
        frames: (height, width, 3) uint8 each, RGB, all of one size, as the model sees them.
        interval: seconds between two frames.
        factor: side of a token, pixels.

    """

    frames: tuple[NDArray[np.uint8], ...]
    interval: float
    factor: int = FACTOR

    @property
    def pair_seconds(self) -> float:
        """Seconds between two pairs of frames, ``second_per_grid_ts`` of the model."""
        return PAIR * self.interval

    @property
    def tokens(self) -> int:
        """Tokens of the prompt that stand for it."""
        height, width, _ = map(int, self.frames[0].shape)
        return -(-len(self.frames) // PAIR) * height * width // self.factor**2


def video_limits(limits: PixelLimits, count: int) -> PixelLimits:
    """Return the image areas for each of ``count`` frames, so that the whole video is bounded.

    As qwen-vl-utils does: the pixels of a video are shared by its pairs, and a frame keeps at least
    five hundredths more than the smallest area.
    """
    least = limits.min_pixels
    if least < _FRAME_PIXELS.min_pixels <= limits.max_pixels:
        least = _FRAME_PIXELS.min_pixels
    share = min(_FRAME_PIXELS.max_pixels, _VIDEO_PIXELS * PAIR // count)
    most = min(limits.max_pixels, max(share, int(1.05 * least)))
    return replace(limits, min_pixels=least, max_pixels=max(least, most))


def frames_of_video(clip: Sequence[Frame]) -> tuple[Frame, ...]:
    """Choose the frames of a clip that become its video: the newest one, and evenly before it.

    Of more than ``MAX_FRAMES`` every second one, or third one, and so on, is taken.
    """
    return tuple(reversed(clip[::-1][:: -(-len(clip) // MAX_FRAMES)]))


def make_video(
    frames: Sequence[Frame], limits: PixelLimits
) -> tuple[Video, tuple[Resize, ...]]:
    """Make the video of a clip.

    All frames get the size of the newest one, which may differ from theirs where the camera has
    changed its resolution. The model knows one time between all frames: where some are missing in
    between, the picture before the gap is therefore shown until its end, as a player does.

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
    steps, interval = _steps(frames)
    newest = frames[-1]
    size = stable_size(
        newest.height, newest.width, limits, video_limits(limits, sum(steps)))
    shown = itertools.chain.from_iterable(map(itertools.repeat, frames, steps))
    pixels, scales = zip(*[frame.resized(size) for frame in shown], strict=True)
    return Video(pixels, interval, limits.factor), scales


def _steps(frames: Sequence[Frame]) -> tuple[list[int], float]:
    """For how many intervals each frame is shown, and the seconds of one.

    Stamps waver. Times of a video's pairs are cut to whole positions, and 0.4999 s would give other
    ones than 0.5 s; hence whole milliseconds.
    """
    times = [frame.stamp_ns / 1e9 for frame in frames]
    if times.count(0) > 1:  # one of them may be the beginning of time
        times = [frame.arrived for frame in frames]
    seconds = [later - earlier for earlier, later in itertools.pairwise(times)]
    even = [1] * len(frames)
    if times.count(0) > 1 or min(seconds, default=0) < 0 or not sum(seconds):
        return even, DEFAULT_INTERVAL
    usual = median(seconds)
    steps = [round(s / usual) if usual and s > _GAP * usual else 1 for s in seconds] + [1]
    # a gap that is longer than all the rest is no part of one scene, and would only cost tokens
    if sum(steps) > min(2 * len(frames), MAX_FRAMES):
        steps = even
    return steps, round(sum(seconds) / (sum(steps) - 1), 3) or DEFAULT_INTERVAL
