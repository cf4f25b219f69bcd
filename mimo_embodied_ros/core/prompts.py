r"""The prompts with which MiMo-Embodied was evaluated, word for word.

Source: ``lmms_eval/tasks`` of XiaomiMiMo/MiMo-Embodied (points: ``PROMPT_MIMO_EMBODIED`` of
``where2place_point`` and others; plan: ``robovqa``; ``\boxed{}``: ``robospatial`` and others),
boxes: ``refcoco/utils_rec.py`` of XiaomiMiMo/lmms-eval.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import InvalidRequestError
from .query import Query, Task
from .resize import PixelLimits, Resize, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

# {} is the request's text; '{the_whole_description}' is literal in the vendor's prompts.
TEMPLATES = {
    Task.POINTS: (
        'Based on the description: "{}", locate points matching the description. Output a JSON in '
        'the format [{{"points": [...], "label": "{{the_whole_description}}"}}, ...].'
    ),
    Task.BOXES: (
        'Based on the description: "{}", locate all regions matching the description. Output a '
        'JSON in the format [{{"bbox_2d": [...], "label": "{{the_whole_description}}"}}, ...].'
    ),
    Task.PLAN: 'current goal is: {}. what are the next 5 step',
    Task.SPATIAL: '{}\nPut your final answer in \\boxed{{}}.',
    Task.ASK: '{}',
}

# Plain text to the tokenizer, and a switch only as the very last characters of the user's turn.
NO_THINK = ' /no_think'

DEFAULT_TOKENS = {
    Task.POINTS: 512,
    Task.BOXES: 512,
    Task.PLAN: 512,
    Task.SPATIAL: 256,
    Task.ASK: 1024,
}
THINKING_TOKENS = 4096  # on top; what the vendor's inference.py allows for a whole answer

CONTROL_TOKEN = re.compile(r'<\|[^<>|\s]*\|>')


@dataclass(frozen=True)
class Prompt:
    """One user's turn: the images, then the text.

    Attributes:
        text: what follows the images.
        images: (height, width, 3) uint8, RGB, at the sizes that the model sees.
        resizes: one for each image, back to its frame.
        max_new_tokens: at most so many tokens are to be generated.

    """

    text: str
    images: tuple[NDArray[np.uint8], ...]
    resizes: tuple[Resize, ...]
    max_new_tokens: int


def build_prompt(query: Query, limits: PixelLimits) -> Prompt:
    """Make the prompt of a query.

    Descriptions and instructions are put on one line, and double quotes in a quoted description
    become single ones, so that the text stays inside of its template. Control tokens of the chat
    template are refused: as plain text they would have no meaning that anybody could want.

    Args:
        query: what is asked.
        limits: areas of the loaded processor.

    Raises:
        InvalidRequestError: empty text, a control token in it, a negative token limit, an image
            that cannot be resized, or a number of frames that the task does not take.

    """
    count = len(query.frames)
    if count == 0 and query.task is not Task.ASK:
        msg = f'a {query.task.value} request needs an image; send one or name a camera'
        raise InvalidRequestError(msg)
    if count > 1 and query.task in (Task.POINTS, Task.BOXES):
        msg = (
            f'a {query.task.value} request has {count} images, and the answer would not say which '
            'one its pixels are of; ask about one image at a time'
        )
        raise InvalidRequestError(msg)
    if query.max_new_tokens < 0:
        msg = f'max_new_tokens is {query.max_new_tokens}; give a positive number, or 0 for default'
        raise InvalidRequestError(msg)
    text = TEMPLATES[query.task].format(_fitting(query))
    resized = [resize(frame.pixels, limits) for frame in query.frames]
    default = DEFAULT_TOKENS[query.task] + (THINKING_TOKENS if query.thinking else 0)
    return Prompt(
        text if query.thinking else text + NO_THINK,
        tuple(pixels for pixels, _ in resized),
        tuple(scale for _, scale in resized),
        query.max_new_tokens or default,
    )


def warm_up_prompt(area: int, limits: PixelLimits) -> Prompt:
    """Make a prompt with a grey, square image of about ``area`` pixels, for two tokens."""
    side = max(1, math.isqrt(area))
    image, scale = resize(np.full((side, side, 3), 128, np.uint8), limits)
    return Prompt('What is in the image?' + NO_THINK, (image,), (scale,), 2)


def _fitting(query: Query) -> str:
    """Return the query's text so that it cannot break out of its template."""
    text = query.text.strip()
    if found := CONTROL_TOKEN.search(text):
        msg = f'the text holds the control token {found.group()!r}; remove it'
        raise InvalidRequestError(msg)
    if query.task in (Task.POINTS, Task.BOXES):
        text = ' '.join(text.replace('"', "'").split())
    elif query.task is Task.PLAN:
        text = ' '.join(text.split()).rstrip('. ')
    if not text:
        msg = f'the text of a {query.task.value} request is empty; say what is asked'
        raise InvalidRequestError(msg)
    return text
