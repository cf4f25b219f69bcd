"""Videos of clips: the time between frames, and their sizes."""

from __future__ import annotations

import numpy as np
import pytest

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.core.video import (
    DEFAULT_INTERVAL,
    MAX_FRAMES,
    Video,
    frames_of_video,
    make_video,
)

LIMITS = PixelLimits(4 * 784, 60 * 784)


def clip(*stamps: float, arrived: tuple[float, ...] = ()) -> list[Frame]:
    """Frames of these stamps, seconds, each of a shade that is its number."""
    times = arrived or (0.0,) * len(stamps)
    return [Frame(np.full((56, 84, 3), number % 256, np.uint8), round(stamp * 1e9), arrived=time)
            for number, (stamp, time) in enumerate(zip(stamps, times, strict=True))]


def shades(video: Video) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in video.frames]


@pytest.mark.parametrize(('stamps', 'shown', 'interval'), [
    ((7.0, 7.4, 7.8, 8.2), [0, 1, 2, 3], 0.4),
    ((0.0, 0.4, 0.8), [0, 1, 2], 0.4),  # of a file, or a simulator's first second
    ((7.0, 7.3, 7.8, 8.2), [0, 1, 2, 3], 0.4),  # uneven
    ((7.0, 7.5, 8.0, 9.5, 10.0), [0, 1, 2, 2, 2, 3, 4], 0.5),  # two frames were lost
    ((7.0, 7.3333, 8.0, 8.3333, 9.0, 9.3333), [0, 1, 2, 3, 4, 5], 0.467),  # 3 Hz, taken at 2 Hz
    ((7.0, 7.5, 8.0, 90.0), [0, 1, 2, 3], round(83 / 3, 3)),  # a gap that is no part of the scene
    ((7.0, 7.0, 7.0), [0, 1, 2], DEFAULT_INTERVAL),
    ((0.0, 0.0, 0.0), [0, 1, 2], DEFAULT_INTERVAL),
    ((7.0,), [0], DEFAULT_INTERVAL),
])
def test_the_time_between_frames_is_that_of_their_stamps(
    stamps: tuple[float, ...], shown: list[int], interval: float
) -> None:
    video, scales = make_video(clip(*stamps), LIMITS)
    assert shades(video) == shown
    assert video.interval == pytest.approx(interval)
    assert video.pair_seconds == pytest.approx(2 * interval)
    assert len(scales) == len(shown)
    assert video.tokens == (len(shown) + 1) // 2 * 6


def test_frames_without_stamps_have_the_times_of_their_arrival() -> None:
    frames = clip(0.0, 0.0, 0.0, arrived=(5.0, 5.2, 5.4))
    assert make_video(frames, LIMITS)[0].interval == pytest.approx(0.2)
    prompt = build_prompt(Query(TASKS['space_number'], 'How far?', tuple(frames)), LIMITS)
    assert prompt.videos[0].interval == pytest.approx(0.2)


def test_a_long_clip_is_thinned_evenly_up_to_its_newest_frame() -> None:
    frames = clip(*(1 + 0.1 * number for number in range(2 * MAX_FRAMES + 2)))
    chosen = frames_of_video(frames)
    assert [f.stamp_ns for f in chosen] == [f.stamp_ns for f in frames[::3]]
    assert chosen[-1] is frames[-1]
    video, _ = make_video(chosen, LIMITS)
    assert video.interval == pytest.approx(0.3)
    assert len(frames_of_video(frames[:3])) == 3
    with pytest.raises(InvalidRequestError, match=f'takes {MAX_FRAMES}; send fewer'):
        make_video(frames, LIMITS)
