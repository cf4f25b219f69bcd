"""Prepare prompts for the model: tokens, and images in patches, without torchvision.

The stock ``Qwen2_5_VLProcessor`` always builds a video processor, which needs torchvision. This
package sends no videos, and a robot should not have to install torchvision for them.
"""

from __future__ import annotations

import math
import struct
import threading
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import torch
import transformers
from transformers import Qwen2_5_VLProcessor

from mimo_embodied_ros.core.errors import BackendError, InvalidRequestError, ModelNotReadyError
from mimo_embodied_ros.core.resize import FACTOR, PixelLimits

from .patches import Patcher

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase
    from transformers.image_processing_utils import BaseImageProcessor

    from mimo_embodied_ros.core.prompts import Prompt

_TEXT = '\N{OBJECT REPLACEMENT CHARACTER}'  # stands in the chat template in place of the text
_IMAGE_END = '<|vision_end|>'


class ImageTextProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor with an image processor and a tokenizer only."""

    # transformers 4 reads this attribute, version 5 the arguments below
    attributes = ('image_processor', 'tokenizer')
    video_processor = None

    def __init__(
        self,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
    ) -> None:
        """Take both parts; there is no video processor."""
        self.image_token, self.video_token = '<|image_pad|>', '<|video_pad|>'
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # the parent's __init__ would require a video processor
        super(Qwen2_5_VLProcessor, self).__init__(  # type: ignore[no-untyped-call]
            image_processor, tokenizer, chat_template=chat_template
        )

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that a call returns."""
        return [
            'input_ids',
            'attention_mask',
            'mm_token_type_ids',
            'pixel_values',
            'image_grid_thw',
        ]


def _image_processor_class() -> type[BaseImageProcessor]:
    try:
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )
    except ImportError:  # before 5.0 the plain name is the one that uses PIL
        return transformers.Qwen2VLImageProcessor
    return Qwen2VLImageProcessorPil


def _load_image_processor(directory: Path) -> Any:
    # not AutoImageProcessor: files of early 2025 have a name of the class that is gone
    kind = _image_processor_class()
    settings, _ = kind.get_image_processor_dict(directory, local_files_only=True)
    # not from_pretrained: 4.57 ignores limits that a file gives only as `size`. All versions read
    # min_pixels and max_pixels, which have precedence if the file has both.
    size = settings.pop('size', None) or {}
    for name, edge in (('min_pixels', 'shortest_edge'), ('max_pixels', 'longest_edge')):
        settings[name] = settings.get(name) or size.get(edge)
    return kind.from_dict(settings)


def load_processor(directory: Path) -> ImageTextProcessor:
    """Read image processor, tokenizer and chat template of a checkpoint.

    Images are prepared with numpy and PIL even if torchvision is installed, so that the same image
    gives the same numbers on every machine.

    Raises:
        ModelNotReadyError: one of them cannot be read, or the image patches have another size.

    """
    try:
        image_processor = _load_image_processor(directory)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
        files, _ = ImageTextProcessor.get_processor_dict(directory, local_files_only=True)
        processor = ImageTextProcessor(
            image_processor, tokenizer, files.get('chat_template') or tokenizer.chat_template
        )
    except Exception as error:
        raise ModelNotReadyError(
            f'the tokenizer or image processor in {directory} cannot be read '
            f'({type(error).__name__}: {str(error)[:300]}); download the model again'
        ) from error
    patch, merge = image_processor.patch_size, image_processor.merge_size
    if patch * merge != FACTOR:
        raise ModelNotReadyError(
            f'{directory} has image patches of {patch} pixels merged {merge} by {merge}; only a '
            f'product of {FACTOR} is supported'
        )
    return processor


def read_limits(processor: ImageTextProcessor, min_pixels: int, max_pixels: int) -> PixelLimits:
    """Return the checkpoint's image areas, replaced by ``min_pixels`` and ``max_pixels``.

    Args:
        processor: of the checkpoint.
        min_pixels: pixels; 0 keeps the checkpoint's value.
        max_pixels: pixels; 0 keeps the checkpoint's value.

    Raises:
        InvalidRequestError: the smallest area is above the largest.

    """
    size = processor.image_processor.size  # areas, although the names say 'edge'
    return PixelLimits(
        min_pixels or int(size['shortest_edge']), max_pixels or int(size['longest_edge'])
    )


