"""One request to a server that may come late, be busy or go away: a goal or a service call."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from rclpy.task import Future

from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    MimoError,
    RequestTimeoutError,
    ResultCode,
    SendGoalError,
    error_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .spinner import Spinner


class Request(ABC):
    """A request under way; made by :class:`MimoClient`. For use in any thread.

    Two limits hold: ``wait_s`` for the server to be there, and, for a goal, to accept it; and
    whatever limit the caller has for the answer. Once it is sent, a request belongs to the server
    processes that were there: when they are gone it ends with SendGoalError, also where others
    have taken their place.

    Attributes:
        name: resolved name of the action or service.

    """

    def __init__(
        self, spinner: Spinner, name: str, connect: Callable[[], Any], message: Any, wait_s: float
    ) -> None:
        """Prepare to send a message.

        Args:
            spinner: spins the client of rclpy.
            name: resolved name of the action or service.
            connect: makes the client of rclpy where there is none of this name yet.
            message: the goal, or the request of the service.
            wait_s: seconds that the server may be missing, and that it may take to accept a goal.

        """
        self.name = name
        self._spinner, self._connect, self._message = spinner, connect, message
        self._wait_s = wait_s
        self._client: Any = None  # of rclpy
        self._future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._sent = self._cancelled = False
        self._settled = False  # see is_settled
        self._servers: frozenset[bytes] = frozenset()  # those that it was sent to
        self._awaited: list[Any] = []  # rclpy's futures of what the server says
        self._server_seen = time.monotonic()  # when one of them was last there

    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def may_still_run(self) -> bool:
        """Whether a server does it, or may do it later, even though it may have ended here.

        So it is after the end of a service call that was cancelled, since a server does not learn
        of that, and of a goal that its server did not accept in time.
        """
        return self._sent and not self._settled

    def is_given_up(self) -> bool:
        """Whether nobody here wants it any more, although it may still run."""
        return self.may_still_run() and (self._cancelled or self.is_done())

    def feedback(self) -> Any:
        """The newest feedback of the action; None before the first, and for a service."""
        return None

    def text(self) -> str:
        """What the model has written so far; empty for a service."""
        return ''

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the action's result, or the service's response.

        Args:
            timeout_s: seconds; None is without end: a goal of the node has its deadline there, and
                a server that goes away is noticed, but one that is there may take any time.

        Raises:
            RequestTimeoutError: there is no result yet; the request goes on.
            MimoError: of the type that belongs to the result's ``error_code``, with its
                ``error_msg``; ``reply`` is the result. SendGoalError: the server is not there, does
                not accept the goal in time, or was lost before the end.

        """
        try:
            return self._future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            msg = f'{self.name} has no result after {timeout_s} s; wait longer, or cancel it'
            raise RequestTimeoutError(msg) from None

    def cancel(self) -> None:
        """Ask to end it, at whatever point it is; its result is CancelledError then."""
        self._cancelled = True
        self._spinner.call(self._cancel)

    def add_done_callback(self, function: Callable[[Request], Any]) -> None:
        """Call a function in the client's thread at the end, or now if it has ended."""
        self._future.add_done_callback(lambda _: function(self))

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await the result in asyncio, or in a callback of rclpy that is a coroutine.

        Cancelling the awaiting task of asyncio cancels the request.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            yield from self._await_in_rclpy()
        else:
            ended = asyncio.wrap_future(self._future)
            try:
                yield from asyncio.shield(ended).__await__()
            except asyncio.CancelledError:
                # else asyncio complains that the result was never retrieved
                ended.add_done_callback(lambda done: done.cancelled() or done.exception())
                self.cancel()
                raise
        return self.result()

    def _await_in_rclpy(self) -> Generator[Any, Any, None]:
        executor = self._spinner.node.executor
        if executor is None:
            msg = 'only an executor that spins the node of the client can await a request'
            raise InvalidRequestError(msg)
        done = Future(executor=executor)

        def wake(_: Request) -> None:
            done.set_result(None)
            executor.create_task(lambda: None)  # so that the executor looks at what waits

        self.add_done_callback(wake)
        yield from done.__await__()

    # -- what follows runs in the spinner's thread, as all that uses clients of rclpy does

    def watch(self) -> None:
        """Send it when the server is there; end it when the server is not, or is lost."""
        if self._sent:
            self._watch_servers()
        elif self._cancelled:
            self._cancel()
        elif not self.is_done():  # what has ended is never sent
            self._send_to_server()

    def is_settled(self) -> bool:
        """Whether no server does it, or will do it later, so that it is watched no longer."""
        return self._settled

    def _send_to_server(self) -> None:
        try:
            if self._client is None:
                self._client = self._spinner.client(self.name, self._connect)
            if self._is_server_there():
                self._awaited.append(self._send())
        except Exception as error:  # what cannot be sent ends this request alone
            self.end(error=InvalidRequestError(f'{self.name} cannot be asked that: {error}'))
            return
        if not self._awaited:
            if time.monotonic() - self._server_seen > self._wait_s:
                self.end(error=no_server(self.name, self._wait_s))
            return
        self._sent = True
        # after sending: a server is in the graph before anything can be sent to it
        self._servers = self._look_for_servers()
        self._server_seen = time.monotonic()
        self._awaited[0].add_done_callback(self._on_response)

    def _watch_servers(self) -> None:
        if self._settled:
            return
        present = self._spinner.once_a_round(self._service_name(), self._look_for_servers)
        if present & self._servers:
            self._server_seen = time.monotonic()
        elif present:
            self._lose(f'the server of {self.name} was lost before it gave the result, and another '
                       'one has started, which knows nothing of it; look what was done, and ask '
                       'again')
        elif time.monotonic() - self._server_seen > self._wait_s:
            self._lose(f'the server of {self.name} has been gone for {self._wait_s:g} s; start it '
                       'again')

    def _lose(self, reason: str) -> None:
        self._settled = True
        self.end(error=SendGoalError(reason))
        for future in self._awaited:
            future.cancel()  # else rclpy keeps it for ever

    def _look_for_servers(self) -> frozenset[bytes]:
        """The servers in the graph, by their ids."""
        servers = self._spinner.servers(self._service_name()) or frozenset(
            bytes(endpoint.endpoint_gid) for endpoint in self._other_endpoints())
        if not servers and self._is_server_there():  # the middleware has no ids: any is the same
            return frozenset({b''})
        return servers

    def _other_endpoints(self) -> list[Any]:
        """Endpoints that tell servers apart where the middleware is not DDS."""
        return []

    @abstractmethod
    def _service_name(self) -> str:
        """The resolved name of the service that takes the message."""

    @abstractmethod
    def _is_server_there(self) -> bool:
        """Whether the graph has a server."""

    @abstractmethod
    def _send(self) -> Any:
        """Send the message; return rclpy's future of the response."""

    @abstractmethod
    def _on_response(self, future: Any) -> None:
        """Take the response to the message; the future is cancelled where the server is lost."""

    def _cancel(self) -> None:
        """End it for the one who asked; a server that has it already goes on with it."""
        self.end(error=CancelledError(f'{self.name} was cancelled'))

    def end(self, result: Any = None, error: Exception | None = None) -> None:
        """Take its result or error, unless it has ended."""
        if not self._sent:
            self._settled = True
        if self._future.done():
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)


def no_server(name: str, wait_s: float) -> SendGoalError:
    """The error of a request whose server has not come within so many seconds."""
    return SendGoalError(
        f'there is no server for {name} after {wait_s:g} s; start it (mimo-embodied serve, ros2 '
        'launch mimo_embodied_ros mimo_embodied.launch.py, or for what is remembered ros2 run '
        'mimo_embodied_ros mimo_memory), or give the name of its node: '
        'MimoClient(node, server=..., memory=...)')


def error_in(name: str, result: Any, *, cancelled: bool = False) -> MimoError:
    """The error of a result or response, by the package's codes if it has one of them.

    Args:
        name: of the action or service.
        result: that says what went wrong.
        cancelled: the goal was, which counts where the result has no code.

    """
    code, text = getattr(result, 'error_code', 0), getattr(result, 'error_msg', '')
    if not isinstance(code, int):  # MoveIt has a message there
        code = 0
    if code == 0 and cancelled:
        code, text = ResultCode.CANCELLED, f'{name} was cancelled'
    error = error_of(code, text or f'{name} failed with error_code {code} and gave no reason')
    error.reply = result
    error.raw_text = getattr(result, 'raw_text', '')
    error.reasoning = getattr(result, 'reasoning', '')
    return error
