"""Continuous batching: answers to different prompts are decoded together.

They join and leave the batch between two tokens, and prompts are read in chunks between them, see
`prefill`. An answer joins when the memory for its longest form is there. Should memory end
nevertheless, the youngest answer leaves the batch and joins it again later: the model reads its
prompt and what it has written, and it goes on from there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import torch

from mimo_embodied_ros.core.errors import ModelNotReadyError

from .decoder import Decoder
from .generation import choose_tokens
from .kv_memory import Shortage, free_memory, is_out_of_memory
from .prefill import Prefill
from .prefix_cache import Hold
from .static_step import StaticStep
from .vision import Vision
from .writer import BatchRow, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .config import EngineConfig
    from .generation import Generation
    from .prefill import Reading
    from .threads import Threads

_CLOSED = 'the model has been closed; load it again'
_IDLE_S = 1.0  # until an idle process gives the memory of a GPU back
_logger = logging.getLogger(__name__)


class Batch:
    """One thread that owns the model and decodes up to ``capacity`` answers at once.

    Attributes:
        vision: embeds prompts, and keeps what is known of images.
        memory: the keys and values.
        shortage: whether memory has ended before the budget did.

    """

    def __init__(
        self, model: Any, config: EngineConfig, threads: Threads,
        explain: Callable[[Exception], Exception],
    ) -> None:
        """Prepare; ``start`` starts the thread.

        Args:
            model: a ``Qwen2_5_VLForConditionalGeneration``.
            config: how to answer. If ``deterministic``, images and prefixes are read by themselves,
                too, so that rounding does not depend on other requests.
            threads: of the CPU.
            explain: converts an exception of the model into the one that the caller gets.

        Raises:
            ModelNotReadyError: the decoder does not support the model.

        """
        self._capacity, self._explain = config.at_once, explain
        self._decoder = Decoder(model, config.attention, compiled=config.compile)
        self.memory = self._decoder.memory
        # what is computed together is rounded together
        self.vision = Vision(
            model, self._decoder, threads, config.cache_mb * 10**6,
            1 if config.deterministic else config.prefill_chunk)
        self._prefill = Prefill(
            self._decoder, self.vision, threads, config.prefill_chunk,
            deterministic=config.deterministic)
        self.shortage = Shortage()
        draft = 0 if config.deterministic else config.draft_tokens
        by_device = 'static' if self._decoder.device.type == 'cuda' else 'dynamic'
        shapes = by_device if config.decode_shapes == 'auto' else config.decode_shapes
        steps = StaticStep(self._decoder, self._capacity, 1 + draft) if shapes == 'static' else None
        self.memory.stays = steps is not None
        self._writer = Writer(self._decoder, threads, draft, steps)
        self._rows: list[BatchRow] = []
        # oldest first; those that were preempted are older than those that never began
        self._waiting: deque[Generation] = deque()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name='model', daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    @torch.inference_mode()
    def probe(self, generation: Generation) -> None:
        """Write an answer in this thread, before ``start``, and keep nothing of it.

        Raises:
            Exception: of the model, as it is.

        """
        threads, hold = torch.get_num_threads(), Hold(self.vision.cache)
        hold.add(generation.encoded.keys)
        try:
            self._prefill.add([generation])
            while self._prefill.readings:
                self._begin(*self._prefill.read(self._prefill.next()))
            for row in self._rows:
                self._writer.next([row])
        finally:
            self._clear()
            self.vision.cache.clear()
            hold.release()
            torch.set_num_threads(threads)

    def use_dynamic_shapes(self) -> None:
        """Write tokens in steps of dynamic shapes, which take less memory; before ``start``."""
        self._writer.steps, self.memory.stays = None, False

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
        """Complete the answers that have begun, refuse the others, and end the thread."""
        with self._changed:
            self._open = False
            refused = [generation for generation in self._waiting if not generation.tokens]
            self._waiting = deque(g for g in self._waiting if g.tokens)
            self._changed.notify()
        for generation in refused:
            generation.finish(ModelNotReadyError(_CLOSED))
        self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        while True:
            with self._changed:
                self._wait()
                if not (self._waiting or self._busy):
                    break
                self._prefill.add(self._next_to_join())
            try:
                self._read()
                if self._rows:
                    self._step()
            except Exception as error:  # a bug must not leave a caller waiting for ever
                _logger.exception('the batch failed')
                for generation in self._joined():
                    generation.finish(self._explain(error))
                self._clear()
        self.vision.cache.clear()
        self.memory.release()

    @property
    def _busy(self) -> bool:
        """Whether there is an answer in the batch."""
        return bool(self._rows or self._prefill.readings)

    def _joined(self) -> list[Generation]:
        """Return the answers in the batch: those that are written, and those that are read."""
        written = [row.generation for row in self._rows]
        return written + [reading.generation for reading in self._prefill.readings]

    def _clear(self) -> None:
        """Forget all answers in the batch, and free their memory."""
        self._rows.clear()
        self._prefill.readings.clear()
        self.memory.release()

    def _wait(self) -> None:
        """Wait until there is something to do, or the batch is closed; the lock is held."""
        idle = False
        while self._open and not (self._waiting or self._busy):
            if not self._changed.wait(None if idle else _IDLE_S) and not idle:
                idle = True
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
        if not self._busy:  # what waits may have to wait for memory
            pause = self.shortage.retries - time.monotonic()
            if pause > 0:
                self._changed.wait(pause)

    # -- joining

    def _next_to_join(self) -> list[Generation]:
        """Take answers from the queue for which there is room; the lock is held.

        The first one for which there is none lets nobody pass, so that its turn comes.
        """
        room = self._capacity - len(self._rows) - len(self._prefill.readings)
        memory = self.shortage.limit(self.memory.budget) - self._promised()
        joining: list[Generation] = []
        if not self._busy and self.shortage.is_over():
            self.memory.stays = self._writer.steps is not None
        still_waiting: deque[Generation] = deque()
        alone = not self._busy and time.monotonic() >= self.shortage.retries
        for generation in self._waiting:
            if not generation.go_on():  # cancelled or past its deadline while it waited
                generation.finish()
                continue
            cost = self.memory.cost(generation.longest)
            if not still_waiting and room and (cost <= memory or (alone and not joining)):
                room, memory = room - 1, memory - cost
                joining.append(generation)
            else:
                still_waiting.append(generation)
        self._waiting = still_waiting
        return joining

    def _promised(self) -> int:
        """Bytes that the answers in the batch may come to need."""
        promised = 0
        for generation in self._joined():
            promised += self.memory.cost(generation.longest)
        return promised

    # -- reading

    def _read(self) -> None:
        """Read a chunk of the prompts that have joined.

        If that fails, each is read alone, so that only the faulty one ends. If memory is short,
        unneeded memory is freed and the prompt is read again, and after that it waits until others
        have left the batch.
        """
        chosen = self._prefill.next()
        if not chosen:
            return
        try:
            self._begin(*self._prefill.read(chosen))
        except Exception as error:
            short, failure = is_out_of_memory(error), self._explain(error)
            if len(chosen) > 1 and not short:
                _logger.exception('prompts cannot be read together; each is read alone')
        else:
            for reading in list(self._prefill.readings):
                if not reading.generation.go_on():  # cancelled, or past its deadline
                    self._prefill.remove(reading)
                    reading.generation.finish()
            return
        # outside of the handler: the error's frames hold tensors that may have to be freed
        for reading in chosen:
            self._prefill.reset(reading)
        if len(chosen) > 1:
            for reading in chosen:
                reading.alone = True
            return
        (reading,) = chosen
        generation = reading.generation
        if short and not reading.again:
            reading.alone = reading.again = True
            self._free()
            return
        self._prefill.remove(reading)
        if short and (
                self._rows or self._prefill.readings or (generation.tokens and self._open)):
            self._put_back(generation)
        else:
            generation.finish(failure)

    def _begin(self, readings: Sequence[Reading], logits: torch.Tensor | None) -> None:
        """Write the first tokens, or after an interruption the next ones, of what was read."""
        if logits is None:
            return
        tokens = choose_tokens(logits[:, None], [reading.generation for reading in readings])
        begun = []
        for reading, first in zip(readings, tokens, strict=True):
            generation, prompt, row = reading.generation, reading.prompt, reading.row
            assert prompt is not None
            assert row is not None
            if not generation.tokens:
                generation.reused = prompt.start
            begun.append(BatchRow(generation, row, prompt.start + len(prompt.hidden),
                              int(prompt.positions[-1].max()) + 1, first))
        for reading in readings:
            self._prefill.readings.remove(reading)
        self._rows += begun
        self._write(begun)

    # -- writing

    def _step(self) -> None:
        """Write the next token of every answer, and the drafted tokens that were right."""
        freed = False
        while self._rows:
            # neighbours in memory are read in one operation
            self._rows.sort(key=BatchRow.place)
            try:
                tokens = self._writer.next(self._rows)
            except Exception as error:
                short = is_out_of_memory(error)
                if not short:
                    _logger.exception('the model failed; each answer goes on alone')
            else:
                for row, written in zip(self._rows, tokens, strict=True):
                    row.tokens = written
                self._take(list(self._rows))
                return
            if not short:
                self._advance_alone()
                return
            lost = [row for row in self._rows if row.memory.lost]
            if freed and not lost and not self._interrupt_reading():
                lost = [max(self._rows, key=lambda row: row.generation.arrived)]
            self._preempt(lost)
            self._free()
            freed = True

    def _advance_alone(self) -> None:
        """Write the next tokens of one answer after the other; it shows which one fails."""
        for row in list(self._rows):
            try:
                row.tokens = self._writer.next([row])[0]
            except Exception as error:
                if is_out_of_memory(error):
                    self._preempt([row])
                    continue
                row.generation.error, row.tokens = self._explain(error), []
            self._take([row])

    def _take(self, rows: Sequence[BatchRow]) -> None:
        """Count the tokens that were read in a step, and write the newest ones."""
        for row in rows:
            row.length += len(row.tokens)
            row.position += len(row.tokens)
        self._write(rows)

    def _write(self, rows: Sequence[BatchRow]) -> None:
        """Give the rows' newest tokens to their answers; those that have ended leave."""
        for row in rows:
            if row.tokens and all(map(row.generation.write, row.tokens)):
                continue
            self._writer.end(row.generation)
            row.generation.finish()
            self._rows.remove(row)
            self.memory.remove(row.memory)

    # -- short of memory

    def _preempt(self, rows: Sequence[BatchRow]) -> None:
        """Let answers leave the batch; they join it again when there is memory."""
        for row in sorted(rows, key=lambda row: -row.generation.arrived):
            self._rows.remove(row)
            self.memory.remove(row.memory)
            self._put_back(row.generation)

    def _interrupt_reading(self) -> bool:
        """Let the youngest prompt wait again that takes memory; False: there is none."""
        for reading in reversed(self._prefill.readings):
            if reading.row is not None:
                self._prefill.remove(reading)
                self._put_back(reading.generation)
                return True
        return False

    def _put_back(self, generation: Generation) -> None:
        """Let an answer wait at the head of the queue, and let no more join than are there."""
        if self.shortage.note(self._promised()):
            _logger.warning(
                'the device has too little memory for %d answers at once; the youngest waits',
                len(self._rows) + 1)
        with self._changed:
            self._waiting.appendleft(generation)

    def _free(self) -> None:
        """Free all memory but that of the answers in the batch."""
        self.vision.cache.clear()
        self.memory.stays = False  # rows take what they need, and no more, until that is over
        self.memory.trim()
        free_memory()
