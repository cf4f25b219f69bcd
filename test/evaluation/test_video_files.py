"""Video files: which frames are read, at what times and sizes, and files that are not whole."""

from __future__ import annotations

import logging
import struct
import sys
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mimo_embodied_ros.core.errors import BadEncodingError, InvalidRequestError
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.video import MAX_FRAMES, make_video
from mimo_embodied_ros.videos import VideoFile, frame_number, is_video
from support.videos import greys, write_video

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mimo_embodied_ros.core.frames import Frame

LIMITS = PixelLimits(4 * 28 * 28, 1280 * 28 * 28)


def numbers(frames: Iterable[Frame]) -> list[int]:
    """Which of the grey frames these are."""
    return [round(float(frame.pixels.mean()) / 6) for frame in frames]


def times(frames: Iterable[Frame]) -> list[float]:
    return [frame.stamp_ns / 1e9 for frame in frames]


@pytest.mark.parametrize(('total', 'seconds', 'rate', 'number'), [
    (300, 10, 2, 20), (300, 10.6, 2, 20), (300, 11, 2, 22), (300, 10, 1, 10),  # even numbers
    (30, 1, 2, 4), (3, 0.1, 2, 2), (1, 0, 2, 1),  # four at least, where there are so many
    (9000, 300, 2, MAX_FRAMES), (20, 10, 30, 20),
])
def test_number_of_frames_as_qwen_vl_utils_has_it(
    total: int, seconds: float, rate: float, number: int
) -> None:
    assert frame_number(total, seconds, rate) == number


@pytest.mark.parametrize('name', ['a.mp4', 'a.avi', 'a.webm', 'a.mkv', 'a.gif', 'noending'])
def test_two_frames_a_second_with_their_times(tmp_path: Path, name: str) -> None:
    file = write_video(tmp_path / name, greys(41))
    assert is_video(file)
    video = VideoFile(file)
    assert video.times == pytest.approx(np.arange(41) / 10)
    frames = video.frames(LIMITS)
    # 4.1 s at 2 Hz; numbers 0, 5.71, 11.43 ... 40, rounded
    assert times(frames) == pytest.approx([0, 0.6, 1.1, 1.7, 2.3, 2.9, 3.4, 4.0])
    assert numbers(frames) == [0, 6, 11, 17, 23, 29, 34, 40]
    assert make_video(frames, LIMITS)[0].interval == pytest.approx(4 / 7, abs=1e-3)
    assert len(video.frames(LIMITS, rate=4)) == 16
    # as RoboVQA chooses eight of them
    assert numbers(video.frames(LIMITS, count=8)) == [0, 5, 11, 17, 22, 28, 34, 40]
    assert numbers(video.frames(count=1)) == [40]
    assert numbers(video.frames(LIMITS, count=50)) == [*range(41)]


def test_frames_are_kept_at_the_size_that_the_model_sees(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (180, 320, 3), np.uint8)
    video = VideoFile(write_video(tmp_path / 'a.mp4', [noise] * 20, rate=2))
    limits = PixelLimits(4 * 28 * 28, 50 * 28 * 28)
    frames = video.frames(limits)
    assert len(frames) == 20
    assert {f.pixels.shape for f in frames} == {(140, 252, 3)}
    assert {(f.width, f.height) for f in frames} == {(320, 180)}
    seen, scales = make_video(frames, limits)
    assert seen.frames[3] is frames[3].pixels  # nothing is resized again
    assert scales[0].to_image(126, 70) == (160, 90)
    (whole,) = video.frames(count=1)
    assert whole.pixels.shape == (180, 320, 3)
    # many pairs share what a video may have, and images do not
    wide = VideoFile(write_video(tmp_path / 'b.mp4', greys(120, 560, 448), rate=2))
    assert wide.frames(LIMITS)[0].pixels.size // 3 <= 16384 * 2 // 120 * 28 * 28 < 560 * 448
    assert wide.frames(LIMITS, count=2, as_images=True)[0].pixels.shape == (448, 560, 3)


def test_frames_of_unequal_length_are_chosen_by_their_time(tmp_path: Path) -> None:
    stamps = [0, 0.04, 0.08, 0.12, 0.16, 1.0, 2.0, 3.0, 3.5, 3.96]
    video = VideoFile(write_video(tmp_path / 'a.mkv', greys(10), stamps))
    assert video.times == pytest.approx(stamps)
    frames = video.frames(LIMITS, rate=1)
    assert times(frames) == pytest.approx([0, 1.0, 3.0, 3.96])
    assert numbers(frames) == [0, 5, 7, 9]


