"""What was computed of images is kept for the next question about them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable

    import torch


@dataclass(frozen=True)
class Prefix:
    """What the language model holds after the part of a prompt that others share.

    Attributes:
        cache: (layers, tokens, 2 * key heads, head size) of ``Decoder.copy_prefix``.
        position: of the token that comes next. An image takes fewer positions than tokens, so
            this is not the length (transformers: ``rope_deltas``).

    """

    cache: torch.Tensor
    position: int


class TensorCache:
    """Tensors by key; the least recently used go when they take too many bytes."""

    def __init__(self, capacity: int) -> None:
        """Hold at most ``capacity`` bytes."""
        self._capacity = capacity
        self._held: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    def __contains__(self, key: Hashable) -> bool:
        """Whether something is held under a key; from any thread."""
        return key in self._held

    def get(self, key: Hashable) -> Any:
        """What is held under a key, or None."""
        if key not in self._held:
            return None
        self._held.move_to_end(key)
        return self._held[key][0]

    def put(self, key: Hashable, value: Any, tensor: torch.Tensor) -> None:
        """Hold a value whose memory is that of ``tensor``; one that is too large is not held."""
        size = tensor.numel() * tensor.element_size()
        if size > self._capacity:
            return
        self.bytes += size - self._held.pop(key, (None, 0))[1]
        self._held[key] = (value, size)
        while self.bytes > self._capacity:
            _, (_, freed) = self._held.popitem(last=False)
            self.bytes -= freed

    def clear(self) -> None:
        """Hold nothing."""
        self._held.clear()
        self.bytes = 0
