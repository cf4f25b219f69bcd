"""Read video files: some of their frames, each with its time in the file.

The frames are chosen as in the evaluation of MiMo-Embodied (``smart_nframes`` of qwen-vl-utils, and
``linspace`` over the frames): two a second, an even number, at least 4 and at most 256. They are
decoded one by one and kept at the size that the model sees, so that a long video needs little
memory.
"""

from __future__ import annotations

import contextlib
import logging
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from .core.errors import BadEncodingError, InvalidRequestError
from .core.files import reason
from .core.frames import Frame
from .core.resize import resize, stable_size
from .core.video import MAX_FRAMES, PAIR, video_limits
from .pictures import MAX_PIXELS
from .share import import_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .core.resize import PixelLimits

RATE = 2.0
"""Frames a second that the model sees."""

_MIN_FRAMES = 4
# A playlist must not lead to other files or to the network.
_OPTIONS = {'protocol_whitelist': 'none'}


def is_video(path: Path) -> bool:
    """Whether a file is a video by its content: a moving GIF is one, pictures are not.

    The name decides only about a file that nothing can read, which is then reported as a video.
    """
    with contextlib.suppress(Exception), Image.open(path) as picture:  # PIL raises many types
        return picture.format == 'GIF' and getattr(picture, 'is_animated', False)
    if (mimetypes.guess_type(path.name)[0] or '').startswith('video/'):
        return path.is_file()
    try:
        VideoFile(path)
    except (BadEncodingError, InvalidRequestError):
        return False
    return True


