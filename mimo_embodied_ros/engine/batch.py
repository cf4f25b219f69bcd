"""Answers to different prompts, written together: they join and leave between two tokens."""

from __future__ import annotations

import gc
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mimo_embodied_ros.core.errors import ModelNotReadyError, OutOfMemoryError

from .decoder import Decoder
from .drafts import Drafter
from .vision import Vision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .generation import Generation

_CLOSED = 'the model has been closed; load it again'
_logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Row:
    """What the decoder holds of an answer, and its newest tokens; the last one it has not read."""

    generation: Generation
    length: int
    position: int
    tokens: list[int]  # empty: the model failed


class Batch:
    """One thread that owns the model and writes up to ``capacity`` answers at once.

    Images, and the prefix that they end, are computed once and kept for further questions.
    """

    def __init__(
        self, model: Any, capacity: int, cache_bytes: int, longest_draft: int,
        explain: Callable[[Exception], Exception],
    ) -> None:
        """Start the thread.

        Args:
            model: a ``Qwen2_5_VLForConditionalGeneration``.
            capacity: answers at once; more wait.
            cache_bytes: for what is kept of images.
            longest_draft: tokens that are guessed at once; 0 is none.
            explain: makes of what the model raised the error that the caller gets.

        Raises:
            ModelNotReadyError: the decoder does not support the model.

        """
        self._capacity, self._explain = capacity, explain
        self._decoder = Decoder(model)
        self.vision = Vision(model, self._decoder, cache_bytes)
        self._drafts = Drafter(longest_draft)
        self._rows: list[_Row] = []
        self._waiting: deque[Generation] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name='model', daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Let an answer join as soon as there is room.

        Raises:
            ModelNotReadyError: the batch is closed.

        """
        with self._changed:
            if not self._open:
                raise ModelNotReadyError(_CLOSED)
            self._waiting.append(generation)
            self._changed.notify()

    def close(self) -> None:
        """Complete the answers in progress, refuse the others and end the thread."""
        with self._changed:
            self._open = False
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify()
        for generation in waiting:
            generation.finish(ModelNotReadyError(_CLOSED))
        self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._rows or not self._open)
                if not (self._waiting or self._rows):
                    break
                # those that wait are asked too: they may not be wanted any more
                for generation in [g for g in self._waiting if not g.wanted()]:
                    self._waiting.remove(generation)
                    generation.finish()
                room = self._capacity - len(self._rows)
                joining = [self._waiting.popleft() for _ in range(min(room, len(self._waiting)))]
            try:
                self._join(joining)
                self._step()
            except Exception as error:  # a fault of ours must not leave anybody waiting
                _logger.exception('the batch failed')
                for generation in (*joining, *(held.generation for held in self._rows)):
                    generation.finish(self._explain(error))
                self._rows.clear()
        self.vision.cache.clear()
        self._decoder.release()

    # -- joining

    def _join(self, joining: Sequence[Generation]) -> None:
        together = []
        for generation in joining:
            key = generation.encoded.key
            if key is None or self.vision.cache.get(key) is not None:
                together.append(generation)
            else:  # the first about its images, the others go on from there
                self._read_prompts([generation])
        if together:
            self._read_prompts(together)

    def _read_prompts(self, group: Sequence[Generation], *, again: bool = False) -> None:
        """Let answers begin; what fails ends the one that it belongs to.

        Where memory is short, what is kept goes first, and it is tried ``again``.
        """
        try:
            self._begin(group)
        except Exception as error:
            failure = self._explain(error)
        else:
            return
        # outside of the handler: the error's frames hold tensors that may have to be freed
        if len(group) > 1:
            for generation in group:
                self._read_prompts([generation])
        elif isinstance(failure, OutOfMemoryError) and not again:
            self.vision.cache.clear()
            free_memory()
            self._read_prompts(group, again=True)
        else:
            group[0].finish(failure)

    def _begin(self, group: Sequence[Generation]) -> None:
        """Read the prompts of answers that share a pass, and write their first tokens."""
        first = len(self._rows)
        parts = [self.vision.embed(generation.encoded) for generation in group]
        longest = max(part.hidden.shape[0] for part in parts)
        self._reserve(first + len(group), max(part.start for part in parts) + longest)
        for row, part in enumerate(parts, first):
            if part.prefix is not None:
                self._decoder.restore_prefix(row, part.prefix.cache)
        pad = torch.nn.utils.rnn.pad_sequence
        lengths = [part.hidden.shape[0] for part in parts]
        logits = self._decoder.forward(
            pad([part.hidden for part in parts], batch_first=True),
            pad([part.positions for part in parts], batch_first=True),
            first, [part.start for part in parts],
            last=torch.tensor(lengths, device=self._decoder.device) - 1)
        tokens = _choose(logits[:, None], group)
        for row, (generation, part) in enumerate(zip(group, parts, strict=True), first):
            length = part.start + len(part.hidden)
            self.vision.keep_prefix(generation.encoded, part, row)
            generation.reused = part.start
            self._rows.append(
                _Row(generation, length, int(part.positions[-1].max()) + 1, tokens[row - first]))
        self._write(first)

    def _reserve(self, rows: int, columns: int) -> None:
        self._decoder.reserve(1 << (rows - 1).bit_length(), columns)

    # -- writing

    def _step(self) -> None:
        """Write the next token of every answer, and those that were rightly guessed."""
        if not self._rows:
            return
        try:
            tokens = self._next(0, len(self._rows))
        except Exception:  # whose fault it is shows when each goes on alone
            _logger.exception('the model failed; each answer goes on alone')
            tokens = [self._alone(row) for row in range(len(self._rows))]
        for held, some in zip(self._rows, tokens, strict=True):
            held.length += len(some)
            held.position += len(some)
            held.tokens = some
        self._write(0)

    def _next(self, first: int, count: int) -> list[list[int]]:
        """What comes after the newest tokens of so many rows."""
        rows, device = self._rows[first : first + count], self._decoder.device
        # a grammar tells about one token at a time
        drafts = [[] if held.generation.matcher else self._drafts.draft(held.generation.newest())
                  for held in rows]
        width = 1 + max(len(draft) for draft in drafts)
        lengths = [held.length for held in rows]
        self._reserve(len(self._rows), max(lengths) + width)
        # what fills shorter drafts up is read, and overwritten by what comes
        read = torch.tensor([
            [held.tokens[-1], *draft, *[0] * (width - 1 - len(draft)),
             *range(held.position, held.position + width)]
            for held, draft in zip(rows, drafts, strict=True)
        ], device=device)
        logits = self._decoder.forward(
            self._decoder.embed(read[:, :width]), read[:, width:], first, lengths)
        chosen = _choose(logits, [held.generation for held in rows])
        return [some[: 1 + _agreed(some, draft)]
                for some, draft in zip(chosen, drafts, strict=True)]

    def _alone(self, row: int) -> list[int]:
        try:
            return self._next(row, 1)[0]
        except Exception as error:
            self._rows[row].generation.error = self._explain(error)
            return []

    def _write(self, first: int) -> None:
        """Hand out the newest tokens; answers that are at their end leave."""
        leaving = [
            row for row, held in enumerate(self._rows)
            if row >= first and not (held.tokens and all(map(held.generation.write, held.tokens)))
        ]
        for row in reversed(leaving):
            self._drafts.learn(self._rows[row].generation.whole())
            self._rows[row].generation.finish()
            last = self._rows.pop()
            if row < len(self._rows):
                self._decoder.move_row(len(self._rows), row, last.length)
                self._rows[row] = last


def _choose(logits: torch.Tensor, generations: Sequence[Generation]) -> list[list[int]]:
    """The likeliest tokens, (answers, tokens, vocabulary); the first as its grammar allows."""
    logits = logits.float()
    for row, generation in zip(logits[:, 0], generations, strict=True):
        if generation.matcher is not None:
            allowed = torch.from_numpy(generation.matcher.allowed(len(row))).to(row.device)
            row.masked_fill_(~allowed, float('-inf'))
    tokens: list[list[int]] = logits.argmax(-1).tolist()
    return tokens


def _agreed(chosen: Sequence[int], draft: Sequence[int]) -> int:
    """How many tokens of a draft are those that the model chose."""
    wrong = (i for i, token in enumerate(draft) if token != chosen[i])
    return next(wrong, len(draft))


def free_memory() -> None:
    """Give back what nothing holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
