"""One server with OpenAI's interface: connection, time limits, errors and health.

Every request has a connection of its own, and its answer is streamed: closing the connection tells
the server to stop, and no connection is left over from before a restart of the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import openai

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)

from .interface import EarlyEnd, EngineConfig, ServerHealth
from .openai_stream import ServerError, StreamedReply, read_chunk

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Coroutine

    T = TypeVar('T')

_POLL_S = 0.02  # how often cancel and deadline are checked while a request waits
_RECOVERY_S = 10.0  # for so long after a failure the other servers are tried first


class EndedEarlyError(Exception):
    """The request was cancelled, or its deadline passed."""


class Server:
    """One server; ``health`` is known from its latest requests."""

    def __init__(self, url: str, config: EngineConfig, key: str, tls: ssl.SSLContext) -> None:
        """Take the settings; nothing is sent yet.

        Args:
            url: base URL.
            config: has the name of the model and the time limits.
            key: API key; empty is none.
            tls: has the authorities that certificates are checked against.

        """
        self._url, self._config, self._key, self._tls = url, config, key, tls
        self.health = ServerHealth(url)

    def is_resting(self) -> bool:
        """Whether it failed so recently that the other servers are tried first."""
        health = self.health
        return health.healthy is False and time.monotonic() < health.checked + _RECOVERY_S

    async def ask(
        self, request: dict[str, Any], reply: StreamedReply, end: EarlyEnd
    ) -> str | MimoError:
        """Stream an answer into ``reply``.

        Returns:
            The finish reason of the answer, or the error because of which the next server is to
            be tried.

        Raises:
            MimoError: the request is wrong, or the server failed in the middle of its answer.
            EndedEarlyError: the request was cancelled, or its deadline passed.

        """
        try:
            return await self._connect(request, reply, end)
        except ServerError as failure:
            error = failure.error
            error.raw_text = reply.text
            if isinstance(error, InvalidRequestError):
                raise error from failure.__cause__
            self._note(healthy=False, last_error=str(error))
            if reply.text:
                raise error from failure.__cause__
            return error

    def _note(self, **changes: Any) -> None:
        self.health = replace(self.health, checked=time.monotonic(), **changes)

    async def _connect(self, request: dict[str, Any], reply: StreamedReply, end: EarlyEnd) -> str:
        config, start = self._config, time.monotonic()
        async with openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._key or 'none',
            http_client=openai.DefaultAsyncHttpxClient(verify=self._tls),
            timeout=openai.Timeout(None, connect=config.connect_timeout),
            max_retries=0,
        ) as client:
            stream: Any = await self._receive(
                client.chat.completions.create(**request),
                config.connect_timeout + config.first_token_timeout,
                end,
            )
            try:
                reason = await self._read_stream(aiter(stream), reply, end, start)
            finally:
                await _exhaust(stream)
        if reason not in ('stop', 'length', 'repetition'):
            raise ServerError(BackendError(
                f'{self._url} ended its answer after {len(reply.text)} characters with '
                f'finish_reason {reason!r} instead of stop or length; see its log'
            ))
        if not reply.text:
            self._note(healthy=True, latency_s=time.monotonic() - start)
        if reason == 'stop':
            reply.close()
        return reason

    async def _read_stream(
        self, chunks: AsyncIterator[Any], reply: StreamedReply, end: EarlyEnd, start: float
    ) -> str:
        """Read all chunks of an answer; return its finish reason."""
        limit, reason = self._config.first_token_timeout, ''
        while True:
            try:
                chunk = await self._receive(_next(chunks), limit, end)
            except ServerError:
                if reason:
                    return reason  # the answer is complete, only its usage may be missing
                raise
            if chunk is None:
                return reason
            reasoning, content, ending = read_chunk(self._url, chunk)
            if (reasoning or content) and not reply.text:
                limit = self._config.token_timeout
                self._note(healthy=True, latency_s=time.monotonic() - start)
            reason = ending or reason
            if reply.add(reasoning, content, getattr(chunk, 'usage', None)):
                return 'repetition'  # leaving closes the connection, which stops the server

    async def _receive(self, work: Coroutine[Any, Any, T], limit_s: float, end: EarlyEnd) -> T:
        """Wait for the server, and convert its errors and those of openai to ServerError."""
        task = await wait_for(work, limit_s, end)
        if task is None:
            raise ServerError(BackendUnreachableError(
                f'{self._url} has sent nothing for {limit_s:g} s; see whether it hangs or is '
                'overloaded, or raise first_token_timeout or token_timeout'
            ))
        try:
            return task.result()
        except openai.APIStatusError as error:
            raise ServerError(self._refusal(error)) from error
        except openai.APIConnectionError as error:
            raise ServerError(BackendUnreachableError(
                f'{self._url} cannot be reached or was lost ({_brief(error.__cause__ or error)}); '
                'start its server, or correct servers'
            )) from error
        except Exception as error:  # openai raises many types for a body that it cannot read
            raise ServerError(BackendError(
                f'{self._url} failed or sent no chat completion ({_brief(error)}); see its '
                'log'
            )) from error

    def _refusal(self, error: openai.APIStatusError) -> MimoError:
        """Return the error for an HTTP status that is not 200."""
        url, status, answer = self._url, error.status_code, _brief(error)
        if status in (401, 403):
            name = self._config.api_key_env
            remedy = f'put a valid one into {name}' if name else 'name its variable in api_key_env'
            return ModelNotReadyError(f'{url} requires another key ({answer}); {remedy}')
        if status == 404:
            return ModelNotReadyError(
                f'{url} does not serve {self._config.model} ({answer}); set model to the name that '
                'the server gives it, and see that the URL ends as the server says, mostly in /v1'
            )
        if status == 429:
            return QueueFullError(
                f'{url} has too many requests ({answer}); ask again later or add a server'
            )
        if status < 500:
            return InvalidRequestError(
                f'{url} refuses the request ({answer}); send what its model and settings allow'
            )
        return BackendError(f'{url} failed ({answer}); see its log')


async def wait_for(
    work: Coroutine[Any, Any, T], limit_s: float, end: EarlyEnd
) -> asyncio.Task[T] | None:
    """Wait until the work has returned or raised; return None if it takes too long.

    Raises:
        EndedEarlyError: the request is to end early. This, and exceptions of ``end``, cancel the
            work.

    """
    task = asyncio.ensure_future(work)
    limit = time.monotonic() + limit_s
    try:
        while not task.done():
            if end.reached():
                raise EndedEarlyError
            if time.monotonic() >= limit:
                return None
            await asyncio.wait((task,), timeout=_POLL_S)
        return task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))


async def _next(chunks: AsyncIterator[T]) -> T | None:
    async for chunk in chunks:
        return chunk
    return None


async def _exhaust(stream: Any) -> None:
    """Close a connection, and finish openai's generators, or asyncio would warn about them."""

    async def read() -> None:
        async for _ in stream:
            pass

    with contextlib.suppress(Exception):
        await stream.close()
        await asyncio.wait_for(read(), 1.0)


def _brief(error: BaseException) -> str:
    return (' '.join(str(error).split()) or type(error).__name__)[:300]
