"""Token ids and pixel values are those of transformers' own processor, to the bit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

pytest.importorskip('torch')

import numpy as np

from mimo_embodied_ros.core.resize import resize
from mimo_embodied_ros.engine.processor import PromptEncoder, load_processor, read_limits
from mimo_embodied_ros.pictures import open_picture, picture_of
from support import parity
from support.paths import EMBEDDED_MODEL

if TYPE_CHECKING:
    from mimo_embodied_ros.engine.processor import ImageTextProcessor

PINNED = json.loads(parity.FILE.read_text())


@pytest.fixture(scope='module')
def processor() -> ImageTextProcessor:
    return load_processor(EMBEDDED_MODEL)


def test_tokens_and_pixels_of_prompts_of_all_tasks(processor: ImageTextProcessor) -> None:
    encoder = PromptEncoder(processor)
    names = set()
    for name, prompt in parity.prompts(read_limits(processor, 0, 0)):
        encoded = encoder.encode(prompt)
        values = [image.patches().numpy() for image in encoded.images]
        pixels = np.concatenate(values) if values else np.zeros(0, np.float32)
        ours = parity.sha(encoded.tokens.numpy(), pixels)
        stock = parity.stock_prompt(processor, prompt)
        assert encoded.tokens.tolist() == stock[0].tolist(), name
        assert ours == parity.sha(*stock), name
        assert ours == PINNED['prompts'].get(name, ours), name
        names.add(name)
    assert PINNED['prompts'].keys() <= names


def test_pixels_of_pictures_of_many_sizes_and_modes(processor: ImageTextProcessor) -> None:
    patcher = PromptEncoder(processor)._patcher
    names = set()
    for name, data in parity.pictures():
        pixels, _ = resize(picture_of(open_picture(data)[0]).pixels, parity.LIMITS)
        values = patcher(pixels).numpy()
        assert np.array_equal(values, parity.stock_picture(processor, data)), name
        assert parity.sha(values) == PINNED['pictures'][name], name
        names.add(name)
    assert names == PINNED['pictures'].keys()


def test_a_change_of_one_token_or_one_bit_changes_the_hash() -> None:
    tokens, pixels = np.arange(9), np.ones((2, 3), np.float32)
    other = tokens.copy()
    other[4] += 1
    one_bit = pixels.copy()
    one_bit.view(np.uint32)[1, 2] ^= 1
    hashes = {parity.sha(*pair) for pair in (
        (tokens, pixels), (other, pixels), (tokens, one_bit), (tokens, pixels.reshape(3, 2)))}
    assert len(hashes) == 4
