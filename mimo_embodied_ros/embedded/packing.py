"""Packs many questions about one image into one row, and runs the model on such rows.

A row is [prefix | block | block | ...]: the prefix holds the system prompt and the image, each
block one question with its answer. A block attends to the prefix and to itself, and its M-RoPE
positions continue the prefix's, so that each block equals a conversation of its own (a test
compares the logits). The weights are those of the transformers classes; only the attention differs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from mimo_embodied_ros.core.resize import FACTOR
from mimo_embodied_ros.engine.positions import Grid, mrope_positions

from .untrained_model import IMAGE_MEAN, IMAGE_STD, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from transformers import Qwen2_5_VLForConditionalGeneration

_MEAN, _STD = np.array([IMAGE_MEAN, IMAGE_STD], np.float32)
IGNORE = -100
_WRAPPER = 0.15  # weight of the reply's tokens outside of its core
# Taught attention: in this layer a thing's name attends to the thing; in the next one the answer
# attends to the first and the second name in the question and to the word that says what is asked
# about them. Heads that share keys and values retrieve the same; for names, which must retrieve
# places to the pixel, one head of each group is taught.
POINTING_LAYER = 1
NAMES = 2
_HEADS = ((0, 3), (1, 4), (2,))  # for the first name, the second name, and the word


class Mention(NamedTuple):
    """The end of a thing's name in a text, and the image token in which the thing lies."""

    end: int
    token: int


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


@dataclass(frozen=True)
class PackedBatch:
    """Rows with images of one grid; token tensors are (rows, length), positions (3, length).

    ``mentions``, ``recalls`` and ``sense_words`` are what the taught heads should attend to: (n, 7)
    of row, head, block, attending token of the block, attended token (of the prefix or, counted on
    from these, of the block), number of the question's name that it is about, and image token of
    that thing.
    """

    patches: torch.Tensor
    grid: tuple[int, int]  # rows and columns of image tokens
    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor  # the NEXT token where it is to be learnt, else IGNORE
    weights: torch.Tensor
    kinds: NDArray[np.str_]  # kind of the question at core tokens, else empty
    mentions: torch.Tensor  # from names to things
    recalls: torch.Tensor  # from answers to names
    sense_words: torch.Tensor  # from answers to what is asked; the last two columns are 0
    prefix: int  # tokens of the prefix
    blocks: int  # blocks in a row


