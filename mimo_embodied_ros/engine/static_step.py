"""A step of static shapes: what differs from step to step is in tensors on the device.

Rows are padded to powers of two, what they attend to is padded to the lengths that rows have, and
drafts to the longest. So a step can be captured (`graphs`), and the next one can be launched before
anyone has looked at its tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from .graphs import Graphs, cuda_capture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .decoder import Decoder
    from .kv_memory import Part, Row


class Plan:
    """The shapes of a step.

    Attributes:
        width: tokens that each row reads.
        parts: of each slab.
        rows: of all parts.
        key: steps with the same key differ only in the contents of tensors, and in ``stamps``.
        stamps: of the slabs; if they differ, keys and values have moved.

    """

    def __init__(self, width: int, parts: Sequence[Part]) -> None:
        """Take what a step reads."""
        self.width, self.parts = width, parts
        self.rows = sum(part.rows for part in parts)
        self.key = width, *((part.slab.length, part.rows, part.end) for part in parts)
        self.stamps = tuple(part.slab.stamp for part in parts)

    def __str__(self) -> str:
        parts = ', '.join(f'{part.rows} rows of {part.end} tokens' for part in self.parts)
        return f'{self.width} new tokens for {parts}'


class StepInput(NamedTuple):
    """What a row reads in a step.

    Attributes:
        memory: its keys and values.
        tokens: the newest one and its draft.
        position: of the newest one.
        length: tokens in the memory.

    """

    memory: Row
    tokens: list[int]
    position: int
    length: int


class Launched:
    """A step that the device does, or has done."""

    def __init__(
        self, plan: Plan, inputs: Sequence[StepInput], places: list[int], chosen: torch.Tensor,
        logits: torch.Tensor,
    ) -> None:
        """Take what the rows read, where they are in the step, and what they get."""
        self.plan, self.inputs, self.places = plan, inputs, places
        self._chosen, self._logits = chosen, logits
        self._event: torch.Event | None = None
        if logits.device.type == 'cuda':
            self._event = torch.cuda.current_stream(logits.device).record_event()

    def tokens(self) -> list[list[int]]:
        """Wait for the step; returns the most likely tokens of each row, after each it read."""
        if self._event is not None:
            self._event.synchronize()
        chosen = self._chosen.tolist()
        return [chosen[place] for place in self.places]

    def first_logits(self) -> torch.Tensor:
        """Return the logits after each row's newest token, (rows, vocabulary).

        They are overwritten by the next step.
        """
        return self._logits[self.places]


class StaticStep:
    """Launches steps of at most ``capacity`` rows; each reads one token, or ``width``.

    Attributes:
        graphs: that are captured on a GPU.

    """

    def __init__(self, decoder: Decoder, capacity: int, width: int) -> None:
        """Allocate what steps read and write, which stays where it is."""
        self._decoder, self._width = decoder, width
        device = decoder.device
        on_gpu = device.type == 'cuda'
        rows = 2 * capacity  # padded
        # of each row its tokens, position, and length; the host's side is pinned
        self._host = torch.zeros(rows, width + 2, dtype=torch.int64, pin_memory=on_gpu)
        self._state = torch.zeros(rows, width + 2, dtype=torch.int64, device=device)
        self._logits = torch.zeros(
            rows, decoder.vocabulary, dtype=decoder.dtype, device=device)
        self._chosen = torch.zeros(rows * width, dtype=torch.int64, device=device)
        # a step may be launched before the tokens of the last one were read
        self._read = [torch.zeros(rows * width, dtype=torch.int64, pin_memory=on_gpu)
                      for _ in range(2)]
        self.graphs = Graphs(
            self._step, self._state, (self._logits, self._chosen),
            cuda_capture(device) if on_gpu else None)

    def plan(self, inputs: Sequence[StepInput]) -> Plan | None:
        """Return the shapes of a step.

        None: a row has no room for drafts of the longest length, or other rows are in the way, see
        ``KVMemory.parts``.
        """
        width = 1 if all(len(row.tokens) == 1 for row in inputs) else self._width
        if any(row.length + width > row.memory.slab.length for row in inputs):
            return None
        parts = self._decoder.memory.parts(
            [row.memory for row in inputs], [row.length + width for row in inputs])
        return None if parts is None else Plan(width, parts)

    def launch(self, plan: Plan, inputs: Sequence[StepInput]) -> Launched:
        """Begin a step.

        Args:
            plan: of these inputs.
            inputs: in the order of their slabs, and in each of their indices.

        """
        begins, begin = {}, 0
        for part in plan.parts:
            begins[part.slab.length] = begin
            begin += part.rows
        places = [begins[row.memory.slab.length] + row.memory.index for row in inputs]
        host = self._host[: plan.rows]
        host.zero_()
        for place, row in zip(places, inputs, strict=True):
            padding = [0] * (self._width - len(row.tokens))
            host[place] = torch.tensor([*row.tokens, *padding, row.position, row.length])
        self._state[: plan.rows].copy_(host, non_blocking=True)
        return self._run(plan, inputs, places)

    def launch_next(self, last: Launched) -> Launched | None:
        """Begin the step after one of a single token a row, with the tokens that that one chooses.

        None: its shapes would be others, or keys and values have moved.
        """
        if last.plan.width > 1:
            return None
        inputs = [row._replace(position=row.position + 1, length=row.length + 1)
                  for row in last.inputs]
        plan = self.plan(inputs)
        if plan is None or (plan.key, plan.stamps) != (last.plan.key, last.plan.stamps):
            return None
        return self._run(plan, inputs, last.places)

    def _run(self, plan: Plan, inputs: Sequence[StepInput], places: list[int]) -> Launched:
        self.graphs.run(plan)
        self._read.reverse()
        size = plan.rows * plan.width
        chosen = self._read[0][:size]
        chosen.copy_(self._chosen[:size], non_blocking=True)
        return Launched(plan, inputs, places, chosen.view(plan.rows, plan.width), self._logits)

    def _step(self, plan: Plan) -> None:
        """Do what a graph captures: from the state to logits, tokens, and the next state."""
        state, width = self._state[: plan.rows], plan.width
        further = torch.arange(width, device=state.device)
        logits = self._decoder.step(
            state[:, :width], state[:, -2:-1] + further, state[:, -1:] + further, plan.parts)
        chosen = logits.argmax(-1)
        self._logits[: plan.rows] = logits[:, 0]
        self._chosen[: plan.rows * width] = chosen.view(-1)
        if width == 1:
            state[:, :1] = chosen
            state[:, -2:] += 1
