"""The small operations between the decoder's products; ``torch.compile`` can fuse each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Callable


class Operations(NamedTuple):
    """Each as one call.

    Attributes:
        norm: RMSNorm of (..., size) with a weight (size,) and an epsilon.
        rotate: turns (rows, tokens, heads, head size) in place by the cosine and the sine of the
            rotary embedding, (rows, tokens, 1, head size); the sine of the first half is negative.
        gate: (..., 2 * size) to (..., size): the activation of the first half times the second.

    """

    norm: Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]
    rotate: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]
    gate: Callable[[torch.Tensor], torch.Tensor]

    def compiled(self) -> Operations:
        """Return them compiled, each at its first call with new kinds of shapes."""
        return Operations(
            torch.compile(self.norm), torch.compile(self.rotate), torch.compile(self.gate))


def make_operations(activation: Callable[[torch.Tensor], torch.Tensor]) -> Operations:
    """Return the operations of a model with such an activation."""

    def gate(gate_up: torch.Tensor) -> torch.Tensor:
        first, second = gate_up.chunk(2, -1)
        return activation(first).mul_(second)

    return Operations(_norm, _rotate, gate)


def _norm(hidden: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    return F.rms_norm(hidden, weight.shape, weight, epsilon)


def _rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
    low, high = heads.chunk(2, -1)  # each element is rotated with one of the other half
    heads.copy_(torch.addcmul(heads * cos, torch.cat((high, low), -1), sin))
