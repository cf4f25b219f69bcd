"""Clips as videos: the model sees the frames of a camera in pairs, each pair with its time.

A video takes about half as many tokens as its frames would take as images, and tells the model how
much time is between them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from .errors import InvalidRequestError
from .resize import FACTOR, PixelLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .frames import Frame
    from .resize import Resize

PAIR = 2  # frames that one temporal patch holds
DEFAULT_INTERVAL = 0.5  # seconds between frames whose times are not known: 2 Hz, as the vendor's
_GAP = 1.5  # a longer step than so many usual ones is a gap
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

    @property
    def tokens(self) -> int:
        """Tokens of the prompt that stand for it."""
        height, width, _ = map(int, self.frames[0].shape)
        return -(-len(self.frames) // PAIR) * height * width // FACTOR**2


def video_limits(limits: PixelLimits, count: int) -> PixelLimits:
    """Return the image areas for each of ``count`` frames, so that the whole video is bounded.

    As qwen-vl-utils does: the pixels of a video are shared by its pairs, and a frame keeps at least
    five hundredths more than the smallest area.
    """
    share = max(_VIDEO_PIXELS * PAIR // count, int(1.05 * limits.min_pixels))
    return PixelLimits(limits.min_pixels, max(limits.min_pixels, min(limits.max_pixels, share)))


def frames_of_video(clip: Sequence[Frame]) -> tuple[Frame, ...]:
    """Choose the frames of a clip of a camera that become its video, the newest one in any case.

    They have the size of the newest one, which the camera may have changed; of more than
    ``MAX_FRAMES`` every second one, or third one, and so on, is taken.
    """
    newest = clip[-1]
    frames = list(itertools.takewhile(
        lambda frame: (frame.width, frame.height) == (newest.width, newest.height),
        reversed(clip)))
    return tuple(reversed(frames[:: -(-len(frames) // MAX_FRAMES)]))


def make_video(
    frames: Sequence[Frame], limits: PixelLimits
) -> tuple[Video, tuple[Resize, ...]]:
    """Make the video of a clip.

    The model knows one time between all frames. Where some are missing in between, the picture
    before the gap is therefore shown until its end, as a player does.

    Args:
        frames: of one camera, oldest first; their stamps give the time between them.
        limits: image areas of the loaded processor.

    Returns:
        The video, and the scale between each of the given frames and the original.

    Raises:
        InvalidRequestError: there are more than ``MAX_FRAMES`` frames, or as ``resize`` does.

    """
    if len(frames) > MAX_FRAMES:
        msg = (f'the clip has {len(frames)} frames and the model takes {MAX_FRAMES}; send fewer, '
               'or lower the rate')
        raise InvalidRequestError(msg)
    steps, interval = _steps(frames)
    each = video_limits(limits, sum(steps) + 1)
    resized = [frame.resized(each) for frame in frames]
    if any(a.shape != b.shape for (a, _), (b, _) in itertools.pairwise(resized)):
        msg = 'the frames of a video differ in size; send frames of one size'
        raise InvalidRequestError(msg)
    pixels, scales = zip(*resized, strict=True)
    shown = itertools.chain.from_iterable(map(itertools.repeat, pixels, (*steps, 1)))
    return Video(tuple(shown), interval), scales


def _steps(frames: Sequence[Frame]) -> tuple[list[int], float]:
    """How long each frame but the last is shown, in intervals, and their length in seconds."""
    times = [frame.stamp_ns / 1e9 for frame in frames]
    if times.count(0) > 1:  # one of them may be the beginning of time
        times = [frame.arrived for frame in frames]
    seconds = [later - earlier for earlier, later in itertools.pairwise(times)]
    even = [1] * len(seconds)
    if times.count(0) > 1 or min(seconds, default=0) < 0 or not sum(seconds):
        return even, DEFAULT_INTERVAL
    usual = median(seconds)
    steps = [round(s / usual) if usual and s > _GAP * usual else 1 for s in seconds]
    # a gap that is longer than all the rest is no part of one scene, and would only cost tokens
    if sum(steps) >= min(2 * len(frames), MAX_FRAMES):
        steps = even
    return steps, sum(seconds) / sum(steps)
