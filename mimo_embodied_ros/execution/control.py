"""Pausing and cancelling what a thread does with requests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import CancelledError, RequestTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.client import Request

_STOP_S = 10.0  # how long something that was cancelled may take to stop


class Control:
    """What others want of the thread that asks it; for use in any thread."""

    def __init__(self) -> None:
        """Begin neither paused nor cancelled."""
        self._changed = threading.Condition()
        self._paused = self._cancelled = False
        self.shutting_down = False  # the program ends; another one may go on

    def pause(self, *, paused: bool) -> None:
        """Stop at the next checkpoint, or go on from it."""
        with self._changed:
            self._paused = paused
            self._changed.notify_all()

    def cancel(self) -> None:
        """Cancel the request under way, and end at the next checkpoint."""
        with self._changed:
            self._cancelled = True
            self._changed.notify_all()

    def shut_down(self) -> None:
        """Cancel, because the program ends and not because nobody wants it any more."""
        self.shutting_down = True
        self.cancel()

    def checkpoint(self, on_pause: Callable[[], None], wait_s: float = 0.0) -> None:
        """Go on, once it is not paused and ``wait_s`` seconds are over.

        Raises:
            CancelledError: it was cancelled.

        """
        with self._changed:
            self._changed.wait_for(lambda: self._cancelled, wait_s)
            if self._paused and not self._cancelled:
                on_pause()
            self._changed.wait_for(lambda: self._cancelled or not self._paused)
            if self._cancelled:
                raise CancelledError('the plan was cancelled')

    def result_of(self, request: Request, timeout_s: float | None = None) -> Any:
        """Wait for a request's result; it is cancelled when this is, or after the time.

        Raises:
            CancelledError: it was cancelled, and has stopped.
            RequestTimeoutError: it took longer, or did not stop.
            MimoError: it failed.

        """
        request.add_done_callback(lambda _: self._notify())
        with self._changed:
            self._changed.wait_for(lambda: request.is_done() or self._cancelled, timeout_s)
        if request.is_done():
            return request.result()
        request.cancel()
        try:
            request.result(_STOP_S)
        except RequestTimeoutError:
            msg = f'{request.name} does not stop, {_STOP_S:g} s after it was cancelled'
            raise RequestTimeoutError(msg) from None
        except CancelledError:
            pass
        if self._cancelled:
            msg = 'the plan was cancelled'
            raise CancelledError(msg)
        msg = f'{request.name} took longer than {timeout_s:g} s, and was cancelled'
        raise RequestTimeoutError(msg)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
