"""Videos in process: the same numbers as transformers' own processor, and the same answers."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')

import torch
import transformers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.processor import PromptEncoder, load_processor, read_limits
from support.paths import EMBEDDED_MODEL
from support.prompts import LIMITS, make_prompt
from support.video_parity import CASES, digest, library_inputs, video_prompt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mimo_embodied_ros.engine import Engine
    from mimo_embodied_ros.engine.processor import EncodedPrompt, ImageTextProcessor

# Of what Qwen2_5_VLProcessor of transformers 5.23 makes with torchvision 0.28; by the program
# support.video_parity, which needs both.
DIGESTS = {
    'one frame': 'fbe32f0999b7dee2',
    'an even number': '0636d2b3265b18c6',
    'an odd number': '49e545e9810bf819',
    'a changed resolution': '72f7eb15ac7ae3ae',
    'two videos': '289a7b93696af5a5',
}
CLIP = [([(150, 90)] * 5, 0.5)]  # of a size that the random model takes


@pytest.fixture(scope='module')
def engine(random_model: Path) -> Iterator[Engine]:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
    yield engine
    engine.close()


def encoder_of(folder: Path) -> tuple[ImageTextProcessor, PromptEncoder]:
    processor = load_processor(folder)
    return processor, PromptEncoder(
        processor, Qwen2_5_VLConfig.from_pretrained(folder, local_files_only=True))


def pixels(encoded: EncodedPrompt) -> torch.Tensor:
    return torch.cat([image.patches() for image in encoded.images])


@pytest.mark.parametrize('name', CASES)
def test_tokens_and_pixels_are_those_of_the_library(name: str) -> None:
    processor, encoder = encoder_of(EMBEDDED_MODEL)
    prompt = video_prompt(CASES[name], read_limits(processor, 0, 0))
    encoded = encoder.encode(prompt)
    assert digest(encoded.tokens.tolist(), pixels(encoded)) == DIGESTS[name]
    if importlib.util.find_spec('torchvision'):
        inputs = library_inputs(processor, prompt)
        assert encoded.tokens.tolist() == inputs['input_ids'][0].tolist()
        assert torch.equal(pixels(encoded), inputs['pixel_values_videos'])


def generate(folder: Path, encoded: EncodedPrompt, prompt: Prompt) -> str:
    """What plain ``generate`` answers to the same tokens and pixels."""
    model: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    ids = encoded.tokens[None]
    inputs: dict[str, Any] = {
        'input_ids': ids, 'attention_mask': torch.ones_like(ids),
        'pixel_values_videos': pixels(encoded),
        'video_grid_thw': torch.tensor([
            [-(-len(video.frames) // 2), *(side // 14 for side in video.frames[0].shape[:2])]
            for video in prompt.videos]),
        'second_per_grid_ts': torch.tensor([video.pair_seconds for video in prompt.videos])}
    if transformers.__version__ >= '5':
        inputs['mm_token_type_ids'] = 2 * (ids == model.config.video_token_id).int()
    written = model.generate(**inputs, max_new_tokens=prompt.max_new_tokens, do_sample=False)
    return str(load_processor(folder).tokenizer.decode(
        written[0, ids.shape[1] :], skip_special_tokens=True))


def test_the_answer_is_that_of_plain_generate(engine: Engine, random_model: Path) -> None:
    """Of one video and of several; of the first frames alone it is another one."""
    _, encoder = encoder_of(random_model)
    texts = set()
    for videos in (CLIP, [*CLIP, ([(90, 150)] * 2, 1.0)], [([(150, 90)], 0.5)]):
        prompt = video_prompt(videos, LIMITS)
        reply = engine.generate(prompt, max_new_tokens=prompt.max_new_tokens)
        assert reply.text == generate(random_model, encoder.encode(prompt), prompt)
        texts.add(reply.text)
    assert len(texts) == 3, 'the model must see the videos for this test to mean anything'


def test_positions_are_not_those_of_the_library(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a release that gets them wrong changes no answer."""
    def wrong(*_: Any, **__: Any) -> None:
        raise AssertionError

    model = engine._model.model  # type: ignore[attr-defined]
    for name in ('get_rope_index', 'get_vision_position_ids', 'compute_3d_position_ids'):
        monkeypatch.setattr(model, name, wrong, raising=False)
    for prompt in (make_prompt(seed=5, images=2), video_prompt(CLIP, LIMITS, seed=5)):
        assert engine.generate(prompt, max_new_tokens=2).stats.completion_tokens == 2


