"""Clips as videos: sizes, times, and the way back to the original frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.video import MAX_FRAMES, make_video

if TYPE_CHECKING:
    from mimo_embodied_ros.core.answers import Affordances

PUBLISHED = PixelLimits(4 * 28**2, 4096 * 28**2)
TINY = PixelLimits(19600, 38416)


def frame(width: int, height: int, stamp_ns: int = 0) -> Frame:
    return Frame(np.zeros((height, width, 3), np.uint8), stamp_ns)


def clip(width: int, height: int, count: int, interval_ns: int = 500_000_000) -> list[Frame]:
    pixels = np.zeros((height, width, 3), np.uint8)
    return [Frame(pixels, i * interval_ns, image_id='same') for i in range(count)]


@pytest.mark.parametrize(('width', 'height', 'count', 'limits', 'tokens'), [
    # a frame has at most 768 tokens, where an image of this size has 1196
    (1280, 720, 8, PUBLISHED, 4 * 36 * 20),
    # 16384 tokens are shared by 64 pairs
    (1280, 720, 128, PUBLISHED, 64 * 21 * 12),
    # at 128 pairs a frame keeps 1.05 times 128 tokens, which no whole number of tokens has here
    (1280, 720, MAX_FRAMES, PUBLISHED, 128 * 15 * 8),
    # a small frame is enlarged to 128 tokens
    (320, 240, 2, PUBLISHED, 14 * 10),
    # the embedded model has smaller limits of its own
    (320, 240, 2, TINY, 8 * 6),
])
def test_a_videos_frames_are_as_large_as_the_vendors(
    width: int, height: int, count: int, limits: PixelLimits, tokens: int
) -> None:
    frames = [Frame(np.zeros((height, width, 3), np.uint8))] * count
    video, scales = make_video(frames, limits)
    rows, columns = video.frames[0].shape[:2]
    assert (count + 1) // 2 * rows * columns // 28**2 == tokens
    assert len(video.frames) == len(scales) == count
    assert (scales[0].width, scales[0].model_height) == (width, rows)


def test_frames_of_other_sizes_become_as_large_as_the_newest() -> None:
    """A camera changed its resolution, then its orientation."""
    frames = [frame(1280, 720), frame(320, 240), frame(480, 640)]
    video, scales = make_video(frames, PUBLISHED)
    assert {pixels.shape for pixels in video.frames} == {(644, 476, 3)}
    assert [(s.width, s.height, s.model_width, s.model_height) for s in scales] == [
        (1280, 720, 476, 644), (320, 240, 476, 644), (480, 640, 476, 644)]


@pytest.mark.parametrize(('stamps_ms', 'interval'), [
    ([0], 0.5), ([7, 7], 0.5), ([0, 250, 500], 0.25), ([0, 90, 210, 300], 0.1),
    ([0, 499.9, 999.99], 0.5),  # else its pairs would be cut to 1, 3, 5, not 2, 4, 6
])
def test_the_time_between_frames_is_in_their_stamps(
    stamps_ms: list[float], interval: float
) -> None:
    video, _ = make_video([frame(28, 28, round(ms * 1e6)) for ms in stamps_ms], TINY)
    assert video.interval == interval
    assert video.pair_seconds == 2 * interval


def test_too_many_frames_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match='257 frames and the model takes 256'):
        make_video([frame(28, 28)] * (MAX_FRAMES + 1), TINY)


def test_frames_of_a_video_are_resized_once_for_all_requests() -> None:
    frames = clip(640, 480, 2)
    first, _ = make_video(frames, TINY)
    second, _ = make_video(frames, TINY)
    assert first.frames[0] is second.frames[0]


def test_positions_in_a_video_are_of_its_newest_frame() -> None:
    frames = [frame(640, 480), frame(1280, 960)]
    video, scales = make_video(frames, TINY)
    prompt = Prompt('x', (), scales, 5, videos=(video,))
    answer = parse_answer(Query(Task.POINTS, 'a cup', tuple(frames)), prompt, '[[112, 84]]', 'stop')
    content: Affordances = answer.content  # type: ignore[assignment]
    (point,) = content.points
    assert (point.x, point.y) == (112 * 1280 / scales[1].model_width,
                                  84 * 960 / scales[1].model_height)
