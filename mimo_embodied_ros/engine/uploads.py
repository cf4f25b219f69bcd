"""Copy the patches of images to a GPU while it writes answers to others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from .processor import EncodedImage

_AHEAD = 256_000_000  # bytes on the GPU of images that the vision tower has not read yet


class Uploads:
    """Patches on their way to a device; on a CPU they stay where they are.

    A copy from pinned memory, on a stream of its own, takes no time of the stream that computes.
    Those of images that nobody reads any more are freed with them.
    """

    def __init__(self, device: torch.device) -> None:
        """Copy nothing yet."""
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == 'cuda':
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._copies: WeakKeyDictionary[EncodedImage, tuple[torch.Tensor, torch.Event]] = (
            WeakKeyDictionary())

    def begin(self, image: EncodedImage) -> None:
        """Make an image's patches, and begin to copy them; to be called in the caller's thread."""
        patches = image.patches()
        if self._stream is None:
            return
        with self._lock:
            ahead = sum(copy.nbytes for copy, _ in self._copies.values())
            if image in self._copies or ahead + patches.nbytes > _AHEAD:
                return
            with torch.cuda.stream(self._stream):
                copy = patches.pin_memory().to(self._device, non_blocking=True)
                self._copies[image] = copy, self._stream.record_event()

    def take(self, image: EncodedImage) -> torch.Tensor:
        """Return an image's patches on the device, for work that the calling thread launches."""
        with self._lock:
            copy = self._copies.pop(image, None)
        if copy is None:
            return image.patches().to(self._device)
        patches, copied = copy
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(copied)
        patches.record_stream(stream)  # its memory is not given to another copy before
        return patches
