"""The checkpoint's processor for text and still images, without torchvision.

The stock ``Qwen2_5_VLProcessor`` always builds a video processor, and that one needs torchvision,
which is not wanted on a robot for the sake of videos that this package does not send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import transformers
from transformers import Qwen2_5_VLProcessor

from mimo_embodied_ros.core.errors import BackendError, InvalidRequestError, ModelNotReadyError
from mimo_embodied_ros.core.resize import FACTOR, PixelLimits

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import BatchFeature, PreTrainedTokenizerBase
    from transformers.image_processing_utils import BaseImageProcessor

    from mimo_embodied_ros.core.prompts import Prompt


class ImageTextProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor with an image processor and a tokenizer only."""

    attributes = ('image_processor', 'tokenizer')  # 4.x reads this, 5.x the arguments below
    video_processor = None

    def __init__(
        self,
        image_processor: BaseImageProcessor,
        tokenizer: PreTrainedTokenizerBase,
        chat_template: str | None = None,
    ) -> None:
        """Take both parts; no video processor is looked for."""
        self.image_token, self.video_token = '<|image_pad|>', '<|video_pad|>'
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # Not the parent's own: it would pass a video processor on.
        super(Qwen2_5_VLProcessor, self).__init__(  # type: ignore[no-untyped-call]
            image_processor, tokenizer, chat_template=chat_template
        )

    @property
    def model_input_names(self) -> list[str]:
        """Names of what a call returns."""
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
    # Not AutoImageProcessor: files of early 2025 name the class as it is no longer called.
    kind = _image_processor_class()
    settings, _ = kind.get_image_processor_dict(directory, local_files_only=True)
    # Not from_pretrained: 4.57 takes limits of its own where a file gives them as size only. By
    # these names all versions read them, and where they are in the file, too, they count.
    size = settings.pop('size', None) or {}
    for name, edge in (('min_pixels', 'shortest_edge'), ('max_pixels', 'longest_edge')):
        settings[name] = settings.get(name) or size.get(edge)
    return kind.from_dict(settings)


def load_processor(directory: Path) -> ImageTextProcessor:
    """Read image processor, tokenizer and chat template of a checkpoint.

    Images are prepared with numpy and PIL also where torchvision is installed, so that the same
    image gives the same numbers everywhere.

    Raises:
        ModelNotReadyError: one of them cannot be read, or its image patches are of another size.

    """
    try:
        images = _load_image_processor(directory)
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False
        )
        files, _ = ImageTextProcessor.get_processor_dict(directory, local_files_only=True)
        processor = ImageTextProcessor(
            images, tokenizer, files.get('chat_template') or tokenizer.chat_template
        )
    except Exception as error:
        raise ModelNotReadyError(
            f'the tokenizer or image processor in {directory} cannot be read '
            f'({type(error).__name__}: {str(error)[:300]}); download the model again'
        ) from error
    if images.patch_size * images.merge_size != FACTOR:
        raise ModelNotReadyError(
            f'{directory} has image patches of {images.patch_size} pixels merged '
            f'{images.merge_size} by {images.merge_size}; only a product of {FACTOR} is supported'
        )
    return processor


def read_limits(processor: ImageTextProcessor, min_pixels: int, max_pixels: int) -> PixelLimits:
    """Image areas that the checkpoint asks for; ``min_pixels`` and ``max_pixels`` replace it.

    Args:
        processor: of the checkpoint.
        min_pixels: pixels, 0 keeps the checkpoint's.
        max_pixels: pixels, 0 keeps the checkpoint's.

    Raises:
        InvalidRequestError: the smallest area is above the largest.

    """
    size = processor.image_processor.size  # areas, whatever 'edge' says
    return PixelLimits(
        min_pixels or int(size['shortest_edge']), max_pixels or int(size['longest_edge'])
    )


def encode(processor: ImageTextProcessor, prompt: Prompt) -> BatchFeature:
    """Turn a prompt into the model's inputs.

    Images are taken at their size. ``core.resize`` has made it one that the model takes, and the
    coordinates of the answer are in it.

    Returns:
        A BatchFeature with one row: ``input_ids``, ``attention_mask``, ``mm_token_type_ids`` and,
        if there are images, ``pixel_values`` and ``image_grid_thw``.

    Raises:
        InvalidRequestError: the text holds a control token of the model.
        BackendError: an image would be seen at another size than its own.

    """
    tokenizer = processor.tokenizer
    tokens = tokenizer.added_tokens_decoder
    for token in tokenizer(prompt.text, add_special_tokens=False)['input_ids']:
        if token in tokens and tokens[token].special:
            raise InvalidRequestError(
                f"the text holds the model's control token {tokens[token].content}, which would "
                'end or change the turn; remove it'
            )
    for image in prompt.images:
        if image.shape[0] % FACTOR or image.shape[1] % FACTOR:
            raise BackendError(
                f'an image of {image.shape[1]}x{image.shape[0]} pixels reached the model; both '
                f'sides must be multiples of {FACTOR}, as build_prompt makes them'
            )
    content = [{'type': 'image'} for _ in prompt.images]
    turn: Any = {'role': 'user', 'content': [*content, {'type': 'text', 'text': prompt.text}]}
    text = processor.apply_chat_template([turn], add_generation_prompt=True, tokenize=False)
    inputs: BatchFeature = processor(
        text=[text],
        images=list(prompt.images) or None,
        do_resize=False,
        input_data_format='channels_last',
        return_tensors='pt',
    )
    if prompt.images:
        patch = processor.image_processor.patch_size
        seen = [(rows * patch, columns * patch) for _, rows, columns in inputs['image_grid_thw']]
        sent = [image.shape[:2] for image in prompt.images]
        if seen != sent:
            raise BackendError(
                f'images of (height, width) {sent} are seen at {seen}, so coordinates would be '
                'wrong; this version of transformers does not keep the size, use the pinned one'
            )
    return inputs
