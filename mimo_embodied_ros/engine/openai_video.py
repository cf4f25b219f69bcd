"""How servers take videos: as a list of frames, as vLLM does, or as an mp4 file.

Neither loses anything of the frames. Servers may take only some of the frames of a video, or change
their size, and tell nobody. Each is therefore tried with three videos, and must count as many
tokens as they have.
"""

from __future__ import annotations

import importlib.util
import io
import math
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ModelNotReadyError
from mimo_embodied_ros.core.prompts import Prompt, text_prompt
from mimo_embodied_ros.core.resize import resize
from mimo_embodied_ros.core.video import Video, video_limits
from mimo_embodied_ros.share import install_command

from .openai_request import png

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.core.profiles import Profile
    from mimo_embodied_ros.core.resize import PixelLimits

Count = Callable[[Prompt, str], Awaitable[int | MimoError]]
"""Sends a prompt in a style; returns how many tokens the server counts in it, 0 where it does not
tell, or its error."""

VIDEO_STYLES = ('vllm', 'mp4')
_STYLES = {'auto': VIDEO_STYLES}
_NO_COUNTS = 'it does not tell the number of tokens of its prompts'
_TRIAL_FRAMES = 40  # more than the 32 that servers take of a video of any length
_TRIAL_INTERVAL = 0.25  # s; not one at which servers sample
_SAME_INTERVAL = 1.1  # the largest ratio of two that count as one


class VideoSupport:
    """How one server takes videos.

    Attributes:
        style: one of ``VIDEO_STYLES`` or 'none'; empty as long as that has not been tried.
        problem: why it takes none, where it does not.

    """

    def __init__(self, url: str, wanted: str, limits: PixelLimits, profile: Profile) -> None:
        """Nothing is tried yet.

        Args:
            url: of the server, for errors.
            wanted: as ``EngineConfig.video_style``.
            limits: image areas of the prompts.
            profile: of the model.

        """
        self._url, self._wanted, self._limits, self._profile = url, wanted, limits, profile
        self.style = self.problem = ''
        self.forget()

    def forget(self) -> None:
        """Let it be tried again, since another server may answer now."""
        never = self._wanted == 'none'
        self.style, self.problem = ('none', 'video_style is none') if never else ('', '')

    def find_without_counts(self) -> None:
        """Note that the server does not count tokens: no trial could show that it takes videos."""
        if self._wanted == 'auto':
            self.style, self.problem = 'none', _NO_COUNTS

    async def find(self, count: Count) -> None:
        """Try the style that is wanted, or each of them, if that is not known yet."""
        problems: list[str] = []
        for style in () if self.style else _STYLES.get(self._wanted, (self._wanted,)):
            problem = await self._problem(style, count)
            if not problem:
                self.style, self.problem = style, ''
                return
            problems.append(f'{style}: {problem}')
        if problems:
            self.style, self.problem = 'none', '; '.join(problems)

    async def _problem(self, style: str, count: Count) -> str:
        """Why it does not take videos in a style as they are; empty where it does."""
        if style == 'mp4' and importlib.util.find_spec('av') is None:
            return f'PyAV is missing; install it with `{install_command("video")}`'
        least, most = self._limits.min_pixels, self._limits.max_pixels
        short = self._trial(2, least)
        counted = await count(short, style)
        if isinstance(counted, MimoError):
            return str(counted)
        if not counted:
            return '' if self._wanted == style else _NO_COUNTS
        first, without = counted, counted - _tokens(short)
        for trial, fault in (
            (self._trial(_TRIAL_FRAMES, least),
             'takes not all frames of a video, or not in their size'),
            (self._trial(2, most), 'changes the size of frames'),
        ):
            counted = await count(trial, style)
            if isinstance(counted, MimoError):
                return str(counted)
            if counted == first:
                return 'it counts as many tokens in any video, and so ignores them'
            if counted - without != _tokens(trial):
                return (f'it {fault}: it counts {counted - without} tokens in a video of '
                        f'{len(trial.videos[0].frames)} frames that has {_tokens(trial)}')
        return ''

    def _trial(self, count: int, area: int) -> Prompt:
        """A prompt with a video of so many grey frames of about an area, for two tokens."""
        side = max(1, math.isqrt(area))
        grey = np.full((side, side, 3), 128, np.uint8)
        frame, scale = resize(grey, video_limits(self._limits, count))
        video = Video((frame,) * count, _TRIAL_INTERVAL, self._limits.factor)
        return replace(text_prompt('What is in the video?', 2, self._profile),
                       resizes=(scale,) * count, videos=(video,))

    def check(self) -> None:
        """Raise ModelNotReadyError where it does not take videos in the style of the settings."""
        if self.style == 'none' and self._wanted in VIDEO_STYLES:
            raise ModelNotReadyError(
                f'{self._url} does not take videos as they are ({self.problem}); set video_style '
                'to auto or none, or start the server as docs/remote.md says')

    def add(self, request: dict[str, Any], videos: Sequence[Video]) -> dict[str, Any]:
        """Return the fields of a request with videos, once it has been tried how.

        Raises:
            InvalidRequestError: it takes no videos, or not these.

        """
        if self.style == 'none':
            raise InvalidRequestError(
                f'{self._url} takes no videos ({self.problem}); ask a task about images, or '
                'start the server as docs/remote.md says')
        try:
            return with_videos(request, videos, self.style)
        except InvalidRequestError as error:
            raise InvalidRequestError(f'{self._url} {error}') from error


