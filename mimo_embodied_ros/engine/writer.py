"""The step that writes the next tokens of the answers in the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .drafts import Drafter
from .generation import choose_tokens, force_tokens
from .static_step import StepInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .decoder import Decoder
    from .generation import Generation
    from .kv_memory import Row
    from .static_step import Launched, StaticStep
    from .threads import Threads


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
    """Writes the next token of each answer, and the drafted tokens that were right.

    Attributes:
        steps: of static shapes, which need memory that stays; None: none are made.
        ahead: steps that were launched before the tokens of the last one were looked at, and used.

    """

    def __init__(
        self, decoder: Decoder, threads: Threads, longest_draft: int, steps: StaticStep | None
    ) -> None:
        """Draft at most ``longest_draft`` tokens at once; 0 is none."""
        self._decoder, self._threads, self.steps = decoder, threads, steps
        self._drafter = Drafter(longest_draft)
        # the step that was launched ahead: of which rows, and their lengths in it
        self._next: tuple[list[BatchRow], list[int], Launched] | None = None
        self.ahead = 0

    def end(self, generation: Generation) -> None:
        """Learn from an answer that has ended, and drop the step that was launched with it."""
        self._drafter.learn(generation.context)
        self._next = None

    def next(self, rows: Sequence[BatchRow]) -> list[list[int]]:
        """Return the tokens that follow in some rows, and have room for them in memory.

        Args:
            rows: in the order of their places.

        Raises:
            Exception: of the model, as it is; the rows are as before.

        """
        self._threads.use(1)
        launched = self._take_next(rows)
        drafts = [self._draft(row.generation) for row in rows]
        if launched is not None:
            return self._read(launched, rows, drafts)
        self._decoder.memory.grow([
            (row.memory, row.length + len(draft) + 2)
            for row, draft in zip(rows, drafts, strict=True)])
        launched = self._launch(rows, drafts)
        chosen = (self._step(rows, drafts) if launched is None
                  else self._read(launched, rows, drafts))
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

    def _step(self, rows: Sequence[BatchRow], drafts: Sequence[list[int]]) -> list[list[int]]:
        """Return the tokens after the newest one, and after each of its draft, in each row."""
        decoder, inputs = self._decoder, []
        width = 1 + max(map(len, drafts))
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

    # -- static shapes

    def _launch(
        self, rows: Sequence[BatchRow], drafts: Sequence[list[int]]
    ) -> Launched | None:
        """Begin a step of static shapes; None: it has to be another one."""
        if self.steps is None or not self._decoder.memory.stays:
            return None
        inputs = [
            StepInput(row.memory, [row.tokens[-1], *draft], row.position, row.length)
            for row, draft in zip(rows, drafts, strict=True)]
        plan = self.steps.plan(inputs)
        return None if plan is None else self.steps.launch(plan, inputs)

    def _read(
        self, launched: Launched, rows: Sequence[BatchRow], drafts: Sequence[list[int]]
    ) -> list[list[int]]:
        """Return the tokens that a step chooses; before that, begin the next one if possible."""
        generations = [row.generation for row in rows]
        if self.steps is not None and not any(drafts) and not any(
                g.matcher or g.forced() or g.remaining < 2 for g in generations):
            # where an answer turns out to have ended, its part of the step is in vain
            following = self.steps.launch_next(launched)
            if following is not None:
                self._next = list(rows), [row.length + 1 for row in rows], following
        tokens = launched.tokens()
        if any(generation.is_held() for generation in generations):
            held = choose_tokens(launched.first_logits()[:, None], generations)
            for chosen, first in zip(tokens, held, strict=True):
                chosen[:1] = first
        return force_tokens(tokens, generations)

    def _take_next(self, rows: Sequence[BatchRow]) -> Launched | None:
        """Return the step that was launched ahead, if it is the one of these rows."""
        if self._next is None:
            return None
        (planned, lengths, launched), self._next = self._next, None
        if planned != list(rows) or lengths != [row.length for row in rows]:
            return None
        self.ahead += 1
        return launched
