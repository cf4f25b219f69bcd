"""The model on one or several servers with OpenAI's interface: vLLM, SGLang, transformers serve.

Every request has a connection of its own, and its answer is streamed: closing the connection is
how a server learns that nobody wants the rest, and none is left over from before a restart.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import openai
from PIL import Image

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)
from mimo_embodied_ros.core.prompts import CONTROL_TOKEN, warm_up_prompt
from mimo_embodied_ros.core.readers import END_THINK, THINK
from mimo_embodied_ros.core.resize import FACTOR, PixelLimits

from .interface import (
    Cancelled,
    EarlyEnd,
    EngineConfig,
    GenerationStats,
    MemoryUse,
    ModelInfo,
    OnText,
    Reply,
    ServerHealth,
)
from .repetition import RepetitionDetector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from mimo_embodied_ros.core.prompts import Prompt

    T = TypeVar('T')

# What MiMo-Embodied was evaluated with: 4 to 4096 image tokens (XiaomiMiMo/MiMo-Embodied, README).
DEFAULT_LIMITS = PixelLimits(4 * FACTOR**2, 4096 * FACTOR**2)

_POLL_S = 0.02  # how often a request that waits for its server asks whether it is still wanted
_RECOVERY_S = 10.0  # so long a server that failed stands behind the others
_BUSY_PAUSES_S = (0.5, 1.5)  # before the servers are asked again when one was busy


class OpenAIEngine:
    """A model that other processes hold; ``Engine`` says what its methods promise.

    A request goes to the first server that works. As long as none of its text has come it moves
    on to the next one, whatever was wrong, save that the request itself was refused. A server
    that failed is asked last for 10 s, and then in its place again. Where all fail, the error is
    that with the lowest code, so that a busy server comes before one that is gone.

    =====================================================  =======================
    no connection, lost in an answer, silent for too long  BackendUnreachableError
    status 5xx, no or a broken stream of chat chunks       BackendError
    status 401 or 403 (key), 404 (model)                   ModelNotReadyError
    status 429, also after two pauses                      QueueFullError
    any other status 4xx                                   InvalidRequestError
    =====================================================  =======================

    Raises:
        InvalidRequestError: the smallest image area is above the largest.
        ModelNotReadyError: the environment variable for the key is not set.

    """

    def __init__(self, config: EngineConfig) -> None:
        """Read the settings; the servers are asked by ``warm_up`` first."""
        self._config = config
        self._key = _read_key(config.api_key_env)
        self._unsent = ['OpenAI-Organization', 'OpenAI-Project']
        if not self._key:
            self._unsent.append('Authorization')
        self._limits = PixelLimits(
            config.min_pixels or DEFAULT_LIMITS.min_pixels,
            config.max_pixels or DEFAULT_LIMITS.max_pixels,
        )
        urls = dict.fromkeys(_base_url(url) for url in config.servers)
        self._health = {url: ServerHealth(url) for url in urls}
        self._tls = ssl.create_default_context()  # the system's authorities, read only once
        self._closed = False
        self._info = ModelInfo(
            name=config.model,
            architecture='',
            backend=config.backend,
            device=', '.join(urls),
            dtype='',
            parameters=0,
            min_pixels=self._limits.min_pixels,
            max_pixels=self._limits.max_pixels,
            context_length=0,
        )

    @property
    def info(self) -> ModelInfo:
        """What is asked for."""
        return self._info

    @property
    def limits(self) -> PixelLimits:
        """The image areas to build prompts with."""
        return self._limits

    def health(self) -> tuple[ServerHealth, ...]:
        """What the latest requests showed of each server."""
        return tuple(self._health.values())

    def memory(self) -> MemoryUse:
        """Nothing: the model is elsewhere."""
        return MemoryUse()

    def generate(
        self,
        prompt: Prompt,
        *,
        max_new_tokens: int,
        on_text: OnText | None = None,
        cancelled: Cancelled | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """Answer a prompt; see ``Engine.generate``.

        Cancel and deadline are looked at every 20 ms, and the connection is closed on them. The
        tokens given to ``on_text`` are the server's count where it sends one, else the pieces of
        text so far. Not to be called from a coroutine.
        """
        return self._generate(
            prompt, max_new_tokens, on_text, EarlyEnd(cancelled, deadline), list(self._health)
        )

    def warm_up(self) -> Reply:
        """Ask every server about the smallest and the largest image; one at least must answer.

        Between the two replies the count of prompt tokens must grow as the images do. Otherwise
        the server resizes them once more, and every coordinate would be wrong without a sign.
        """
        areas = self._limits.min_pixels, self._limits.max_pixels
        prompts = [warm_up_prompt(area, self._limits) for area in areas]
        last, errors = None, []
        for url in self._health:
            try:
                small, large = (
                    self._generate(prompt, prompt.max_new_tokens, None, EarlyEnd(None, None), [url])
                    for prompt in prompts
                )
            except MimoError as error:
                errors.append(error)
                continue
            self._compare(url, small.stats, large.stats)
            last = large
        if last is None:
            raise _first(errors)
        return last

    def _compare(self, url: str, small: GenerationStats, large: GenerationStats) -> None:
        sent = large.image_tokens - small.image_tokens
        seen = large.prompt_tokens - small.prompt_tokens
        if small.prompt_tokens and seen != sent:
            raise ModelNotReadyError(
                f'{url} changes the size of images: between {self._limits.min_pixels} and '
                f'{self._limits.max_pixels} pixels it counts {seen} tokens instead of {sent}, so '
                'every coordinate would be wrong; set min_pixels and max_pixels to what its model '
                'has, or start it with these'
            )

    def close(self) -> None:
        """Refuse later requests; the servers keep their weights."""
        self._closed = True

    def _generate(
        self,
        prompt: Prompt,
        max_new_tokens: int,
        on_text: OnText | None,
        end: EarlyEnd,
        urls: list[str],
    ) -> Reply:
        if max_new_tokens < 1:
            raise InvalidRequestError(f'max_new_tokens is {max_new_tokens}; it is 1 or more')
        if found := CONTROL_TOKEN.search(prompt.text):
            raise InvalidRequestError(
                f"the text holds the model's control token {found.group()}, which would end or "
                'change the turn; remove it'
            )
        if self._closed:
            raise ModelNotReadyError(f'{self._info.name} has been closed; configure it again')
        if end.reached():
            return Reply('', end.reason, GenerationStats())
        draft = _Draft(prompt, on_text)
        request = {
            'model': self._config.model,
            'messages': [{'role': 'user', 'content': _content(prompt)}],
            'max_tokens': max_new_tokens,
            'temperature': 0,
            'stream': True,
            'stream_options': {'include_usage': True},
            # openai would send what the environment holds for OpenAI's own servers.
            'extra_headers': dict.fromkeys(self._unsent, openai.Omit()),
        }
        draft.preprocessed = time.monotonic()
        try:
            reason = asyncio.run(self._ask_in_turn(urls, request, draft, end))
        except _EndedEarlyError:
            reason = end.reason
        return draft.reply(reason)

    async def _ask_in_turn(
        self, urls: list[str], request: dict[str, Any], draft: _Draft, end: EarlyEnd
    ) -> str:
        """Ask one server after the other until one answers; returns why its text ended."""
        for pause in (*_BUSY_PAUSES_S, None):
            errors: list[MimoError] = []
            # sorted() keeps the order of those that are equal.
            for url in sorted(urls, key=self._is_resting):
                outcome = await self._try(url, request, draft, end)
                if isinstance(outcome, str):
                    return outcome
                errors.append(outcome)
            if pause is None or not any(isinstance(error, QueueFullError) for error in errors):
                break
            await _finish(asyncio.sleep(pause), 2 * pause, end)
        raise _first(errors)

    async def _try(
        self, url: str, request: dict[str, Any], draft: _Draft, end: EarlyEnd
    ) -> str | MimoError:
        """Ask one server; returns why its text ended, or why the next is to be asked."""
        try:
            return await self._ask(url, request, draft, end)
        except _ServerError as failure:
            error = failure.error
            error.raw_text = draft.text
            if isinstance(error, InvalidRequestError):
                raise error from failure.__cause__
            self._note(url, healthy=False, last_error=str(error))
            if draft.text:
                raise error from failure.__cause__
            return error

    def _is_resting(self, url: str) -> bool:
        health = self._health[url]
        return health.healthy is False and time.monotonic() < health.checked + _RECOVERY_S

    def _note(self, url: str, **changes: Any) -> None:
        self._health[url] = replace(self._health[url], checked=time.monotonic(), **changes)

    async def _ask(
        self, url: str, request: dict[str, Any], draft: _Draft, end: EarlyEnd
    ) -> str:
        """Stream one server's answer into the draft."""
        config, asked = self._config, time.monotonic()
        async with openai.AsyncOpenAI(
            base_url=url,
            api_key=self._key or 'none',
            http_client=openai.DefaultAsyncHttpxClient(verify=self._tls),
            timeout=openai.Timeout(None, connect=config.connect_timeout),
            max_retries=0,
        ) as client:
            stream: Any = await self._receive(
                url,
                client.chat.completions.create(**request),
                config.connect_timeout + config.first_token_timeout,
                end,
            )
            try:
                reason = await self._stream(url, aiter(stream), draft, end, asked)
            finally:
                await _exhaust(stream)
        if reason not in ('stop', 'length', 'repetition'):
            raise _ServerError(BackendError(
                f'{url} ended its answer after {len(draft.text)} characters with '
                f'finish_reason {reason!r} instead of stop or length; see its log'
            ))
        if not draft.text:
            self._note(url, healthy=True, latency_s=time.monotonic() - asked)
        if reason == 'stop':
            draft.close()
        return reason

    async def _stream(
        self, url: str, pieces: AsyncIterator[Any], draft: _Draft, end: EarlyEnd, asked: float
    ) -> str:
        """Take all pieces of an answer; returns its finish reason."""
        limit, reason = self._config.first_token_timeout, ''
        while True:
            try:
                piece = await self._receive(url, _next(pieces), limit, end)
            except _ServerError:
                if reason:
                    return reason  # the answer is complete, only its usage may be missing
                raise
            if piece is None:
                return reason
            reasoning, content, ending = _read(url, piece)
            if (reasoning or content) and not draft.text:
                limit = self._config.token_timeout
                self._note(url, healthy=True, latency_s=time.monotonic() - asked)
            reason = ending or reason
            if draft.add(reasoning, content, getattr(piece, 'usage', None)):
                return 'repetition'  # leaving closes the connection, which stops the server

    async def _receive(
        self, url: str, work: Coroutine[Any, Any, T], limit_s: float, end: EarlyEnd
    ) -> T:
        """Wait for a server and name what can be wrong with it."""
        task = await _finish(work, limit_s, end)
        if task is None:
            raise _ServerError(BackendUnreachableError(
                f'{url} has sent nothing for {limit_s:g} s; see whether it hangs or is overloaded, '
                'or raise first_token_timeout or token_timeout'
            ))
        try:
            return task.result()
        except openai.APIStatusError as error:
            raise _ServerError(self._refused(url, error)) from error
        except openai.APIConnectionError as error:
            raise _ServerError(BackendUnreachableError(
                f'{url} cannot be reached or was lost ({_brief(error.__cause__ or error)}); start '
                'its server, or correct servers'
            )) from error
        except Exception as error:  # whatever openai makes of what it cannot read
            raise _ServerError(BackendError(
                f'{url} failed or sent what is no chat completion ({_brief(error)}); see its log'
            )) from error

    def _refused(self, url: str, error: openai.APIStatusError) -> MimoError:
        """The error for a status that is not 200."""
        status, said = error.status_code, _brief(error)
        if status in (401, 403):
            name = self._config.api_key_env
            remedy = f'put a valid one into {name}' if name else 'name its variable in api_key_env'
            return ModelNotReadyError(f'{url} wants another key ({said}); {remedy}')
        if status == 404:
            return ModelNotReadyError(
                f'{url} does not serve {self._config.model} ({said}); set model to the name that '
                'the server gives it, and see that the URL ends as the server says, mostly in /v1'
            )
        if status == 429:
            return QueueFullError(
                f'{url} has too many requests ({said}); ask again later or add a server'
            )
        if status < 500:
            return InvalidRequestError(
                f'{url} refuses the request ({said}); send what its model and settings allow'
            )
        return BackendError(f'{url} failed ({said}); see its log')


