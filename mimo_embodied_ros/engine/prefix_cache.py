"""A cache of image features and prompt prefixes for the next question about the same images."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    import torch


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the part of a prompt that ends with its last image.

    Attributes:
        cache: (layers, tokens, 2 * key heads, head size) of ``Decoder.copy_prefix``.
        position: of the token that comes next. It differs from the number of tokens, because an
            image takes fewer positions than tokens (transformers: ``rope_deltas``).

    """

    cache: torch.Tensor
    position: int


class TensorCache:
    """Tensors by key; the least recently used are dropped when they take too many bytes.

    What is held (`Hold`) is not dropped, however large it is, so that what questions in flight
    share is computed once. The methods may be called from any thread.

    Attributes:
        bytes: of all entries.
        needed: bytes that all entries of one hold took, where that was more than the capacity; the
            most so far. 0: all did fit.

    """

    def __init__(self, capacity: int) -> None:
        """Keep at most ``capacity`` bytes, besides what is held."""
        self._capacity = capacity
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._held: Counter[Hashable] = Counter()  # by how many
        self._lock = threading.Lock()
        self.bytes = self.needed = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Whether there is an entry for a key."""
        return key in self._entries

    def get(self, key: Hashable) -> Any:
        """Return the value of a key, or None."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Any, tensor: torch.Tensor) -> None:
        """Keep a value that takes the memory of ``tensor``, if it is held or fits."""
        size = tensor.numel() * tensor.element_size()
        with self._lock:
            if size > self._capacity and not self._held[key]:
                return
            self.bytes += size - self._entries.pop(key, (None, 0))[1]
            self._entries[key] = (value, size)
            self._trim()

    def clear(self) -> None:
        """Drop all entries, held ones as well; they are computed again when they are needed."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0

    def hold(self, keys: Iterable[Hashable]) -> None:
        """Keep what is put under these keys, until as many calls of ``release``."""
        with self._lock:
            self._held.update(keys)

    def release(self, keys: Iterable[Hashable]) -> None:
        """End a hold of these keys."""
        with self._lock:
            size = 0
            for key in keys:
                size += self._entries.get(key, (None, 0))[1]
                self._held[key] -= 1
            if size > self._capacity > 0:
                self.needed = max(self.needed, size)
            self._held = +self._held  # without those that are not held
            self._trim()

    def _trim(self) -> None:
        """Drop what is not held until the rest fits; the lock is held."""
        for key in list(self._entries):
            if self.bytes <= self._capacity:
                break
            if key not in self._held:
                self.bytes -= self._entries.pop(key)[1]


class Hold:
    """What the questions of one request use of a cache; kept until ``release``."""

    def __init__(self, cache: TensorCache) -> None:
        """Begin without keys."""
        self._cache = cache
        self._keys: set[Hashable] = set()

    def add(self, keys: Iterable[Hashable]) -> None:
        """Keep these keys, too."""
        new = set(keys) - self._keys
        self._cache.hold(new)
        self._keys |= new

    def release(self) -> None:
        """Keep nothing more."""
        self._cache.release(self._keys)
        self._keys = set()
