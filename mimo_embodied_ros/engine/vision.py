"""Embed prompts with their images: vision features, and prefixes that end with the images.

Both are cached for the next question about the same images. Pairs of a video's frames are images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from .prefix_cache import Prefix, TensorCache
from .uploads import Uploads
from .vision_tower import VisionTower

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .decoder import Decoder
    from .kv_memory import Row
    from .processor import EncodedImage, EncodedPrompt
    from .threads import Threads


@dataclass(frozen=True)
class EmbeddedPrompt:
    """The part of a prompt that the language model still has to read.

    Attributes:
        hidden: (tokens, hidden size), embedded, with the features of the images.
        positions: (tokens), or with images (tokens, 3): time, row and column.
        start: number of tokens before this part.
        prefix: keys and values of those tokens; None if there are none.

    """

    hidden: torch.Tensor
    positions: torch.Tensor
    start: int
    prefix: Prefix | None

    def with_text(self, embed: torch.nn.Embedding, tokens: Sequence[int]) -> EmbeddedPrompt:
        """Return the prompt with the tokens of a text behind it."""
        device = self.hidden.device
        hidden = torch.cat([self.hidden, embed(torch.tensor(tokens, device=device))])
        # the three positions of a text's token are the same
        places = self.positions[-1].max() + 1 + torch.arange(len(tokens), device=device)
        if self.positions.ndim > 1:
            places = places[:, None].expand(-1, 3)
        return replace(self, hidden=hidden, positions=torch.cat([self.positions, places]))

    def parts(self, tokens: int, cut: int = 0) -> list[EmbeddedPrompt]:
        """Divide it into parts of at most so many tokens; one ends before place ``cut``."""
        length = len(self.hidden)
        ends = [*range(0, cut, tokens), *range(cut, length, tokens), length]
        return [
            replace(self, hidden=self.hidden[begin:end], positions=self.positions[begin:end],
                    start=self.start + begin)
            for begin, end in pairwise(ends)]


class Vision:
    """Embeds prompts with their images; ``cache`` keeps image features and prefixes."""

    def __init__(
        self, model: Any, decoder: Decoder, threads: Threads, cache_bytes: int, together: int
    ) -> None:
        """Prepare.

        Args:
            model: a ``Qwen2_5_VLForConditionalGeneration``.
            decoder: of the same model.
            threads: of the CPU.
            cache_bytes: size of the cache.
            together: tokens of images that go through the vision tower together; a larger one
                goes alone.

        """
        self._tower, self._decoder = VisionTower(model.model.visual), decoder
        self._threads, self._together = threads, together
        self._uploads = Uploads(decoder.device)
        self.cache = TensorCache(cache_bytes)

    def make_patches(self, encoded: EncodedPrompt) -> None:
        """Make the patches of images that are not cached; to be called in the caller's thread."""
        if encoded.key not in self.cache:
            for image in encoded.images:
                if image.key not in self.cache:
                    self._uploads.begin(image)

    def embed(self, encoded: EncodedPrompt) -> EmbeddedPrompt:
        """Embed a prompt, or only the part after its prefix if that is cached."""
        decoder = self._decoder
        prefix = None if encoded.key is None else self.cache.get(encoded.key)
        start = encoded.prefix if prefix is not None else 0
        tokens = encoded.tokens[start:].to(decoder.device)
        hidden = decoder.embed(tokens)
        if prefix is not None or not encoded.images:
            positions = torch.arange(len(tokens), device=decoder.device)
            positions += prefix.position if prefix else 0
            return EmbeddedPrompt(hidden, positions, start, prefix)
        known = self.read(encoded.images)
        features = torch.cat([known[image.key] for image in encoded.images])
        image_at = encoded.image_at[: len(tokens)].to(decoder.device)
        hidden[image_at] = features.to(hidden.dtype)
        positions = encoded.positions[: len(tokens)].to(decoder.device)
        return EmbeddedPrompt(hidden, positions, 0, None)

    def keep_prefix(self, encoded: EncodedPrompt, prompt: EmbeddedPrompt, row: Row) -> None:
        """Copy the prefix of a prompt from a decoder row to the cache, if it is not there yet."""
        if encoded.key is not None and prompt.prefix is None:
            cache = self._decoder.copy_prefix(row, encoded.prefix)
            position = int(prompt.positions[: encoded.prefix].max()) + 1
            self.cache.put(encoded.key, Prefix(cache, position), cache)

    def new_images(self, prompts: Iterable[EncodedPrompt]) -> list[EncodedImage]:
        """Return images that prompts need and that are not kept, each once.

        They are the first ones, as many as go through the vision tower together.
        """
        new: dict[bytes, EncodedImage] = {}
        for encoded in prompts:
            if encoded.key not in self.cache:
                new |= {image.key: image for image in encoded.images
                        if image.key not in self.cache}
        return next(self._portions(new.values()), [])

    def read(self, images: Iterable[EncodedImage]) -> dict[bytes, torch.Tensor]:
        """Return the features of images by key, (tokens, hidden size); new ones are kept."""
        wanted = {image.key: image for image in images}
        features = {key: self.cache.get(key) for key in wanted}
        new = [image for key, image in wanted.items() if features[key] is None]
        for portion in self._portions(new):
            self._threads.use(sum(math.prod(image.grid) for image in portion))
            made = self._tower([self._uploads.take(image) for image in portion],
                               [image.grid[1:] for image in portion])
            for image, feature in zip(portion, made, strict=True):
                features[image.key] = feature
                self.cache.put(image.key, feature, feature)
                image.forget_patches()
        return features

    def _portions(self, images: Iterable[EncodedImage]) -> Iterator[list[EncodedImage]]:
        """Divide images into those that go through the vision tower together.

        Those of a video's pairs do not depend on each other, so that a long video takes no more
        memory in the tower than a large image.
        """
        portion: list[EncodedImage] = []
        room = self._together
        for image in images:
            tokens = math.prod(image.tokens)
            if portion and tokens > room:
                yield portion
                portion, room = [], self._together
            portion.append(image)
            room -= tokens
        if portion:
            yield portion
