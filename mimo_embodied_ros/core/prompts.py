"""Build prompts in the form in which the model was evaluated on such questions, or is asked."""

from __future__ import annotations

import itertools
import math
import re
import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .ego_motion import format_past_path, format_speed
from .errors import InvalidRequestError
from .grammar import grammar_of
from .profiles import MIMO_EMBODIED
from .query import subject
from .resize import PixelLimits, Resize, resize
from .schemas import schema_of
from .tasks import AnswerKind, Media
from .video import make_video

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .frames import Odometry
    from .profiles import Profile, ThinkingMode
    from .query import Query
    from .video import Video

NO_THINK = MIMO_EMBODIED.mode(thinks=False).suffix

THINKING_TOKENS = 4096  # added for reasoning; the vendor's inference.py has it for all tokens

# The system prompt of the vendor's evaluation, which is not that of the chat template
# (XiaomiMiMo/MiMo-Embodied, lmms_eval/models/mivllm.py).
VENDOR_SYSTEM = 'You are a helpful assistant.'

CONTROL_TOKEN = re.compile(r'<\|[^<>|\s]*\|>')


@dataclass(frozen=True)
class Prompt:
    """One user's turn: the images or videos, then the text.

    Attributes:
        text: what follows the images.
        images: (height, width, 3) uint8, RGB, at the sizes that the model sees.
        resizes: the scale between each image, or each frame of the videos, and its frame.
        max_new_tokens: limit of tokens to generate.
        grammar: of the answer, see `core.grammar`; empty: none.
        schema: of the answer in JSON, see `core.schemas`, for servers that hold no grammars; None
            where the answer has none, or is not to be held.
        videos: in the order of the views; a prompt has images or videos.
        system: system prompt; empty: that of the chat template.
        thinking_tokens: most tokens of the reasoning, its opening tag included, after which the
            answer follows; 0: no limit of its own.
        thinks: whether the model is made to reason.
        profile: of the model, which says what positions in its answer mean.

    """

    text: str
    images: tuple[NDArray[np.uint8], ...]
    resizes: tuple[Resize, ...]
    max_new_tokens: int
    grammar: str = ''
    schema: dict[str, Any] | None = None
    videos: tuple[Video, ...] = ()
    system: str = ''
    thinking_tokens: int = 0
    thinks: bool = False
    profile: Profile = MIMO_EMBODIED

    @property
    def mode(self) -> ThinkingMode:
        """How the model is made to reason, or to answer at once."""
        return self.profile.mode(thinks=self.thinks)

    @property
    def answer_resizes(self) -> tuple[Resize, ...]:
        """Scales of the images that an answer's positions may be in: of a video its newest."""
        if not self.videos:
            return self.resizes
        ends = itertools.accumulate(len(video.frames) for video in self.videos)
        return tuple(self.resizes[end - 1] for end in ends)


def build_prompt(
    query: Query, limits: PixelLimits, profile: Profile = MIMO_EMBODIED
) -> Prompt:
    """Build the prompt of a query, in the words of the model.

    Text that the template puts inside of a line is joined to one line, and double quotes in a
    quoted text become single ones, so that the text cannot break out of its place. Control tokens
    of the chat template are refused, because they would end or change the turn. The same holds for
    the system prompt: that of the query, else of the task.

    The default limit of tokens is that of the task, and with thinking ``thinking_tokens`` more, or
    `THINKING_TOKENS` where the query does not bound its reasoning.

    Args:
        query: the request.
        limits: image areas of the loaded processor.
        profile: of the model.

    Raises:
        InvalidRequestError: the task needs text, options, odometry or skills that are missing, or
            its prompt has no place for what is given; the text or the system prompt holds a
            control token; a token limit is negative; an image cannot be resized; the frames do not
            fit the task; points or boxes are to be held to a form, and the profile has none.

    """
    query = replace(query, task=profile.worded(query.task))
    task = query.task
    _check_media(query)
    for name in ('max_new_tokens', 'thinking_tokens'):
        if getattr(query, name) < 0:
            msg = f'{name} is {getattr(query, name)}; give a positive number, or 0 for the default'
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
    known = _remembered(query.remembered) if query.remembered else ''
    text = known + task.fill(**values)
    images, videos, resizes = [], [], list[Resize]()
    if task.media.is_video:
        length = len(query.frames) // max(1, len(task.views))
        for start in range(0, len(query.frames), length):
            video, scales = make_video(query.frames[start : start + length], limits)
            videos.append(video)
            resizes += scales
    else:
        for frame in query.frames:
            pixels, scale = frame.resized(limits)
            images.append(pixels)
            resizes.append(scale)
    thinks = profile.thinks(wanted=query.thinks)
    mode, grammar = profile.mode(thinks=thinks), ''
    if query.structured:
        grammar = grammar_of(query, profile)
        if not grammar and task.answer in (AnswerKind.POINTS, AnswerKind.BOXES):
            msg = (f'{task.answer.value} of a model of the profile {profile.name} have no form '
                   'that they can be held to; set structured to false')
            raise InvalidRequestError(msg)
    system = read_system(query.system) or read_system(task.system) or profile.system
    return Prompt(
        text + mode.suffix,
        tuple(images),
        tuple(resizes),
        query.max_new_tokens
        or task.tokens + (query.thinking_tokens or THINKING_TOKENS if thinks else 0),
        grammar,
        schema_of(query, profile) if grammar else None,
        tuple(videos),
        '\n\n'.join(filter(None, (system, mode.system))),
        query.thinking_tokens if thinks else 0,
        thinks,
        profile,
    )


