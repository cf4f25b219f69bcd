"""CUDA graphs: a step of hundreds of kernels is launched by one call.

A graph repeats what was done while it was captured, with the same shapes and at the same addresses.
A step is captured when its shapes come for the first time, and again after keys and values have
moved. All graphs share the memory of what a step computes in between, since they never run at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from .static_step import Plan

_MOST = 256  # graphs; the least recently used are dropped
_ROUNDINGS = 16  # of the largest logit, by which a graph may differ
_logger = logging.getLogger(__name__)

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""Captures what a function does on a device, and returns a function that does it again."""


def cuda_capture(device: torch.device) -> Capture:
    """Return the function that captures CUDA graphs, all of them over one pool of memory."""
    with torch.cuda.device(device):
        pool = torch.cuda.graph_pool_handle()

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # thread_local: other threads may use the device meanwhile, to prepare images
        with torch.cuda.device(device), torch.cuda.graph(
                graph, pool=pool, capture_error_mode='thread_local'):
            work()
        return graph.replay

    return capture


class Graphs:
    """Runs steps, by graphs where there are some.

    Each is compared with the step itself when it is captured. Shapes whose graph differs, or cannot
    be captured, go on without one, and the log says so once.

    Attributes:
        replayed: steps that were run by a graph, for tests and benchmarks.

    """

    def __init__(
        self, step: Callable[[Plan], None], inputs: torch.Tensor, outputs: Sequence[torch.Tensor],
        capture: Capture | None,
    ) -> None:
        """Capture nothing yet.

        Args:
            step: reads and changes ``inputs``, and writes ``outputs``, keys and values; doing it
                again with the same inputs changes nothing more.
            inputs: of a step.
            outputs: of a step; the first ones are compared by their values, the last one, which
                are indices, is not.
            capture: returns a function that does again what a function did; None: no graphs.

        """
        self._step, self._inputs, self._outputs = step, inputs, outputs
        self._capture = capture
        self._graphs: dict[Hashable, tuple[tuple[int, ...], Callable[[], None]]] = {}
        self._refused: set[Hashable] = set()
        self.replayed = 0

    def run(self, plan: Plan) -> None:
        """Do a step."""
        stamps, replay = self._graphs.pop(plan.key, ((), None))
        if replay is not None and stamps == plan.stamps:
            self._graphs[plan.key] = stamps, replay
            self.replayed += 1
            replay()
        elif self._capture is None or plan.key in self._refused:
            self._step(plan)
        else:
            self._run_and_capture(plan)

    def _run_and_capture(self, plan: Plan) -> None:
        before = self._inputs.clone()
        self._step(plan)
        after = self._inputs.clone()
        results = [output.clone() for output in self._outputs]
        problem = ''
        try:
            assert self._capture is not None
            replay = self._capture(lambda: self._step(plan))
            self._inputs.copy_(before)
            replay()
            if not self._agrees(results):
                problem = 'its results differ'
        except RuntimeError as error:  # of CUDA: something cannot be captured, or has no room
            problem = str(error).split('\n', maxsplit=1)[0]
        if problem:
            if not self._refused:
                _logger.warning(
                    'a decoding step of %s cannot be run by a CUDA graph (%s); such steps are '
                    'launched one kernel at a time, which is slower', plan, problem)
            self._refused.add(plan.key)
            self._inputs.copy_(after)
            for output, result in zip(self._outputs, results, strict=True):
                output.copy_(result)
            return
        self._graphs[plan.key] = plan.stamps, replay
        if len(self._graphs) > _MOST:
            del self._graphs[next(iter(self._graphs))]

    def _agrees(self, results: Sequence[torch.Tensor]) -> bool:
        """Whether the outputs are as before, but for rounding."""
        for output, result in zip(self._outputs[:-1], results, strict=False):
            tolerance = _ROUNDINGS * torch.finfo(result.dtype).eps * float(result.abs().max())
            if not bool(((output - result).abs() <= tolerance).all()):
                return False
        return True
