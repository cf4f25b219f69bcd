"""Prompts with videos, and what transformers' own processor makes of them.

``python -m support.video_parity`` in ``test`` prints the hashes that the test pins. It needs
torchvision, which the package does not.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.video import make_video
from mimo_embodied_ros.engine.processor import load_processor, read_limits
from support.paths import EMBEDDED_MODEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.engine.processor import ImageTextProcessor

# frames of each video, as (width, height) of each, and the seconds between them
CASES: dict[str, list[tuple[list[tuple[int, int]], float]]] = {
    'one frame': [([(196, 168)], 0.5)],
    'an even number': [([(224, 168)] * 4, 0.5)],
    'an odd number': [([(168, 224)] * 5, 0.25)],
    'a changed resolution': [([(320, 240), (320, 240), (168, 196)], 1.0)],
    'two videos': [([(196, 168)] * 3, 0.5), ([(168, 196)] * 2, 0.1)],
}


def video_prompt(
    videos: Sequence[tuple[Sequence[tuple[int, int]], float]], limits: PixelLimits, seed: int = 0,
    text: str = 'What has moved?',
) -> Prompt:
    """Make a prompt with videos of random pixels."""
    rng = np.random.default_rng(seed)
    made = [make_video([
        Frame(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), round(i * seconds * 1e9))
        for i, (width, height) in enumerate(sizes)], limits) for sizes, seconds in videos]
    return Prompt(text, (), tuple(scale for _, scales in made for scale in scales), 40,
                  videos=tuple(video for video, _ in made))


def library_inputs(processor: ImageTextProcessor, prompt: Prompt) -> dict[str, torch.Tensor]:
    """Return the inputs that ``Qwen2_5_VLProcessor`` makes; needs torchvision."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLVideoProcessor
    from transformers.video_utils import VideoMetadata

    images = processor.image_processor
    whole: Any = Qwen2_5_VLProcessor(
        images, processor.tokenizer, Qwen2VLVideoProcessor(
            image_mean=images.image_mean, image_std=images.image_std), processor.chat_template)
    content = [*({'type': 'video'} for _ in prompt.videos), {'type': 'text', 'text': prompt.text}]
    text = whole.apply_chat_template(
        [{'role': 'user', 'content': content}], add_generation_prompt=True, tokenize=False)
    inputs = whole(
        text=[text], videos=[torch.from_numpy(np.stack(video.frames)).permute(0, 3, 1, 2)
                             for video in prompt.videos],
        do_resize=False, do_sample_frames=False, return_tensors='pt',
        video_metadata=[VideoMetadata(
            total_num_frames=len(video.frames), fps=1 / video.interval,
            frames_indices=list(range(len(video.frames)))) for video in prompt.videos])
    return dict(inputs)


def digest(ids: Sequence[int], pixels: torch.Tensor) -> str:
    """Return a hash of token ids and pixel values."""
    content = np.asarray(ids, '<i8').tobytes() + pixels.numpy().astype('<f4').tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def main() -> None:
    """Print the hash of each case, as transformers' processor makes it."""
    processor = load_processor(EMBEDDED_MODEL)
    for name, videos in CASES.items():
        inputs = library_inputs(
            processor, video_prompt(videos, read_limits(processor, 0, 0)))
        found = digest(inputs['input_ids'][0].tolist(), inputs['pixel_values_videos'])
        print(f'    {name!r}: {found!r},')


if __name__ == '__main__':
    main()
