"""Read a request of OpenAI's chat interface as a prompt of the engine.

Its fields are those that ``backend: openai`` sends, which are vLLM's. What would change the answer
and cannot be done is refused, since a field that is silently ignored gives another answer than the
one that was asked for.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from mimo_embodied_ros.core.characters import valid_text
from mimo_embodied_ros.core.errors import BadEncodingError, InvalidRequestError
from mimo_embodied_ros.core.files import parse_json
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.profiles import Profile, ThinkingMode
from mimo_embodied_ros.core.prompts import CONTROL_TOKEN, THINKING_TOKENS, Prompt
from mimo_embodied_ros.core.resize import resize
from mimo_embodied_ros.core.video import DEFAULT_INTERVAL, make_video
from mimo_embodied_ros.pictures import open_picture, picture_of

from .errors import UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.core.video import Video

    T = TypeVar('T')

# Fields that are read; the last ones change nothing of a greedy answer, or come from vllm-router.
_FIELDS = {
    'model', 'messages', 'max_tokens', 'max_completion_tokens', 'temperature', 'n', 'stream',
    'stream_options', 'structured_outputs', 'response_format', 'continue_final_message',
    'add_generation_prompt', 'media_io_kwargs', 'mm_processor_kwargs',
    'user', 'seed', 'top_p', 'store', 'metadata',
    'skip_special_tokens', 'include_reasoning', 'separate_reasoning', 'stream_reasoning',
}
_FRAMES = 'data:video/jpeg;base64'


@dataclass(frozen=True)
class ChatRequest:
    """A request.

    Attributes:
        prompt: of the engine, with images as the model sees them.
        streams: whether the answer is to come in pieces.
        counts: whether a stream ends with the counts of tokens.

    """

    prompt: Prompt
    streams: bool
    counts: bool


@dataclass
class _Content:
    """What the messages hold."""

    text: str = ''
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    clips: list[list[NDArray[np.uint8]]] = field(default_factory=list)


def read_request(body: bytes, model: str, limits: PixelLimits) -> ChatRequest:
    """Read the body of a request.

    The conversation is one turn of the user, images or videos before the text; before it may come
    a system prompt, and after it the beginning of the model's turn with
    ``continue_final_message``. Images that have another size than the model's are resized.

    Args:
        body: JSON.
        model: the name under which the model is served.
        limits: image areas of the model.

    Raises:
        InvalidRequestError: a field is missing, of a wrong type or not supported.
        BadEncodingError: an image cannot be read.

    """
    try:
        fields = parse_json(body.decode())
    except ValueError as error:
        msg = f'the body is no JSON ({error}); send a chat completion request'
        raise InvalidRequestError(msg) from error
    if not isinstance(fields, dict):
        msg = 'the body is no JSON object; send a chat completion request'
        raise InvalidRequestError(msg)
    if fields.get('model') != model:
        msg = f'the model {fields.get("model")!r} is not served; name {model!r}'
        raise UnknownModelError(msg)
    _check_fields(fields)
    system, content, begun = _read_messages(fields)
    images, scales = [], []
    for pixels in content.images:
        seen, scale = resize(pixels, limits)
        images.append(seen)
        scales.append(scale)
    videos = tuple(_video(clip, _interval(fields), limits) for clip in content.clips)
    options = _field(fields, 'stream_options', dict, {})
    prompt = Prompt(
        content.text, tuple(images), tuple(scales), _most_tokens(fields), _grammar(fields),
        videos=videos, system=system,
        profile=Profile('request', '', answering=ThinkingMode(prefill=begun)))
    return ChatRequest(prompt, _field(fields, 'stream', bool, default=False),
                       _field(options, 'include_usage', bool, default=False))


def _field(fields: dict[str, Any], name: str, kind: type[T], default: T) -> T:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        msg = f'{name} is {value!r:.100}; it is of type {kind.__name__}'
        raise InvalidRequestError(msg)
    return value


def _check_fields(fields: dict[str, Any]) -> None:
    """Refuse what would change the answer and is not done."""
    # routers add fields that ask for nothing
    given = {name for name, value in fields.items() if value}
    if unknown := sorted(given - _FIELDS):
        msg = f'this server does not take {", ".join(unknown)}; leave it out'
        raise InvalidRequestError(msg)
    temperature = fields.get('temperature') or 0
    if temperature != 0 or fields.get('n') not in (None, 1):
        msg = (f'temperature is {temperature!r} and n is {fields.get("n", 1)!r}; answers are '
               'greedy and one: send temperature 0 and n 1')
        raise InvalidRequestError(msg)
    form = fields.get('response_format') or {'type': 'text'}
    if form != {'type': 'text'}:
        msg = (f'response_format is {form!r:.100}; hold the answer to a grammar in '
               "llguidance's Lark with structured_outputs: {grammar: ...}")
        raise InvalidRequestError(msg)


def _most_tokens(fields: dict[str, Any]) -> int:
    """The limit of tokens; without one that of a long reasoning."""
    name = 'max_tokens' if fields.get('max_tokens') is not None else 'max_completion_tokens'
    tokens = _field(fields, name, int, THINKING_TOKENS)
    if tokens < 1:
        msg = f'{name} is {tokens}; it is 1 or more'
        raise InvalidRequestError(msg)
    return tokens


def _grammar(fields: dict[str, Any]) -> str:
    form = _field(fields, 'structured_outputs', dict, {})
    if unknown := sorted(form.keys() - {'grammar'}):
        msg = f'structured_outputs has {", ".join(unknown)}; only grammar is taken'
        raise InvalidRequestError(msg)
    return valid_text(_field(form, 'grammar', str, ''))


def _interval(fields: dict[str, Any]) -> float:
    """Seconds between the frames of the request's videos."""
    media = _field(fields, 'media_io_kwargs', dict, {})
    processor = _field(fields, 'mm_processor_kwargs', dict, {})
    for options in (_field(media, 'video', dict, {}), processor):
        rate = options.get('fps')
        if rate is None:
            continue
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not (
                0 < rate < math.inf):
            msg = f'fps is {rate!r:.100}; give the frames a second of the videos'
            raise InvalidRequestError(msg)
        return 1 / rate
    return DEFAULT_INTERVAL


