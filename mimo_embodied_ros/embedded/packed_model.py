"""Runs the model on rows of ``packing``: its weights are stock, only the attention differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from .packing import IGNORE
from .taught_attention import COMPARING_LAYER, LAYERS

if TYPE_CHECKING:
    from transformers import Qwen2_5_VLForConditionalGeneration

    from .packing import PackedBatch

_ROUND = 256


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
    # a fused kernel's backward pass takes five times as long for so few patches
    out = ((q * scaling) @ k.transpose(-1, -2)).softmax(-1).to(v.dtype) @ v
    return out.transpose(1, 2).reshape(1, -1, out.shape[1], out.shape[3]), None


def _packed_attention(
    module: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attention_mask: None,
    scaling: float, *, batch: PackedBatch, tokens: torch.Tensor,
    attention_log: list[torch.Tensor], compare_log: list[torch.Tensor], **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of the prefix; blocks attend to the prefix and, causally, to themselves.

    q, k and v are (1, heads, n, width), of the tokens of the batch whose places in its flattened
    rows are ``tokens`` (n,). The blocks' attention is appended to ``attention_log``: (rows, heads,
    blocks, size, prefix + size); that of ``batch.compared`` to ``compare_log``.
    """
    heads, width = q.shape[1], q.shape[3]
    (rows, length), prefix, blocks = batch.ids.shape, batch.prefix, batch.blocks

    def in_rows(x: torch.Tensor) -> torch.Tensor:
        x = x[0].transpose(0, 1)
        whole = x.new_zeros(rows * length, *x.shape[1:]).index_copy(0, tokens, x)
        return whole.unflatten(0, (rows, length)).transpose(1, 2)

    q, k, v = in_rows(q), in_rows(k), in_rows(v)
    k, v = (x.repeat_interleave(heads // x.shape[1], 1) for x in (k, v))
    size = (length - prefix) // blocks
    if module.layer_idx == COMPARING_LAYER:
        compare_log.append(_prefix_weights(q * scaling, k, batch))
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
    whole = torch.cat([head, tail], 2).transpose(1, 2)
    return whole.flatten(0, 1)[tokens][None], None


def _prefix_weights(q: torch.Tensor, k: torch.Tensor, batch: PackedBatch) -> torch.Tensor:
    """Attention weight of each entry of ``batch.compared``."""
    row, head, attending, attended = batch.compared.unbind(1)
    scores = (k[row, head, : batch.prefix] @ q[row, head, attending][..., None])[..., 0]
    later = torch.arange(batch.prefix) > attending[:, None]
    weights = scores.float().masked_fill(later, -torch.inf).softmax(-1)
    return weights.gather(1, attended[:, None])[:, 0]


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
        patches: patches of all images, as `packing.to_patches` returns them.
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
    return (tower.merger(x).reshape(images, rows * columns, -1).float(),
            torch.cat([torch.empty(0, 4), *attention_log]))


class PackedAnswers(NamedTuple):
    """The model's answers to a batch, and the attention of its taught heads.

    Attributes:
        logits: (answer tokens, vocabulary).
        at: rows and columns of these tokens in the batch.
        attention: attention weight of each entry of ``batch.taught``, and as ``compared`` of
            those of ``batch.compared``.
        at_numbers: (n, hidden): the hidden state at the counted word, after each ``counted`` of
            these.
        at_names: (n, hidden): the hidden state at the name, after each ``pointed`` of these.
        at_answers: (n, hidden): the hidden state at the answer, after each ``recalled`` of these.

    """

    logits: torch.Tensor
    at: tuple[torch.Tensor, ...]
    attention: dict[str, torch.Tensor]
    at_numbers: torch.Tensor
    at_names: torch.Tensor
    at_answers: torch.Tensor


def answer_questions(
    model: Qwen2_5_VLForConditionalGeneration, batch: PackedBatch, image_tokens: torch.Tensor
) -> PackedAnswers:
    """Run the language model on a batch with its image tokens, as `encode_images` returns them."""
    language = model.model.language_model
    rows, length = batch.ids.shape
    x = language.embed_tokens(batch.ids)
    x = x.index_copy(1, batch.image_at, image_tokens.reshape(rows, -1, x.shape[2]))
    turns = language.rotary_emb(x, batch.positions[:, None].expand(-1, rows, -1))
    # What only pads a block is left out of all matrix products, but for a few tokens, since a
    # bfloat16 product is slower and keeps memory for each new number of them.
    used = batch.tokens.flatten().clone()
    used[(~used).nonzero()[: -int(used.sum()) % _ROUND]] = True
    tokens = used.nonzero()[:, 0]
    place = torch.zeros(rows * length, dtype=torch.int64)
    place[tokens] = torch.arange(len(tokens))
    place = place.reshape(rows, length)
    x = x.flatten(0, 1)[tokens][None]
    turns = tuple(turn.flatten(-3, -2)[..., tokens, :].unsqueeze(-3) for turn in turns)
    attention_log: list[torch.Tensor] = []
    compare_log: list[torch.Tensor] = []
    shared = {'attention_mask': None, 'position_embeddings': turns, 'batch': batch,
              'tokens': tokens, 'attention_log': attention_log, 'compare_log': compare_log}
    states: list[torch.Tensor] = []
    *layers, last = language.layers
    for layer in layers:
        x = layer(x, **shared)
        states.append(x[0])
    at = (batch.labels != IGNORE).nonzero(as_tuple=True)
    # After the attention of the last layer nothing but the answers matters.
    attended, _ = last.self_attn(hidden_states=last.input_layernorm(x), **shared)
    answers = (x + attended)[0, place[at]]
    answers = answers + last.mlp(last.post_attention_layernorm(answers))

    def after(name: str) -> torch.Tensor:
        row, block, token = batch.taught[name][:, [0, 2, 3]].unbind(1)
        size = (length - batch.prefix) // batch.blocks
        return states[LAYERS[name]][place[row, batch.prefix + block * size + token]]

    attention = {name: attention_log[layer][batch.taught[name][:, :5].unbind(1)]
                 for name, layer in LAYERS.items()}
    attention['compared'], = compare_log
    return PackedAnswers(
        model.lm_head(language.norm(answers)), at, attention, after('counted'), after('pointed'),
        after('recalled'))
