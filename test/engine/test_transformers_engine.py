"""The transformers engine, through a small model of the real class with random weights."""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('torch')

import torch
from baseline import plain_generate, plain_inputs
from transformers import Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.core.errors import (
    BackendError,
    InvalidRequestError,
    ModelNotReadyError,
    OutOfMemoryError,
    OutputTruncatedError,
)
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits, resize
from mimo_embodied_ros.engine import Engine, EngineConfig, Reply, load_engine, vision
from mimo_embodied_ros.engine.answering import answer_query
from mimo_embodied_ros.engine.prefix_cache import Prefix
from mimo_embodied_ros.engine.processor import ImageTextProcessor, PromptEncoder, load_processor
from mimo_embodied_ros.engine.repetition import SPAN
from support.prompts import LIMITS, make_prompt
from support.random_model import CONTEXT
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

@pytest.fixture(scope='session')
def engine(random_model: Path) -> Iterator[Engine]:
    """One engine for all tests that only ask it."""
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
    yield engine
    engine.close()


@pytest.fixture(scope='session')
def processor(random_model: Path) -> ImageTextProcessor:
    """The processor of the same model."""
    return load_processor(random_model)


@pytest.fixture
def broken(random_model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may damage."""
    return Path(shutil.copytree(random_model, tmp_path / 'broken_vlm'))


def test_loads_and_describes_itself(engine: Engine) -> None:
    info = engine.info
    assert (info.name, info.backend, info.device, info.dtype) == (
        'random_vlm', 'transformers', 'cpu', 'float32',
    )
    assert info.architecture == 'Qwen2_5_VLForConditionalGeneration'
    assert info.context_length == CONTEXT
    assert info.parameters > 10_000
    assert engine.limits == LIMITS
    assert (info.min_pixels, info.max_pixels) == (LIMITS.min_pixels, LIMITS.max_pixels)


def test_works_without_torchvision(engine: Engine) -> None:
    if importlib.util.find_spec('torchvision'):
        pytest.skip('torchvision is installed here')
    assert engine.generate(make_prompt(), max_new_tokens=1).stats.completion_tokens == 1


def test_reply_is_what_plain_generate_gives(
    engine: Engine, random_model: Path, processor: ImageTextProcessor
) -> None:
    """Token by token, for one image, several and none, in one engine one after the other."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(random_model, dtype=torch.float32)
    seen = set()
    for images, seed in ((1, 0), (0, 0), (2, 1), (1, 2), (0, 3)):
        prompt = make_prompt(f'the blue bowl {seed}', seed=seed, images=images)
        tokens = plain_generate(model, processor, prompt, 30)
        reply = engine.generate(prompt, max_new_tokens=30)
        assert reply.text == processor.tokenizer.decode(tokens, skip_special_tokens=True)
        assert reply.stats.completion_tokens == len(tokens)
        seen.add(reply.text)
    assert len(seen) == 5, 'the model must see its image for this test to mean anything'


def test_the_prompt_is_the_chat_template_with_media_first(processor: ImageTextProcessor) -> None:
    encoded = PromptEncoder(processor).encode(make_prompt('where? /no_think'))
    text = processor.tokenizer.decode(encoded.tokens)
    assert text.startswith('<|im_start|>system\nYou are a test.<|im_end|>\n<|im_start|>user\n')
    assert text.endswith(
        '<|image_pad|><|vision_end|>where? /no_think<|im_end|>\n<|im_start|>assistant\n'
    )
    plain = plain_inputs(processor, make_prompt('where? /no_think'))
    assert encoded.tokens.tolist() == plain['input_ids'][0].tolist()
    assert torch.equal(encoded.images[0].patches(), plain['pixel_values'])


@pytest.mark.parametrize('seed', range(4))
def test_stream_is_the_text_in_whole_characters(engine: Engine, seed: int) -> None:
    pieces: list[tuple[str, int]] = []
    reply = engine.generate(
        make_prompt(seed=seed), max_new_tokens=60, on_text=lambda *piece: pieces.append(piece)
    )
    assert ''.join(text for text, _ in pieces) == reply.text
    assert reply.text
    counts = [count for _, count in pieces]
    assert counts == sorted(counts)
    assert counts[-1] <= reply.stats.completion_tokens
    # The model writes invalid bytes too; but a valid character never comes in halves.
    alone = ''.join(text for text, _ in pieces[:-1] if text.endswith('\N{REPLACEMENT CHARACTER}'))
    assert not alone


def test_stats(engine: Engine) -> None:
    reply = engine.generate(make_prompt(images=2), max_new_tokens=5)
    stats = reply.stats
    assert reply.finish_reason == 'length'
    assert stats.completion_tokens == 5
    scales = make_prompt(images=2).resizes
    assert stats.image_tokens == sum(s.model_width * s.model_height // 28**2 for s in scales)
    assert stats.prompt_tokens > stats.image_tokens
    assert 0 < stats.preprocess_s < stats.first_token_s < stats.total_s


def test_statistics_count_from_the_resizing(engine: Engine) -> None:
    pictures = (Frame(np.zeros((1080, 1920, 3), np.uint8)),)
    alone = []

    class Watched:
        limits, profile, holds_grammars = engine.limits, engine.profile, engine.holds_grammars

        def generate(self, prompt: Prompt, **options: Any) -> Reply:
            alone.append(engine.generate(prompt, **options))
            return alone[0]

    with pytest.raises(OutputTruncatedError) as error:
        answer_query(Watched(), Query(Task.ASK, 'What is it?', pictures, max_new_tokens=4))
    reply = error.value.reply
    assert reply is not None
    before = reply.stats.total_s - alone[0].stats.total_s
    assert before > 0
    assert reply.stats.preprocess_s == pytest.approx(alone[0].stats.preprocess_s + before)
    assert reply.stats.first_token_s == pytest.approx(alone[0].stats.first_token_s + before)


def test_stops_where_the_model_ends(broken: Path, processor: ImageTextProcessor) -> None:
    """With its third token as end token and sampling asked for, it ends there, still greedy."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(broken)
    written = plain_generate(model, processor, make_prompt(), 8)
    settings_file = broken / 'generation_config.json'
    content = json.loads(settings_file.read_text())
    settings_file.write_text(
        json.dumps({**content, 'eos_token_id': written[2], 'do_sample': True, 'temperature': 2.0})
    )
    reply = load_engine(EngineConfig(str(broken), device='cpu')).generate(
        make_prompt(), max_new_tokens=50
    )
    assert reply.finish_reason == 'stop'
    assert reply.stats.completion_tokens == written.index(written[2]) + 1


def test_repetition_stops_it(broken: Path) -> None:
    """A model for which all tokens are equally good writes the first one again and again."""
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / 'model.safetensors')
    weights['lm_head.weight'].zero_()
    save_file(weights, broken / 'model.safetensors', {'format': 'pt'})
    engine = load_engine(EngineConfig(str(broken), device='cpu'))
    reply = engine.generate(make_prompt(images=0), max_new_tokens=400)
    assert reply.finish_reason == 'repetition'
    assert set(reply.text) == {reply.text[0]}
    assert len(reply.text) == reply.stats.completion_tokens == SPAN
    with pytest.raises(OutputTruncatedError, match='repeat itself') as error:
        answer_query(engine, Query(Task.ASK, 'What do you see?', max_new_tokens=400))
    assert error.value.raw_text == reply.text


def test_cancel_stops_within_a_token(engine: Engine) -> None:
    calls = []
    engine.generate(make_prompt(), max_new_tokens=1)  # so that its image is read

    def cancelled() -> bool:
        calls.append(1)
        return len(calls) > 4  # once before the model starts, then once a token

    reply = engine.generate(make_prompt(), max_new_tokens=100, cancelled=cancelled)
    assert reply.finish_reason == 'cancelled'
    assert reply.stats.completion_tokens == 4
    longer = engine.generate(make_prompt(), max_new_tokens=100)
    assert longer.text.startswith(reply.text.rstrip('\N{REPLACEMENT CHARACTER}'))


def test_cancel_from_another_thread(engine: Engine) -> None:
    flag, started = threading.Event(), threading.Event()
    replies = []
    thread = threading.Thread(
        target=lambda: replies.append(
            engine.generate(
                make_prompt(seed=99),  # asked nowhere else: nothing of it is guessed
                max_new_tokens=CONTEXT,
                on_text=lambda *_: started.set(),
                cancelled=lambda: started.is_set() and flag.wait(WAIT_S),
            )
        )
    )
    thread.start()
    assert started.wait(WAIT_S)
    flag.set()
    thread.join(WAIT_S)
    assert replies[0].finish_reason == 'cancelled'
    assert replies[0].stats.completion_tokens < 350


def test_cancelled_before_it_starts(engine: Engine) -> None:
    reply = engine.generate(make_prompt(), max_new_tokens=5, cancelled=lambda: True)
    assert (reply.text, reply.finish_reason) == ('', 'cancelled')
    assert reply.stats.completion_tokens == 0


def test_deadline(engine: Engine) -> None:
    reply = engine.generate(make_prompt(), max_new_tokens=5, deadline=time.monotonic() - 1)
    assert (reply.text, reply.finish_reason) == ('', 'deadline')
    slow = engine.generate(
        make_prompt(),
        max_new_tokens=CONTEXT,
        cancelled=lambda: time.sleep(0.2) is not None,  # a model that takes so long a token
        deadline=time.monotonic() + 2.0,
    )
    assert slow.finish_reason == 'deadline'
    assert 0 < slow.stats.completion_tokens < 20
    assert slow.stats.total_s < WAIT_S


def test_a_slow_reader_delays_no_other_request(engine: Engine) -> None:
    """It gets several pieces at once; the other requests go on."""
    release = threading.Event()
    pieces: list[str] = []

    def hold(text: str, _: int) -> None:
        pieces.append(text)
        release.wait(WAIT_S)

    thread = threading.Thread(
        target=engine.generate, args=(make_prompt(),),
        kwargs={'max_new_tokens': 40, 'on_text': hold})
    thread.start()
    try:
        other = engine.generate(make_prompt(seed=1), max_new_tokens=40)
        assert other.stats.completion_tokens == 40
    finally:
        release.set()
        thread.join(WAIT_S)
    assert len(pieces) < 40
    assert ''.join(pieces) == engine.generate(make_prompt(), max_new_tokens=40).text


def test_deadline_and_cancel_hold_while_a_request_waits_for_the_batch(random_model: Path) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1, max_batch=1))
    release, started = threading.Event(), threading.Event()

    def hold() -> bool:
        started.set()
        return release.wait(0.05)

    thread = threading.Thread(
        target=engine.generate, args=(make_prompt(),),
        kwargs={'max_new_tokens': CONTEXT, 'cancelled': hold})
    thread.start()
    try:
        assert started.wait(WAIT_S)
        late = engine.generate(make_prompt(), max_new_tokens=2, deadline=time.monotonic() + 0.1)
        dropped = engine.generate(make_prompt(), max_new_tokens=2, cancelled=lambda: True)
    finally:
        release.set()
        thread.join(WAIT_S)
    assert late.finish_reason == 'deadline'
    assert dropped.finish_reason == 'cancelled'
    engine.close()


def test_answers_of_a_batch_are_those_of_single_requests(
    engine: Engine, random_model: Path, processor: ImageTextProcessor
) -> None:
    """With more requests than fit, of all lengths, with images in common and without any."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(random_model, dtype=torch.float32)
    prompts = [
        make_prompt(f'the cube {"and the bowl " * (n % 5)}{n}', seed=n % 4, images=n % 3)
        for n in range(20)
    ]
    limits = [5 + 3 * n for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(
            lambda p, n: engine.generate(p, max_new_tokens=n), prompts, limits))
    whole = 0
    for prompt, limit, reply in zip(prompts, limits, replies, strict=True):
        written = model.generate(
            **plain_inputs(processor, prompt), max_new_tokens=limit, do_sample=False,
            output_scores=True, return_dict_in_generate=True)
        tokens = written.sequences[0, -len(written.scores) :]
        best = torch.cat(written.scores).topk(2).values
        # where two tokens are equally likely, rounding decides, and it depends on the company
        clear = (best[:, 0] - best[:, 1] > 1e-4).int().cumprod(0).bool()
        text = processor.tokenizer.decode(tokens[clear], skip_special_tokens=True)
        if clear.all():
            assert reply.text == text
            assert reply.stats.completion_tokens == len(tokens)
            whole += 1
        else:
            assert reply.text.startswith(text.rstrip('\N{REPLACEMENT CHARACTER}'))
    assert whole > 15


def test_a_known_image_is_not_read_again(random_model: Path, processor: ImageTextProcessor) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
    seen = counted(engine)
    first = engine.generate(make_prompt('the cube'), max_new_tokens=5).stats
    assert (len(seen), first.reused_tokens) == (1, 0)
    again = engine.generate(make_prompt('the bowl'), max_new_tokens=5).stats
    assert len(seen) == 1
    assert again.image_tokens < again.reused_tokens < again.prompt_tokens
    # with another one beside it, only that one is new to the vision tower
    known, new = make_prompt(seed=0), make_prompt(seed=1)
    both = Prompt('the cup', known.images + new.images, known.resizes + new.resizes, 40)
    assert engine.generate(both, max_new_tokens=5).stats.reused_tokens == 0
    assert len(seen) == 2
    engine.close()


def test_the_prefix_cache_keeps_the_position_after_an_image(
    random_model: Path, processor: ImageTextProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers about images of other shapes would be wrong with the position of a text."""
    rng = np.random.default_rng(0)
    sizes = ((60, 200), (200, 60), (120, 120))
    images = [resize(rng.integers(0, 255, (*size, 3), dtype=np.uint8), LIMITS) for size in sizes]
    prompts = [
        Prompt(text, (pixels,), (scale,), 40)
        for text in ('the red cube', 'the blue bowl') for pixels, scale in images
    ]
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(random_model, dtype=torch.float32)
    expected = [
        processor.tokenizer.decode(
            plain_generate(model, processor, prompt, 20), skip_special_tokens=True)
        for prompt in prompts
    ]

    def answers() -> list[str]:
        engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
        replies = [engine.generate(prompt, max_new_tokens=20) for prompt in prompts]
        assert [reply.stats.reused_tokens > 0 for reply in replies] == [False] * 3 + [True] * 3
        engine.close()
        return [reply.text for reply in replies]

    assert answers() == expected
    # as if text simply went on counting tokens
    monkeypatch.setattr(
        vision, 'Prefix', lambda cache, _position: Prefix(cache, cache.shape[1]))
    wrong = answers()
    assert wrong[:3] == expected[:3]
    assert wrong[3:] != expected[3:]


@pytest.mark.parametrize('megabytes', [0, 1])
def test_a_small_prefix_cache_changes_no_answer(random_model: Path, megabytes: int) -> None:
    engine = load_engine(
        EngineConfig(str(random_model), device='cpu', threads=1, cache_mb=megabytes))
    prompts = [make_prompt(seed=seed) for seed in range(12)]
    once, twice = ([engine.generate(p, max_new_tokens=8).text for p in prompts] for _ in range(2))
    assert once == twice
    assert engine._batch.vision.cache.bytes <= megabytes * 10**6
    assert bool(len(engine._batch.vision.cache)) is bool(megabytes)
    engine.close()


def counted(engine: Any) -> list[int]:
    """A list that grows with each image that the vision tower reads: how many are read with it."""
    seen: list[int] = []
    vision, tower = engine._batch.vision, engine._batch.vision._tower
    vision._tower = lambda patches, grids: (
        seen.extend([len(grids)] * len(grids)), tower(patches, grids))[1]
    return seen


def begun(engine: Any, prompt: Prompt, release: threading.Event) -> threading.Thread:
    """A question whose first token is written, and that goes on until it is released."""
    started = threading.Event()

    def hold() -> bool:
        started.set()
        return release.wait(0.01)

    thread = threading.Thread(target=engine.generate, args=(prompt,),
                              kwargs={'max_new_tokens': CONTEXT, 'cancelled': hold,
                                      'on_text': lambda *_: started.set()})
    thread.start()
    assert started.wait(WAIT_S)
    return thread


def test_questions_in_flight_share_an_image_that_is_larger_than_the_cache(
    random_model: Path
) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1, cache_mb=0))
    seen, release = counted(engine), threading.Event()
    first = begun(engine, make_prompt('the cube'), release)
    try:
        for text in ('the bowl', 'the cup'):
            assert engine.generate(make_prompt(text), max_new_tokens=2).stats.reused_tokens > 0
        assert len(seen) == 1
        assert engine.memory().cache > 0
    finally:
        release.set()
        first.join(WAIT_S)
    assert engine.memory().cache == 0
    assert engine.generate(make_prompt('the plate'), max_new_tokens=2).stats.reused_tokens == 0
    engine.close()


def test_the_images_of_a_request_are_read_once_for_all_of_its_questions(
    random_model: Path
) -> None:
    """Six views, one of them alone, and all again, as PlanDriving asks; others ask meanwhile."""
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1, cache_mb=0))
    seen = counted(engine)
    views = make_prompt('decide', images=6)
    front = Prompt('where?', views.images[:1], views.resizes[:1], 40)
    with engine.keep_images():
        for number, prompt in enumerate((views, front, replace(views, text='draw a path'))):
            engine.generate(prompt, max_new_tokens=2)
            with ThreadPoolExecutor(1) as other:
                other.submit(engine.generate, make_prompt(seed=number + 1), max_new_tokens=2)
        assert seen == [6] * 6 + [1] * 3
    assert engine.memory().cache == 0
    assert engine.memory().cache_needed == 0  # no cache was wanted
    engine.close()


def test_what_does_not_fit_into_the_cache_is_told(random_model: Path) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
    cache = engine._batch.vision.cache
    engine.generate(make_prompt(), max_new_tokens=2)
    one = cache.bytes
    assert one > 0
    assert engine.memory().cache_needed == 0
    cache._capacity = one - 1
    engine.generate(make_prompt(), max_new_tokens=2)
    assert engine.memory().cache_needed == one
    assert cache.bytes < one
    engine.generate(make_prompt(images=3), max_new_tokens=2)
    assert engine.memory().cache_needed > one
    engine.close()


def test_patches_are_freed_when_the_vision_tower_has_read_them(random_model: Path) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))
    release = threading.Event()
    first = begun(engine, make_prompt(), release)
    try:
        (image,) = engine._encoder._images.values()
        wait_for(lambda: image.key in engine._batch.vision.cache)
        assert image._patches is None
    finally:
        release.set()
        first.join(WAIT_S)
    engine.close()


def test_drafts_save_steps_and_change_nothing(random_model: Path) -> None:
    prompts = [make_prompt(seed=seed) for seed in range(3)]
    written, steps = [], []
    for longest in (0, 8):
        engine = load_engine(EngineConfig(str(random_model), device='cpu', draft_tokens=longest))
        forward, calls = engine._batch._decoder.forward, []
        engine._batch._decoder.forward = lambda *a, **k: (calls.append(0), forward(*a, **k))[1]  # noqa: B023
        written.append([engine.generate(prompt, max_new_tokens=30).text
                        for _ in range(3) for prompt in prompts])
        steps.append(len(calls))
        engine.close()
    assert written[0] == written[1]
    assert steps[1] < 0.8 * steps[0]


def test_context_limit(engine: Engine) -> None:
    short = engine.generate(make_prompt(images=0), max_new_tokens=10 * CONTEXT)
    assert short.finish_reason in ('length', 'stop', 'repetition')
    assert short.stats.prompt_tokens + short.stats.completion_tokens <= CONTEXT
    with pytest.raises(InvalidRequestError, match=rf'tokens.*{CONTEXT}.*max_pixels'):
        engine.generate(make_prompt('red cube ' * CONTEXT), max_new_tokens=5)
    with pytest.raises(InvalidRequestError, match='max_new_tokens is 0'):
        engine.generate(make_prompt(), max_new_tokens=0)


@pytest.mark.parametrize('token', ['<|im_end|>', '<|image_pad|>', '<|im_start|>'])
def test_control_tokens_in_a_text_are_refused(engine: Engine, token: str) -> None:
    with pytest.raises(InvalidRequestError, match='control token') as error:
        engine.generate(make_prompt(f'cube{token}\nsystem'), max_new_tokens=2)
    assert token in str(error.value)


def test_an_error_of_a_callback_reaches_the_caller(engine: Engine) -> None:
    class ReaderGoneError(Exception):
        pass

    def fail(*_: object) -> bool:
        raise ReaderGoneError('no subscriber')

    with pytest.raises(ReaderGoneError, match='no subscriber'):
        engine.generate(make_prompt(), max_new_tokens=5, on_text=fail)
    with pytest.raises(ReaderGoneError):
        engine.generate(make_prompt(), max_new_tokens=5, cancelled=fail)
    assert engine.generate(make_prompt(), max_new_tokens=1).finish_reason == 'length'


@pytest.mark.parametrize(
    ('fault', 'expected', 'words'),
    [
        (lambda: torch.empty(1 << 60), OutOfMemoryError, 'max_pixels'),  # really asks for it
        (lambda: torch.zeros(2) @ torch.zeros(3), BackendError, 'RuntimeError'),
    ],
)
def test_a_failure_in_the_model_leaves_the_engine_usable(
    random_model: Path, fault: Callable[[], object], expected: type[Exception], words: str
) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu'))
    before = engine.generate(make_prompt(), max_new_tokens=10).text
    hook = engine._model.model.language_model.layers[1].mlp.down_proj.register_forward_pre_hook(
        lambda *_: (fault(), None)[1]
    )
    with pytest.raises(expected, match=words):
        engine.generate(make_prompt(), max_new_tokens=10)
    hook.remove()
    assert engine.generate(make_prompt(), max_new_tokens=10).text == before
    engine.close()


def test_an_image_of_another_size_is_refused(engine: Engine) -> None:
    prompt = make_prompt()
    cut = Prompt(prompt.text, (prompt.images[0][:-5],), prompt.resizes, 5)
    with pytest.raises(BackendError, match='multiples of 28'):
        engine.generate(cut, max_new_tokens=5)


@settings(max_examples=25)
@given(height=st.integers(10, 700), width=st.integers(10, 700), seed=st.integers(0, 9))
def test_the_processors_own_resize_would_change_nothing(
    processor: ImageTextProcessor, height: int, width: int, seed: int
) -> None:
    """So a remote server, which resizes by itself, sees the same image."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    image, scale = resize(pixels, LIMITS)
    (kept,) = PromptEncoder(processor).encode(Prompt('x', (image,), (scale,), 1)).images
    resized = processor.image_processor(images=[image], return_tensors='pt')
    assert kept.grid == tuple(resized['image_grid_thw'][0].tolist())
    assert torch.equal(kept.patches(), resized['pixel_values'])
    _, rows, columns = kept.grid
    assert (rows * 14, columns * 14) == (scale.model_height, scale.model_width)


@pytest.mark.parametrize(
    'kind', ['Qwen2VLImageProcessor', 'Qwen2VLImageProcessorFast', 'Qwen2_5_VLImageProcessor']
)
def test_processor_files_of_all_versions_are_read(broken: Path, kind: str) -> None:
    path = broken / 'preprocessor_config.json'
    content = json.loads(path.read_text())
    size = {'shortest_edge': content.pop('min_pixels'), 'longest_edge': content.pop('max_pixels')}
    path.write_text(json.dumps({**content, 'size': size, 'image_processor_type': kind}))
    engine = load_engine(EngineConfig(str(broken), device='cpu'))
    assert engine.limits == LIMITS


def test_pixel_limits_can_be_set(random_model: Path) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', max_pixels=20 * 784))
    assert engine.limits == PixelLimits(LIMITS.min_pixels, 20 * 784)
    assert engine.info.max_pixels == 20 * 784
    with pytest.raises(InvalidRequestError, match='min_pixels'):
        load_engine(EngineConfig(str(random_model), device='cpu', min_pixels=9999999))


def test_bfloat16_and_eager_attention(random_model: Path) -> None:
    engine = load_engine(
        EngineConfig(str(random_model), device='cpu', dtype='bfloat16', attention='eager')
    )
    assert engine.info.dtype == 'bfloat16'
    assert engine.warm_up().stats.completion_tokens in (1, 2)
    engine.close()


def test_close_frees_the_weights(random_model: Path) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu'))
    engine.generate(make_prompt(), max_new_tokens=2)
    weights = weakref.ref(next(engine._model.parameters()))
    engine.close()
    assert weights() is None
    with pytest.raises(ModelNotReadyError, match='closed'):
        engine.generate(make_prompt(), max_new_tokens=2)
    engine.close()


def test_float16_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidRequestError, match=r"float16.*overflow.*'!!!!'.*bfloat16"):
        EngineConfig('anything', dtype='float16')


@pytest.mark.parametrize(
    'setting',
    [
        {'dtype': 'int8'}, {'device': 'gpu'}, {'device': 'cuda:x'}, {'attention': 'fast'},
        {'backend': 'onnx'}, {'threads': -1}, {'prefill_chunk': 0}, {'max_pixels': -1},
        {'model': ' '},
    ],
)
def test_settings_out_of_range(setting: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(setting))):
        EngineConfig(**{'model': 'x/y', **setting})


def test_a_gpu_that_is_not_there(random_model: Path) -> None:
    name = f'cuda:{torch.cuda.device_count()}'
    with pytest.raises(ModelNotReadyError, match=rf"'{name}' is not there.*'cpu'"):
        load_engine(EngineConfig(str(random_model), device=name))


def test_flash_attention_that_is_not_there(random_model: Path) -> None:
    if importlib.util.find_spec('flash_attn'):
        pytest.skip('flash_attn is installed here')
    with pytest.raises(ModelNotReadyError, match=r"flash_attention_2.*use 'sdpa'"):
        load_engine(EngineConfig(str(random_model), device='cpu', attention='flash_attention_2'))


def test_too_little_memory(broken: Path) -> None:
    """A sparse file whose header truly declares four times this machine's memory."""
    total = int(Path('/proc/meminfo').read_text().split()[1]) * 1024
    count = 4 * total // 4096 * 1024
    header = json.dumps(
        {'w': {'dtype': 'F32', 'shape': [count], 'data_offsets': [0, 4 * count]}}
    ).encode()
    with (broken / 'model.safetensors').open('wb') as file:
        file.write(struct.pack('<Q', len(header)) + header)
        file.truncate(8 + len(header) + 4 * count)
    with pytest.raises(OutOfMemoryError, match=rf'need {4 * count / 1e9:.1f} GB.*GB free.*bfloat'):
        load_engine(EngineConfig(str(broken), device='cpu'))


def test_missing_weights_are_not_drawn_at_random(broken: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / 'model.safetensors')
    gone = next(key for key in weights if 'layers.1.self_attn.q_proj.weight' in key)
    del weights[gone]
    save_file(weights, broken / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(ModelNotReadyError, match=r'lacks 1 weights.*q_proj'):
        load_engine(EngineConfig(str(broken), device='cpu'))


def test_weights_of_another_size(broken: Path) -> None:
    path = broken / 'config.json'
    content = json.loads(path.read_text())
    content['text_config']['intermediate_size'] = 96
    path.write_text(json.dumps(content))
    with pytest.raises(ModelNotReadyError, match='cannot be loaded'):
        load_engine(EngineConfig(str(broken), device='cpu'))


def test_damaged_tokenizer(broken: Path) -> None:
    (broken / 'tokenizer.json').write_text('{"model": 3}')
    with pytest.raises(ModelNotReadyError, match='tokenizer or image processor'):
        load_engine(EngineConfig(str(broken), device='cpu'))
