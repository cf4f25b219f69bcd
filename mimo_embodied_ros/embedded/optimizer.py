"""Muon for the matrices and AdamW for the rest: needs fewer steps than AdamW alone here.

Keller Jordan, "Muon: An optimizer for hidden layers in neural networks", 2024. torch.optim.Muon
orthogonalises in bfloat16, which many CPUs only emulate; this one does it in float32 and for all
matrices of one shape at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable


def orthogonalise(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz iteration: (n, rows, columns) with all singular values moved near one."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Optimizer:
    """Updates ``matrices`` by Muon at ``rate``, and ``others`` by AdamW at ``rate / ratio``."""

    def __init__(
        self, matrices: Iterable[torch.nn.Parameter], others: Iterable[torch.nn.Parameter],
        momentum: float = 0.95, ratio: float = 10.0,
    ) -> None:
        self._matrices = list(matrices)
        self._momentum = momentum
        self._ratio = ratio
        self._mean = [torch.zeros_like(p) for p in self._matrices]
        self._adam = torch.optim.AdamW(list(others), betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, rate: float) -> None:
        """Update by the gradients and clear them; parameters without a gradient stay."""
        for group in self._adam.param_groups:
            group['lr'] = rate / self._ratio
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)
        shapes: dict[torch.Size, list[tuple[torch.nn.Parameter, torch.Tensor]]] = {}
        for parameter, mean in zip(self._matrices, self._mean):
            if parameter.grad is not None:
                mean.lerp_(parameter.grad, 1 - self._momentum)
                update = parameter.grad.lerp(mean, self._momentum)
                shapes.setdefault(parameter.shape, []).append((parameter, update))
                parameter.grad = None
        with torch.no_grad():
            for shape, updates in shapes.items():
                moves = orthogonalise(torch.stack([update for _, update in updates]))
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                for (parameter, _), move in zip(updates, moves):
                    parameter.mul_(1 - 0.01 * rate).add_(move, alpha=-rate * scale)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        return {'mean': self._mean, 'adam': self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what ``state_dict`` returned."""
        for mean, saved in zip(self._mean, state['mean']):
            mean.copy_(saved)
        self._adam.load_state_dict(state['adam'])