class _ServerError(Exception):
    """What is wrong with a server, told apart from what the caller's own code raises."""

    def __init__(self, error: MimoError) -> None:
        super().__init__(str(error))
        self.error = error


class _EndedEarlyError(Exception):
    """The caller wants no more."""


async def _finish(
    work: Coroutine[Any, Any, T], limit_s: float, end: EarlyEnd
) -> asyncio.Task[T] | None:
    """Wait until the work has ended, however; None when it takes too long.

    Raises:
        _EndedEarlyError: the request is to end. This, and whatever ``end`` raises, ends the work.

    """
    task = asyncio.ensure_future(work)
    limit = time.monotonic() + limit_s
    try:
        while not task.done():
            if end.reached():
                raise _EndedEarlyError
            if time.monotonic() >= limit:
                return None
            await asyncio.wait((task,), timeout=_POLL_S)
        return task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


async def _next(pieces: AsyncIterator[T]) -> T | None:
    async for piece in pieces:
        return piece
    return None


async def _exhaust(stream: Any) -> None:
    """Close a connection, and let openai's generators see it: asyncio complains of open ones."""

    async def read() -> None:
        async for _ in stream:
            pass

    with contextlib.suppress(Exception):
        await stream.close()
        await asyncio.wait_for(read(), 1.0)


