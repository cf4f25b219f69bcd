"""The vision tower's forward pass: all images together, and all windows of one size in one call.

Most layers attend within windows of a few tokens only. The tower of transformers calls attention
for each of them, and each layer waits for the device to learn where they begin. Here the weights
and the arithmetic are the same (Qwen2.5-VL, arXiv:2502.13923; transformers'
modeling_qwen2_5_vl), but the order of the tokens depends on nothing but the size of an image, and
puts windows of one size next to each other.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F

from .decoder import fused_linear, rms_norm

if TYPE_CHECKING:
    from collections.abc import Sequence

_LAYOUTS = 64  # of different image sizes that are kept
_CPU_ROWS = 512  # patches at once in a linear layer, so that what is computed stays in cache


class _Layout(NamedTuple):
    """The order of an image's tokens in the tower. The patches of a token follow each other.

    Attributes:
        order: (tokens,) index of the token at each place; tokens of a window follow each other.
        places: (tokens,) the place of each token.
        cos: (patches, 1, 1, head size) float32, of the rotary embedding, in this order.
        sin: the same; negative in its first half.
        windows: begin and end of those of one size, and the size; all in patches.

    """

    order: torch.Tensor
    places: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor
    windows: list[tuple[int, int, int]]


class _Block(NamedTuple):
    """Images of one size, next to each other in a batch: ``part`` of its patches."""

    part: slice
    images: int
    layout: _Layout


def patch_places(tokens: torch.Tensor, columns: int, merge: int) -> torch.Tensor:
    """Return row and column of each patch of some tokens, (tokens, merge * merge, 2).

    Args:
        tokens: (tokens,) index in an image, by rows.
        columns: of tokens in the image.
        merge: rows and columns of patches that a token has.

    """
    corner = torch.stack((tokens // columns, tokens % columns), -1)[:, None] * merge
    return corner + torch.cartesian_prod(torch.arange(merge), torch.arange(merge))


class VisionTower:
    """Computes features of images; images do not influence each other."""

    def __init__(self, visual: Any) -> None:
        """Take the weights of a ``Qwen2_5_VisionTransformerPretrainedModel``, without copies."""
        self._embed, self._merger = visual.patch_embed, visual.merger
        self._frequencies = visual.rotary_pos_emb.inv_freq
        self._merge: int = visual.spatial_merge_size
        self._window: int = visual.window_size // visual.patch_size // visual.spatial_merge_size
        self._layers = [_Layer(block) for block in visual.blocks]
        self._whole = frozenset(visual.fullatt_block_indexes)  # the others attend within windows
        self._heads: int = visual.blocks[0].attn.num_heads
        self._layouts: dict[tuple[int, int], _Layout] = {}

    def __call__(
        self, patches: Sequence[torch.Tensor], grids: Sequence[tuple[int, int]]
    ) -> list[torch.Tensor]:
        """Return the features of images.

        Args:
            patches: of each image, (patches, channels * times * patch size squared), in the
                order of ``Patcher``, on the weights' device.
            grids: rows and columns of patches of each image.

        Returns:
            (tokens, hidden size of the language model) for each image, rows of tokens first.

        """
        by_size = sorted(range(len(grids)), key=grids.__getitem__)
        blocks, begin = [], 0
        for grid, same in groupby(grids[number] for number in by_size):
            images, size = len(list(same)), grid[0] * grid[1]
            blocks.append(
                _Block(slice(begin, begin + images * size), images, self._layout(*grid)))
            begin += images * size
        hidden = self._embed(torch.cat([patches[number] for number in by_size]))
        unit = self._merge**2
        hidden = torch.cat([
            hidden[part].view(images, len(layout.order), -1)[:, layout.order].flatten(0, 1)
            for part, images, layout in blocks]).view(begin, -1)
        cos = torch.cat([layout.cos.repeat(images, 1, 1, 1) for _, images, layout in blocks])
        sin = torch.cat([layout.sin.repeat(images, 1, 1, 1) for _, images, layout in blocks])
        rows = _CPU_ROWS if hidden.device.type == 'cpu' else begin
        parts = [slice(at, min(at + rows, begin)) for at in range(0, begin, rows)]
        # (query, key or value; heads, patches, head size): what a head reads is next to each other
        width = cos.shape[-1]
        qkv = hidden.new_empty(3, self._heads, begin, width)
        for number, layer in enumerate(self._layers):
            for part in parts:
                new = layer.qkv(layer.norm_in(hidden[part])).view(-1, 3, self._heads, width)
                exact = new[:, :2].float()
                low, high = exact.chunk(2, -1)
                new[:, :2] = torch.addcmul(
                    exact * cos[part], torch.cat((high, low), -1), sin[part])
                qkv[:, :, part] = new.permute(1, 2, 0, 3)
            attended = self._attend(qkv, blocks, whole=number in self._whole)
            for part in parts:
                new = hidden[part].add_(layer.out(attended[part]))
                gate, up = layer.gate_up(layer.norm_out(new)).chunk(2, -1)
                new.add_(layer.down(layer.activation(gate) * up))
        merged = self._merger(hidden)
        features: list[Any] = []
        for part, images, layout in blocks:
            tokens = merged[part.start // unit : part.stop // unit]
            # each in memory of its own, since they are kept and dropped one by one
            features += [image[layout.places]
                         for image in tokens.view(images, len(layout.places), -1)]
        return [feature for _, feature in sorted(zip(by_size, features), key=lambda pair: pair[0])]

    @staticmethod
    def _attend(qkv: torch.Tensor, blocks: Sequence[_Block], *, whole: bool) -> torch.Tensor:
        """Attend within images or windows; takes (3, heads, patches, head size)."""
        _, heads, patches, width = qkv.shape
        out = qkv.new_empty(patches, heads, width)
        for part, images, layout in blocks:
            of_images = qkv[:, :, part].view(3, heads, images, -1, width)
            attended = out[part].view(images, -1, heads, width)
            size = of_images.shape[3]
            for begin, end, window in [(0, size, size)] if whole else layout.windows:
                # windows stand where attention expects heads, which do not influence each other
                query, key, value = of_images[:, :, :, begin:end].reshape(
                    3, heads * images, -1, window, width)
                result = F.scaled_dot_product_attention(query, key, value)
                attended[:, begin:end].view(images, -1, window, heads, width).copy_(
                    result.view(heads, images, -1, window, width).permute(1, 2, 3, 0, 4))
        return out.flatten(1)

    def _layout(self, rows: int, columns: int) -> _Layout:
        """Return the layout of an image of so many rows and columns of patches."""
        if (rows, columns) not in self._layouts:
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            self._layouts[rows, columns] = self._make_layout(rows, columns)
        return self._layouts[rows, columns]

    def _make_layout(self, rows: int, columns: int) -> _Layout:
        device, merge, side = self._frequencies.device, self._merge, self._window
        unit, wide = merge**2, columns // merge
        tokens = torch.arange(rows * columns // unit).view(-1, wide)
        windows = [
            window.flatten() for band in torch.split(tokens, side)
            for window in torch.split(band, side, 1)]
        windows.sort(key=len)
        ranges, begin = [], 0
        for size, same in groupby(map(len, windows)):
            end = begin + sum(same) * unit
            ranges.append((begin, end, size * unit))
            begin = end
        order = torch.cat(windows)
        places = patch_places(order, wide, merge).to(device)
        angles = (places[..., None].float() * self._frequencies.float()).reshape(rows * columns, -1)
        cos, sin = angles.cos(), angles.sin()
        order = order.to(device)
        return _Layout(
            order, order.argsort(), torch.cat((cos, cos), -1)[:, None, None],
            torch.cat((-sin, sin), -1)[:, None, None], ranges)


class _Layer:
    """The modules of one layer; linear layers with the same input are fused."""

    def __init__(self, block: Any) -> None:
        self.norm_in, self.norm_out = rms_norm(block.norm1), rms_norm(block.norm2)
        self.qkv, self.out = block.attn.qkv, block.attn.proj
        self.gate_up = fused_linear(block.mlp.gate_proj, block.mlp.up_proj)
        self.activation, self.down = block.mlp.act_fn, block.mlp.down_proj
