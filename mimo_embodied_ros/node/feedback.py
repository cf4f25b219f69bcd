"""Feedback on a goal: changes of its state at once, the model's text in portions."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.engine.answering import State

_PERIOD_S = 0.05  # a message for each token would cost more than the token


class Feedback:
    """Publishes each change of state at once and text in portions; from any thread."""

    def __init__(self, publish: Callable[[State, str, int], None]) -> None:
        """Publish by a call of ``publish`` with the state, the new text and the tokens so far."""
        self._publish = publish
        self._lock = threading.Lock()
        self._state: State | None = None
        self._text, self._tokens, self._due = '', 0, 0.0

    def add(self, state: State, delta: str, tokens: int) -> None:
        """Take a state, new text and the number of tokens so far."""
        with self._lock:
            now = time.monotonic()
            if state is not self._state:
                self._send()
            elif now < self._due:
                self._text, self._tokens = self._text + delta, tokens
                return
            self._publish(state, self._text + delta, tokens)
            self._state, self._text, self._due = state, '', now + _PERIOD_S

    def flush(self) -> None:
        """Publish the text that was held back."""
        with self._lock:
            self._send()

    def _send(self) -> None:
        if self._text and self._state is not None:
            self._publish(self._state, self._text, self._tokens)
            self._text = ''
