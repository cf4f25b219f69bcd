"""Packs many questions about one image or clip into one row; ``packed_model`` runs such rows.

A row is [prefix | block | block | ...]: the prefix holds the system prompt and the image, or the
frames of a clip as images or as a video, each block one question with its answer. A block attends
to the prefix and to itself, and its M-RoPE positions continue the prefix's, so that each block
equals a conversation of its own (a test compares the logits). The weights are those of the
transformers classes; only the attention differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.core.video import PAIR
from mimo_embodied_ros.engine.positions import Grid, mrope_positions

from .taught_attention import COMPARING_HEADS, LAYERS, Mention, Option, ending, links
from .untrained_model import IMAGE_MEAN, IMAGE_STD, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

_MEAN, _STD = np.array([IMAGE_MEAN, IMAGE_STD], np.float32)
IGNORE = -100
_WRAPPER = 0.15  # weight of the reply's tokens outside of its core


@dataclass(frozen=True)
class Example:
    """One turn of a conversation.

    Attributes:
        prompt: the user's text after the image.
        reply: the complete reply.
        core: the informative part of the reply, its last occurrence there; the rest of the reply,
            which is always the same, has little weight.
        kind: kind of the question, for the statistics.
        weight: weight of the core's tokens in the loss.
        bare: whether the reply follows the prompt at once, without ChatML between them.
        mentions: the names of things in the prompt, in its order.
        repeats: the names of things in the reply, in its order.
        recalls: whether the core is about the things that the prompt names, in its order.
        sense_word: the end, in the prompt, of the word that says what is asked about them; 0: there
            is no such word.
        options: the options in the prompt.
        counted: the end of the word whose number is asked for, with each of the things.
        seen: the image token that shows the answer about a clip; -1: none is taught.

    """

    prompt: str
    reply: str
    core: str
    kind: str
    weight: float = 1.0
    bare: bool = False
    mentions: tuple[Mention, ...] = ()
    repeats: tuple[Mention, ...] = ()
    recalls: bool = True
    sense_word: int = 0
    options: tuple[Option, ...] = ()
    counted: tuple[Mention, ...] = ()
    seen: int = -1


@dataclass(frozen=True)
class PackedBatch:
    """Rows with the same media; "images" are also the pairs of frames of a video.

    Token tensors are (rows, length), positions (3, length).

    ``taught`` is what heads should attend to, by the names of ``LAYERS``: (n, 7) of row, head,
    block, attending token of the block, attended token (of the prefix or, counted on from these, of
    the block), number of the question's name that it is about, and image token of that thing. The
    last two are 0 where it is about none; ``counted`` has the number of the things instead.
    """

    patches: torch.Tensor
    grid: tuple[int, int]  # rows and columns of the tokens of an image
    image_at: torch.Tensor  # (image tokens of a row,) their places in the prefix
    ids: torch.Tensor
    tokens: torch.Tensor  # bool: what is not padding
    positions: torch.Tensor
    labels: torch.Tensor  # the NEXT token where it is to be learnt, else IGNORE
    weights: torch.Tensor
    kinds: NDArray[np.str_]  # kind of the question at core tokens, else empty
    taught: dict[str, torch.Tensor]
    compared: torch.Tensor  # (n, 4): row, head, attending and attended token of the prefix
    prefix: int  # tokens of the prefix
    blocks: int  # blocks in a row


def to_patches(
    images: Sequence[NDArray[np.uint8]], seconds: Sequence[NDArray[np.uint8]] | None = None
) -> torch.Tensor:
    """Cut images, or pairs of frames, into patches as Qwen2-VL orders them.

    Args:
        images: (H, W, 3) uint8 each, n of them.
        seconds: the second frame of each pair; None: an image is both.

    Returns:
        (n * H/14 * W/14, 1176) float32.

    """
    first = _cut(images)
    both = first if seconds is None else _cut(seconds)
    return torch.from_numpy(np.stack([first, both], 6).reshape(-1, 1176))


def _cut(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return (n, rows, columns, 2, 2, 3, 14, 14) float32, normalised."""
    pixels = (np.stack(images).astype(np.float32) / 255 - _MEAN) / _STD
    n, height, width, _ = pixels.shape
    rows, columns = height // FACTOR, width // FACTOR
    x = pixels.transpose(0, 3, 1, 2).reshape(n, 3, rows, 2, 14, columns, 2, 14)
    return x.transpose(0, 2, 5, 3, 6, 1, 4, 7)


