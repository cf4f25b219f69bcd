"""How many threads of the CPU a pass of the model takes."""

from __future__ import annotations

import torch

# as PyTorch has chosen it, before a model's thread changes what new threads begin with
_ALL = torch.get_num_threads()
_LARGE = 64  # tokens or patches; for fewer of a small model, threads cost more than they save


class Threads:
    """Threads of the CPU for the passes of a model.

    What is large takes all. A small model's tokens are written by one: more would wait for each
    other, most of all beside other programs.
    """

    def __init__(self, threads: int, *, small: bool) -> None:
        """Take at most so many threads, 0: PyTorch's choice; ``small`` says it of the model."""
        self._all, self._small = threads or _ALL, small

    def use(self, tokens: int) -> None:
        """Let the calling thread's next pass, over so many tokens or patches, take what it may."""
        # always, since the linear algebra's number is one for the process: others may have set it
        torch.set_num_threads(1 if self._small and tokens < _LARGE else self._all)
