"""The step that writes the next tokens of the answers in the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .drafts import Drafter
from .generation import choose_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .decoder import Decoder
    from .generation import Generation
    from .kv_memory import Row


@dataclass(eq=False)
class BatchRow:
    """An answer in the batch.

    Attributes:
        generation: the answer.
        memory: its keys and values.
        length: tokens in the memory.
        position: of the token that comes next.
        tokens: the newest ones; the last is not in the memory yet. Empty if the model failed.

    """

    generation: Generation
    memory: Row
    length: int
    position: int
    tokens: list[int]

    def place(self) -> tuple[int, int]:
        """Sort key by which neighbours in memory are neighbours."""
        return self.memory.slab.length, self.memory.index


class Writer:
    """Writes the next token of each answer, and the drafted tokens that were right."""

    def __init__(self, decoder: Decoder, longest_draft: int) -> None:
        """Draft at most ``longest_draft`` tokens at once; 0 is none."""
        self._decoder = decoder
        self._drafter = Drafter(longest_draft)

    def learn(self, generation: Generation) -> None:
        """Learn from an answer that has ended what to draft."""
        self._drafter.learn(generation.context)

    def next(self, rows: Sequence[BatchRow]) -> list[list[int]]:
        """Return the tokens that follow in some rows, and have room for them in memory.

        Raises:
            Exception: of the model, as it is; the rows are as before.

        """
        drafts = [self._draft(row.generation) for row in rows]
        width = 1 + max(map(len, drafts))
        self._decoder.memory.grow([
            (row.memory, row.length + len(draft) + 2)
            for row, draft in zip(rows, drafts, strict=True)])
        chosen = self._step(rows, drafts, width)
        accepted = []
        for tokens, draft in zip(chosen, drafts, strict=True):
            agreed = 0
            while agreed < len(draft) and draft[agreed] == tokens[agreed]:
                agreed += 1
            accepted.append(tokens[: agreed + 1])
        return accepted

    def _draft(self, generation: Generation) -> list[int]:
        """Return tokens that may follow; the model checks them in the same step."""
        forced = generation.forced()[: generation.remaining - 1]
        if generation.matcher:  # allows only one token at a time
            return []
        return forced or self._drafter.draft(generation.context)[: generation.free - 1]

    def _step(
        self, rows: Sequence[BatchRow], drafts: Sequence[list[int]], width: int
    ) -> list[list[int]]:
        """Return the tokens after the newest one, and after each of its draft, in each row."""
        decoder, inputs = self._decoder, []
        for row, draft in zip(rows, drafts, strict=True):
            # the padding of shorter drafts is read, too, and overwritten by later tokens
            padding = [0] * (width - 1 - len(draft))
            positions = range(row.position, row.position + width)
            inputs.append([row.tokens[-1], *draft, *padding, *positions])
        read = torch.tensor(inputs, device=decoder.device)
        logits = decoder.forward(
            decoder.embed(read[:, :width]), read[:, width:], [row.memory for row in rows],
            [row.length for row in rows])
        return choose_tokens(logits, [row.generation for row in rows])
