"""A server with OpenAI's interface around a model in this process, right or broken on purpose."""

from __future__ import annotations

import base64
import io
import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.resize import PixelLimits, smart_resize
from mimo_embodied_ros.engine.vision import Vision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        *pictures, text = handler.body['messages'][-1]['content']
        images = tuple(_decode(part['image_url']['url'], max_pixels) for part in pictures)
        prompt = Prompt(text['text'], images, (), handler.body['max_tokens'])
        said = engine.generate(prompt, max_new_tokens=prompt.max_new_tokens).text
        if change is not None and images:
            height, width = images[-1].shape[:2]
            said = _POINT.sub(lambda found: '[{}, {}]'.format(
                *change(float(found[1]), float(found[2]), width, height)), said)
        handler.start()
        handler.say(said, finish='stop')

    return answer


def _decode(url: str, max_pixels: int) -> Any:
    image = Image.open(io.BytesIO(base64.b64decode(url.partition(',')[2])))
    if max_pixels and image.width * image.height > max_pixels:
        rows, columns = smart_resize(image.height, image.width, PixelLimits(1, max_pixels))
        image = image.resize((columns, rows))
    return np.asarray(image)


@contextmanager
def one_dimensional_positions(engine: Any) -> Iterator[None]:
    """Count the positions of image patches in one dimension, as broken releases have done.

    Both parts do: the language model, whose three positions become the number of the token, and
    the vision tower, whose rows and columns become the number of the patch.
    """
    embed, visual = Vision.embed, engine._model.model.visual
    by_table = getattr(visual, 'rot_pos_emb', None)  # transformers 4

    def flat_text(self: Vision, encoded: Any) -> Any:
        prompt = embed(self, encoded)
        count = torch.arange(len(prompt.positions))
        return replace(prompt, positions=count) if prompt.positions.ndim > 1 else prompt

    def flat_patches(_: Any, inputs: Any) -> Any:
        hidden, places = inputs
        return hidden, torch.arange(len(places))[:, None].expand(-1, 2)

    def flat_table(grid: Any) -> Any:
        return visual.rotary_pos_emb(int(grid.prod(-1).sum())).repeat(1, 2)

    Vision.embed = flat_text
    if by_table is None:
        handle = visual.rotary_pos_emb.register_forward_pre_hook(flat_patches)
    else:
        visual.rot_pos_emb = flat_table
    try:
        yield
    finally:
        Vision.embed = embed
        if by_table is None:
            handle.remove()
        else:
            del visual.rot_pos_emb
