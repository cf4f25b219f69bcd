"""One server with OpenAI's interface: connection, time limits, errors and health.

Every request has a connection of its own, and its answer is streamed: closing the connection tells
the server to stop, and no connection is left over from before a restart of the server.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)
from mimo_embodied_ros.core.prompts import NO_THINK, Prompt

from .early_end import EndedEarlyError, wait_for
from .interface import Grounding, ServerHealth
from .openai_grounding import GroundingGate
from .openai_proxy import find_proxy
from .openai_reader import CompletionReader, StreamError, describe, excerpt
from .openai_stream import StreamedReply
from .openai_styles import HOLD_SCHEMAS, REFUSAL, TRIAL, AnswerForm, candidates, is_held
from .openai_thinking import TRIAL_PROMPT, answer_within, continues_turns
from .openai_video import VideoSupport, png, with_videos

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Sequence

    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.core.video import Video

    from .config import EngineConfig
    from .early_end import EarlyEnd

    T = TypeVar('T')
    Patience = Callable[[], tuple[float, float]]

_USAGE_S = 1.0  # for so long after the end of an answer its counts of tokens are waited for
_MAX_ERROR = 20_000  # bytes that are read of an error
_TRIAL_TOKENS = 16
_OTHER_STYLE = 'structured_style to the way in which this server takes the form of an answer'
_RECOVERY_S = 10.0  # for so long after a failure the other servers are tried first


class ServerError(Exception):
    """Carries an error of a server, to tell it from exceptions of the caller's own code."""

    def __init__(self, error: MimoError) -> None:
        """Take the error that the caller gets."""
        super().__init__(str(error))
        self.error = error


