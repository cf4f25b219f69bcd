"""Training with six cameras: packed rows with the pictures of a moment."""

from __future__ import annotations

import random

import pytest

pytest.importorskip('torch')

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.embedded import packing, road_questions
from mimo_embodied_ros.engine.processor import PromptEncoder, load_processor
from mimo_embodied_ros.worlds.road_scene import draw_surround
from support.paths import EMBEDDED_MODEL

LIMITS = PixelLimits(28 * 28, 1280 * 28 * 28)


@pytest.mark.parametrize('kind', ['drive', 'surround'])
def test_packed_pictures_of_six_cameras_are_the_prompt_that_the_engine_makes(kind: str) -> None:
    moment = draw_surround(random.Random(3), 84, 56)
    question = (road_questions.drive(random.Random(0), moment) if kind == 'drive' else
                road_questions.about_surround(random.Random(0), moment)[0])
    frames = tuple(Frame(road.pixels) for road in moment.roads)
    prompt = build_prompt(Query(question.task, question.text, frames,
                                odometry=question.odometry, thinking=False), LIMITS)
    config = AutoConfig.from_pretrained(EMBEDDED_MODEL)
    encoded = PromptEncoder(load_processor(EMBEDDED_MODEL), config).encode(prompt)
    example = packing.Example(question.prompt(), question.reply(), question.short, question.kind)
    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODEL / 'tokenizer.json'))
    batch = packing.Packer(tokenizer).pack_clips(
        [[road.pixels for road in moment.roads]], [[example]], 1, 400)
    length = len(encoded.tokens)
    assert batch.ids[0, :length].tolist() == encoded.tokens.tolist()
    assert encoded.positions is not None
    assert batch.positions[:, :length].T.tolist() == encoded.positions.tolist()
    own = torch.cat([image.patches() for image in encoded.images])
    torch.testing.assert_close(batch.patches, own, atol=1e-5, rtol=1e-5)