class _Draft:
    """The answer so far, in the model's own form however the server splits it.

    vLLM and SGLang leave ``<think>`` in the text, or with a reasoning parser take it out into
    ``reasoning_content`` or ``reasoning``, as ``transformers serve`` always does. The line breaks
    that stand around the tags are added where the server has cut them off.
    """

    def __init__(self, prompt: Prompt, on_text: OnText | None) -> None:
        self._on_text = on_text
        self._image_tokens = sum(image.shape[0] * image.shape[1] for image in prompt.images)
        self._image_tokens //= FACTOR**2
        self._thinks = False
        self._repetition = RepetitionDetector()
        self._prompt_tokens = self._tokens = 0
        self._start = time.monotonic()
        self._first_token = self._start
        self.preprocessed = self._start
        self.text = ''

    def add(self, reasoning: str, content: str, usage: Any) -> bool:
        """Take what a server sent in one piece, and pass its text on.

        Returns:
            Whether the model has begun to repeat itself.

        """
        new = ''
        if reasoning:
            if not self._thinks:
                new = THINK + '\n' * (not reasoning[0].isspace())
            self._thinks = True
            new += reasoning
        if content:
            if self._thinks:
                new += '\n' * (not (self.text + new).endswith('\n')) + END_THINK
                new += '\n\n' * (not content[0].isspace())
            self._thinks = False
            new += content
        if new:
            if not self.text:
                self._first_token = time.monotonic()
            self._tokens += 1
        asked = getattr(usage, 'prompt_tokens', None)
        written = getattr(usage, 'completion_tokens', None)
        if isinstance(asked, int) and isinstance(written, int):
            self._prompt_tokens, self._tokens = asked, written
        self._write(new)
        return self._repetition.feed(new)

    def close(self) -> None:
        """End a reasoning that the model ended with nothing after it; servers do not say that."""
        if self._thinks:
            self._write('\n' * (not self.text.endswith('\n')) + END_THINK + '\n\n')

    def _write(self, new: str) -> None:
        self.text += new
        if new and self._on_text is not None:
            self._on_text(new, self._tokens)

    def reply(self, reason: str) -> Reply:
        """The whole answer."""
        stats = GenerationStats(
            prompt_tokens=self._prompt_tokens,
            image_tokens=self._image_tokens,
            completion_tokens=self._tokens,
            preprocess_s=self.preprocessed - self._start,
            first_token_s=self._first_token - self._start,
            total_s=time.monotonic() - self._start,
        )
        return Reply(self.text, reason, stats)


