"""What the stock classes of transformers make of prompts and pictures, as hashes.

``python -m support.parity``, in the folder ``test``, writes them to ``data/parity.json``; a test
compares those of this package with the file, so that a change of one token or one bit shows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mimo_embodied_ros.core.frames import Frame, Odometry
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.core.tasks import TASKS, Media
from support.paths import EMBEDDED_MODEL, SKILL_FILES, TEST_DATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.tasks import Task
    from mimo_embodied_ros.engine.processor import ImageTextProcessor

FILE = TEST_DATA / 'parity.json'
LIMITS = PixelLimits(4 * 28 * 28, 60 * 28 * 28)
_TEXTS = (
    'the red cube', 'Is the cup full?\nA. yes\nB. no', 'où est la tasse bleue ?',
    '机器人前面有什么?',
    '  two  spaces, a\ttab, "quotes" and {braces}  ', 'cafe\u0301 👋🏽 naïve 3.50 m/s <image>',
    'x' * 200 + ' 1234567890 #$%&/()=?', 'put <c1,CAM_BACK,1088.3,497.5> in [12, 34]')
_SIZES = (
    (28, 28), (29, 29), (56, 112), (101, 57), (333, 97), (640, 480), (480, 640), (31, 400),
    (283, 171), (212, 240), (140, 140), (139, 141))
_MODES = ('RGB', 'RGBA', 'L', 'P', 'CMYK', '1')
# pictures become another medium where the stock processor would need torchvision
_AS_IMAGES = {Media.VIDEO: Media.CLIP, Media.VIDEOS: Media.CLIPS}


def prompts(limits: PixelLimits) -> Iterator[tuple[str, Prompt]]:
    """Yield prompts of every task, with texts and numbers of images in turn, and their names."""
    for place, task in enumerate(TASKS.values()):
        for turn in range(4):
            text = _TEXTS[(place + 3 * turn) % len(_TEXTS)]
            yield f'{task.name} {turn}', build_prompt(_query(task, text, turn), limits)


def pictures() -> Iterator[tuple[str, bytes]]:
    """Yield files of pictures of many sizes and modes, and their names."""
    rng = np.random.default_rng(5)
    for width, height in _SIZES:
        # smooth, so that the filter of the resize shows, and noisy, so that every byte occurs
        ramp = np.add.outer(np.linspace(0, 150, height), np.linspace(0, 80, width))[..., None]
        values = ramp + rng.integers(0, 25, (height, width, 4))
        whole = Image.fromarray(values.astype(np.uint8), 'RGBA')
        for mode in _MODES:
            file = io.BytesIO()
            picture = whole if mode == 'RGBA' else whole.convert('RGB').convert(mode)
            picture.save(file, 'TIFF' if mode == 'CMYK' else 'PNG')
            yield f'{width}x{height} {mode}', file.getvalue()


def sha(*arrays: Any) -> str:
    """Return a hash of arrays' shapes, types and bytes."""
    digest = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        digest.update(f'{array.dtype} {array.shape}'.encode() + array.tobytes())
    return digest.hexdigest()[:16]


def stock_prompt(processor: ImageTextProcessor, prompt: Prompt) -> tuple[Any, Any]:
    """Return token ids and pixel values of a prompt as ``Qwen2_5_VLProcessor`` makes them."""
    content = [*({'type': 'image'} for _ in prompt.images), {'type': 'text', 'text': prompt.text}]
    turns: list[Any] = [{'role': 'user', 'content': content}]
    if prompt.system:
        said = [{'type': 'text', 'text': prompt.system}]
        turns.insert(0, {'role': 'system', 'content': said})
    text = processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    images = [Image.fromarray(pixels) for pixels in prompt.images] or None
    inputs = processor(text=[text], images=images, return_tensors='np')
    return inputs['input_ids'][0], inputs.get('pixel_values', np.zeros(0, np.float32))


def stock_picture(processor: ImageTextProcessor, data: bytes) -> Any:
    """Return pixel values of a file as the stock image processor resizes and cuts it."""
    picture = Image.open(io.BytesIO(data))
    if picture.mode == 'RGBA':  # laid on white, as by to_rgb of the vendor's evaluation
        white = Image.new('RGB', picture.size, (255, 255, 255))
        white.paste(picture, mask=picture.getchannel('A'))
        picture = white
    limits = {'min_pixels': LIMITS.min_pixels, 'max_pixels': LIMITS.max_pixels}
    kind = type(processor.image_processor)
    stock = kind.from_dict({**processor.image_processor.to_dict(), 'size': None, **limits})
    return stock(images=[picture], return_tensors='np')['pixel_values']


def _query(task: Task, text: str, turn: int) -> Query:
    views = max(1, len(task.views))
    number = {Media.IMAGE: 1, Media.VIEWS: views}.get(task.media, views * (1 + turn % 3))
    if task.media is Media.ANY:
        number = turn
    rng = np.random.default_rng(turn)
    state = Odometry(0, 'odom', 'base', (0, 0, 0), (0, 0, 0, 1), (1.5, 0, 0), (0, 0, 0))
    frames = tuple(
        Frame(rng.integers(0, 255, (56, 84, 3), np.uint8), i % (number // views) * 10**9,
              odometry=state)
        for i in range(number))
    task = dataclasses.replace(task, media=_AS_IMAGES.get(task.media, task.media))
    skills = None
    if task.uses('skills'):
        skills = select_skills(load_skills(SKILL_FILES / 'tabletop.yaml'))
    return Query(
        task, text if task.uses('text') else '', frames, thinking=turn % 2 == 0, skills=skills,
        experimental=True, options=('left', 'right', 'wait') if task.options else ())


def main() -> None:
    """Write the hashes of the stock classes."""
    from mimo_embodied_ros.engine.processor import load_processor, read_limits

    processor = load_processor(EMBEDDED_MODEL)
    limits = read_limits(processor, 0, 0)
    FILE.write_text(json.dumps({
        'prompts': {
            name: sha(*stock_prompt(processor, prompt)) for name, prompt in prompts(limits)},
        'pictures': {name: sha(stock_picture(processor, data)) for name, data in pictures()},
    }, indent=1) + '\n')


if __name__ == '__main__':
    main()
