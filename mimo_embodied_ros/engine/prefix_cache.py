"""A cache of image features and prompt prefixes for the next question about the same images."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

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
    """Tensors by key; the least recently used are dropped when they take too many bytes."""

    def __init__(self, capacity: int) -> None:
        """Keep at most ``capacity`` bytes."""
        self._capacity = capacity
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Whether there is an entry for a key; may be called from any thread."""
        return key in self._entries

    def get(self, key: Hashable) -> Any:
        """Return the value of a key, or None."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: Hashable, value: Any, tensor: torch.Tensor) -> None:
        """Keep a value that takes the memory of ``tensor``, unless it is larger than the cache."""
        size = tensor.numel() * tensor.element_size()
        if size > self._capacity:
            return
        self.bytes += size - self._entries.pop(key, (None, 0))[1]
        self._entries[key] = (value, size)
        while self.bytes > self._capacity:
            _, (_, freed) = self._entries.popitem(last=False)
            self.bytes -= freed

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self.bytes = 0