def test_the_embedded_models_answer_is_that_of_plain_generate() -> None:
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), device='cpu', threads=1))
    assert engine.info.takes_video
    prompt = video_prompt([([(196, 168)] * 4, 0.5)], engine.limits, text='What? /no_think')
    text = engine.generate(prompt, max_new_tokens=prompt.max_new_tokens).text
    engine.close()
    assert text == generate(EMBEDDED_MODEL, encoder_of(EMBEDDED_MODEL)[1].encode(prompt), prompt)


def test_the_prefix_of_a_video_is_kept_and_equal_videos_share_it(engine: Engine) -> None:
    prompts = [video_prompt(CLIP, LIMITS, seed=7, text=text) for text in ('What?', 'Who was it?')]
    first, second = [engine.generate(prompt, max_new_tokens=5).stats for prompt in prompts]
    assert first.reused_tokens == 0
    tokens = 3 * (prompts[0].resizes[0].model_width * prompts[0].resizes[0].model_height // 28**2)
    assert second.image_tokens == tokens < second.reused_tokens < second.prompt_tokens
    (video,) = prompts[0].videos
    slower = replace(prompts[0], videos=(replace(video, interval=2.0),))
    assert engine.generate(slower, max_new_tokens=5).stats.reused_tokens == 0, 'other times'
    images = Prompt('What?', video.frames[:3], prompts[0].resizes[:3], 5)
    assert engine.generate(images, max_new_tokens=5).stats.reused_tokens == 0, 'other tokens'


def test_pairs_that_a_later_clip_has_again_are_not_computed_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clip of a camera, one pair of frames later."""
    prompt = video_prompt([([(150, 90)] * 6, 0.5)], LIMITS, seed=8)
    (video,) = prompt.videos
    seen: list[int] = []
    vision = engine._batch.vision  # type: ignore[attr-defined]
    tower = vision._tower
    monkeypatch.setattr(vision, '_tower', lambda patches, grids: (
        seen.append(len(grids)), tower(patches, grids))[1])
    for frames in (video.frames[:4], video.frames[2:]):
        clip = replace(prompt, videos=(replace(video, frames=frames),))
        engine.generate(clip, max_new_tokens=2)
    assert seen == [2, 1], 'two pairs together, and the new one'


@pytest.mark.parametrize('missing', ['template', 'config'])
def test_a_model_without_videos_says_so(
    random_model: Path, tmp_path: Path, missing: str
) -> None:
    folder = shutil.copytree(random_model, tmp_path / 'no_video')
    file = folder / ('chat_template.json' if missing == 'template' else 'config.json')
    content = json.loads(file.read_text())
    if missing == 'template':
        content['chat_template'] = content['chat_template'].replace("== 'video'", "== 'film'")
    else:
        del content['video_token_id']
    file.write_text(json.dumps(content))
    engine = load_engine(EngineConfig(str(folder), device='cpu', threads=1))
    assert not engine.info.takes_video
    with pytest.raises(InvalidRequestError, match=r'takes no videos.*media are images or a clip'):
        engine.generate(video_prompt(CLIP, engine.limits), max_new_tokens=2)
    assert engine.generate(make_prompt(), max_new_tokens=2).stats.completion_tokens == 2
    engine.close()


def test_the_rate_of_a_video_comes_from_the_checkpoint(random_model: Path) -> None:
    processor = load_processor(random_model)
    config = Qwen2_5_VLConfig.from_pretrained(random_model, local_files_only=True)
    prompt = video_prompt(CLIP, LIMITS)
    for rate in (2, 5):
        config.vision_config.tokens_per_second = rate
        encoded = PromptEncoder(processor, config).encode(prompt)
        assert encoded.positions is not None
        at = encoded.positions[encoded.image_at]
        assert (at[-1, 0] - at[0, 0]).item() == 2 * rate  # three pairs, each a second after another