def _read(url: str, piece: Any) -> tuple[str, str, str]:
    """Reasoning, content and finish reason of one piece; empty where it has none.

    openai checks no types, so anything can be anywhere.
    """
    try:
        if piece.choices == []:
            return '', '', ''  # the last one holds the usage only
        (choice,) = piece.choices
        delta = choice.delta
        reasoning = getattr(delta, 'reasoning_content', None) or getattr(delta, 'reasoning', None)
        read = reasoning or '', delta.content or '', choice.finish_reason or ''
    except (AttributeError, TypeError, ValueError) as error:
        raise _ServerError(
            BackendError(f'{url} sent a piece that is no chat completion ({error}); see its log')
        ) from error
    if not all(isinstance(text, str) for text in read):
        raise _ServerError(
            BackendError(f'{url} sent a piece whose text is none ({str(piece)[:200]}); see its log')
        )
    return read


def _content(prompt: Prompt) -> list[dict[str, Any]]:
    """The user's turn: images, unchanged, before the text."""
    parts: list[dict[str, Any]] = []
    for pixels in prompt.images:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, 'PNG', compress_level=1)
        data = base64.b64encode(file.getvalue()).decode('ascii')
        parts.append({'type': 'image_url', 'image_url': {'url': f'data:image/png;base64,{data}'}})
    return [*parts, {'type': 'text', 'text': prompt.text}]


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    return url.rstrip('/') + '/v1' * (parts.path in ('', '/'))


def _read_key(variable: str) -> str:
    key = os.environ.get(variable, '') if variable else ''
    if variable and not key:
        raise ModelNotReadyError(
            f'the environment variable {variable}, which api_key_env names, is not set; put the '
            "servers' key into it where this program is started"
        )
    return key


def _first(errors: list[MimoError]) -> MimoError:
    """The error with the lowest code; with several, what was wrong with each server."""
    first = min(errors, key=lambda error: error.code)
    return first if len(errors) == 1 else type(first)('; '.join(map(str, errors)))


def _brief(error: BaseException) -> str:
    return (' '.join(str(error).split()) or type(error).__name__)[:300]
