"""Pausing and cancelling a thread that sends requests and waits for them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import CancelledError, MimoError, RequestTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.client import Request

STOP_S = 10.0  # how long a cancelled request may take to stop
_POLL_S = 0.05


class Control:
    """Pauses or cancels the thread that calls `checkpoint` and `result_of`; from any thread."""

    def __init__(self) -> None:
        """Begin neither paused nor cancelled."""
        self._changed = threading.Condition()
        self._paused = self._cancelled = False
        self.shutting_down = False  # the program ends, and another one may resume the plan

    def pause(self, *, paused: bool) -> None:
        """Pause at the next checkpoint, or go on from it."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def cancel(self) -> None:
        """Cancel the request under way, and end at the next checkpoint."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def shut_down(self) -> None:
        """Cancel because the program ends; the plan may be resumed later."""
        self.shutting_down = True
        self.cancel()

    def checkpoint(self, on_pause: Callable[[], None], wait_s: float = 0.0) -> None:
        """Wait ``wait_s`` seconds, and then until it is not paused.

        Args:
            on_pause: called once where it has to wait for the end of a pause.
            wait_s: seconds to wait in any case.

        Raises:
            CancelledError: `cancel` was called.

        """
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled, wait_s)
            if self._paused and not self._cancelled:
                on_pause()
            self._changed.wait_for(lambda: self._cancelled or not self._paused)
            if self._cancelled:
                raise CancelledError('the plan was cancelled')

    def result_of(self, request: Request, timeout_s: float | None = None) -> Any:
        """Wait for a request's result; cancel the request after the timeout, or when cancelled.

        Args:
            request: the request under way.
            timeout_s: seconds that it may take; None: without limit.

        Raises:
            CancelledError: `cancel` was called.
            RequestTimeoutError: the request took longer.
            MimoError: the request failed.

        With the first two, `Request.may_still_run` tells whether it has stopped.

        """
        request.add_done_callback(lambda _: self._notify())
        with self._changed:
            self._changed.wait_for(lambda: request.is_done() or self._cancelled, timeout_s)
        if request.is_done():
            return request.result()
        request.cancel()
        with self._changed:
            self._changed.wait_for(request.is_done, STOP_S)
        stops = '' if request.is_done() else (
            f'{request.name} does not stop, {STOP_S:g} s after it was cancelled')
        if self._cancelled:
            raise CancelledError(f'the plan was cancelled{stops and ", but "}{stops}')
        msg = f'{request.name} took longer than {timeout_s:g} s'
        if stops:
            raise RequestTimeoutError(f'{msg}, and {stops}')
        try:
            return request.result()  # it may have been done before it could be cancelled
        except MimoError as error:
            raise RequestTimeoutError(msg) from error

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Return when a condition holds, after the timeout, or when `cancel` is called."""
        end = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < end:
            with self._changed:
                if self._changed.wait_for(lambda: self._cancelled, _POLL_S):
                    return

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