def text_prompt(text: str, tokens: int, profile: Profile = MIMO_EMBODIED) -> Prompt:
    """Make a prompt without images that is answered without reasoning, where the model can."""
    return Prompt(text + profile.mode(thinks=False).suffix, (), (), tokens, profile=profile)


def warm_up_prompt(
    area: int, limits: PixelLimits, shade: int = 128, profile: Profile = MIMO_EMBODIED
) -> Prompt:
    """Make a prompt with a grey, square image of about ``area`` pixels, for two tokens."""
    side = max(1, math.isqrt(area))
    image, scale = resize(np.full((side, side, 3), shade, np.uint8), limits)
    return replace(text_prompt('What is in the image?', 2, profile),
                   images=(image,), resizes=(scale,))


def read_system(text: str) -> str:
    """Return a system prompt as the model gets it, without the space around it.

    Raises:
        InvalidRequestError: it holds a control token of the chat template, or is not Unicode.

    """
    return _harmless(text, 'the system prompt')


def _check_media(query: Query) -> None:
    """Refuse frames that are not of the number or order that the task's prompt describes."""
    task, count = query.task, len(query.frames)
    media, views = task.media, len(task.views)
    if count == 0 and media is not Media.ANY:
        msg = f'a {task.name} request needs an image; send one or name a camera'
        raise InvalidRequestError(msg)
    if count > 1 and media is Media.IMAGE:
        msg = (
            f'a {task.name} request has {count} images, and the answer would not say which '
            'image it is about; ask about one image at a time'
        )
        raise InvalidRequestError(msg)
    clips = media in (Media.CLIPS, Media.VIDEOS)
    if (media is Media.VIEWS and count != views) or (clips and count % views):
        each = 'one image' if media is Media.VIEWS else 'equally many images'
        msg = (
            f'a {task.name} request has {count} images; send {each} of each view in this order: '
            f'{", ".join(task.views)}'
        )
        raise InvalidRequestError(msg)
    if media.is_timed:
        stamps = [frame.stamp_ns for frame in query.frames]
        length = count // views if clips else count
        for start in range(0, count, length):
            clip = stamps[start : start + length]
            # several stamps of 0 say nothing
            if clip.count(0) < 2 and any(b < a for a, b in itertools.pairwise(clip)):
                msg = f'the frames of a {task.name} request are not in temporal order'
                raise InvalidRequestError(msg + '; send the oldest first')


def _text(query: Query) -> str:
    """Return the query's text so that it cannot break out of its place in the template."""
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
        msg = f'the text of a {task.name} request is empty; give the instruction or question'
        raise InvalidRequestError(msg)
    return text


def _options(query: Query) -> str:
    """Write the options in the form of the task, each on one line."""
    task, options = query.task, [' '.join(_harmless(o).split()) for o in query.options]
    if bool(options) is not task.uses('options') or not all(options):
        needed = 'needs options, none of them empty' if task.uses('options') else 'has no options'
        msg = f'a {task.name} request {needed}; it was given {options}'
        raise InvalidRequestError(msg)
    if len(options) > len(string.ascii_uppercase):
        msg = f'{len(options)} options are more than the alphabet has letters; give fewer'
        raise InvalidRequestError(msg)
    return task.list_options(options)


def _skills(query: Query) -> str:
    """List the robot's skills, each as its steps are worded, with its description."""
    if query.skills is None:
        msg = f'the prompt of {query.task.name} lists what the robot can do; set skills_file'
        raise InvalidRequestError(msg)
    return '; '.join(f'"{skill.says[0]}" ({skill.description})' for skill in query.skills.skills)


def _remembered(known: tuple[str, ...]) -> str:
    """Write what is known beyond the frames, each sentence on the same line as the prompt."""
    sentences = (' '.join(_harmless(s, 'what is remembered').split()) for s in known)
    ended = [s if s.endswith(('.', '!', '?', '。')) else f'{s}.' for s in sentences if s]
    return f'Remembered: {" ".join(ended)} ' if ended else ''


def _ego_motion(query: Query) -> dict[str, str]:
    """Write speed and past path of the vehicle, from the query's odometry or the frames'."""
    odometry = query.odometry or _odometry_of_frames(query)
    if not odometry:
        msg = f'the prompt of {query.task.name} states how the vehicle moves; give its odometry'
        raise InvalidRequestError(msg)
    return {'speed': format_speed(odometry), 'path': format_past_path(odometry)}


def _odometry_of_frames(query: Query) -> tuple[Odometry, ...]:
    """The odometry of the frame that the answer is about, after that of the clip before it."""
    newest = subject(query.task, query.frames)
    if newest is None or newest.odometry is None:
        return ()
    clip = itertools.takewhile(lambda frame: frame is not newest, query.frames)
    return (*(frame.odometry for frame in clip if frame.odometry is not None), newest.odometry)


def _harmless(text: str, name: str = 'the text') -> str:
    """Strip a text; refuse in it control tokens of the chat template, and what is not Unicode."""
    text = text.strip()
    if any('\ud800' <= letter <= '\udfff' for letter in text):
        msg = f'{name} holds a surrogate, half of a letter in UTF-16; send UTF-8'
        raise InvalidRequestError(msg)
    if token := CONTROL_TOKEN.search(text):
        msg = f'{name} holds the control token {token.group()!r}; remove it'
        raise InvalidRequestError(msg)
    return text
