"""Many questions about one image in one row, and the model's forward pass over such rows.

A row is [prefix | block | block | ...]: the prefix holds the system prompt and the image, each
block one question with its answer. A block sees the prefix and itself, and its M-RoPE positions
go on from the prefix, so that every block equals a conversation of its own (a test compares the
logits). The weights are those of the transformers classes; only the attention differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from mimo_embodied_ros.core.resize import FACTOR

from .checkpoint import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from transformers import Qwen2_5_VLForConditionalGeneration

_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
IGNORE = -100
POINTING_LAYER = 1  # its first head is taught to look from a thing's name to the thing


@dataclass(frozen=True)
class Example:
    """One turn of a conversation.

    Attributes:
        prompt: the user's text after the image.
        reply: the whole of it.
        kind: for the statistics.
        weight: of the reply's tokens in the loss.
        bare: without ChatML around it: the reply follows the prompt at once.
        mentions: where in the prompt the name of a thing ends, and the image token it lies in.
        repeats: the same in the reply.

    """

    prompt: str
    reply: str
    kind: str
    weight: float = 1.0
    bare: bool = False
    mentions: tuple[tuple[int, int], ...] = ()
    repeats: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Batch:
    """Rows of one image grid; token tensors are (rows, length), positions (3, length)."""

    patches: torch.Tensor
    grid: tuple[int, int]  # rows and columns of image tokens
    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor  # the NEXT token where it is to be learnt, else IGNORE
    weights: torch.Tensor
    kinds: NDArray[np.str_]
    mentions: torch.Tensor  # (n, 3): row, column of a name's last token, column of what it names
    prefix: int
    blocks: int


def to_patches(images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    """(n, H, W, 3) uint8 to (n * H/14 * W/14, 1176), in the order of Qwen2VLImageProcessor."""
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
        self._cache: dict[str, tuple[list[int], list[int]]] = {}
        self._image = int(tokenizer.token_to_id('<|image_pad|>') or 0)
        self._pad = int(tokenizer.token_to_id('<|endoftext|>') or 0)
        self._before = self.encode(
            f'<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n<|vision_start|>')
        self._after = self.encode('<|vision_end|>')
        self._turn = self.encode('<|im_end|>\n<|im_start|>assistant\n')
        self._end = self.encode('<|im_end|>')

    def _encode(self, text: str) -> tuple[list[int], list[int]]:
        """Token ids of ``text``, and where each token ends in it."""
        found = self._cache.get(text)
        if found is None:
            encoding = self._tokenizer.encode(text)
            found = encoding.ids, [end for _, end in encoding.offsets]
            if len(self._cache) < 300_000:
                self._cache[text] = found
        return found

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``."""
        return self._encode(text)[0]

    def _prefix(self, rows: int, columns: int) -> tuple[list[int], NDArray[np.int64], int]:
        start, count = len(self._before), rows * columns
        ids = [*self._before, *[self._image] * count, *self._after]
        positions = np.zeros((3, len(ids)), np.int64)
        positions[:, :start] = np.arange(start)
        down, right = np.divmod(np.arange(count), columns)
        positions[:, start : start + count] = start + np.stack([0 * down, down, right])
        after = start + max(rows, columns)
        positions[:, start + count :] = after + np.arange(len(self._after))
        return ids, positions, after + len(self._after)

    def pack(
        self, images: Sequence[NDArray[np.uint8]], examples: Sequence[Sequence[Example]],
        blocks: int, length: int,
    ) -> Batch:
        """One row an image with up to ``blocks`` of its examples; longer ones are left out."""
        rows, columns = images[0].shape[0] // FACTOR, images[0].shape[1] // FACTOR
        prefix_ids, prefix_positions, begin = self._prefix(rows, columns)
        prefix = len(prefix_ids)
        shape = (len(images), prefix + blocks * length)
        ids = np.full(shape, self._pad, np.int64)
        labels = np.full(shape, IGNORE, np.int64)
        weights = np.zeros(shape, np.float32)
        kinds = np.full(shape, '', 'U12')
        mentions = []
        ids[:, :prefix] = prefix_ids
        for row, some in enumerate(examples):
            block = 0
            for example in some:
                asked, ends = self._encode(example.prompt)
                said, said_ends = self._encode(example.reply)
                if not example.bare:
                    asked, said = asked + self._turn, said + self._end
                if block == blocks or len(asked) + len(said) > length:
                    continue
                at = prefix + block * length
                answer = slice(at + len(asked) - 1, at + len(asked) + len(said) - 1)
                ids[row, at : at + len(asked) + len(said)] = asked + said
                labels[row, answer] = said
                weights[row, answer] = example.weight
                kinds[row, answer] = example.kind
                mentions += [(row, at + ends.index(end), len(self._before) + cell)
                             for end, cell in example.mentions]
                at += len(asked)
                mentions += [(row, at + said_ends.index(end), len(self._before) + cell)
                             for end, cell in example.repeats]
                block += 1
        positions = np.concatenate(
            [prefix_positions, np.tile(begin + np.arange(length), (3, blocks))], 1)
        return Batch(to_patches(images), (rows, columns), torch.from_numpy(ids),
                     torch.from_numpy(positions), torch.from_numpy(labels),
                     torch.from_numpy(weights), kinds,
                     torch.tensor(mentions, dtype=torch.int64).reshape(-1, 3), prefix, blocks)