class EncodedImage:
    """An image for the vision tower; its patches are made only if they are needed.

    Attributes:
        key: hash of the pixels.
        grid: 1, rows and columns, counted in patches.

    """

    def __init__(self, pixels: NDArray[np.uint8], patcher: Patcher) -> None:
        """Take (height, width, 3) uint8, RGB, both sides multiples of FACTOR."""
        size = struct.pack('<II', *pixels.shape[:2])
        content = np.ascontiguousarray(pixels).data
        self.key = blake2b(content, digest_size=16, salt=size).digest()
        self.grid = (1, pixels.shape[0] // patcher.patch, pixels.shape[1] // patcher.patch)
        self._pixels, self._patcher = pixels, patcher
        self._patches: torch.Tensor | None = None
        self._lock = threading.Lock()

    def patches(self) -> torch.Tensor:
        """Return (patches, channels * times * patch size squared) float32, normalised."""
        with self._lock:
            if self._patches is None:
                self._patches = self._patcher(self._pixels)
            return self._patches

    def forget_patches(self) -> None:
        """Free the patches, which the vision tower has read; they take as much as its features."""
        with self._lock:
            self._patches = None


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as tokens and images.

    Attributes:
        tokens: (tokens,) int64.
        prefix: number of tokens up to the end of the last image; 0 without images.
        key: identifies the prefix; None without images.
        images: in the order of the prompt.
        image_token: is replaced by the features of an image.
        image_tokens: how many of the tokens are ``image_token``.

    """

    tokens: torch.Tensor
    prefix: int
    key: tuple[bytes, ...] | None
    images: tuple[EncodedImage, ...]
    image_token: int
    image_tokens: int

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Of the prefix and of each image; none without images."""
        return (self.key, *(image.key for image in self.images)) if self.images else ()


class PromptEncoder:
    """Tokenizes prompts; may be used by several threads."""

    def __init__(self, processor: ImageTextProcessor) -> None:
        """Take the checkpoint's processor.

        Raises:
            ModelNotReadyError: its image processor does not work as `patches` expects.

        """
        self._processor = processor
        self._patcher = Patcher(processor.image_processor)
        self._turns: dict[int, tuple[list[int], str]] = {}
        # simultaneous requests about one image share it, so that its patches are made once
        self._images: WeakValueDictionary[bytes, EncodedImage] = WeakValueDictionary()

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Tokenize a prompt and hash its images.

        Images are not resized: ``core.resize`` has given them a size that the model takes, and the
        coordinates of the answer refer to it.

        Raises:
            InvalidRequestError: the text holds a control token of the model.
            BackendError: an image has a side that the model does not take.

        """
        tokenizer = self._processor.tokenizer
        added = tokenizer.added_tokens_decoder
        for token in tokenizer(prompt.text, add_special_tokens=False)['input_ids']:
            if token in added and added[token].special:
                raise InvalidRequestError(
                    f"the text holds the model's control token {added[token].content}, which "
                    'would end or change the turn; remove it'
                )
        images = tuple(map(self._image, prompt.images))
        head, rest = self._turn(len(images))
        image_token = self._processor.image_token_id
        tokens: list[int] = []
        key: tuple[bytes, ...] = ()
        image_tokens, remaining = 0, iter(images)
        for token in head:
            if token == image_token:  # the template has one for each image
                image = next(remaining)
                count = math.prod(image.grid) // self._processor.image_processor.merge_size**2
                tokens += [token] * count
                image_tokens += count
                key += (image.key,)
            else:
                tokens.append(token)
        prefix = len(tokens) if images else 0
        rest = rest.replace(_TEXT, prompt.text) + prompt.mode.prefill
        tokens += tokenizer(rest, add_special_tokens=False)['input_ids']
        return EncodedPrompt(
            torch.tensor(tokens), prefix, key or None, images, image_token, image_tokens)

    def _image(self, pixels: NDArray[np.uint8]) -> EncodedImage:
        if pixels.shape[0] % FACTOR or pixels.shape[1] % FACTOR:
            raise BackendError(
                f'an image of {pixels.shape[1]}x{pixels.shape[0]} pixels reached the model; both '
                f'sides must be multiples of {FACTOR}, as build_prompt makes them'
            )
        image = EncodedImage(pixels, self._patcher)
        return self._images.setdefault(image.key, image)

    def _turn(self, images: int) -> tuple[list[int], str]:
        """Return the chat template's tokens up to the last image's end, and the text after it."""
        if images not in self._turns:
            content = [*([{'type': 'image'}] * images), {'type': 'text', 'text': _TEXT}]
            turn: Any = {'role': 'user', 'content': content}
            text = self._processor.apply_chat_template(
                [turn], add_generation_prompt=True, tokenize=False)
            cut = text.rfind(_IMAGE_END) + len(_IMAGE_END) if images else 0
            head = self._processor.tokenizer(text[:cut], add_special_tokens=False)['input_ids']
            self._turns[images] = head, text[cut:]
        return self._turns[images]
