"""Video files that tests make."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_CODECS = {'.webm': 'libvpx', '.gif': 'gif'}


def write_video(
    path: Path, frames: Iterable[NDArray[np.uint8]], times: Sequence[float] = (), rate: int = 10,
    codec: str = '', options: dict[str, str] | None = None,
) -> Path:
    """Write a video file; its format is that of the name's ending.

    Args:
        path: of the file; without an ending it is MP4.
        frames: (height, width, 3) uint8 each, RGB, with even sides.
        times: of the frames, seconds; without them they are equally long.
        rate: frames a second.
        codec: of the stream; '': mpeg4, or that of the format.
        options: of the format.

    """
    container_format = None if path.suffix else 'mp4'
    with av.open(str(path), 'w', container_format, options=options or {}) as container:
        stream = container.add_stream(codec or _CODECS.get(path.suffix, 'mpeg4'), rate=rate)
        stream.bit_rate = 20_000_000  # so that frames keep their values
        for index, pixels in enumerate(frames):
            if index == 0:
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = 'rgb8' if path.suffix == '.gif' else 'yuv420p'
                stream.codec_context.time_base = Fraction(1, 1000 if times else rate)
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24')
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(times[index] * 1000) if times else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def greys(number: int, width: int = 64, height: int = 48) -> list[NDArray[np.uint8]]:
    """Plain frames; the value of a frame is six times its number."""
    return [np.full((height, width, 3), min(6 * i, 255), np.uint8) for i in range(number)]