def _video(clip: Sequence[NDArray[np.uint8]], interval: float, limits: PixelLimits) -> Video:
    # a stamp of 0 would be none
    frames = [Frame(pixels, round((number + 1) * interval * 1e9))
              for number, pixels in enumerate(clip)]
    return make_video(frames, limits)[0]


def _read_messages(fields: dict[str, Any]) -> tuple[str, _Content, str]:
    """Return the system prompt, the user's turn, and the beginning of the model's turn."""
    messages = _field(fields, 'messages', list, [])
    roles = [message.get('role') if isinstance(message, dict) else None for message in messages]
    continues = _field(fields, 'continue_final_message', bool, default=False)
    expected = [*(['system'] if roles[:1] == ['system'] else []), 'user',
                *(['assistant'] if continues else [])]
    if roles != expected:
        msg = (f'the messages are of {roles!r:.200}; send one of the user, before it one of the '
               'system if you like, and behind it one of the assistant only with '
               'continue_final_message')
        raise InvalidRequestError(msg)
    texts = {role: _content(message.get('content'))
             for role, message in zip(roles, messages, strict=True)}
    user, others = texts.pop('user'), texts.values()
    if any(content.images or content.clips for content in others):
        msg = 'images and videos belong into the message of the user'
        raise InvalidRequestError(msg)
    if user.images and user.clips:
        msg = 'the message has images and videos; send one of the two'
        raise InvalidRequestError(msg)
    begun = texts.get('assistant', _Content()).text
    if control := CONTROL_TOKEN.search(begun):
        msg = (f"the message of the assistant holds the model's control token {control.group()}; "
               'remove it')
        raise InvalidRequestError(msg)
    return texts.get('system', _Content()).text, user, begun


def _content(value: Any) -> _Content:
    """Read the content of a message, a string or a list of parts."""
    content = _Content()
    parts = [{'type': 'text', 'text': value}] if isinstance(value, str) else value
    if not isinstance(parts, list):
        msg = f'the content of a message is {value!r:.100}; send a string or a list of parts'
        raise InvalidRequestError(msg)
    for part in parts:
        kind = part.get('type') if isinstance(part, dict) else None
        if kind == 'text' and isinstance(part.get('text'), str):
            content.text += valid_text(part['text'])
            continue
        if kind not in ('image_url', 'video_url'):
            msg = f'the messages hold {part!r:.100}; send parts text, image_url and video_url'
            raise InvalidRequestError(msg)
        if content.text:
            msg = f'the messages hold {kind} behind a text; send images and videos first'
            raise InvalidRequestError(msg)
        place = part.get(kind)
        head, _, data = str(place.get('url') if isinstance(place, dict) else place).partition(',')
        if kind == 'image_url' and head.startswith('data:image/'):
            content.images.append(_picture(data))
        elif kind == 'video_url' and head == _FRAMES:
            content.clips.append([_picture(frame) for frame in data.split(',')])
        else:
            msg = (f'{kind} is {head!r:.60}; send images as data:image/png;base64,... and videos '
                   f'as their frames, {_FRAMES},FRAME,FRAME,...')
            raise InvalidRequestError(msg)
    return content


def _picture(data: str) -> NDArray[np.uint8]:
    try:
        return picture_of(open_picture(base64.b64decode(data, validate=True))[0]).pixels
    except (binascii.Error, BadEncodingError) as error:
        msg = f'an image cannot be read ({error}); send it as PNG or JPEG in base64'
        raise BadEncodingError(msg) from error