def test_a_video_of_a_phone_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :32] = 255  # the upper left of what the sensor sees
    file = write_video(tmp_path / 'a.mp4', [pixels] * 4)
    data = file.read_bytes()
    header = data.index(b'tkhd') + 4 + 40  # a matrix of nine numbers
    quarter = struct.pack('>9i', 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # clockwise
    file.write_bytes(data[:header] + quarter + data[header + 36:])
    frame = VideoFile(file).frames()[0]
    assert (frame.width, frame.height) == (48, 64)
    assert frame.pixels[:30, 26:].mean() > 240
    assert frame.pixels[34:].mean() < 15
    assert frame.pixels[:, :22].mean() < 15


def test_of_a_truncated_or_damaged_file_comes_what_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (60, 96, 128, 3), np.uint8)
    file = write_video(tmp_path / 'a.avi', noise)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    frames = VideoFile(file).frames(LIMITS)
    assert 4 <= len(frames) < 12
    assert times(frames) == sorted(times(frames))
    cut = write_video(tmp_path / 'a.mp4', noise, options={'movflags': 'faststart'})
    data = cut.read_bytes()
    begin = data.index(b'mdat') + 4
    half = (begin + len(data)) // 2
    cut.write_bytes(data[:half] + b'\0' * (len(data) - half))
    with caplog.at_level(logging.WARNING):
        frames = VideoFile(cut).frames(LIMITS)
    assert 4 <= len(frames) < 12
    assert f'{cut} is damaged: {len(frames)} of 12 frames can be read' in caplog.text
    cut.write_bytes(data[:begin])
    with pytest.raises(BadEncodingError, match=r'no frames|cannot be read|no frame can'):
        VideoFile(cut).frames(LIMITS)


def test_what_is_no_video_is_refused_with_the_cause(tmp_path: Path) -> None:
    write_video(tmp_path / 'whole.mp4', greys(5))
    (tmp_path / 'cut.mp4').write_bytes((tmp_path / 'whole.mp4').read_bytes()[:-400])
    (tmp_path / 'text.mp4').write_text('not a video')
    (tmp_path / 'text').write_text('not a video')
    (tmp_path / 'list.m3u8').write_text(
        f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/whole.mp4\n#EXT-X-ENDLIST\n')
    with wave.open(str(tmp_path / 'sound.wav'), 'wb') as sound:
        sound.setparams((1, 2, 8000, 0, 'NONE', ''))
        sound.writeframes(b'\0' * 4000)
    Image.new('RGB', (8, 6)).save(tmp_path / 'still.gif')
    Image.new('RGB', (8, 6)).save(tmp_path / 'picture.mp4', 'PNG')
    for name, cause in (
            ('cut.mp4', 'cannot be read as a video (Invalid data'), ('text.mp4', 'Invalid data'),
            ('list.m3u8', 'cannot be read'), ('sound.wav', 'no video stream')):
        with pytest.raises(BadEncodingError) as error:
            VideoFile(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name))
        assert cause in str(error.value)
    with pytest.raises(InvalidRequestError, match='there is no file'):
        VideoFile(tmp_path / 'none.mp4')
    with pytest.raises(InvalidRequestError, match='give positive numbers'):
        VideoFile(tmp_path / 'whole.mp4').frames(rate=0)
    assert [is_video(tmp_path / name) for name in (
        'whole.mp4', 'cut.mp4', 'text', 'sound.wav', 'still.gif', 'picture.mp4', 'none.mp4',
    )] == [True, True, False, False, False, False, False]


def test_without_pyav_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_video(tmp_path / 'a.mp4', greys(5))
    monkeypatch.setitem(sys.modules, 'av', None)
    assert is_video(file)
    with pytest.raises(InvalidRequestError, match=r'PyAV.*pip install -r .*video\.txt'):
        VideoFile(file)


def test_more_pixels_than_a_picture_may_have_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_video(tmp_path / 'a.mp4', greys(2))
    monkeypatch.setattr('mimo_embodied_ros.videos.MAX_PIXELS', 64 * 48 - 1)
    with pytest.raises(BadEncodingError, match='64x48 pixels, the limit is') as error:
        VideoFile(file)
    assert error.value.cause == 'too many pixels'


