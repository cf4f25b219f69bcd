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
    RequestTimeoutError,
    SendGoalError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .spinner import Spinner


class Request(ABC):
    """A request under way; made by :class:`MimoClient`. For use in any thread.

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
            wait_s: seconds that the server may be missing, or may take to accept the request.

        """
        self.name = name
        self._spinner, self._connect, self._message = spinner, connect, message
        self._wait_s = wait_s
        self._client: Any = None  # of rclpy
        self._future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._sent = self._cancelled = False
        self._server_seen = time.monotonic()  # when the server was last there, or answered

    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def feedback(self) -> Any:
        """The newest feedback of the action; None before the first, and for a service."""
        return None

    def text(self) -> str:
        """What the model has written so far; empty for a service."""
        return ''

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the action's result, or the service's response.

        Args:
            timeout_s: seconds; None is without end, which is safe: a goal has its deadline in the
                node, and a server that goes away is noticed.

        Raises:
            RequestTimeoutError: there is no result yet; the request goes on.
            MimoError: of the type that belongs to the result's ``error_code``, with its
                ``error_msg``; ``reply`` is the result. SendGoalError: the server is not there.

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
        """Send it when the server is there; end it when the server is not, or does not answer."""
        now = time.monotonic()
        if self._client is None:
            try:
                self._client = self._spinner.client(self.name, self._connect)
            except Exception as error:
                self.end(error=InvalidRequestError(f'{self.name} cannot be asked: {error}'))
                return
        if self._is_server_there():
            if not self._sent:
                self._sent = True
                try:
                    self._send()
                except Exception as error:  # a message that cannot be sent ends this request alone
                    self.end(error=InvalidRequestError(
                        f'{self.name} cannot be asked that: {error}'))
            elif not self._is_accepted():
                self._end_if_late(
                    now, 'the server of {} did not answer within {:g} s; is it busy?')
                return
            self._server_seen = now
        elif self._sent:
            self._end_if_late(now, 'the server of {} has been gone for {:g} s; start it again')
        else:
            self._end_if_late(
                now, 'there is no server for {} after {:g} s; start it (mimo-embodied serve, or '
                'ros2 launch mimo_embodied_ros mimo_embodied.launch.py), or give the name of its '
                'node: MimoClient(node, server=...)')

    def _end_if_late(self, now: float, reason: str) -> None:
        if now - self._server_seen > self._wait_s:
            self.end(error=SendGoalError(reason.format(self.name, self._wait_s)))

    @abstractmethod
    def _is_server_there(self) -> bool:
        """Whether the graph has a server."""

    @abstractmethod
    def _send(self) -> None:
        """Send the message."""

    @abstractmethod
    def _is_accepted(self) -> bool:
        """Whether the server has taken what was sent, and works on it."""

    def _cancel(self) -> None:
        """End it for the one who asked; what the server does with it cannot be changed."""
        if not self.is_done():
            self.end(error=CancelledError(f'{self.name} was cancelled'))

    def end(self, result: Any = None, error: Exception | None = None) -> None:
        """Take its result or error, unless it has ended."""
        if self._future.done():
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)
