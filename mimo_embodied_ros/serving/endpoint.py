"""Answer the requests of HTTP clients with one engine."""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from mimo_embodied_ros.core.errors import (
    BackendError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)
from mimo_embodied_ros.engine import Reply

from .chat_request import ChatRequest, read_request
from .chunks import END, Completion, error_body
from .errors import TooLargeError, WrongKeyError, status_of
from .metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import Receive

    from mimo_embodied_ros.engine import Engine

    Event = ChatRequest | str | Reply | MimoError

_MAX_BODY = 256_000_000  # bytes; six images of 4096 tokens take 60 MB in base64 at most
_logger = logging.getLogger(__name__)


class _Answer:
    """One answer, on its way from the thread that generates it to the event loop.

    Attributes:
        gone: is set when nobody waits for it any more; it then ends at the next token.

    """

    def __init__(self, engine: Engine, model: str, body: bytes) -> None:
        self.gone = threading.Event()
        self._engine, self._model, self._body = engine, model, body
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def run(self) -> None:
        """Generate it, in a thread of its own."""
        try:
            chat = read_request(self._body, self._model, self._engine.limits)
            self._put(chat)
            self._put(self._engine.generate(
                chat.prompt, max_new_tokens=chat.prompt.max_new_tokens,
                on_text=lambda text, _: self._put(text), cancelled=self.gone.is_set))
        except MimoError as error:
            self._put(error)
        except Exception as error:
            _logger.exception('a request failed')
            self._put(BackendError(
                f'the request failed ({type(error).__name__}: {error}); see the log of the server'))

    def _put(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def next(self) -> Event:
        """Wait for the request as it was read, then pieces of text, then the reply or an error."""
        return await self._events.get()

    async def end_when_disconnected(self, receive: Receive) -> None:
        """Wait until the client has closed the connection."""
        while (await receive())['type'] != 'http.disconnect':
            pass
        self.gone.set()


class Endpoint:
    """The interface of one engine; its methods answer one request each."""

    def __init__(
        self, engine: Engine, model: str, *, most_requests: int = 64, key: str = ''
    ) -> None:
        """Take an engine that is warm.

        Args:
            engine: is asked by several threads.
            model: the name under which it is served.
            most_requests: that are answered or wait at once; more are refused with status 429.
            key: that requests must have; empty is none.

        """
        self._engine, self._model, self._key = engine, model, key
        self._most, self._running = most_requests, 0
        self._threads = ThreadPoolExecutor(most_requests, 'request')
        self._metrics = Metrics(engine)

    async def health(self, _: Request) -> Response:
        """Say whether it can answer: status 200, or 503."""
        if self._engine.lost:
            return self._refusal(ModelNotReadyError(
                f'{self._model} failed permanently; start the server again'))
        return JSONResponse({})

    async def metrics(self, _: Request) -> Response:
        """Return the figures for Prometheus."""
        return Response(self._metrics.page(), media_type='text/plain; version=0.0.4')

    async def models(self, request: Request) -> Response:
        """Return the list of the one model."""
        try:
            self._check_key(request)
        except WrongKeyError as error:
            return self._refusal(error)
        info = self._engine.info
        return JSONResponse({'object': 'list', 'data': [{
            'id': self._model, 'object': 'model', 'owned_by': 'mimo_embodied_ros',
            'max_model_len': info.context_length, 'min_pixels': info.min_pixels,
            'max_pixels': info.max_pixels}]})

    async def complete(self, request: Request) -> Response:
        """Answer a chat completion request, streamed or as a whole.

        The status is sent with the first text, so that errors before it have their own. A client
        that closes its connection ends the answer at the next token.
        """
        try:
            self._check_key(request)
            body = await _read_body(request)
            if self._running >= self._most:
                raise QueueFullError(
                    f'{self._running} requests are answered or wait already; ask again later, or '
                    'add a server')
        except ClientDisconnect:  # nobody gets this
            return Response(status_code=400)
        except MimoError as error:
            return self._refusal(error)
        answer = self._begin(request, body)
        try:
            chat = await answer.next()
            if isinstance(chat, MimoError):
                return self._refusal(chat)
            assert isinstance(chat, ChatRequest)
            first = await answer.next()
            while not chat.streams and isinstance(first, str):
                first = await answer.next()
        except asyncio.CancelledError:
            answer.gone.set()
            raise
        if isinstance(first, MimoError):
            return self._refusal(first)
        completion = Completion(self._model)
        if not chat.streams:
            assert isinstance(first, Reply)
            self._metrics.answered(first.finish_reason, first.stats)
            return JSONResponse(completion.whole(first))
        return StreamingResponse(
            self._stream(answer, first, completion, counts=chat.counts),
            media_type='text/event-stream', headers={'Cache-Control': 'no-cache'})

    def _begin(self, request: Request, body: bytes) -> _Answer:
        """Generate an answer in a thread, and watch its client until then."""
        answer = _Answer(self._engine, self._model, body)
        work = asyncio.get_running_loop().run_in_executor(self._threads, answer.run)
        watch = asyncio.ensure_future(answer.end_when_disconnected(request.receive))
        self._count(1)

        def end(_: object) -> None:
            self._count(-1)
            watch.cancel()

        work.add_done_callback(end)
        return answer

    async def _stream(
        self, answer: _Answer, event: Event, completion: Completion, *, counts: bool
    ) -> AsyncIterator[str]:
        try:
            while isinstance(event, str):
                yield completion.text(event)
                event = await answer.next()
            if isinstance(event, MimoError):
                self._metrics.failed(status_of(event))
                yield completion.failure(event)
                return
            assert isinstance(event, Reply)
            self._metrics.answered(event.finish_reason, event.stats)
            yield completion.end(event.finish_reason)
            if counts:
                yield completion.counts(event.stats)
            yield END
        finally:
            answer.gone.set()

    def _count(self, change: int) -> None:
        self._running += change
        self._metrics.running.set(self._running)

    def _check_key(self, request: Request) -> None:
        sent = request.headers.get('Authorization', '')
        if self._key and not hmac.compare_digest(sent.encode(), f'Bearer {self._key}'.encode()):
            msg = 'the request has no valid key; send that of this server as Authorization: Bearer'
            raise WrongKeyError(msg)

    def _refusal(self, error: MimoError) -> Response:
        status = status_of(error)
        self._metrics.failed(status)
        return JSONResponse(error_body(error), status)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for data in request.stream():
        body += data
        if len(body) > _MAX_BODY:
            msg = f'the request has more than {_MAX_BODY} bytes; send fewer or smaller images'
            raise TooLargeError(msg)
    return bytes(body)


def make_app(endpoint: Endpoint) -> Starlette:
    """Return the ASGI application of an endpoint."""
    return Starlette(routes=[
        Route('/health', endpoint.health),
        Route('/metrics', endpoint.metrics),
        Route('/v1/models', endpoint.models),
        Route('/v1/chat/completions', endpoint.complete, methods=['POST']),
    ])