class _Prefix(NamedTuple):
    ids: list[int]
    positions: NDArray[np.int64]  # (3, tokens)
    image_at: torch.Tensor  # (image tokens,)


class Packer:
    """Turns images and examples into batches."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._cache: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}
        self._image = int(tokenizer.token_to_id('<|image_pad|>') or 0)
        self._video = int(tokenizer.token_to_id('<|video_pad|>') or 0)
        self._pad = int(tokenizer.token_to_id('<|endoftext|>') or 0)
        self._before = self.encode(
            f'<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<|vision_start|>')
        self._after = self.encode('<|vision_end|>')
        self._between = self.encode('<|vision_end|><|vision_start|>')
        self._turn = self.encode('<|im_end|>\n<|im_start|>assistant\n')
        self._end = self.encode('<|im_end|>')

    def _encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of a text, and where each token begins and ends in it."""
        tokens = self._cache.get(text)
        if tokens is None:
            encoding = self._tokenizer.encode(text)
            tokens = encoding.ids, encoding.offsets
            if len(self._cache) < 300_000:
                self._cache[text] = tokens
        return tokens

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        return self._encode(text)[0]

    def _prefix(self, grids: Sequence[Grid], token: int) -> _Prefix:
        ids, parts = [*self._before], list[int | Grid]([len(self._before)])
        for number, grid in enumerate(grids, 1):
            after = self._after if number == len(grids) else self._between
            ids += [token] * grid.tokens + after
            parts += [grid, len(after)]
        image_at = torch.tensor([place for place, id_ in enumerate(ids) if id_ == token])
        return _Prefix(ids, mrope_positions(parts).T, image_at)

    def pack(
        self, images: Sequence[NDArray[np.uint8]], examples: Sequence[Sequence[Example]],
        blocks: int, length: int, units: float = 1.0,
    ) -> PackedBatch:
        """Pack each image and its examples into one row.

        Args:
            images: (H, W, 3) uint8 each, RGB, all of one size.
            examples: the examples of each image.
            blocks: most examples in a row; further ones are left out.
            length: tokens of a block; longer examples are left out.
            units: weight of the last digit of a number of several digits.

        """
        return self._pack(
            to_patches(images), [Grid(1, *_cells(images[0]))], self._image, examples, blocks,
            length, units)

    def pack_clips(
        self, clips: Sequence[Sequence[NDArray[np.uint8]]],
        examples: Sequence[Sequence[Example]], blocks: int, length: int, units: float = 1.0, *,
        step: float | None = None, compared: Sequence[Sequence[tuple[int, int]]] = (),
    ) -> PackedBatch:
        """Pack each clip and its examples into one row.

        Args:
            clips: their frames, oldest first, as the images of ``pack``, an equal number of each.
            examples: the examples of each clip.
            blocks: as of ``pack``.
            length: as of ``pack``.
            units: as of ``pack``.
            step: send a clip as a video, with so many positions in time from one pair of frames to
                the next (see ``Grid``); None: send its frames as images.
            compared: of each clip, pairs of image tokens of which the first is to attend to the
                second.

        """
        frames, cells = [frame for clip in clips for frame in clip], _cells(clips[0][0])
        if step is None:
            patches, token = to_patches(frames), self._image
            grids = [Grid(1, *cells)] * len(clips[0])
        else:
            # a last frame without a partner is its own, as in the processor
            pairs = [(clip[i], clip[min(i + 1, len(clip) - 1)])
                     for clip in clips for i in range(0, len(clip), PAIR)]
            patches, token = to_patches(*zip(*pairs)), self._video
            grids = [Grid(len(pairs) // len(clips), *cells, step)]
        batch = self._pack(patches, grids, token, examples, blocks, length, units)
        at = batch.image_at
        looks = [(row, head, int(at[last]), int(at[first])) for row, tokens in enumerate(compared)
                 for last, first in tokens for head in COMPARING_HEADS]
        return replace(batch, compared=torch.tensor(looks, dtype=torch.int64).reshape(-1, 4))

    def _pack(
        self, patches: torch.Tensor, grids: Sequence[Grid], token: int,
        examples: Sequence[Sequence[Example]], blocks: int, length: int, units: float,
    ) -> PackedBatch:
        """Pack the media of all rows, which have these grids, with their examples."""
        prefix_ids, prefix_positions, image_at = self._prefix(grids, token)
        begin = int(prefix_positions.max()) + 1
        prefix = len(prefix_ids)
        shape = (len(examples), prefix + blocks * length)
        ids = np.full(shape, self._pad, np.int64)
        labels = np.full(shape, IGNORE, np.int64)
        weights = np.zeros(shape, np.float32)
        kinds = np.full(shape, '', 'U12')
        taught: dict[str, list[tuple[int, ...]]] = {name: [] for name in LAYERS}
        used = np.zeros(shape, np.bool_)
        places = image_at.tolist()
        ids[:, :prefix], used[:, :prefix] = prefix_ids, True
        for row, row_examples in enumerate(examples):
            block = 0
            for example in row_examples:
                prompt_ids, prompt_spans = self._encode(example.prompt)
                reply_ids, reply_spans = self._encode(example.reply)
                turn, end = ([], []) if example.bare else (self._turn, self._end)
                block_ids = prompt_ids + turn + reply_ids + end
                if block == blocks or len(block_ids) > length:
                    continue
                start = prefix + block * length
                before = len(prompt_ids) + len(turn)
                ids[row, start : start + len(block_ids)] = block_ids
                used[row, start : start + len(block_ids)] = True
                # A token is predicted at the one before it.
                reply = slice(start + before - 1, start + len(block_ids) - 1)
                labels[row, reply] = reply_ids + end
                weights[row, reply] = _WRAPPER * example.weight
                core = [before - 1 + i for i in _within(reply_spans, example.reply, example.core)]
                weights[row, [start + token for token in core]] = example.weight
                kinds[row, [start + token for token in core]] = example.kind
                last = [ending(reply_spans, number.end())
                        for number in re.finditer(r'\d{2,}', example.reply)]
                weights[row, [start + before - 1 + token for token in last]] *= units
                for name, heads, *link in links(
                        example, prompt_spans, reply_spans, before, core, prefix, places):
                    taught[name] += [(row, head, block, *link) for head in heads]
                block += 1
        positions = np.concatenate(
            [prefix_positions, np.tile(begin + np.arange(length), (3, blocks))], 1)
        return PackedBatch(
            patches, (grids[0].rows, grids[0].columns), image_at, torch.from_numpy(ids),
            torch.from_numpy(used), torch.from_numpy(positions), torch.from_numpy(labels),
            torch.from_numpy(weights), kinds,
            {name: _index_tensor(entries) for name, entries in taught.items()},
            torch.empty(0, 4, dtype=torch.int64), prefix, blocks)


def _cells(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Rows and columns of the tokens of an image."""
    return image.shape[0] // FACTOR, image.shape[1] // FACTOR


def _index_tensor(rows: list[tuple[int, ...]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 7)


def _within(spans: Sequence[tuple[int, int]], text: str, part: str) -> list[int]:
    """The tokens that overlap the last occurrence of ``part``."""
    begin = text.rindex(part)
    end = begin + len(part)
    return [i for i, (first, last) in enumerate(spans) if first < end and last > begin]
