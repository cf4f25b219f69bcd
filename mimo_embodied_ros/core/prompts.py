"""From a query to the prompt with which MiMo-Embodied was evaluated on such questions."""

from __future__ import annotations

import itertools
import math
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .ego_motion import format_past_path, format_speed
from .errors import InvalidRequestError
from .grammar import grammar_of
from .resize import PixelLimits, Resize, resize
from .stopping_criteria import STOPPING_CRITERIA, StoppingCriterion
from .tasks import Media

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .query import Query

# Plain text to the tokenizer, and a switch only as the very last characters of the user's turn.
NO_THINK = ' /no_think'

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
        grammar: that the answer may not leave, see `core.grammar`; empty: none.
        stopping: tells when the answer is complete; None: only the model can end it.

    """

    text: str
    images: tuple[NDArray[np.uint8], ...]
    resizes: tuple[Resize, ...]
    max_new_tokens: int
    grammar: str = ''
    stopping: StoppingCriterion | None = None


def build_prompt(query: Query, limits: PixelLimits) -> Prompt:
    """Make the prompt of a query.

    Text that stands inside of a line of its template is put on one line, and double quotes in
    quoted text become single ones, so that it stays inside. Control tokens of the chat template
    are refused: as plain text they would have no meaning that anybody could want.

    Args:
        query: what is asked.
        limits: areas of the loaded processor.

    Raises:
        InvalidRequestError: text, options, odometry or skills that the task needs and that are
            missing, or that it has no place for; a control token; a negative token limit; an image
            that cannot be resized, or frames that are not what the task is about.

    """
    task = query.task
    _check_media(query)
    if query.max_new_tokens < 0:
        msg = f'max_new_tokens is {query.max_new_tokens}; give a positive number, or 0 for default'
        raise InvalidRequestError(msg)
    values = {'text': _text(query)}
    if query.options or task.uses('options'):
        values['options'] = _options(query)
    if task.uses('skills'):
        values['skills'] = _skills(query)
    if task.uses('speed') or task.uses('path'):
        values |= _ego_motion(query)
    if task.uses('duration'):
        seconds = (query.frames[-1].stamp_ns - query.frames[0].stamp_ns) / 1e9
        values['duration'] = f'{seconds:.2f}'
    text = task.fill(**values)
    images, resizes = [], []
    for frame in query.frames:
        pixels, scale = frame.resized(limits)
        images.append(pixels)
        resizes.append(scale)
    thinks = query.thinks
    return Prompt(
        text if thinks else text + NO_THINK,
        tuple(images),
        tuple(resizes),
        query.max_new_tokens or task.tokens + (THINKING_TOKENS if thinks else 0),
        grammar_of(query) if query.structured else '',
        STOPPING_CRITERIA.get(task.answer),
    )


def warm_up_prompt(area: int, limits: PixelLimits) -> Prompt:
    """Make a prompt with a grey, square image of about ``area`` pixels, for two tokens."""
    side = max(1, math.isqrt(area))
    image, scale = resize(np.full((side, side, 3), 128, np.uint8), limits)
    return Prompt('What is in the image?' + NO_THINK, (image,), (scale,), 2)


def _check_media(query: Query) -> None:
    """Refuse frames that are not what the prompt says they are."""
    task, count = query.task, len(query.frames)
    media, views = task.media, len(task.views)
    if count == 0 and media is not Media.ANY:
        msg = f'a {task.name} request needs an image; send one or name a camera'
        raise InvalidRequestError(msg)
    if count > 1 and media is Media.IMAGE:
        msg = (
            f'a {task.name} request has {count} images, and the answer would not say which '
            'one it is about; ask about one image at a time'
        )
        raise InvalidRequestError(msg)
    if (media is Media.VIEWS and count != views) or (media is Media.CLIPS and count % views):
        each = 'one image' if media is Media.VIEWS else 'equally many images'
        msg = (
            f'a {task.name} request has {count} images; send {each} of each view in this order: '
            f'{", ".join(task.views)}'
        )
        raise InvalidRequestError(msg)
    if media in (Media.CLIP, Media.CLIPS):
        stamps = [frame.stamp_ns for frame in query.frames]
        length = count // views if media is Media.CLIPS else count
        for start in range(0, count, length):
            clip = stamps[start : start + length]
            if any(later < earlier for earlier, later in itertools.pairwise(clip)):
                msg = f'the frames of a {task.name} request are not in the order of time'
                raise InvalidRequestError(msg + '; send the oldest first')


def _text(query: Query) -> str:
    """Return the query's text so that it cannot break out of its template."""
    task = query.task
    text = _harmless(query.text)
    before, placeholder, after = task.prompt.partition('{text}')
    if not placeholder:
        if text:
            msg = f'{task.name} is a whole question; leave the text empty instead of {text[:40]!r}'
            raise InvalidRequestError(msg)
        return ''
    follower = after[:1]
    if follower == '"' and before.endswith('"'):
        text = text.replace('"', "'")
    if follower not in ('', '\n') and not after.startswith('{options}'):
        text = ' '.join(text.split())
    if follower in ('.', '?'):
        text = text.rstrip(follower + ' ')
    if not text:
        msg = f'the text of a {task.name} request is empty; say what is asked'
        raise InvalidRequestError(msg)
    return text


def _options(query: Query) -> str:
    """Write the choices as the task does, each on one line."""
    task, options = query.task, [' '.join(_harmless(o).split()) for o in query.options]
    if bool(options) is not task.uses('options') or not all(options):
        needed = 'needs options, none of them empty' if task.uses('options') else 'has no options'
        msg = f'a {task.name} request {needed}; it was given {options}'
        raise InvalidRequestError(msg)
    if len(options) > len(string.ascii_uppercase):
        msg = f'{len(options)} options are more than there are letters; give fewer'
        raise InvalidRequestError(msg)
    lines = ''
    for letter, option in zip(string.ascii_uppercase, options, strict=False):
        # in this order, so that braces in an option stay what they are
        lines += task.options.replace('{letter}', letter).replace('{option}', option)
    return lines


def _skills(query: Query) -> str:
    """List what the robot can do, each skill in the words of its steps."""
    if query.skills is None:
        msg = f'a {query.task.name} request tells what the robot can do; set skills_file'
        raise InvalidRequestError(msg)
    return '; '.join(f'"{skill.says[0]}" ({skill.description})' for skill in query.skills.skills)


def _ego_motion(query: Query) -> dict[str, str]:
    """Write speed and past path of the vehicle from the odometry of the query or its frames."""
    odometry = query.odometry or tuple(
        frame.odometry for frame in query.frames if frame.odometry is not None)
    if not odometry:
        msg = f'a {query.task.name} request states how the vehicle moves; give its odometry'
        raise InvalidRequestError(msg)
    return {'speed': format_speed(odometry), 'path': format_past_path(odometry)}


def _harmless(text: str) -> str:
    """Strip a text, and refuse control tokens of the chat template in it."""
    text = text.strip()
    if token := CONTROL_TOKEN.search(text):
        msg = f'the text holds the control token {token.group()!r}; remove it'
        raise InvalidRequestError(msg)
    return text
