"""The language model's forward pass: few operations a layer, for all answers together.

``generate`` of transformers spends most of a small model's time in Python. This module uses the
same weights and the same arithmetic (Qwen2.5-VL, arXiv:2502.13923; transformers'
modeling_qwen2_5_vl) without cache objects, new masks for each layer and nested modules.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right

from mimo_embodied_ros.core.errors import ModelNotReadyError

from .attention import find_attention
from .kv_memory import BLOCK, KVMemory
from .operations import make_operations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .kv_memory import Part, Row, Run
    from .vision import EmbeddedPrompt

_PART = 256  # tokens that attend at once where a mask is needed


class Decoder:
    """Runs the language model for answers whose keys and values are in rows of ``memory``.

    A row holds the tokens of its prompt and its answer so far. Rows do not influence each other.

    Attributes:
        device: where the weights are, and where inputs must be.
        dtype: of the weights and the logits.
        vocabulary: number of tokens that there are logits for.
        memory: the keys and values.
        embed: takes tokens, (...) int64, to (..., hidden size).

    Raises:
        ModelNotReadyError: the model uses sliding-window attention, which is not supported.

    """

    def __init__(
        self, model: Any, attention: str = 'sdpa', *, compiled: bool = False
    ) -> None:
        """Take the weights of a ``Qwen2_5_VLForConditionalGeneration``; no copies are kept.

        Args:
            model: the model.
            attention: see ``EngineConfig.attention``.
            compiled: fuse small operations by ``torch.compile``.

        """
        text, config = model.model.language_model, model.config.get_text_config()
        if getattr(config, 'use_sliding_window', False):
            raise ModelNotReadyError(
                'this model attends over a sliding window, which is not supported; set '
                'use_sliding_window to false in its config.json if it was not trained so'
            )
        heads, groups = config.num_attention_heads, config.num_key_value_heads
        self._width = config.hidden_size // heads
        self._heads, self._groups = heads, groups
        self.embed: torch.nn.Embedding = text.embed_tokens
        self._norm, self._head = text.norm, model.lm_head
        self._layers = [_Layer(layer) for layer in text.layers]
        operations = make_operations(text.layers[0].mlp.act_fn)
        self._operations = operations.compiled() if compiled else operations
        self._attention = find_attention(attention)
        weight = text.norm.weight
        self.dtype: torch.dtype = weight.dtype
        self.vocabulary: int = config.vocab_size
        self.device: torch.device = weight.device
        self._lower_right = self.device.type == 'cuda' and attention != 'eager'
        # each frequency rotates with one of the position's axes: time, row or column
        rope = getattr(config, 'rope_parameters', None) or config.rope_scaling
        sections = rope['mrope_section']
        axes = [i % 3 for i, size in enumerate(sections) for _ in range(size)]
        self._axes = torch.tensor(axes, device=self.device)
        self._frequencies = text.rotary_emb.inv_freq.float().to(self.device)
        self._scaling = text.rotary_emb.attention_scaling
        self._sign = torch.ones(self._width, device=self.device)
        self._sign[: self._width // 2] = -1
        self.memory = KVMemory(
            len(self._layers), (2 * groups, self._width), self.dtype, self.device)
        self._numbers = torch.arange(BLOCK, device=self.device)

    @staticmethod
    def copy_prefix(row: Row, length: int) -> torch.Tensor:
        """Copy a row's first tokens: (layers, length, 2 * key heads, head size)."""
        return torch.stack([layer[row.index, :length] for layer in row.slab.layers])

    @staticmethod
    def restore_prefix(row: Row, prefix: torch.Tensor) -> None:
        """Write the result of ``copy_prefix`` to the beginning of a row."""
        for layer, part in zip(row.slab.layers, prefix, strict=True):
            layer[row.index, : len(part)] = part

    def read(self, prompts: Sequence[EmbeddedPrompt], rows: Sequence[Row]) -> torch.Tensor:
        """Read prompts, or parts of them, together; returns logits (prompts, vocabulary)."""
        hidden, positions, starts, lengths = [], [], [], []
        with_axes = any(prompt.positions.ndim > 1 for prompt in prompts)
        for prompt in prompts:
            hidden.append(prompt.hidden)
            places = prompt.positions
            # those of a text are the same on all three axes
            if with_axes and places.ndim == 1:
                places = places[:, None].expand(-1, 3)
            positions.append(places)
            starts.append(prompt.start)
            lengths.append(len(prompt.hidden))
        pad = torch.nn.utils.rnn.pad_sequence
        last = torch.tensor(lengths, device=self.device) - 1
        return self.forward(
            pad(hidden, batch_first=True), pad(positions, batch_first=True), rows, starts, last)

    def forward(
        self,
        hidden: torch.Tensor,
        positions: torch.Tensor,
        rows: Sequence[Row],
        starts: Sequence[int],
        last: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Read tokens into rows and predict the tokens after them.

        Args:
            hidden: (rows, tokens, hidden size), embedded.
            positions: (rows, tokens) if time, row and column are the same for each token, else
                (rows, tokens, 3).
            rows: where to; fastest where neighbours in a slab are neighbours here. Each has room
                for its tokens and one more.
            starts: tokens that each row holds already.
            last: (rows,) index of each row's last token, if shorter rows are padded at their end;
                None: the logits of all tokens are wanted.

        Returns:
            Logits (rows, vocabulary) after each row's last token, or (rows, tokens, vocabulary).

        """
        # a text that is read is long: what begins alike needs no mask of its own for each row
        neighbours = KVMemory.runs(rows, None if last is None else starts)
        runs = self._runs(neighbours, starts, hidden.shape[1])
        return self._pass(hidden, positions, runs, last)

    def step(
        self, tokens: torch.Tensor, positions: torch.Tensor, places: torch.Tensor,
        parts: Sequence[Part],
    ) -> torch.Tensor:
        """Read a few tokens of each row and predict the ones after them, as ``forward`` does.

        Shapes and addresses depend on ``parts`` alone, and nothing waits for the device, so that a
        CUDA graph can be captured. The first rows of each slab are read, used or not.

        Args:
            tokens: (rows, tokens) int64.
            positions: (rows, tokens) int64.
            places: (rows, tokens) int64, where each token is written in its row.
            parts: of each slab, in the order of the rows.

        Returns:
            Logits (rows, tokens, vocabulary).

        """
        runs, begin, each = [], 0, self._heads // self._groups
        for slab, rows, end in parts:
            part = slice(begin, begin + rows)
            begin += rows
            written = places[part]
            later = torch.arange(end, device=self.device) > written[:, None, :, None]
            later = later.repeat_interleave(each, 2)
            mask = torch.zeros_like(later, dtype=self.dtype).masked_fill_(later, float('-inf'))
            index = torch.arange(rows, device=self.device)[:, None]
            layers = [layer.narrow(0, 0, rows).narrow(1, 0, end) for layer in slab.layers]
            view = _View(slice(None), end, mask)
            runs.append(_Run(part, layers, (index, written), [view], fresh=False, folded=True))
        return self._pass(self.embed(tokens), positions, runs, None)

    def _pass(
        self, hidden: torch.Tensor, positions: torch.Tensor, runs: Sequence[_Run],
        last: torch.Tensor | None,
    ) -> torch.Tensor:
        """Run all layers, and predict."""
        count, tokens = hidden.shape[:2]
        heads, groups, width = self._heads, self._groups, self._width
        norm, rotate, gate = self._operations
        cos, sin = self._rotary_embedding(positions)
        for number, layer in enumerate(self._layers):
            qkv = layer.qkv(norm(hidden, *layer.norm_in))
            qkv = qkv.view(count, tokens, heads + 2 * groups, width)
            rotate(qkv[:, :, : heads + groups], cos, sin)
            if len(runs) == 1:
                attended = self._attend(runs[0], number, qkv)
            else:
                attended = torch.cat([self._attend(run, number, qkv[run.part]) for run in runs])
            hidden = hidden + layer.out(attended)
            hidden += layer.down(gate(layer.gate_up(norm(hidden, *layer.norm_out))))
        ends = hidden if last is None else hidden[self._numbers[:count], last]
        return self._head(self._norm(ends))  # type: ignore[no-any-return]

    def _runs(
        self, neighbours: Sequence[Run], starts: Sequence[int], tokens: int
    ) -> list[_Run]:
        """Return where neighbouring rows write their tokens, and what each token sees."""
        longest = max(starts) + tokens
        if longest > len(self._numbers):
            self._numbers = torch.arange(2 * longest, device=self.device)
        found = []
        for begin, size, first, slab in neighbours:
            part = slice(begin, begin + size)
            before = starts[part]
            # padding beyond the row is not kept
            end = min(max(before) + tokens, slab.length)
            layers = [layer.narrow(0, first, size).narrow(1, 0, end) for layer in slab.layers]
            alike = len(set(before)) == 1
            places: _Places
            if alike:
                places = slice(None), slice(before[0], end)
            else:
                # Some of the padding may lie beyond the row and goes to its last place, which no
                # token has yet; one that comes there overwrites it.
                written = torch.tensor(before, device=self.device)[:, None]
                written = (written + self._numbers[:tokens]).clamp(max=end - 1)
                places = self._numbers[:size, None], written
            fresh = alike and not before[0]
            if fresh or (alike and tokens == 1):
                views = [_View(slice(None), end, None)]
            elif alike and self._lower_right and before[0] + tokens == end:
                # its kernels need no mask in memory
                views = [_View(slice(None), end, causal_lower_right(tokens, end))]
            else:
                views = list(self._views(before[:1] if alike else before, tokens, end))
            found.append(_Run(part, layers, places, views, fresh=fresh, folded=tokens == 1))
        return found

    def _views(self, starts: Sequence[int], tokens: int, end: int) -> Iterator[_View]:
        """Let parts of the new tokens see no later ones, and compute little of what they mask."""
        seen = torch.tensor(starts, device=self.device)[:, None, None, None]
        for begin in range(0, tokens, _PART):
            part = slice(begin, min(begin + _PART, tokens))
            last = min(max(starts) + part.stop, end)
            later = self._numbers[:last] > seen + self._numbers[part, None]
            mask = torch.zeros(later.shape, dtype=self.dtype, device=self.device)
            yield _View(part, last, mask.masked_fill_(later, float('-inf')))

    def _attend(self, run: _Run, number: int, qkv: torch.Tensor) -> torch.Tensor:
        """Write keys and values of new tokens, and return (rows, tokens, heads * head size)."""
        keys_values = run.layers[number]
        rows, tokens, _, width = qkv.shape
        heads, groups = self._heads, self._groups
        query, fresh = qkv[:, :, :heads], qkv[:, :, heads:]
        if isinstance(run.places[1], slice):
            kept = run.places[1].stop - run.places[1].start
            keys_values[run.places] = fresh[:, :kept]
        else:
            keys_values[run.places] = fresh
        if run.fresh:
            keys_values = fresh
        keys, values = keys_values.transpose(1, 2).chunk(2, 1)
        if run.folded:  # query heads that share a key head are treated as tokens: one product
            each = heads // groups
            query = query.view(rows, tokens, groups, each, width).transpose(1, 2)
            (_, _, mask), = run.views
            attended = self._attention(
                query.reshape(rows, groups, tokens * each, width), keys, values, mask)
            attended = attended.view(rows, groups, tokens, each, width).transpose(1, 2)
        else:
            attended = query.new_empty(rows, tokens, heads, width)
            for part, end, mask in run.views:
                attended[:, part] = self._attention(
                    query[:, part].transpose(1, 2), keys[:, :, :end], values[:, :, :end], mask,
                    causal=run.fresh).transpose(1, 2)
        return attended.reshape(rows, tokens, heads * width)

    def _rotary_embedding(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosine and sine (rows, tokens, 1, head size) of the rotary embedding."""
        axes = positions[..., self._axes] if positions.ndim == 3 else positions[..., None]
        angles = axes.float() * self._frequencies
        angles = torch.cat((angles, angles), -1)[:, :, None]
        cos, sin = angles.cos() * self._scaling, angles.sin() * self._scaling
        return cos.to(self.dtype), (sin * self._sign).to(self.dtype)


_Places = tuple[slice, slice] | tuple[torch.Tensor, torch.Tensor]


class _View(NamedTuple):
    """What a part of the new tokens sees.

    Attributes:
        part: of the new tokens.
        end: it sees none of the tokens from here on.
        mask: added to scores, (rows or 1, 1, tokens of the part, ``end``), or that none sees a
            later one, in a form that takes no memory; None: it sees everything before ``end``, or
            nothing later if ``_Run.fresh``.

    """

    part: slice
    end: int
    mask: torch.Tensor | None


class _Run(NamedTuple):
    """Neighbouring rows of a slab, prepared for all layers of a pass.

    Attributes:
        part: of the batch that they are.
        layers: keys and values of each layer, (rows, tokens so far, 2 * key heads, head size).
        places: index of a layer for the new tokens: slices where all rows begin alike, which leave
            out padding beyond the rows, else (rows, 1) and (rows, tokens).
        views: what the new tokens see; one if ``folded``.
        fresh: nothing was there before.
        folded: query heads that share a key head are treated as further tokens; the mask has each.

    """

    part: slice
    layers: list[torch.Tensor]
    places: _Places
    views: list[_View]
    fresh: bool
    folded: bool


class _Layer:
    """The modules of one layer; linear layers with the same input are fused."""

    def __init__(self, layer: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.norm_in, self.norm_out = (
            (norm.weight, norm.variance_epsilon)
            for norm in (layer.input_layernorm, layer.post_attention_layernorm))
        self.qkv = fused_linear(attention.q_proj, attention.k_proj, attention.v_proj)
        self.out = attention.o_proj
        self.gate_up = fused_linear(mlp.gate_proj, mlp.up_proj)
        self.down = mlp.down_proj


def rms_norm(module: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return an RMSNorm of transformers as one operation."""
    return partial(F.rms_norm, normalized_shape=module.weight.shape, weight=module.weight,
                   eps=module.variance_epsilon)


def fused_linear(*linears: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Fuse linear layers with the same input into one that returns their outputs side by side.

    The weights of the layers become views of the fused ones, so that nothing is in memory twice.
    Quantized and adapted layers stay as they are.
    """
    if any(type(linear) is not torch.nn.Linear or type(linear.weight) is not torch.nn.Parameter
           for linear in linears):
        return lambda x: torch.cat([linear(x) for linear in linears], -1)
    weight = torch.cat([linear.weight.detach() for linear in linears])
    biases = [linear.bias for linear in linears]
    bias = None if biases[0] is None else torch.cat([b.detach() for b in biases])
    sizes = [linear.out_features for linear in linears]
    for linear, part in zip(linears, torch.split(weight, sizes), strict=True):
        linear.weight = torch.nn.Parameter(part, requires_grad=False)
    return partial(F.linear, weight=weight, bias=bias)