def frame_number(total: int, seconds: float, rate: float = RATE) -> int:
    """Return how many frames of a video the model sees, an even number where there are two.

    Args:
        total: frames of the video.
        seconds: its duration.
        rate: frames a second.

    """
    number = min(max(seconds * rate, _MIN_FRAMES), MAX_FRAMES, total)
    return max(int(number) // PAIR * PAIR, 1)


def kept_frame(
    pixels: NDArray[np.uint8], stamp_ns: int, limits: PixelLimits | None = None, count: int = 0
) -> Frame:
    """Make a frame that is kept at the size that the model sees.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        stamp_ns: of the frame.
        limits: image areas of the model; None: keep it whole.
        count: frames of the video that it belongs to; 0: it is an image.

    Raises:
        InvalidRequestError: as ``stable_size`` does.

    """
    height, width = pixels.shape[:2]
    if limits is not None:
        within = video_limits(limits, count) if count else None
        pixels, _ = resize(pixels, stable_size(height, width, limits, within))
    return Frame(pixels, stamp_ns, size=(width, height))


class VideoFile:
    """A video file.

    Attributes:
        path: the file.
        times: (frames,) float64, of all frames that it shows, seconds from the first one, rising.

    """

    def __init__(self, path: str | Path) -> None:
        """Read the times of the frames; nothing is decoded yet.

        Raises:
            InvalidRequestError: there is no such file, or PyAV is not installed.
            BadEncodingError: it is no video, or it is damaged or too large.

        """
        self.path = Path(path)
        if not self.path.is_file():
            msg = f'there is no file {path}'
            raise InvalidRequestError(msg)
        self._keys: list[int] = []  # of the frames, in the order in which they are shown
        with self._stream() as (container, stream):
            if stream.width * stream.height > MAX_PIXELS:
                msg = (f'{path}: {stream.width}x{stream.height} pixels, the limit is '
                       f'{MAX_PIXELS}; scale the video down')
                raise BadEncodingError(msg, cause='too many pixels')
            packets = [packet for packet in _packets(container, stream) if not packet.is_discard]
            stamps = [packet.dts if packet.pts is None else packet.pts for packet in packets]
            self._timed = None not in stamps and len(set(stamps)) > len(stamps) // 2
            if self._timed:
                self._keys, second = sorted(set(stamps)), float(stream.time_base)
            else:  # a bare stream
                self._keys = list(range(len(packets)))
                second = 1 / float(stream.average_rate or stream.guessed_rate or 25)
        if not self._keys:
            msg = f'{path} has no frames; record or copy it again'
            raise BadEncodingError(msg, cause='damaged')
        self.times: NDArray[np.float64] = (np.array(self._keys) - self._keys[0]) * second

    def number(self, rate: float = RATE) -> int:
        """Return how many frames are chosen at this rate, frames a second."""
        total = len(self.times)
        seconds = self.times[-1] * total / max(total - 1, 1)  # the last one is shown as long, too
        return frame_number(total, seconds, rate)

    def frames(
        self, limits: PixelLimits | None = None, *, rate: float = RATE, count: int = 0,
        as_images: bool = False,
    ) -> tuple[Frame, ...]:
        """Choose and decode frames, oldest first; of a damaged file those that can be read.

        Args:
            limits: image areas of the model; None: keep the frames whole.
            rate: frames a second.
            count: number of frames in place of a rate, evenly chosen as RoboVQA does; 1: the last.
            as_images: keep each frame as large as an image may be; else as one of a video.

        Raises:
            InvalidRequestError: ``rate`` or ``count`` is no such number, or as ``kept_frame`` does.
            BadEncodingError: no frame can be read.

        """
        if not 0 < rate < float('inf') or count < 0:
            msg = f'{rate:g} frames a second, {count} in all: give positive numbers'
            raise InvalidRequestError(msg)
        chosen = self._choose(rate, count)
        number = 0 if as_images else len(chosen)
        frames = [kept_frame(pixels, round(self.times[index] * 1e9), limits, number)
                  for index, pixels in self._decode(chosen)]
        if not frames:
            msg = f'{self.path}: no frame can be decoded; record or copy it again'
            raise BadEncodingError(msg, cause='damaged')
        if len(frames) < len(chosen):
            logging.getLogger(__name__).warning(
                '%s is damaged: %d of %d frames can be read', self.path, len(frames), len(chosen))
        return tuple(frames)

    def _choose(self, rate: float, count: int) -> NDArray[np.intp]:
        """Return the indices of frames, rising."""
        last = len(self.times) - 1
        if count:
            return (np.linspace(0, last, min(count, last + 1)).astype(np.intp) if count > 1
                    else np.array([last]))
        # evenly in time, which is evenly by number where the frames are equally long
        times = np.linspace(0, self.times[-1], self.number(rate))
        places = np.interp(times, self.times, np.arange(last + 1))
        return np.unique(np.rint(places.round(6)).astype(np.intp))

    def _decode(self, chosen: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield index and pixels, (height, width, 3) uint8 RGB, upright, of the frames.

        In place of one that cannot be decoded comes the next one, and at the end the last one.
        """
        wanted = list(chosen)
        before: Any = None
        with self._stream() as (container, stream):
            stream.thread_type = 'AUTO'
            for number, frame in enumerate(_frames(container, stream)):
                key = number
                if self._timed:
                    key = frame.dts if frame.pts is None else frame.pts
                index = int(wanted[0])
                if key is None or key < self._keys[index]:
                    before = frame
                    continue
                before = None
                while wanted and key >= self._keys[wanted[0]]:
                    index = int(wanted.pop(0))
                yield index, _pixels(frame)
                if not wanted:
                    return
            if before is not None:
                yield int(wanted[0]), _pixels(before)

    @contextlib.contextmanager
    def _stream(self) -> Iterator[tuple[Any, Any]]:
        """Open the file and its video stream.

        Raises:
            InvalidRequestError: PyAV is not installed.
            BadEncodingError: it is no video, or damaged.

        """
        av = import_extra('av', f'{self.path}: video files are read by PyAV', 'video')
        try:
            with self.path.open('rb') as file, av.open(file, options=_OPTIONS) as container:
                if not container.streams.video:
                    msg = f'{self.path} has no video stream; give a file with pictures'
                    raise BadEncodingError(msg, cause='not a video')
                yield container, container.streams.video[0]
        except av.FFmpegError as error:  # some of them are OSErrors, too
            msg = (f'{self.path} cannot be read as a video ({error.strerror}); record or copy it '
                   'again')
            raise BadEncodingError(msg, cause='damaged') from error
        except OSError as error:
            msg = f'{self.path} cannot be read as a video: {reason(error, named=False)}'
            raise BadEncodingError(msg) from error


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield what the stream holds up to where the file is cut off or damaged."""
    import av

    with contextlib.suppress(av.FFmpegError):
        for packet in container.demux(stream):
            if packet.size:
                yield packet


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames that can be decoded."""
    import av

    for packet in _packets(container, stream):
        with contextlib.suppress(av.FFmpegError):
            yield from packet.decode()
    with contextlib.suppress(av.FFmpegError):  # those that wait for what follows
        yield from stream.decode(None)


def _pixels(frame: Any) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8, RGB, turned as the file says, as phones do."""
    turns = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format='rgb24'), turns))
