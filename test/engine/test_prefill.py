"""How prompts are read: attention without masks in memory, images together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Qwen2_5_VLForConditionalGeneration

from mimo_embodied_ros.engine.decoder import Decoder
from mimo_embodied_ros.engine.vision import EmbeddedPrompt
from mimo_embodied_ros.engine.vision_tower import VisionTower

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HIDDEN, HEADS, WIDEST = 64, 4, 256  # of the random model; the widest of its linear layers
SIZES = ((4, 4), (16, 16), (14, 22), (2, 40), (16, 16), (14, 22))  # rows and columns of patches


@pytest.fixture(scope='module')
def model(random_model: Path) -> Any:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(
        random_model, dtype=torch.float32).eval()


class Allocations(TorchDispatchMode):
    """Notes the elements and the shape of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.largest, self.shape = 0, torch.Size()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple) else (out,):
            if isinstance(made, torch.Tensor):
                size = made.untyped_storage().nbytes() // made.itemsize
                if size > self.largest:
                    self.largest, self.shape = size, made.shape
        return out


def text(length: int, start: int = 0, seed: int = 0) -> EmbeddedPrompt:
    hidden = torch.randn(length, HIDDEN, generator=torch.Generator().manual_seed(seed))
    return EmbeddedPrompt(hidden, torch.arange(start, start + length), start, None)


def read(decoder: Decoder, parts: Sequence[Sequence[EmbeddedPrompt]]) -> torch.Tensor:
    """Logits after the last one of the parts of each prompt; all first parts, then all second."""
    rows = decoder.memory.add([sum(len(p.hidden) for p in prompt) + 1 for prompt in parts])
    with torch.inference_mode():
        for together in zip(*parts, strict=True):
            logits = decoder.read(together, rows)
    decoder.memory.release()
    return logits


def plain(model: Any, prompt: EmbeddedPrompt) -> torch.Tensor:
    with torch.inference_mode():
        positions = prompt.positions if prompt.positions.ndim == 1 else prompt.positions[:, 0]
        return model(inputs_embeds=prompt.hidden[None],
                     position_ids=positions.expand(3, 1, -1)).logits[0, -1]


def cut(prompt: EmbeddedPrompt, *places: int) -> list[EmbeddedPrompt]:
    ends = [0, *places, len(prompt.hidden)]
    return [EmbeddedPrompt(prompt.hidden[a:b], prompt.positions[a:b], a, None)
            for a, b in itertools.pairwise(ends)]


def test_logits_are_those_of_transformers_however_a_prompt_is_cut(model: Any) -> None:
    """Alone and padded beside others, from the beginning, behind alike and unlike beginnings."""
    decoder = Decoder(model)
    prompts = [text(length, seed=length) for length in (90, 255, 254, 33)]
    prompts[2] = replace(prompts[2], positions=prompts[2].positions[:, None].expand(-1, 3))
    expected = torch.stack([plain(model, prompt) for prompt in prompts])
    for cuts in ([()] * 4, [(30,)] * 4, [(30, 31)] * 4, [(7,), (200,), (221,), (7,)]):
        parts = [cut(prompt, *places) for prompt, places in zip(prompts, cuts, strict=True)]
        together = read(decoder, parts)
        alone = torch.cat([read(decoder, [part]) for part in parts])
        torch.testing.assert_close(together, expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(alone, expected, rtol=1e-3, atol=1e-3)


def test_drafts_of_rows_of_unlike_lengths_see_what_is_before_them(model: Any) -> None:
    """All logits of a step of several tokens, near the end of a row, too."""
    decoder = Decoder(model)
    prompts = [text(length, seed=length) for length in (90, 254, 40)]
    rows = decoder.memory.add([len(prompt.hidden) + 1 for prompt in prompts])
    new = 4
    with torch.inference_mode():
        for prompt, row in zip(prompts, rows, strict=True):
            decoder.read([cut(prompt, len(prompt.hidden) - new)[0]], [row])
        logits = decoder.forward(
            torch.stack([prompt.hidden[-new:] for prompt in prompts]),
            torch.stack([prompt.positions[-new:] for prompt in prompts]),
            rows, [len(prompt.hidden) - new for prompt in prompts])
    decoder.memory.release()
    for prompt, row_logits in zip(prompts, logits, strict=True):
        torch.testing.assert_close(row_logits[-1], plain(model, prompt), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(('start', 'new', 'rows'), [(0, 1024, 1), (768, 256, 1), (768, 256, 3)])
def test_no_mask_is_larger_than_what_is_new_times_what_is_there(
    model: Any, start: int, new: int, rows: int
) -> None:
    """None at all where nothing is there before, else one for all rows and heads.

    Counted are all tensors of a pass: without a mask the largest are those of linear layers.
    """
    decoder = Decoder(model)
    prompt = text(start + new)
    parts = cut(prompt, start) if start else [prompt]
    memory = decoder.memory.add([start + new + 1] * rows)
    with torch.inference_mode():
        if start:
            decoder.read(parts[:1] * rows, memory)
        kept = sum(layer.nbytes for layer in memory[0].slab.layers[:1]) // 4  # they are viewed
        with Allocations() as made:
            decoder.read(parts[-1:] * rows, memory)
    decoder.memory.release()
    linear = rows * new * WIDEST
    mask = new * (start + new) if start else 0
    assert linear < HEADS * new * (start + new), 'else this test shows nothing'
    assert made.largest <= max(linear, mask, kept), made.shape


def features(model: Any, patches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Of each image alone, by transformers."""
    found = []
    with torch.inference_mode():
        for image, size in zip(patches, SIZES, strict=True):
            output = model.model.get_image_features(image, torch.tensor([(1, *size)]))
            found.append(torch.cat(tuple(getattr(output, 'pooler_output', output))))
    return found


def test_images_together_are_images_alone_are_those_of_transformers(model: Any) -> None:
    """Of several sizes, with windows of all sizes; each size twice or once."""
    drawn = torch.Generator().manual_seed(2)
    patches = [torch.randn(rows * columns, 1176, generator=drawn) for rows, columns in SIZES]
    expected = features(model, patches)
    tower = VisionTower(model.model.visual)
    with torch.inference_mode():
        together = tower(patches, SIZES)
        alone = [tower([image], [size])[0] for image, size in zip(patches, SIZES, strict=True)]
    for one, other, true, (rows, columns) in zip(together, alone, expected, SIZES, strict=True):
        assert one.shape == (rows * columns // 4, HIDDEN)
        torch.testing.assert_close(one, true, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(other, true, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(together[1], together[4], atol=1e-2), 'two images of one size'


def test_windows_of_one_size_are_one_call(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 3 images of 16 x 22 patches, whose windows of 8 x 8 leave a narrower column."""
    calls: list[tuple[int, ...]] = []
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, 'scaled_dot_product_attention',
        lambda query, *more, **options: (
            calls.append(tuple(query.shape)), attention(query, *more, **options))[1])
    tower = VisionTower(model.model.visual)
    with torch.inference_mode():
        tower([torch.randn(16 * 22, 1176) for _ in range(3)], [(16, 22)] * 3)
    # (heads of all images, windows, ...): windows of the first layer by size, images in the second
    assert calls == [(2 * 3, 2, 8 * 6, 16), (2 * 3, 4, 64, 16), (2 * 3, 1, 16 * 22, 16)]
