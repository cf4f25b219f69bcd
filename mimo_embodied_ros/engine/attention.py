"""Attention of the language model, by one fused operation or by its formula."""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F


class Attention(Protocol):
    """Attends with heads, several of which may share a key head, as their order says."""

    def __call__(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor,
        mask: torch.Tensor | None, *, causal: bool = False,
    ) -> torch.Tensor:
        """Return (rows, heads, tokens, head size).

        Args:
            query: (rows, heads, tokens, head size).
            keys: (rows, key heads, tokens so far, head size).
            values: the same.
            mask: added to scores, (rows or 1, 1, tokens or 1, tokens so far); None: zeros.
            causal: instead of a mask, where there were no tokens before: none sees a later one.

        """
        ...


def find_attention(name: str) -> Attention:
    """Return the attention of ``EngineConfig.attention``.

    FlashAttention 2 has no masks. PyTorch's fused operation takes its kernel by itself where
    there is none, so that it stands for 'flash_attention_2' here, too.
    """
    return eager if name == 'eager' else fused


def fused(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, *,
    causal: bool = False,
) -> torch.Tensor:
    """Let PyTorch choose a kernel that keeps the scores out of memory; see ``Attention``."""
    # not every kernel knows shared key heads, so that they are named only where there are some
    return F.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, is_causal=causal,
        enable_gqa=query.shape[1] != keys.shape[1])


def eager(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None, *,
    causal: bool = False,
) -> torch.Tensor:
    """Compute softmax(query keys^T / sqrt(head size) + mask) values; see ``Attention``."""
    rows, heads, tokens, width = query.shape
    groups, seen = keys.shape[1:3]
    if causal:
        later = torch.ones(tokens, seen, dtype=torch.bool, device=query.device).triu(1)
        mask = torch.zeros_like(later, dtype=query.dtype).masked_fill_(later, float('-inf'))
    grouped = query.reshape(rows, groups, -1, width)
    scores = (grouped @ keys.transpose(2, 3) / math.sqrt(width)).view(rows, heads, tokens, seen)
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights.view(rows, groups, -1, seen) @ values).view(query.shape)
