"""bfloat16, the real model's dtype on a GPU: what rounding changes, what ``deterministic`` keeps.

In bfloat16 sums are rounded so coarsely that their order decides between two tokens that are about
equally likely, and the order depends on what is computed together. Answers of all 195 questions of
25 frames: a batch of 8 changes 2, ``deterministic`` none (``compare(195)``).
"""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip('torch')

import torch
from baseline import plain_inputs
from transformers import Qwen2_5_VLForConditionalGeneration
from workload import about_one_frame

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.processor import load_processor
from mimo_embodied_ros.share import embedded_model
from support.prompts import make_prompt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mimo_embodied_ros.core.prompts import Prompt

AT_ONCE = 8
# Two logits this close can change places: each is rounded to 8 bits, and so is what it is made of,
# by transformers, whose logits they are, at more places than by the engine.
ROUNDINGS = 8


class Asked:
    """An engine in bfloat16, and the tokens that it writes."""

    def __init__(self, model: str, longest: int = 200, **options: Any) -> None:
        self._longest = longest
        self.engine = load_engine(
            EngineConfig(model, device='cpu', dtype='bfloat16', threads=1, **options))
        self._written: dict[tuple[bytes, Any], list[int]] = {}
        batch: Any = self.engine._batch  # type: ignore[attr-defined]
        self._submit, batch.submit = batch.submit, self._note

    def _note(self, generation: Any) -> None:
        self._written[generation.encoded.tokens.numpy().tobytes(), generation.encoded.key] = (
            generation.tokens)
        self._submit(generation)

    def tokens(self, prompt: Prompt) -> tuple[int, ...]:
        encoded = self.engine._encoder.encode(prompt)  # type: ignore[attr-defined]
        self.engine.generate(prompt, max_new_tokens=self._longest)
        return tuple(self._written[encoded.tokens.numpy().tobytes(), encoded.key])

    def one_by_one(self, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
        return [self.tokens(prompt) for prompt in prompts]

    def together(self, prompts: Sequence[Prompt]) -> list[tuple[int, ...]]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.tokens, prompts))


def embedded_prompts(count: int) -> list[Prompt]:
    """Questions about drawn tables, eight about each."""
    engine = load_engine(EngineConfig(embedded_model(), device='cpu', threads=1))
    rng = random.Random('serving 7')
    prompts: list[Prompt] = []
    while len(prompts) < count:
        prompts += [build_prompt(query, engine.limits) for query in about_one_frame(rng)]
    engine.close()
    return prompts[:count]


def check_is_close(
    model: Any, processor: Any, prompt: Prompt, one: Sequence[int], other: Sequence[int]
) -> None:
    """Two answers part at the model's two best tokens, and these are nearly equally likely."""
    same = next(n for n, (a, b) in enumerate(zip(one, other)) if a != b)
    inputs = plain_inputs(processor, prompt)
    written = torch.tensor([list(one[:same])], dtype=torch.long)
    for name, value in (('input_ids', written), ('attention_mask', torch.ones_like(written)),
                        ('mm_token_type_ids', torch.zeros_like(written))):
        if name in inputs:
            inputs[name] = torch.cat([inputs[name], value], 1)
    with torch.inference_mode():
        logits = model(**inputs).logits[0, -1].float()
    best = logits.topk(2)
    assert {one[same], other[same]} == set(best.indices.tolist())
    first, second = best.values.tolist()
    step = 2.0 ** (math.floor(math.log2(abs(first))) - 7)
    assert first - second <= ROUNDINGS * step


def changes(
    folder: str, prompts: Sequence[Prompt], alone: Sequence[Any], together: Sequence[Any]
) -> int:
    """How many answers differ; each only where two tokens are about equally likely."""
    processor = load_processor(Path(folder))
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    differing = [pair for pair in zip(prompts, alone, together) if pair[1] != pair[2]]
    for prompt, one, other in differing:
        check_is_close(model, processor, prompt, one, other)
    return len(differing)


def compare(count: int) -> int:
    """Ask the embedded model alone, and together with drafts; how many answers differ."""
    prompts = embedded_prompts(count)
    alone, together = Asked(embedded_model(), deterministic=True), Asked(embedded_model())
    changed = changes(
        embedded_model(), prompts, alone.one_by_one(prompts), together.together(prompts))
    alone.engine.close()
    together.engine.close()
    return changed


def test_few_answers_change_and_only_where_two_tokens_are_about_equal() -> None:
    """In a batch, with drafts; 16 of the 195 questions."""
    assert compare(16) <= 2


def random_prompts() -> list[Prompt]:
    """Questions about no image, one and two, some of them about the same ones."""
    return [make_prompt(f'where is the {"red " * (n % 4)}cube {n}', seed=n % 3, images=n % 3)
            for n in range(20)]


def test_deterministic_answers_depend_on_nothing_else(random_model: Path) -> None:
    """Neither on the order, nor on questions beside and before, nor on what the cache holds.

    A model with random weights has many tokens that are about equally likely.
    """
    prompts = random_prompts()
    first = Asked(str(random_model), 50, deterministic=True)
    expected = first.one_by_one(prompts)
    order = random.Random(1).sample(range(len(prompts)), len(prompts))
    shuffled = [prompts[n] for n in order]
    assert first.together(shuffled) == [expected[n] for n in order]
    uncached = Asked(str(random_model), 50, deterministic=True, cache_mb=0)
    assert uncached.together(shuffled) == [expected[n] for n in order]
    usual = Asked(str(random_model), 50)
    changed = changes(str(random_model), prompts, expected, usual.together(prompts))
    assert changed > 0, 'else this test shows nothing'
    assert first.engine.info.deterministic
    assert not usual.engine.info.deterministic
    for asked in (first, uncached, usual):
        asked.engine.close()


def test_deterministic_prompts_count_only_what_was_reused(random_model: Path) -> None:
    engine = load_engine(EngineConfig(str(random_model), device='cpu', deterministic=True))
    reused = [engine.generate(make_prompt(text), max_new_tokens=2).stats.reused_tokens
              for text in ('the cube', 'the bowl')]
    assert reused[0] == 0 < reused[1]
    engine.close()


def test_float32_needs_no_deterministic(random_model: Path) -> None:
    prompts = random_prompts()
    answers = []
    for deterministic in (False, True):
        engine = load_engine(EngineConfig(
            str(random_model), device='cpu', threads=1, deterministic=deterministic))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers.append(list(pool.map(
                lambda p, e=engine: e.generate(p, max_new_tokens=20).text, prompts)))
        engine.close()
    assert answers[0] == answers[1]


def test_servers_cannot_be_deterministic() -> None:
    with pytest.raises(InvalidRequestError, match=r"deterministic is true.*'transformers'"):
        EngineConfig('mimo', backend='openai', deterministic=True)
