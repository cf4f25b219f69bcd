"""The connection to one server with OpenAI's interface: time limits, errors and health.

Every request has a connection of its own, and its answer is streamed: closing the connection tells
the server to stop, and no connection is left over from before a restart of the server.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
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

from .early_end import EndedEarlyError, wait_for
from .interface import ServerHealth
from .openai_proxy import find_proxy
from .openai_reader import CompletionReader, StreamError, describe, excerpt

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine

    from .config import EngineConfig
    from .early_end import EarlyEnd
    from .openai_stream import StreamedReply

    T = TypeVar('T')
    Patience = Callable[[], tuple[float, float]]

_USAGE_S = 1.0  # for so long after the end of an answer its counts of tokens are waited for
_MAX_ERROR = 20_000  # bytes that are read of an error
_LOST = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)  # once it was connected


class ServerError(Exception):
    """Carries an error of a server, to tell it from exceptions of the caller's own code."""

    def __init__(self, error: MimoError, *, is_cut_off: bool = False) -> None:
        """Take the error that the caller gets, and whether a server had taken the request."""
        super().__init__(str(error))
        self.error = error
        # a router reports a server that is gone by a status of 5xx
        self.is_cut_off = is_cut_off or isinstance(error, BackendError)

    @property
    def is_answer(self) -> bool:
        """Whether the server has said so itself, about this request."""
        return isinstance(self.error, (InvalidRequestError, BackendError))


class Connection:
    """Sends requests to one server.

    Attributes:
        health: is known from its latest requests.

    """

    def __init__(
        self, url: str, config: EngineConfig, key: str, tls: ssl.SSLContext,
        lost: Callable[[], None],
    ) -> None:
        """Take the settings; nothing is sent yet.

        Args:
            url: base URL.
            config: has the name of the model, and the time limits.
            key: API key; empty is none.
            tls: has the authorities that certificates are checked against.
            lost: is called when the answer of another program shows that the server is gone.

        Raises:
            InvalidRequestError: an environment variable asks for a proxy that cannot be used.

        """
        self._url, self._config, self._tls, self._lost = url, config, tls, lost
        self._headers = {
            'Content-Type': 'application/json',
            'Accept': 'text/event-stream, application/json',
            'Accept-Encoding': 'identity',  # a compressed stream comes late
        }
        if config.session:  # vllm-router and Ray Serve read it
            self._headers['X-Session-ID'] = config.session
        if key:
            self._headers['Authorization'] = f'Bearer {key}'
        self._proxy = find_proxy(url)
        self.health = ServerHealth(url)

    def note(self, **changes: Any) -> None:
        """Change the health, as it is now."""
        self.health = replace(self.health, checked=time.monotonic(), **changes)

    async def ask(self, request: dict[str, Any], reply: StreamedReply, end: EarlyEnd) -> str:
        """Stream an answer; return its finish reason.

        Raises:
            ServerError: the server failed, or refuses the request.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
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
                self.note(healthy=True, **({} if before else {'latency_s': first - start}))
        return reader.finish

    async def models(self, end: EarlyEnd) -> Any:
        """Return what it says about its models; None if nothing.

        It is waited for as long as for the first token of an answer, since some servers say nothing
        while they answer another request.

        Raises:
            ServerError: the server failed.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        start, config = time.monotonic(), self._config
        return await self._run(self._models(), end, lambda: (
            start, config.connect_timeout + config.first_token_timeout))

    async def _models(self) -> Any:
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
            ), is_cut_off=isinstance(error, _LOST)) from error
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
            self._lost()
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


def _brief(error: Exception) -> str:
    return excerpt(error) or type(error).__name__
