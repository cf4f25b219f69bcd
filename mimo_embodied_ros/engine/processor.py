"""Prepare prompts for the model: tokens with positions, and images and videos in patches.

The stock ``Qwen2_5_VLProcessor`` always builds a video processor, which needs torchvision. Here
`patches` prepares videos, and a robot does not have to install torchvision for them.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch
import transformers
from jinja2 import TemplateError
from transformers import Qwen2_5_VLProcessor

from mimo_embodied_ros.core.errors import BackendError, InvalidRequestError, ModelNotReadyError
from mimo_embodied_ros.core.resize import FACTOR, PixelLimits
from mimo_embodied_ros.core.video import PAIR

from .patches import Patcher
from .positions import Grid, mrope_positions

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase
    from transformers.image_processing_utils import BaseImageProcessor

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.video import Video

_TEXT = '\N{OBJECT REPLACEMENT CHARACTER}'  # stands in the chat template in place of the text
_IMAGE_END = '<|vision_end|>'
_TURNS = 64  # of different system prompts and counts of images that are kept


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
    """An image, or a pair of a video's frames; its patches are made only if they are needed.

    The vision tower sees each pair by itself, so that its features are kept and found again like
    those of an image.

    Attributes:
        key: hash of the pixels.
        grid: 1, rows and columns, counted in patches.
        tokens: 1, rows and columns, counted in tokens.

    """

    def __init__(
        self, key: bytes, frames: Sequence[NDArray[np.uint8]], patcher: Patcher, *, video: bool
    ) -> None:
        """Take (height, width, 3) uint8, RGB, both sides multiples of FACTOR."""
        self.key = key
        height, width = frames[0].shape[:2]
        self.grid = (1, height // patcher.patch, width // patcher.patch)
        self.tokens = (1, height // FACTOR, width // FACTOR)
        self._frames, self._patcher, self._is_video = frames, patcher, video
        self._patches: torch.Tensor | None = None
        self._lock = threading.Lock()

    def patches(self) -> torch.Tensor:
        """Return (patches, channels * times * patch size squared) float32, normalised."""
        with self._lock:
            if self._patches is None:
                self._patches = self._patcher(*self._frames, video=self._is_video)
            return self._patches

    def forget_patches(self) -> None:
        """Free the patches, which the vision tower has read; they take as much as its features."""
        with self._lock:
            self._patches = None


class _Medium(NamedTuple):
    """An image or a video of a prompt."""

    images: tuple[EncodedImage, ...]
    grid: Grid
    key: Hashable


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt as tokens and images; "images" are also the pairs of frames of its videos.

    Attributes:
        tokens: (tokens,) int64.
        parts: number of tokens of each text, and grids of the images and videos, in their order.
        image_at: (tokens,) bool: which tokens are replaced by the features of the images.
        prefix: number of tokens up to the end of the last image; 0 without images.
        key: identifies the prefix, by system prompt and images; None without images.
        images: in the order of the prompt.
        image_tokens: how many tokens stand for images.

    """

    tokens: torch.Tensor
    parts: tuple[int | Grid, ...]
    image_at: torch.Tensor
    prefix: int
    key: tuple[Hashable, ...] | None
    images: tuple[EncodedImage, ...]
    image_tokens: int

    @property
    def positions(self) -> torch.Tensor:
        """(tokens, 3) int64: time, row and column; computed only where no prefix is kept."""
        return torch.from_numpy(mrope_positions(self.parts))

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Of the prefix and of each image; none without images."""
        return (self.key, *(image.key for image in self.images)) if self.images else ()


class PromptEncoder:
    """Tokenizes prompts; may be used by several threads.

    Attributes:
        takes_video: whether prompts may have videos.

    """

    def __init__(self, processor: ImageTextProcessor, config: Any = None) -> None:
        """Prepare.

        Args:
            processor: of the checkpoint.
            config: ``Qwen2_5_VLConfig`` of the checkpoint; without it no videos are taken.

        Raises:
            ModelNotReadyError: the image processor does not work as `patches` expects.

        """
        self._processor = processor
        self._patcher = Patcher(processor.image_processor)
        self._turns: dict[tuple[str, int, int], tuple[list[int], str, str]] = {}
        # simultaneous requests about one image share it, so that its patches are made once
        self._images: WeakValueDictionary[bytes, EncodedImage] = WeakValueDictionary()
        self.takes_video = config is not None and self._has_videos(config)
        self._tokens_per_second = config.vision_config.tokens_per_second if config else 0

    def _has_videos(self, config: Any) -> bool:
        """Whether tower, tokenizer and chat template know videos of pairs of frames."""
        token = self._processor.video_token_id
        try:
            head, _, _ = self._turn('', 0, 1)
        except TemplateError:
            return False
        return bool(
            token == config.video_token_id and head.count(token) == 1
            and self._patcher.times == config.vision_config.temporal_patch_size == PAIR)

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Tokenize a prompt and hash its images.

        Images are not resized: ``core.resize`` has given them a size that the model takes, and the
        coordinates of the answer refer to it.

        Raises:
            InvalidRequestError: the text or the system prompt holds a control token of the model,
                or the prompt a video that the model does not take.
            BackendError: an image has a side that the model does not take.

        """
        tokenizer = self._processor.tokenizer
        added = tokenizer.added_tokens_decoder
        for name, text in (('text', prompt.text), ('system prompt', prompt.system)):
            for token in tokenizer(text, add_special_tokens=False)['input_ids']:
                if token in added and added[token].special:
                    raise InvalidRequestError(
                        f"the {name} holds the model's control token {added[token].content}, "
                        'which would end or change the turn; remove it'
                    )
        if prompt.videos and not self.takes_video:
            raise InvalidRequestError(
                'this model takes no videos, because its config.json or its chat template has no '
                'tokens for them; ask a task whose media are images or a clip, or load a model '
                'that takes videos'
            )
        media = (*map(self._image, prompt.images), *map(self._video, prompt.videos))
        head, before, after = self._turn(prompt.system, len(prompt.images), len(prompt.videos))
        media_tokens = {self._processor.image_token_id, self._processor.video_token_id}
        tokens: list[int] = []
        image_at: list[bool] = []
        parts: list[int | Grid] = []
        keys: list[Hashable] = []
        images: list[EncodedImage] = []
        length, remaining = 0, iter(media)  # of the text before an image or video, tokens
        for token in head:
            count = 1
            if token in media_tokens:  # the template has one for each
                medium = next(remaining)
                count = medium.grid.tokens
                parts += [length, medium.grid]
                length = 0
                keys.append(medium.key)
                images += medium.images
            else:
                length += 1
            tokens += [token] * count
            image_at += [token in media_tokens] * count
        prefix = len(tokens) if media else 0
        text = f'{before}{prompt.text}{after}{prompt.mode.prefill}'
        ids = tokenizer(text, add_special_tokens=False)['input_ids']
        tokens += ids
        image_at += [False] * len(ids)
        parts.append(length + len(ids))
        return EncodedPrompt(
            torch.tensor(tokens),
            tuple(parts),
            torch.tensor(image_at),
            prefix,
            (prompt.system, *keys) if media else None,
            tuple(images),
            sum(image_at),
        )

    def _image(self, pixels: NDArray[np.uint8]) -> _Medium:
        image = self._shared((pixels,))
        return _Medium((image,), Grid(*image.tokens), image.key)

    def _video(self, video: Video) -> _Medium:
        pairs = [self._shared(video.frames[start : start + PAIR], video=True)
                 for start in range(0, len(video.frames), PAIR)]
        step = self._tokens_per_second * video.pair_seconds
        _, rows, columns = pairs[0].tokens
        return _Medium(tuple(pairs), Grid(len(pairs), rows, columns, step),
                       (*(pair.key for pair in pairs), step))

    def _shared(
        self, frames: Sequence[NDArray[np.uint8]], *, video: bool = False
    ) -> EncodedImage:
        """Return an image, or a pair of frames of a video, that equal ones share."""
        height, width = frames[0].shape[:2]
        if height % FACTOR or width % FACTOR:
            raise BackendError(
                f'an image of {width}x{height} pixels reached the model; both sides must be '
                f'multiples of {FACTOR}, as build_prompt makes them'
            )
        content = blake2b(digest_size=16, salt=struct.pack('<II?', height, width, video))
        for frame in frames:
            content.update(np.ascontiguousarray(frame).data)
        image = EncodedImage(content.digest(), frames, self._patcher, video=video)
        return self._images.setdefault(image.key, image)

    def _turn(self, system: str, images: int, videos: int) -> tuple[list[int], str, str]:
        """Return the chat template around a prompt.

        Returns:
            The tokens up to the end of the last image or video, none without these; what follows
            them up to the text; what follows the text.

        """
        turn = self._turns.get((system, images, videos))
        if turn is None:
            content = [*([{'type': 'image'}] * images), *([{'type': 'video'}] * videos),
                       {'type': 'text', 'text': _TEXT}]
            messages: list[Any] = [{'role': 'user', 'content': content}]
            if system:  # else the template adds its own
                messages.insert(0, {
                    'role': 'system', 'content': [{'type': 'text', 'text': system}]})
            text = self._processor.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False)
            cut = text.rfind(_IMAGE_END) + len(_IMAGE_END) if images or videos else 0
            head = self._processor.tokenizer(text[:cut], add_special_tokens=False)['input_ids']
            before, _, after = text[cut:].rpartition(_TEXT)
            if len(self._turns) >= _TURNS:
                self._turns.clear()
            turn = self._turns[system, images, videos] = head, before, after
        return turn