def with_videos(request: dict[str, Any], videos: Sequence[Video], style: str) -> dict[str, Any]:
    """Return the fields of a request with videos before the user's text.

    Args:
        request: without videos.
        videos: at least one.
        style: one of ``VIDEO_STYLES``.

    Raises:
        InvalidRequestError: the style has one time between frames for all videos, and theirs
            differ.

    """
    urls, fields = (_frames(videos) if style == 'vllm' else (map(_mp4, videos), {}))
    parts = [{'type': 'video_url', 'video_url': {'url': url}} for url in urls]
    messages = [
        {**message, 'content': [*parts, *message['content']]} if message['role'] == 'user'
        else message for message in request['messages']]
    return {**request, **fields, 'messages': messages}


def _frames(videos: Sequence[Video]) -> tuple[list[str], dict[str, Any]]:
    """Videos as vLLM takes their frames.

    It opens each frame by its content, so that PNG does as well as JPEG. Without the fields it
    would take 32 frames at most, a second from each other, and resize them.
    """
    shortest, *_, longest = sorted(video.interval for video in (*videos, videos[0]))
    if longest > _SAME_INTERVAL * shortest:
        raise InvalidRequestError(
            f'takes one time between frames for all videos of a request, and here it is between '
            f'{shortest:.2f} s and {longest:.2f} s; give all cameras one clip_rate, or set '
            'video_style to mp4')
    rate = 1 / videos[0].interval
    urls = ['data:video/jpeg;base64,' + ','.join(map(png, video.frames)) for video in videos]
    return urls, {'media_io_kwargs': {'video': {'num_frames': -1, 'fps': rate}},
                  # fps is for older versions, which know the time from nowhere else
                  'mm_processor_kwargs': {'do_resize': False, 'fps': rate}}


def _mp4(video: Video) -> str:
    """A video as an mp4 file, in RGB without loss, with the time between its frames."""
    import av  # from requirements/video.txt

    height, width, _ = video.frames[0].shape
    file = io.BytesIO()
    with av.open(file, 'w', format='mp4') as container:
        stream = container.add_stream(
            'libx264rgb', rate=Fraction(1 / video.interval).limit_denominator(10000),
            options={'qp': '0', 'preset': 'ultrafast', 'bf': '0'})
        stream.width, stream.height, stream.pix_fmt = width, height, 'rgb24'
        for pixels in video.frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return 'data:video/mp4;base64,' + b64encode(file.getvalue()).decode('ascii')


def _tokens(prompt: Prompt) -> int:
    return sum(video.tokens for video in prompt.videos)