class Server:
    """One server.

    Attributes:
        health: is known from its latest requests.
        style: how it takes the form of an answer, as in ``EngineConfig.structured_style``; empty
            as long as that has not been tried. It is tried again after the server was lost, since
            another one may answer then.
        video: how it takes videos.
        gate: knows whether its points are right; it is tested again after it was lost, too.

    """

    def __init__(
        self, url: str, config: EngineConfig, limits: PixelLimits, key: str, tls: ssl.SSLContext,
        test: Callable[[Server], Grounding],
    ) -> None:
        """Take the settings; nothing is sent yet.

        Args:
            url: base URL.
            config: has the name of the model, the time limits, and how grammars and videos are
                sent.
            limits: image areas of the prompts.
            key: API key; empty is none.
            tls: has the authorities that certificates are checked against.
            test: the grounding test; it raises where its result refuses the server.

        Raises:
            InvalidRequestError: an environment variable asks for a proxy that cannot be used.

        """
        self._url, self._config, self._tls = url, config, tls
        self._headers = {
            'Content-Type': 'application/json',
            'Accept': 'text/event-stream, application/json',
            'Accept-Encoding': 'identity',  # a compressed stream comes late
        }
        if key:
            self._headers['Authorization'] = f'Bearer {key}'
        self._proxy = find_proxy(url)
        self.style = ''
        self._is_style_known = False
        self.video = VideoSupport(url, config.video_style, limits)
        self._continues_turns: bool | None = None  # not known
        self.health = ServerHealth(url)
        self.gate = GroundingGate(config.grounding_test, lambda: test(self))

    def is_resting(self) -> bool:
        """Whether it failed so recently that the other servers are tried first."""
        health = self.health
        return health.healthy is False and time.monotonic() < health.checked + _RECOVERY_S

    async def refusal(self, end: EarlyEnd) -> MimoError | None:
        """Wait until it may be asked; return why it may not, None where it may.

        Raises:
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        task = await wait_for(
            self.gate.refusal(again=not self.is_resting()), lambda: math.inf, end)
        return task.result() if task else None

    def refuse(self, error: MimoError) -> None:
        """Let the other servers be asked first for some time, though it answers."""
        self._note(healthy=False, last_error=str(error))

    async def ask(
        self, request: dict[str, Any], videos: Sequence[Video], form: AnswerForm, budget: int,
        reply: StreamedReply, end: EarlyEnd,
    ) -> str | MimoError:
        """Stream an answer into ``reply``.

        Args:
            request: the fields of the request, without videos and those that hold its answer.
            videos: of the prompt.
            form: that the answer is held to.
            budget: most tokens of the reasoning, fewer than the request's limit; 0: none.
            reply: gets the text.
            end: ends the answer early.

        Returns:
            The finish reason of the answer, or the error because of which the next server is to
            be tried.

        Raises:
            MimoError: the request is wrong, or the server failed in the middle of its answer.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        forms: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        try:
            if videos:
                await self.video.find(partial(self._count_tokens, end))
                try:
                    request = self.video.add(request, videos)
                except InvalidRequestError as refusal:
                    return refusal  # another server may take it
            if form.grammar:
                await self._find_style(end)
                try:
                    forms = self._fields(form), self._fields(form.after_reasoning())
                except InvalidRequestError as refusal:
                    return refusal  # another server may hold it
            if not budget:
                return await self._connect({**request, **forms[0]}, reply, end)
            if not await self._find_continuation(end):
                return InvalidRequestError(
                    f'{self._url} does not continue a turn that the model has begun, which a limit '
                    'of its reasoning needs; set thinking_tokens to 0, or ask without thinking')
            return await answer_within(self._connector(end), request, forms, budget, reply)
        except ServerError as failure:
            error = failure.error
            answered = isinstance(error, (InvalidRequestError, BackendError))
            if form.grammar and answered and not reply.text and REFUSAL.search(str(error)):
                return InvalidRequestError(
                    f'{self._url} refuses the form of the answer ({excerpt(error)}); set '
                    f'structured to false, or {_OTHER_STYLE}')
            error.raw_text = reply.text
            if isinstance(error, InvalidRequestError):
                raise error from failure.__cause__
            self._note(healthy=False, last_error=str(error))
            if isinstance(error, BackendUnreachableError):
                self._lose()
            if reply.text:
                raise error from failure.__cause__
            return error

    def _fields(self, form: AnswerForm) -> dict[str, Any]:
        """Return the fields that hold an answer; raises InvalidRequestError if it cannot be."""
        if self.style == 'none':
            raise InvalidRequestError(
                f'{self._url} holds no answer to a form; set structured to false, or '
                f'{_OTHER_STYLE}')
        try:
            return form.fields(self.style)
        except InvalidRequestError as error:
            raise InvalidRequestError(f'{self._url} {error}') from error

    async def find_style(self, end: EarlyEnd) -> None:
        """Find out how it holds answers to a form, and whether it continues turns.

        Raises:
            ModelNotReadyError: it does not in the way that the settings name.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        with contextlib.suppress(ServerError):  # it is tried again with the first form
            await self._find_style(end)
            await self._find_continuation(end)
        if self.style == 'none' and self._config.structured_style in HOLD_SCHEMAS:
            raise ModelNotReadyError(
                f'{self._url} does not hold its answer to a form that is sent in the way of '
                f'{self._config.structured_style}; set structured_style to auto or none')

    async def _find_style(self, end: EarlyEnd) -> None:
        """Send a form with one answer: some servers ignore fields that they do not know."""
        if self._is_style_known:
            return
        styles: tuple[str, ...] = (self._config.structured_style,)
        if styles == ('auto',):
            start = time.monotonic()
            styles = candidates(await self._run(
                self._models(), end, lambda: (start, self._config.connect_timeout)))
        found = 'none'
        for style in styles:
            if style != 'none' and await self._holds(style, end):
                found = style
                break
        self.style, self._is_style_known = found, True

    async def _find_continuation(self, end: EarlyEnd) -> bool:
        """Whether it continues a turn that the model has begun; it is tried if not known yet."""
        if self._continues_turns is None:
            request = chat_request(self._config.model, TRIAL_PROMPT, TRIAL_PROMPT.max_new_tokens)
            try:
                self._continues_turns = await continues_turns(self._connector(end), request)
            except ServerError as failure:
                if not isinstance(failure.error, (InvalidRequestError, BackendError)):
                    raise
                self._continues_turns = False
        return self._continues_turns

    def _connector(
        self, end: EarlyEnd
    ) -> Callable[[dict[str, Any], StreamedReply], Coroutine[Any, Any, str]]:
        """Return a function that sends requests of one caller."""
        return lambda request, reply: self._connect(request, reply, end)

    async def _holds(self, style: str, end: EarlyEnd) -> bool:
        """Whether it gives the only answer that a form allows."""
        prompt = Prompt('Is it held?' + NO_THINK, (), (), _TRIAL_TOKENS)
        reply = StreamedReply(prompt, None)
        request = chat_request(self._config.model, prompt, prompt.max_new_tokens)
        try:
            await self._connect(request | TRIAL.fields(style), reply, end)
        except ServerError as failure:
            if not isinstance(failure.error, (InvalidRequestError, BackendError)):
                raise
        return is_held(style, reply.text)

    async def _models(self) -> Any:
        """What it says about its models; None if nothing."""
        async with self._client() as client, client.stream(
            'GET', f'{self._url}/models'
        ) as response:
            if response.status_code in (404, 405, 501):
                return None
            if not response.is_success:
                raise ServerError(await self._refused(response))
            await response.aread()
        try:
            return response.json()
        except (ValueError, RecursionError):
            return None

    async def find_video_style(self, end: EarlyEnd) -> None:
        """Find out how it takes videos, if that is not known yet.

        Raises:
            ModelNotReadyError: it does not in the way that the settings name.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        with contextlib.suppress(ServerError):  # it is tried again with the first video
            await self.video.find(partial(self._count_tokens, end))
        self.video.check()

    async def _count_tokens(self, end: EarlyEnd, prompt: Prompt, style: str) -> int | MimoError:
        """How many tokens it counts in a prompt with a video; or why it refuses it."""
        reply = StreamedReply(prompt, None)
        request = chat_request(self._config.model, prompt, prompt.max_new_tokens)
        try:
            await self._connect(with_videos(request, prompt.videos, style), reply, end)
        except ServerError as failure:
            if not isinstance(failure.error, (InvalidRequestError, BackendError)):
                raise
            return failure.error
        return reply.reply('').stats.prompt_tokens

    def _lose(self) -> None:
        """Know no more what was found out about it: another server may answer now."""
        self._is_style_known, self._continues_turns = False, None
        self.video.forget()
        self.gate.forget()

    def _note(self, **changes: Any) -> None:
        self.health = replace(self.health, checked=time.monotonic(), **changes)

    async def _connect(self, request: dict[str, Any], reply: StreamedReply, end: EarlyEnd) -> str:
        """Stream an answer; return its finish reason."""
        config, start, before = self._config, time.monotonic(), len(reply.text)
        reader = CompletionReader(reply)

        def patience() -> tuple[float, float]:
            if reader.finish:
                return reader.finished, _USAGE_S
            if len(reply.text) > before:
                return reply.written, config.token_timeout
            return start, config.connect_timeout + config.first_token_timeout

        try:
            await self._run(self._exchange(request, reader), end, patience)
        except (ServerError, EndedEarlyError):
            if not reader.finish:
                raise
        finally:
            if len(reply.text) > before or reader.finish:
                first = reply.first_token if reply.text else time.monotonic()
                self._note(healthy=True, **({} if before else {'latency_s': first - start}))
        return reader.finish

    async def _exchange(self, request: dict[str, Any], reader: CompletionReader) -> None:
        """Send a request, and read its answer to the end."""
        async with self._client() as client, client.stream(
            'POST', f'{self._url}/chat/completions', content=json.dumps(request).encode()
        ) as response:
            if response.request.method != 'POST':
                raise ServerError(ModelNotReadyError(
                    f'{self._url} sends the request on to {response.url}; set servers to the URL '
                    'at which it answers'))
            if not response.is_success:
                raise ServerError(await self._refused(response))
            try:
                async for data in response.aiter_bytes():
                    if reader.feed(data):
                        break
                reader.end()
            except StreamError as error:
                text = str(error)
                raise ServerError(
                    self._refusal(error.status, text) if error.status
                    else BackendError(f'{self._url} {text}; see its log')) from error

    def _client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            headers=self._headers, verify=self._tls, follow_redirects=True, trust_env=False,
            proxy=self._proxy.proxy if self._proxy else None,
            timeout=httpx2.Timeout(None, connect=self._config.connect_timeout))

    async def _run(
        self, work: Coroutine[Any, Any, T], end: EarlyEnd, patience: Patience
    ) -> T:
        """Wait for the server, and convert the errors of the connection to ServerError.

        Args:
            work: what is waited for.
            end: ends the wait early.
            patience: returns the ``time.monotonic()`` seconds of the latest progress, and for how
                many seconds from then the wait goes on.

        """
        try:
            task = await wait_for(work, lambda: sum(patience()), end)
            if task is not None:
                return task.result()
        except httpx2.DecodingError as error:
            raise ServerError(BackendError(
                f'{self._url} sent a body that is not compressed as it says ({_brief(error)}); '
                'see its log')) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            way = f' by the proxy that {self._proxy.variable} names' if self._proxy else ''
            raise ServerError(BackendUnreachableError(
                f'{self._url} cannot be reached or was lost{way} ({_brief(error)}); start its '
                'server, or correct servers' + ', or the proxy' * bool(way)
            )) from error
        raise ServerError(BackendUnreachableError(
            f'{self._url} has written nothing for {patience()[1]:g} s; see whether it '
            'hangs or is overloaded, or raise first_token_timeout or token_timeout'))

    async def _refused(self, response: httpx2.Response) -> MimoError:
        """Return the error for an HTTP status that is no success, with what its body says."""
        body, wait = b'', response.headers.get('Retry-After', '')
        with contextlib.suppress(httpx2.HTTPError):  # what has come is enough
            async for data in response.aiter_bytes():
                body += data
                if len(body) > _MAX_ERROR:
                    break
        status, answer = response.status_code, describe(body)
        if not answer.startswith(str(status)):
            answer = f'{status} {answer}'.strip()
        return self._refusal(status, answer + f', Retry-After: {excerpt(wait, 40)}' * bool(wait))

    def _refusal(self, status: int, answer: str) -> MimoError:
        """Return the error for a status, which may also come in the middle of an answer."""
        url = self._url
        if status in (404, 502, 503, 504):  # the model was changed, or a proxy has lost its server
            self._lose()
        if status in (401, 403):
            name = self._config.api_key_env
            remedy = f'put a valid one into {name}' if name else 'name its variable in api_key_env'
            return ModelNotReadyError(f'{url} requires another key ({answer}); {remedy}')
        if status == 404:
            return ModelNotReadyError(
                f'{url} does not serve {self._config.model} ({answer}); set model to the name that '
                'the server gives it, and see that the URL ends as the server says, mostly in /v1'
            )
        if status == 407:
            variable = self._proxy.variable if self._proxy else 'http_proxy'
            return BackendUnreachableError(
                f'the proxy before {url} requires a password ({answer}); put it into the URL in '
                f'the environment variable {variable}')
        if status == 413:
            return InvalidRequestError(
                f'{url} or a proxy before it takes no request of this size ({answer}); raise its '
                'limit, or send fewer or smaller images (max_pixels)')
        if status == 429:
            return QueueFullError(
                f'{url} has too many requests ({answer}); ask again later or add a server'
            )
        if 400 <= status < 500:
            return InvalidRequestError(
                f'{url} refuses the request ({answer}); send what its model and settings allow'
            )
        return BackendError(f'{url} failed ({answer}); see its log')


def chat_request(model: str, prompt: Prompt, max_tokens: int) -> dict[str, Any]:
    """Return the fields of a request without videos: the images without loss, then the text."""
    images = [{'type': 'image_url', 'image_url': {'url': f'data:image/png;base64,{png(pixels)}'}}
              for pixels in prompt.images]
    messages: list[dict[str, Any]] = [
        {'role': 'system', 'content': prompt.system}] if prompt.system else []
    messages.append({'role': 'user', 'content': [*images, {'type': 'text', 'text': prompt.text}]})
    begun: dict[str, Any] = {}
    if prompt.mode.prefill:  # vLLM and SGLang then let the model go on with its turn
        messages.append({'role': 'assistant', 'content': prompt.mode.prefill})
        begun = {'add_generation_prompt': False, 'continue_final_message': True}
    return {
        'model': model,
        'messages': messages,
        **begun,
        **prompt.mode.request,
        'max_tokens': max_tokens,
        'temperature': 0,
        'stream': True,
        'stream_options': {'include_usage': True},
    }


def _brief(error: Exception) -> str:
    return excerpt(error) or type(error).__name__
