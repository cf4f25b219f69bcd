"""Continuous batching: answers to different prompts are decoded together.

They join and leave the batch between two tokens.
"""

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
    """A row of the decoder's cache with the answer that it belongs to.

    Attributes:
        generation: the answer.
        length: tokens in the cache.
        position: of the token that comes next.
        tokens: the newest ones; the last is not in the cache yet. Empty if the model failed.

    """

    generation: Generation
    length: int
    position: int
    tokens: list[int]


class Batch:
    """One thread that owns the model and decodes up to ``capacity`` answers at once."""

    def __init__(
        self, model: Any, capacity: int, cache_bytes: int, longest_draft: int,
        explain: Callable[[Exception], Exception], *, deterministic: bool = False,
    ) -> None:
        """Start the thread.

        Args:
            model: a ``Qwen2_5_VLForConditionalGeneration``.
            capacity: how many answers are decoded at once; more wait.
            cache_bytes: size of the cache of image features and prompt prefixes.
            longest_draft: tokens that are drafted at once; 0 is none.
            explain: converts an exception of the model into the one that the caller gets.
            deterministic: one answer at a time, without drafts, and prefixes by themselves, so
                that rounding does not depend on other requests.

        Raises:
            ModelNotReadyError: the decoder does not support the model.

        """
        self._capacity = 1 if deterministic else capacity
        self._explain, self._deterministic = explain, deterministic
        self._decoder = Decoder(model)
        self.vision = Vision(model, self._decoder, cache_bytes)
        self._drafter = Drafter(0 if deterministic else longest_draft)
        self._rows: list[_Row] = []
        self._waiting: deque[Generation] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name='model', daemon=True)
        self._thread.start()

    def submit(self, generation: Generation) -> None:
        """Queue an answer; it joins the batch as soon as there is room.

        Raises:
            ModelNotReadyError: the batch is closed.

        """
        with self._changed:
            if not self._open:
                raise ModelNotReadyError(_CLOSED)
            self._waiting.append(generation)
            self._changed.notify()

    def close(self) -> None:
        """Complete the answers in progress, refuse those that wait, and end the thread."""
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
                while self._open and not (self._waiting or self._rows):
                    self._changed.wait()
                if not (self._waiting or self._rows):
                    break
                joining = self._next_to_join()
            try:
                self._join(joining)
                self._step()
            except Exception as error:  # a bug must not leave a caller waiting for ever
                _logger.exception('the batch failed')
                for generation in (*joining, *(row.generation for row in self._rows)):
                    generation.finish(self._explain(error))
                self._rows.clear()
        self.vision.cache.clear()
        self._decoder.release()

    # -- joining

    def _next_to_join(self) -> list[Generation]:
        """Take answers from the queue for which there is room; the lock is held."""
        room = self._capacity - len(self._rows)
        joining: list[Generation] = []
        still_waiting: deque[Generation] = deque()
        for generation in self._waiting:
            if not generation.go_on():  # cancelled or past its deadline while it waited
                generation.finish()
            elif len(joining) < room:
                joining.append(generation)
            else:
                still_waiting.append(generation)
        self._waiting = still_waiting
        return joining

    def _join(self, joining: Sequence[Generation]) -> None:
        together = []
        for generation in joining:
            key = generation.encoded.key
            if key is None or self.vision.cache.get(key) is not None:
                together.append(generation)
            else:  # the first question about its images: the others reuse its prefix
                self._read_prompts([generation])
        if together:
            self._read_prompts(together)

    def _read_prompts(self, group: Sequence[Generation], *, again: bool = False) -> None:
        """Begin answers; if that fails, begin each alone, so that only the faulty one ends.

        If memory is short, the cache of images is cleared and the answer is begun ``again``.
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
        """Read the prompts of several answers in one pass, and write their first tokens."""
        first = len(self._rows)
        prompts, lengths, starts = [], [], []
        new = self._deterministic and self.vision.read_prefix(group[0].encoded, first)
        for generation in group:
            prompt = self.vision.embed(generation.encoded)
            prompts.append(prompt)
            lengths.append(prompt.hidden.shape[0])
            starts.append(prompt.start)
        self._decoder.reserve(first + len(group), max(starts) + max(lengths))
        hidden, positions = [], []
        for row, prompt in enumerate(prompts, first):
            if prompt.prefix is not None:
                self._decoder.restore_prefix(row, prompt.prefix.cache)
            hidden.append(prompt.hidden)
            positions.append(prompt.positions)
        pad = torch.nn.utils.rnn.pad_sequence
        logits = self._decoder.forward(
            pad(hidden, batch_first=True), pad(positions, batch_first=True), first, starts,
            last=torch.tensor(lengths, device=self._decoder.device) - 1)
        tokens = _choose(logits[:, None], group)
        for number, (generation, prompt) in enumerate(zip(group, prompts, strict=True)):
            self.vision.keep_prefix(generation.encoded, prompt, first + number)
            generation.reused = 0 if new else prompt.start
            self._rows.append(_Row(
                generation, prompt.start + lengths[number], int(prompt.positions[-1].max()) + 1,
                tokens[number]))
        self._write(first)

    # -- writing

    def _step(self) -> None:
        """Write the next token of every answer, and the drafted tokens that were right."""
        if not self._rows:
            return
        try:
            tokens = self._next(0, len(self._rows))
        except Exception:  # when each goes on alone, it shows which one fails
            _logger.exception('the model failed; each answer goes on alone')
            tokens = [self._alone(number) for number in range(len(self._rows))]
        for row, written in zip(self._rows, tokens, strict=True):
            row.length += len(written)
            row.position += len(written)
            row.tokens = written
        self._write(0)

    def _next(self, first: int, count: int) -> list[list[int]]:
        """Return the tokens that follow in ``count`` rows from row ``first`` on."""
        rows, device = self._rows[first : first + count], self._decoder.device
        drafts, lengths, generations, width = [], [], [], 1
        for row in rows:
            # the matcher of a grammar allows only one token at a time
            draft = [] if row.generation.matcher else self._drafter.draft(row.generation.context)
            drafts.append(draft)
            lengths.append(row.length)
            generations.append(row.generation)
            width = max(width, 1 + len(draft))
        self._decoder.reserve(len(self._rows), max(lengths) + width)
        inputs = []
        for row, draft in zip(rows, drafts, strict=True):
            # the padding of shorter drafts is read, too, and overwritten by later tokens
            padding = [0] * (width - 1 - len(draft))
            positions = range(row.position, row.position + width)
            inputs.append([row.tokens[-1], *draft, *padding, *positions])
        read = torch.tensor(inputs, device=device)
        logits = self._decoder.forward(
            self._decoder.embed(read[:, :width]), read[:, width:], first, lengths)
        accepted = []
        for tokens, draft in zip(_choose(logits, generations), drafts, strict=True):
            agreed = 0
            while agreed < len(draft) and draft[agreed] == tokens[agreed]:
                agreed += 1
            accepted.append(tokens[: agreed + 1])
        return accepted

    def _alone(self, number: int) -> list[int]:
        try:
            return self._next(number, 1)[0]
        except Exception as error:
            self._rows[number].generation.error = self._explain(error)
            return []

    def _write(self, first: int) -> None:
        """Give the rows' newest tokens to their answers; those that have ended leave."""
        for number in reversed(range(first, len(self._rows))):
            row = self._rows[number]
            if row.tokens and all(map(row.generation.write, row.tokens)):
                continue
            self._drafter.learn(row.generation.context)
            row.generation.finish()
            last = self._rows.pop()
            if last is not row:
                self._decoder.move_row(len(self._rows), number, last.length)
                self._rows[number] = last


def _choose(logits: torch.Tensor, generations: Sequence[Generation]) -> list[list[int]]:
    """Return the most likely tokens of each answer.

    Args:
        logits: (answers, tokens, vocabulary).
        generations: the answers; a grammar limits the first token.

    """
    logits = logits.float()
    for row, generation in zip(logits[:, 0], generations, strict=True):
        if generation.matcher is not None:
            allowed = torch.from_numpy(generation.matcher.allowed(len(row))).to(row.device)
            row.masked_fill_(~allowed, float('-inf'))
    tokens: list[list[int]] = logits.argmax(-1).tolist()
    return tokens


def free_memory() -> None:
    """Free unreferenced memory, on the GPU as well."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
