"""Prompts are read in chunks, between the tokens of the answers that are being written.

A chunk is a number of tokens: images that go through the vision tower together, or parts of
prompts that the language model reads together. So nobody waits longer than a chunk for his next
token, however long a prompt beside his is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    import torch

    from .decoder import Decoder
    from .generation import Generation
    from .kv_memory import Row
    from .processor import EncodedImage
    from .threads import Threads
    from .vision import EmbeddedPrompt, Vision


@dataclass(eq=False)
class Reading:
    """A prompt that is to be read, with what is written of its answer.

    Attributes:
        generation: its answer.
        alone: it is read by itself, since reading it together with others has failed.
        again: it is the second time, after memory was freed.
        prompt: embedded; None before its turn has come.
        row: its keys and values; None before.
        parts: of the prompt, which are still to be read.

    """

    generation: Generation
    alone: bool = False
    again: bool = False
    prompt: EmbeddedPrompt | None = None
    row: Row | None = None
    parts: deque[EmbeddedPrompt] = field(default_factory=deque)


class Prefill:
    """The prompts that are to be read. For use by one thread.

    Attributes:
        readings: the oldest first.

    """

    def __init__(
        self, decoder: Decoder, vision: Vision, threads: Threads, chunk: int, *,
        deterministic: bool,
    ) -> None:
        """Begin without prompts.

        Args:
            decoder: reads them.
            vision: embeds them.
            threads: of the CPU.
            chunk: tokens that are read at once.
            deterministic: a prefix that others may reuse is always read by itself, so that it is
                rounded alike whether it was kept or not.

        """
        self._decoder, self._vision, self._threads = decoder, vision, threads
        self._chunk, self._deterministic = chunk, deterministic
        self.readings: list[Reading] = []

    def add(self, generations: Iterable[Generation]) -> None:
        """Let prompts be read after those that are here."""
        self.readings += map(Reading, generations)

    def next(self) -> list[Reading]:
        """Return whose chunk is next: the oldest one's, and of others what fits beside it.

        The oldest one's images come first, with images of others. Then prompts of about one length
        are read together. What is read of an image serves all who ask about it, so that they wait
        for the first one.
        """
        oldest = self.readings[:1]
        if not oldest or oldest[0].alone:
            return oldest
        if self._new_images(oldest):
            return [reading for reading in self.readings if not reading.alone]
        chosen: list[Reading] = []
        longest = total = 0
        begun: set[Hashable] = set()  # prefixes that are not kept yet
        for reading in self.readings:
            key = reading.generation.encoded.key
            if key is not None and key not in self._vision.cache:
                if key in begun:
                    continue
                begun.add(key)
            if chosen and (reading.alone or self._new_images([reading])):
                continue
            length = self._length(reading)
            # at most half of what is computed is padding
            most = min(self._chunk, 2 * (total + length))
            if not chosen or (len(chosen) + 1) * max(longest, length) <= most:
                chosen.append(reading)
                longest, total = max(longest, length), total + length
        return chosen

    def read(self, chosen: list[Reading]) -> tuple[list[Reading], torch.Tensor | None]:
        """Read the next chunk of what ``next`` has chosen.

        Returns:
            Those that have been read to their end, and logits (that many, vocabulary) after them.

        """
        images = self._new_images(chosen)
        if images:
            self._vision.read(images)
            return [], None
        new = [reading for reading in chosen if reading.row is None]
        if new:
            self._start(new)
        parts, rows = [], []
        for reading in chosen:
            assert reading.row is not None
            parts.append(reading.parts[0])
            rows.append(reading.row)
        self._threads.use(sum(len(part.hidden) for part in parts))
        logits = self._decoder.read(parts, rows)
        ended = []
        for number, reading in enumerate(chosen):
            reading.parts.popleft()
            if not reading.parts:
                ended.append(number)
        done = [chosen[number] for number in ended]
        for reading in done:
            assert reading.prompt is not None
            assert reading.row is not None
            self._vision.keep_prefix(reading.generation.encoded, reading.prompt, reading.row)
        return done, logits[ended]

    def reset(self, reading: Reading) -> None:
        """Free a prompt's memory; it is read from its beginning again."""
        if reading.row is not None:
            self._decoder.memory.remove(reading.row)
        reading.prompt = reading.row = None
        reading.parts.clear()

    def remove(self, reading: Reading) -> None:
        """Free a prompt's memory, and read no more of it."""
        self.reset(reading)
        self.readings.remove(reading)

    def _new_images(self, readings: Iterable[Reading]) -> list[EncodedImage]:
        return self._vision.new_images(
            reading.generation.encoded for reading in readings if reading.row is None)

    def _length(self, reading: Reading) -> int:
        """Return the tokens of a prompt's next part."""
        if reading.parts:
            return len(reading.parts[0].hidden)
        encoded = reading.generation.encoded
        kept = encoded.prefix if encoded.key in self._vision.cache else 0
        return min(self._chunk, len(encoded.tokens) - kept + len(reading.generation.tokens))

    def _start(self, readings: list[Reading]) -> None:
        """Embed prompts, and give each a row that begins with the prefix that is kept."""
        prompts = []
        for reading in readings:
            prompt = self._vision.embed(reading.generation.encoded)
            if reading.generation.tokens:
                prompt = prompt.with_text(self._decoder.embed, reading.generation.tokens)
            prompts.append(prompt)
        rows = self._decoder.memory.add(
            [prompt.start + len(prompt.hidden) + 1 for prompt in prompts])
        for reading, prompt, row in zip(readings, prompts, rows, strict=True):
            # first of all, so that a failure below frees the row
            reading.prompt, reading.row = prompt, row
        for reading, prompt, row in zip(readings, prompts, rows, strict=True):
            by_itself = self._deterministic and prompt.prefix is None
            prefix = reading.generation.encoded.prefix if by_itself else 0
            reading.parts.extend(prompt.parts(self._chunk, prefix))
            if prompt.prefix is not None:
                self._decoder.restore_prefix(row, prompt.prefix.cache)
