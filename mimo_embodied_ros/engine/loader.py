"""Load a model in a thread, so that the one who waits for it can give it up at once."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import Future, InvalidStateError, wait
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    CancelledError,
    MimoError,
    QueueFullError,
)

from . import load_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import EngineConfig
    from .interface import Engine, OnProgress

_POLL_S = 0.02
_AGAIN_S = 1.0  # between two tries of servers that do not answer yet
# what is said in place of a server that is being started, by the system, a proxy or a router
_STARTING = (BackendUnreachableError, BackendError, QueueFullError)


class Loader:
    """Loads a model and lets it answer once, in a thread of its own.

    The thread ends between two weights where the load is given up. What cannot be interrupted goes
    on in it, such as a download; a model that it still loads is closed.

    Servers that do not answer yet are asked every second, for ``startup_timeout``.
    """

    def __init__(
        self, config: EngineConfig, on_progress: OnProgress, on_wait: Callable[[str], None],
        stopping: threading.Event,
    ) -> None:
        """Begin to load.

        Args:
            config: the model and how to load it.
            on_progress: called with the share of the weights that are loaded, in the thread.
            on_wait: called once where servers are waited for, with the reason, in the thread.
            stopping: gives the load up when it is set.

        """
        self._config, self._on_progress, self._on_wait = config, on_progress, on_wait
        self._stopping = stopping
        self._engine: Future[Engine] = Future()
        self._thread = threading.Thread(target=self._load, name='load', daemon=True)
        self._thread.start()

    def result(self) -> Engine:
        """Wait for the model.

        Raises:
            CancelledError: the load was given up.
            DeviceLostError: the model failed in its first answer, and its device with it.
            MimoError: as ``load_engine`` and ``Engine.warm_up`` do.

        """
        while not self._stopping.is_set() and not self._engine.done():
            wait([self._engine], _POLL_S)
        if self._engine.cancel():
            msg = 'loading the model was stopped'
            raise CancelledError(msg)
        return self._engine.result()

    def has_ended(self, timeout_s: float) -> bool:
        """Whether the thread ends within a time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _load(self) -> None:
        with contextlib.suppress(InvalidStateError):  # given up: nobody wants the error
            try:
                engine = load_engine(self._config, self._on_progress, self._stopping.is_set)
                try:
                    self._warm_up(engine)
                    self._engine.set_result(engine)
                except BaseException:
                    engine.close()
                    raise
            except Exception as error:  # noqa: BLE001 raised where the model is waited for
                self._engine.set_exception(error)

    def _warm_up(self, engine: Engine) -> None:
        is_remote = self._config.backend == 'openai'
        end = time.monotonic() + self._config.startup_timeout * is_remote
        error = _first_answer(engine)
        if error is not None and time.monotonic() < end:
            self._on_wait(str(error))
        while error is not None and time.monotonic() < end and not self._stopping.wait(_AGAIN_S):
            error = _first_answer(engine)
        if error is not None:
            raise error


def _first_answer(engine: Engine) -> MimoError | None:
    """Let a model answer once; return the error of servers that do not answer yet."""
    try:
        engine.warm_up()
    except _STARTING as error:
        return error
    return None