def to_patches(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """Cut (n, H, W, 3) uint8 into patches, (n * H/14 * W/14, 1176), as Qwen2-VL orders them."""
    pixels = (np.stack(images).astype(np.float32) / 255 - _MEAN) / _STD
    n, height, width, _ = pixels.shape
    rows, columns = height // FACTOR, width // FACTOR
    x = pixels.transpose(0, 3, 1, 2).reshape(n, 3, rows, 2, 14, columns, 2, 14)
    x = x.transpose(0, 2, 5, 3, 6, 1, 4, 7)
    return torch.from_numpy(np.repeat(x[:, :, :, :, :, :, None], 2, 6).reshape(-1, 1176))


class Packer:
    """Turns images and examples into batches."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._cache: dict[str, tuple[list[int], list[tuple[int, int]]]] = {}
        self._image = int(tokenizer.token_to_id('<|image_pad|>') or 0)
        self._pad = int(tokenizer.token_to_id('<|endoftext|>') or 0)
        self._before = self.encode(
            f'<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<|vision_start|>')
        self._after = self.encode('<|vision_end|>')
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

    def _prefix(self, rows: int, columns: int) -> tuple[list[int], NDArray[np.int64], int]:
        grid = Grid(1, rows, columns)
        ids = [*self._before, *[self._image] * grid.tokens, *self._after]
        positions = mrope_positions([len(self._before), grid, len(self._after)])
        return ids, positions.T, int(positions.max()) + 1

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
        rows, columns = images[0].shape[0] // FACTOR, images[0].shape[1] // FACTOR
        prefix_ids, prefix_positions, begin = self._prefix(rows, columns)
        prefix = len(prefix_ids)
        shape = (len(images), prefix + blocks * length)
        ids = np.full(shape, self._pad, np.int64)
        labels = np.full(shape, IGNORE, np.int64)
        weights = np.zeros(shape, np.float32)
        kinds = np.full(shape, '', 'U12')
        mentions: list[tuple[int, ...]] = []
        recalls: list[tuple[int, ...]] = []
        words: list[tuple[int, ...]] = []
        ids[:, :prefix] = prefix_ids
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
                # A token is predicted at the one before it.
                reply = slice(start + before - 1, start + len(block_ids) - 1)
                labels[row, reply] = reply_ids + end
                weights[row, reply] = _WRAPPER * example.weight
                core = [before - 1 + i for i in _within(reply_spans, example.reply, example.core)]
                weights[row, [start + token for token in core]] = example.weight
                kinds[row, [start + token for token in core]] = example.kind
                last = [_ending(reply_spans, number.end())
                        for number in re.finditer(r'\d{2,}', example.reply)]
                weights[row, [start + before - 1 + token for token in last]] *= units
                names = [_ending(prompt_spans, thing.end) for thing in example.mentions]
                again = [before + _ending(reply_spans, thing.end) for thing in example.repeats]
                things = [thing.token for thing in (*example.mentions, *example.repeats)]
                mentions += [
                    (row, head, block, name, len(self._before) + thing, 0, thing)
                    for name, thing in zip(names + again, things) for head in _HEADS[0]]
                if example.recalls and len(names) <= NAMES:
                    recalls += [
                        (row, head, block, token, prefix + name, number, things[number])
                        for number, name in enumerate(names) for head in _HEADS[number]
                        for token in core]
                if example.sense_word:
                    word = prefix + _ending(prompt_spans, example.sense_word)
                    words += [(row, head, block, token, word, 0, 0)
                              for head in _HEADS[NAMES] for token in core]
                block += 1
        positions = np.concatenate(
            [prefix_positions, np.tile(begin + np.arange(length), (3, blocks))], 1)
        return PackedBatch(
            to_patches(images), (rows, columns), torch.from_numpy(ids),
            torch.from_numpy(positions), torch.from_numpy(labels), torch.from_numpy(weights),
            kinds, _index_tensor(mentions), _index_tensor(recalls), _index_tensor(words),
            prefix, blocks)


def _index_tensor(rows: list[tuple[int, ...]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 7)


def _within(spans: Sequence[tuple[int, int]], text: str, part: str) -> list[int]:
    """The tokens that overlap the last occurrence of ``part``."""
    begin = text.rindex(part)
    end = begin + len(part)
    return [i for i, (first, last) in enumerate(spans) if first < end and last > begin]


def _ending(spans: Sequence[tuple[int, int]], place: int) -> int:
    """The token that ends at a place of the text."""
    return next(i for i, (_, last) in enumerate(spans) if last == place)


def _images_attention(
    module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention_mask: None,
    scaling: float, *, images: int = 1, neighbours: torch.Tensor | None = None,
    attention_log: list[torch.Tensor] | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each image; q, k and v are (1, heads, images * patches, d).

    The first head's attention from each thing to its neighbour is appended to ``attention_log``.
    """
    def split(x: torch.Tensor) -> torch.Tensor:
        _, heads, tokens, width = x.shape
        return x.reshape(heads, images, tokens // images, width).transpose(0, 1)

    q, k, v = split(q), split(k), split(v)
    if neighbours is not None and attention_log is not None:
        image, thing, other = neighbours.unbind(1)
        own = torch.arange(4)  # the patches of a token follow each other
        queries = q[image[:, None], 0, 4 * thing[:, None] + own] * scaling
        weights = (queries @ k[image, 0].transpose(1, 2)).softmax(-1)
        patches = (4 * other[:, None] + own)[:, None].expand(-1, 4, -1)
        attention_log.append(weights.gather(2, patches).sum(2))
    out = F.scaled_dot_product_attention(q, k, v, scale=scaling)
    return out.transpose(1, 2).reshape(1, -1, out.shape[1], out.shape[3]), None


def _packed_attention(
    module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention_mask: None,
    scaling: float, *, prefix: int, blocks: int, attention_log: list[torch.Tensor], **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of the prefix; blocks attend to the prefix and, causally, to themselves.

    The blocks' attention is appended to ``attention_log``: (rows, heads, blocks, size,
    prefix + size).
    """
    rows, heads, length, width = q.shape
    k, v = (x.repeat_interleave(heads // x.shape[1], 1) for x in (k, v))
    size = (length - prefix) // blocks
    head = F.scaled_dot_product_attention(
        q[:, :, :prefix], k[:, :, :prefix], v[:, :, :prefix], is_causal=True, scale=scaling)
    q, own_k, own_v = (x[:, :, prefix:] for x in (q * scaling, k, v))
    k, v = k[:, :, :prefix], v[:, :, :prefix]
    block_shape = (rows, heads, blocks, size, width)
    shared = q @ k.transpose(-1, -2)
    own = q.reshape(block_shape) @ own_k.reshape(block_shape).transpose(-1, -2)
    own = own + torch.full((size, size), -1e4).triu(1)
    scores = torch.cat([shared.reshape(rows, heads, blocks, size, prefix), own], -1).softmax(-1)
    shared = scores[..., :prefix].reshape(rows, heads, blocks * size, prefix)
    attention_log.append(scores)
    tail = shared @ v
    tail = tail + (scores[..., prefix:] @ own_v.reshape(block_shape)).reshape(tail.shape)
    return torch.cat([head, tail], 2).transpose(1, 2), None


AttentionInterface.register('packed_images', _images_attention)
AttentionInterface.register('packed_questions', _packed_attention)


def use_packed_attention(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Make the model's layers attend within images and within blocks only."""
    for block in model.model.visual.blocks:
        block.attn.config._attn_implementation = 'packed_images'
    for layer in model.model.language_model.layers:
        layer.self_attn.config._attn_implementation = 'packed_questions'


def encode_images(
    model: Qwen2_5_VLForConditionalGeneration, patches: torch.Tensor, grid: tuple[int, int],
    neighbours: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the vision tower on images of one grid; all layers attend fully.

    Args:
        model: the model that has the tower.
        patches: patches of all images, as `to_patches` returns them.
        grid: rows and columns of image tokens.
        neighbours: (n, 3): image, token of a thing, token of the thing that is nearest to it.

    Returns:
        (images, image tokens, hidden), and (n, 4) the attention of each thing's patches to its
        neighbour, in the last layer's first head.

    """
    tower = model.model.visual
    rows, columns = grid
    images = patches.shape[0] // (4 * rows * columns)
    # A convolution whose kernel is the patch is a matrix product, and much slower on a CPU.
    x = F.linear(patches, tower.patch_embed.proj.weight.flatten(1))
    cell = torch.stack(torch.meshgrid(torch.arange(2 * rows), torch.arange(2 * columns),
                                      indexing='ij'), -1)
    order = cell.reshape(rows, 2, columns, 2, 2).transpose(1, 2).reshape(-1, 2)
    turns = tower.rotary_pos_emb(x, order.repeat(images, 1))
    all_patches = torch.tensor([0, x.shape[0]], dtype=torch.int32)
    attention_log: list[torch.Tensor] = []
    for number, block in enumerate(tower.blocks, 1):
        last = number == len(tower.blocks)
        x = block(x, cu_seqlens=all_patches, position_embeddings=turns, images=images,
                  neighbours=neighbours if last else None, attention_log=attention_log)
    return (tower.merger(x).reshape(images, rows * columns, -1),
            torch.cat([torch.empty(0, 4), *attention_log]))


class PackedAnswers(NamedTuple):
    """The model's answers to a batch, and the attention of its taught heads.

    Attributes:
        logits: (answer tokens, vocabulary).
        at: rows and columns of these tokens in the batch.
        pointed: attention weight of each entry of ``batch.mentions``.
        recalled: attention weight of each entry of ``batch.recalls``.
        on_sense_words: attention weight of each entry of ``batch.sense_words``.
        at_names: (n, hidden): the hidden state at the name, after each of ``batch.mentions``.
        at_answers: (n, hidden): the hidden state at the answer, after each of ``batch.recalls``.

    """

    logits: torch.Tensor
    at: tuple[torch.Tensor, ...]
    pointed: torch.Tensor
    recalled: torch.Tensor
    on_sense_words: torch.Tensor
    at_names: torch.Tensor
    at_answers: torch.Tensor


def answer_questions(
    model: Qwen2_5_VLForConditionalGeneration, batch: PackedBatch, image_tokens: torch.Tensor
) -> PackedAnswers:
    """Run the language model on a batch with its image tokens."""
    language = model.model.language_model
    x = language.embed_tokens(batch.ids)
    start = batch.prefix - 1 - image_tokens.shape[1]
    x = torch.cat([x[:, :start], image_tokens, x[:, start + image_tokens.shape[1] :]], 1)
    turns = language.rotary_emb(x, batch.positions[:, None].expand(-1, x.shape[0], -1))
    attention_log: list[torch.Tensor] = []
    states: list[torch.Tensor] = []
    for layer in language.layers:
        x = layer(x, attention_mask=None, position_embeddings=turns, prefix=batch.prefix,
                  blocks=batch.blocks, attention_log=attention_log)
        states.append(x[:, batch.prefix :].unflatten(1, (batch.blocks, -1)))
    at = (batch.labels != IGNORE).nonzero(as_tuple=True)
    names, answers = POINTING_LAYER, POINTING_LAYER + 1
    return PackedAnswers(
        model.lm_head(language.norm(x[at])), at,
        attention_log[names][batch.mentions[:, :5].unbind(1)],
        attention_log[answers][batch.recalls[:, :5].unbind(1)],
        attention_log[answers][batch.sense_words[:, :5].unbind(1)],
        states[names][batch.mentions[:, [0, 2, 3]].unbind(1)],
        states[answers][batch.recalls[:, [0, 2, 3]].unbind(1)])