def _images_attention(
    module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention_mask: None,
    scaling: float, *, images: int = 1, **_: Any,
) -> tuple[torch.Tensor, None]:
    """Every image attends to itself: (1, heads, images * patches, d)."""
    def split(x: torch.Tensor) -> torch.Tensor:
        _, heads, tokens, width = x.shape
        return x.reshape(heads, images, tokens // images, width).transpose(0, 1)

    out = F.scaled_dot_product_attention(split(q), split(k), split(v), scale=scaling)
    return out.transpose(1, 2).reshape(1, -1, q.shape[1], q.shape[3]), None


def _packed_attention(
    module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention_mask: None,
    scaling: float, *, prefix: int, blocks: int, watched: list[torch.Tensor], **_: Any,
) -> tuple[torch.Tensor, None]:
    """The prefix is causal; a block sees the whole prefix and, causally, itself.

    What the first head attends to is appended to ``watched``: (rows, blocks * size, prefix).
    """
    rows, heads, length, width = q.shape
    k, v = (x.repeat_interleave(heads // x.shape[1], 1) for x in (k, v))
    size = (length - prefix) // blocks
    head = F.scaled_dot_product_attention(
        q[:, :, :prefix], k[:, :, :prefix], v[:, :, :prefix], is_causal=True, scale=scaling)
    q, own_k, own_v = (x[:, :, prefix:] for x in (q * scaling, k, v))
    k, v = k[:, :, :prefix], v[:, :, :prefix]
    each = (rows, heads, blocks, size, width)
    shared = q @ k.transpose(-1, -2)
    own = q.reshape(each) @ own_k.reshape(each).transpose(-1, -2)
    own = own + torch.full((size, size), -1e4).triu(1)
    scores = torch.cat([shared.reshape(rows, heads, blocks, size, prefix), own], -1).softmax(-1)
    shared = scores[..., :prefix].reshape(rows, heads, blocks * size, prefix)
    watched.append(shared[:, 0])
    tail = shared @ v
    tail = tail + (scores[..., prefix:] @ own_v.reshape(each)).reshape(tail.shape)
    return torch.cat([head, tail], 2).transpose(1, 2), None


AttentionInterface.register('packed_images', _images_attention)
AttentionInterface.register('packed_questions', _packed_attention)


def prepare(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Make the model's layers attend within images and blocks."""
    for block in model.model.visual.blocks:
        block.attn.config._attn_implementation = 'packed_images'
    for layer in model.model.language_model.layers:
        layer.self_attn.config._attn_implementation = 'packed_questions'


def see(
    model: Qwen2_5_VLForConditionalGeneration, patches: torch.Tensor, grid: tuple[int, int]
) -> torch.Tensor:
    """(images, image tokens, hidden) of images of one grid; all layers attend fully."""
    tower = model.model.visual
    rows, columns = grid
    images = patches.shape[0] // (4 * rows * columns)
    # A convolution whose kernel is the patch is a matrix product, and much slower on a CPU.
    x = F.linear(patches, tower.patch_embed.proj.weight.flatten(1))
    cell = torch.stack(torch.meshgrid(torch.arange(2 * rows), torch.arange(2 * columns),
                                      indexing='ij'), -1)
    order = cell.reshape(rows, 2, columns, 2, 2).transpose(1, 2).reshape(-1, 2)
    turns = tower.rotary_pos_emb(x, order.repeat(images, 1))
    whole = torch.tensor([0, x.shape[0]], dtype=torch.int32)
    for block in tower.blocks:
        x = block(x, cu_seqlens=whole, position_embeddings=turns, images=images)
    return tower.merger(x).reshape(images, rows * columns, -1)


def answer(
    model: Qwen2_5_VLForConditionalGeneration, batch: Batch, seen: torch.Tensor
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], torch.Tensor]:
    """Ask and answer all questions of a batch.

    Returns:
        Logits (answer tokens, vocabulary), the (row, column) index of each of them, and how much
        each mention of a thing attends to that thing's image token in the pointing head.

    """
    language = model.model.language_model
    x = language.embed_tokens(batch.ids)
    start = batch.prefix - 1 - seen.shape[1]
    x = torch.cat([x[:, :start], seen, x[:, start + seen.shape[1] :]], 1)
    turns = language.rotary_emb(x, batch.positions[:, None].expand(-1, x.shape[0], -1))
    watched: list[torch.Tensor] = []
    for layer in language.layers:
        x = layer(x, attention_mask=None, position_embeddings=turns, prefix=batch.prefix,
                  blocks=batch.blocks, watched=watched)
    at = (batch.labels != IGNORE).nonzero(as_tuple=True)
    row, name, thing = batch.mentions.unbind(1)
    pointed = watched[POINTING_LAYER][row, name - batch.prefix, thing]
    return model.lm_head(language.norm(x[at])), at, pointed
