"""A server with OpenAI's interface around a model in this process, right or broken on purpose."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.resize import PixelLimits, smart_resize
from mimo_embodied_ros.core.video import Video
from mimo_embodied_ros.engine import processor, vision_tower
from mimo_embodied_ros.engine.positions import mrope_positions
from support.video_server import SentVideo, media_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mimo_embodied_ros.engine import Engine
    from support.openai_server import Behaviour, Handler

    Change = Callable[[float, float, int, int], tuple[float, float]]

_POINT = re.compile(r'\[(\d+), (\d+)\]')


def serving(
    engine: Engine, change: Change | None = None, max_pixels: int = 0
) -> Behaviour:
    """Return the behaviour of a server that answers with a model.

    Args:
        engine: the model.
        change: what becomes of x and y in its answers; also gets the image's width and height.
        max_pixels: area to which the server reduces images once more; 0: it does not.

    """

    def answer(handler: Handler) -> None:
        if handler.body['messages'][-1]['role'] == 'assistant':
            handler.start(400, 'application/json')
            handler.send('{"error": {"message": "Unexpected role: assistant"}}')
            return
        media = media_of(handler.body)
        images = tuple(_reduced(i, max_pixels) for i in media if not isinstance(i, SentVideo))
        videos = tuple(Video(tuple(_reduced(frame, max_pixels) for frame in v.frames), v.interval)
                       for v in media if isinstance(v, SentVideo))
        prompt = Prompt(handler.prompt, images, (), handler.body['max_tokens'], videos=videos)
        reply = engine.generate(prompt, max_new_tokens=prompt.max_new_tokens)
        said = reply.text
        if change is not None and media:
            height, width = (videos[-1].frames if videos else images)[-1].shape[:2]
            said = _POINT.sub(lambda found: '[{}, {}]'.format(
                *change(float(found[1]), float(found[2]), width, height)), said)
        handler.start()
        handler.say(said, finish='stop')
        handler.send_json({'object': 'chat.completion.chunk', 'choices': [], 'usage': {
            'prompt_tokens': reply.stats.prompt_tokens,
            'completion_tokens': reply.stats.completion_tokens}})

    return answer


def _reduced(pixels: Any, max_pixels: int) -> Any:
    rows, columns, _ = pixels.shape
    if not max_pixels or rows * columns <= max_pixels:
        return pixels
    rows, columns = smart_resize(rows, columns, PixelLimits(1, max_pixels))
    return np.asarray(Image.fromarray(pixels).resize((columns, rows)))


@contextmanager
def one_dimensional_positions(engine: Any) -> Iterator[None]:
    """Count the positions of image patches in one dimension, as broken releases have done.

    Both parts do: the language model, whose three positions become the number of the token, and
    the vision tower, whose rows and columns become the number of the patch.
    """
    layouts, patch_places = engine._batch.vision._tower._layouts, vision_tower.patch_places

    def flat_text(parts: Iterable[Any]) -> Any:
        return np.arange(len(mrope_positions(parts)))[:, None].repeat(3, 1)

    def flat_patches(tokens: Any, _: int, merge: int) -> Any:
        return (tokens[:, None] * merge**2 + torch.arange(merge**2))[..., None].expand(-1, -1, 2)

    processor.mrope_positions, vision_tower.patch_places = flat_text, flat_patches
    layouts.clear()
    try:
        yield
    finally:
        processor.mrope_positions, vision_tower.patch_places = mrope_positions, patch_places
        layouts.clear()
