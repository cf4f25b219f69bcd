"""A server that takes videos: it decodes what comes, and counts tokens as the model does."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from support.openai_server import Handler, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    Taken = tuple[int, int, int]  # number of frames, rows and columns that the model sees

TEXT_TOKENS = 20


@dataclass
class SentVideo:
    """A video of a request, as the server understands it.

    Attributes:
        form: 'jpeg' for a list of frames, 'mp4' for a file.
        frames: (rows, columns, 3) uint8, RGB.
        interval: seconds between two frames.

    """

    form: str
    frames: list[np.ndarray[Any, Any]]
    interval: float


def media_of(body: dict[str, Any]) -> list[SentVideo | np.ndarray[Any, Any]]:
    """Decode the images and videos of a request, in their order."""
    media: list[SentVideo | np.ndarray[Any, Any]] = []
    user = next(message for message in body['messages'] if message['role'] == 'user')
    for part in user['content'][:-1]:
        head, _, data = part[part['type']]['url'].partition(',')
        if part['type'] == 'image_url':
            media.append(_picture(data))
        elif head == 'data:video/jpeg;base64':
            rate = body.get('media_io_kwargs', {}).get('video', {}).get('fps', 1)  # as vLLM does
            media.append(SentVideo('jpeg', [_picture(d) for d in data.split(',')], 1 / rate))
        else:
            assert head == 'data:video/mp4;base64'
            media.append(_file(base64.b64decode(data)))
    return media


def counted(body: dict[str, Any], take: Callable[[Taken], Taken], side: int = 28) -> int:
    """Count the tokens of a request, of which each is so many pixels wide and high."""
    tokens = TEXT_TOKENS
    for item in media_of(body):
        if isinstance(item, SentVideo):
            frames, rows, columns = take((len(item.frames), *item.frames[0].shape[:2]))
        else:
            frames, (rows, columns, _) = 1, item.shape
        tokens += (frames + 1) // 2 * rows * columns // side**2
    return tokens


def _picture(data: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


def _file(data: bytes) -> SentVideo:
    import av

    with av.open(io.BytesIO(data)) as container:
        frames = [(f.time, f.to_ndarray(format='rgb24')) for f in container.decode(video=0)]
    (first, _), *_, (last, _) = (*frames, frames[-1])
    return SentVideo('mp4', [pixels for _, pixels in frames],
                     (last - first) / max(1, len(frames) - 1))


class VideoServer(Server):
    """Answers every question with one text.

    Attributes:
        forms: of videos that it takes: 'jpeg', 'mp4'; it refuses others with status 400.
        take: changes the number and size of the frames that it takes of a video.
        counts: whether it tells the numbers of tokens.
        side: pixels of a token.
        trusts: whether requests may say how their videos are read; else it refuses them.

    """

    def __init__(self, *forms: str, answer: str = '\\boxed{2.4}', port: int = 0) -> None:
        """Start to serve."""
        self.forms, self.text, self.counts, self.trusts = forms, answer, True, True
        self.side = 28
        self.take: Callable[[Taken], Taken] = lambda taken: taken
        super().__init__(self._answer, port)

    def _answer(self, handler: Handler) -> None:
        if not self.trusts and 'media_io_kwargs' in handler.body:
            handler.start(400, 'application/json')
            handler.send('{"error": {"message": "Start with --trust-request-mm-kwargs"}}')
            return
        forms = {item.form for item in media_of(handler.body) if isinstance(item, SentVideo)}
        if not forms <= {*self.forms}:
            handler.start(400, 'application/json')
            handler.send('{"error": {"message": "At most 0 video(s) may be provided"}}')
            return
        tokens = counted(handler.body, self.take, self.side)
        handler.start()
        handler.say(self.text, finish='stop')
        if self.counts:
            handler.send_json({'object': 'chat.completion.chunk', 'choices': [], 'usage': {
                'prompt_tokens': tokens, 'completion_tokens': 3, 'total_tokens': tokens + 3}})

    @property
    def asked(self) -> list[Handler]:
        """The requests without the engine's own."""
        return [request for request in self.requests if not request.prompt.startswith(
            ('What is in the ', 'Is it held?', 'Is it continued?'))]

    @property
    def videos(self) -> list[SentVideo]:
        """The videos of the latest request that is not the engine's own."""
        return [v for v in media_of(self.asked[-1].body) if isinstance(v, SentVideo)]
