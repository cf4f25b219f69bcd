"""Memory for keys and values: a row for each answer, as long as what the answer holds.

Rows of equal length lie in one slab, so that the decoder reads them in one operation. A slab has a
tensor for each layer. Whenever it changes its size, one layer after the other is copied, so that
never more than a part of a layer is in memory twice.
"""

from __future__ import annotations

import gc
import itertools
import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from .checkpoint import free_host_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BLOCK = 256
"""Rows grow by so many tokens, longer ones by up to an eighth."""
_HOST_SHARE = 0.5  # of the free memory of the machine or its container
_GPU_MARGIN = 0.05  # of the GPU's memory: what fragments, and other programs
_RETRY_S = 0.2  # until an answer is tried again for which there was no memory
_RECOVER_S = 5.0  # until as many answers are written at once as before memory ended
_COPIED = 2  # layers that are in memory twice while a row moves to another slab


def row_length(tokens: int) -> int:
    """Return the length of the row for so many tokens: at most a block or an eighth more."""
    step = max(BLOCK, (1 << tokens.bit_length()) // 16)
    return -(-tokens // step) * step


def _power_of_two(number: int) -> int:
    """Return the least power of two that is no less."""
    return 1 << (number - 1).bit_length()


class _Slab:
    """Rows of equal length.

    Attributes:
        length: tokens that a row has room for.
        stamp: a new number whenever a layer has moved.
        layers: of each layer (rows or more, length, 2 * key heads, head size); where memory ended
            while the slab changed its size, some have more rows than others.
        rows: in their order.

    """

    def __init__(self, length: int, layers: list[torch.Tensor]) -> None:
        self.length, self.layers = length, layers
        self.rows: list[Row] = []
        self.stamp = 0

    @property
    def size(self) -> int:
        """Rows that there is memory for in all layers."""
        return min(map(len, self.layers))


@dataclass(eq=False)
class Row:
    """The keys and values of one answer.

    Attributes:
        slab: where they are.
        index: of the row in its slab.
        lost: memory ended while the row was moved, and its contents are gone.

    """

    slab: _Slab
    index: int
    lost: bool = False


class Run(NamedTuple):
    """Neighbouring rows of a slab.

    Attributes:
        begin: place of the first one in the sequence that was given.
        size: number of rows.
        first: index of the first one in the slab.
        slab: the slab.

    """

    begin: int
    size: int
    first: int
    slab: _Slab


class Part(NamedTuple):
    """The first rows of a slab, up to some token.

    Attributes:
        slab: the slab.
        rows: number of rows, used or not.
        end: number of tokens.

    """

    slab: _Slab
    rows: int
    end: int


class KVMemory:
    """The keys and values of all answers that are being written. For use by one thread.

    Attributes:
        stays: rows are of few lengths, and memory that no row takes is kept for the next one as
            long as the budget allows it, so that slabs seldom move.
        budget: bytes that rows may take; the layers that are in memory twice come on top.
        bytes: that are allocated now; may be read from any thread.
        token_bytes: of one token in all layers.
        allocate: returns an uninitialised tensor of a shape, or raises torch.OutOfMemoryError; a
            test replaces it to simulate a small device.

    """

    def __init__(
        self, layers: int, shape: tuple[int, int], dtype: torch.dtype, device: torch.device
    ) -> None:
        """Allocate nothing yet; ``shape`` is (2 * key heads, head size)."""
        self._layers, self._shape, self.device = layers, shape, device
        self.token_bytes = layers * math.prod(shape) * dtype.itemsize
        self.allocate: Callable[[Sequence[int]], torch.Tensor] = partial(
            torch.empty, dtype=dtype, device=device)
        self._nothing = torch.empty(0, 0, *shape, dtype=dtype, device=device)
        self._slabs: dict[int, _Slab] = {}
        self._stamps = itertools.count(1)
        self.stays = False
        self.budget = self.bytes = 0
        self.limit(free_host_memory())

    def limit(self, free: int) -> None:
        """Set the budget so that ``free`` bytes are enough at any time."""
        self.budget = max(0, free) * self._layers // (self._layers + _COPIED)

    def measure(self, kept: int) -> None:
        """Set the budget by what is free after the largest request was answered once.

        On a GPU the memory that the request needed beside its keys and values is still reserved
        then. Of a machine's memory a part is taken, since it is shared.

        Args:
            kept: bytes that others may still allocate.

        """
        if self.device.type == 'cuda':
            free, total = torch.cuda.mem_get_info(self.device)
            self.limit(int(free - _GPU_MARGIN * total) - kept)
        else:
            free = free_host_memory()
            self.limit(int(_HOST_SHARE * (free - min(kept, free // 2))))

    def cost(self, tokens: int) -> int:
        """Return the bytes of a row with so many tokens."""
        return self._bytes(self._length(tokens))

    def add(self, tokens: Sequence[int]) -> list[Row]:
        """Return a new row for each of so many tokens; nothing has changed if memory ends."""
        lengths = list(map(self._length, tokens))
        needed, wanted = Counter(lengths), {}
        for length, count in needed.items():
            slab = self._slab(length)
            wanted[length] = max(0, len(slab.rows) + count - slab.size) * self._bytes(length)
        if any(wanted.values()):
            self._make_room(sum(wanted.values()))  # at once: it frees what no row takes yet
        for length, count in needed.items():
            slab = self._slab(length)
            del wanted[length]
            if len(slab.rows) + count > slab.size:
                self._resize(slab, self._rounded(
                    slab, len(slab.rows) + count, sum(wanted.values())))
        rows = []
        for length in lengths:
            slab = self._slabs[length]
            rows.append(Row(slab, len(slab.rows)))
            slab.rows.append(rows[-1])
        return rows

    def grow(self, needs: Iterable[tuple[Row, int]]) -> None:
        """Make room for so many tokens in each row.

        If memory ends, all rows are as before but those that are ``lost``.
        """
        moves: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
        for row, tokens in needs:
            if tokens > row.slab.length:
                moves[row.slab.length, self._length(tokens)].append(row)
        for (source, target), rows in moves.items():
            size = len(rows) * self._bytes(target)
            stays = self.stays and self.bytes + size <= self.budget  # what is copied does, too
            if not stays:
                self._make_room(len(rows) * self._bytes(target - source))
            self._move(self._slabs[source], self._slab(target), rows, stays=stays)

    def remove(self, row: Row) -> None:
        """Free a row; the last one of its slab takes its place."""
        if row.lost:
            return
        slab = row.slab
        last = slab.rows.pop()
        if last is not row:
            for layer in slab.layers:
                layer[row.index] = layer[last.index]
            slab.rows[row.index], last.index = last, row.index
        if not self.stays and 2 * len(slab.rows) <= slab.size:  # by halves: others are copied
            self._shrink(slab)

    def trim(self) -> None:
        """Free what no row takes."""
        for slab in list(self._slabs.values()):
            self._shrink(slab)

    def release(self) -> None:
        """Free everything."""
        self._slabs.clear()
        self.bytes = 0

    @staticmethod
    def runs(rows: Sequence[Row], starts: Sequence[int] | None = None) -> list[Run]:
        """Divide rows into as few runs of neighbours as their order allows.

        Args:
            rows: in their order.
            starts: tokens that each row holds; where given, those of a run hold as many.

        """
        runs: list[Run] = []
        for place, row in enumerate(rows):
            if runs:
                begin, size, first, slab = runs[-1]
                if slab is row.slab and first + size == row.index and (
                        starts is None or starts[begin] == starts[place]):
                    runs[-1] = Run(begin, size + 1, first, slab)
                    continue
            runs.append(Run(place, 1, row.index, row.slab))
        return runs

    def parts(self, rows: Sequence[Row], lengths: Sequence[int]) -> list[Part] | None:
        """Divide rows into slabs, for a step whose shapes are few.

        Args:
            rows: in the order of their slabs, and in each of their indices.
            lengths: tokens of each that the step reads and writes.

        Returns:
            Of each slab a power of two of rows, or all, and as many tokens as a row of the longest
            would have; None where a slab has rows that do not take part, since what is read beyond
            the rows is written, too.

        """
        parts = []
        for begin, size, first, slab in self.runs(rows):
            if first or size != len(slab.rows):
                return None
            end = min(row_length(max(lengths[begin : begin + size])), slab.length)
            parts.append(Part(slab, min(_power_of_two(size), slab.size), end))
        return parts

    def _bytes(self, length: int) -> int:
        """Return the bytes of a row of such a length."""
        return length * self.token_bytes

    def _length(self, tokens: int) -> int:
        """Return the length of the row for so many tokens."""
        return max(BLOCK, _power_of_two(tokens)) if self.stays else row_length(tokens)

    def _rounded(self, slab: _Slab, rows: int, reserved: int = 0) -> int:
        """Return how many rows to have memory for where so many are needed, or more.

        ``reserved`` bytes are needed by others.
        """
        more = _power_of_two(rows)
        size = (more - slab.size) * self._bytes(slab.length) + reserved
        return more if self.stays and self.bytes + size <= self.budget else rows

    def _slab(self, length: int) -> _Slab:
        if length not in self._slabs:
            self._slabs[length] = _Slab(length, [self._nothing] * self._layers)
        return self._slabs[length]

    def _make_room(self, wanted: int) -> None:
        """Free what no row takes if the budget would be exceeded else."""
        if self.bytes + wanted > self.budget:
            self.trim()

    def _resize(self, slab: _Slab, size: int) -> None:
        for number in range(self._layers):
            self._replace(slab, number, size)
        if not size:
            del self._slabs[slab.length]

    def _shrink(self, slab: _Slab) -> None:
        try:
            self._resize(slab, len(slab.rows))
        except Exception as error:
            if not is_out_of_memory(error):
                raise  # a smaller copy had no room: the slab stays as it is

    def _replace(self, slab: _Slab, number: int, size: int) -> None:
        """Give a layer of a slab another number of rows."""
        old = slab.layers[number]
        if len(old) == size:
            return
        new = self._nothing
        if size:
            new = self.allocate((size, slab.length, *self._shape))
            used = min(len(slab.rows), size)
            if used:
                new[:used] = old[:used]
            new[used:] = 0  # masked elements must be finite
        slab.layers[number], slab.stamp = new, next(self._stamps)
        self.bytes += new.nbytes - old.nbytes

    def _move(self, source: _Slab, target: _Slab, rows: list[Row], *, stays: bool) -> None:
        """Move rows to a slab of longer ones; the others keep their indices, even if it fails."""
        stay, used = len(source.rows) - len(rows), len(target.rows)
        for place, row in enumerate(rows, stay):
            self._exchange(source, row, source.rows[place])
        size = used + len(rows)
        room = self._rounded(target, size)
        moved = source.rows[stay:]
        del source.rows[stay:]
        try:
            for number in range(self._layers):
                if len(target.layers[number]) < size:
                    self._replace(target, number, room)
                layer = source.layers[number]
                target.layers[number][used:size, : source.length] = layer[stay : stay + len(rows)]
                if not stays:
                    self._replace(source, number, stay)
        except Exception:
            for row in moved:
                row.lost = True
            raise
        finally:
            if not (stay or stays):
                self._resize(source, 0)
        for index, row in enumerate(moved, used):
            row.slab, row.index = target, index
        target.rows += moved

    @staticmethod
    def _exchange(slab: _Slab, one: Row, other: Row) -> None:
        if one is not other:
            for layer in slab.layers:
                layer[[one.index, other.index]] = layer[[other.index, one.index]]
            slab.rows[one.index], slab.rows[other.index] = other, one
            one.index, other.index = other.index, one.index


class Shortage:
    """What follows when a device's memory has ended before the budget did.

    Attributes:
        count: how often it has.
        retries: ``time.monotonic()`` seconds before which an answer alone is not tried again.

    """

    def __init__(self) -> None:
        """Begin with enough memory."""
        self.count, self.retries = 0, 0.0
        self._allowed, self._recovers = 0, 0.0

    def is_over(self) -> bool:
        """Whether the last one is long ago."""
        return time.monotonic() >= self._recovers

    def limit(self, budget: int) -> int:
        """Return the bytes that answers may come to need: the budget, or for a while less."""
        return budget if self.is_over() else min(budget, self._allowed)

    def note(self, promised: int) -> bool:
        """Count one, after which no more than ``promised`` bytes are allowed for a while.

        Returns:
            Whether the last one is long ago.

        """
        now = time.monotonic()
        first = now >= self._recovers
        self.count += 1
        self._allowed = promised
        self._recovers, self.retries = now + _RECOVER_S, now + _RETRY_S
        return first


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has too little memory."""
    # PyTorch's allocator for CPUs, and what allocates beside its allocator for GPUs
    texts = "can't allocate memory", 'CUDA error: out of memory'
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    )


def free_memory() -> None:
    """Free unreferenced memory, on the GPU as well."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
