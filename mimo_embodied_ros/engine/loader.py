"""Load a model in a thread, so that the one who waits for it can give it up at once."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future, InvalidStateError, wait
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import CancelledError

from . import load_engine

if TYPE_CHECKING:
    from .config import EngineConfig
    from .interface import Engine, OnProgress

_POLL_S = 0.02


class Loader:
    """Loads a model and lets it answer once, in a thread of its own.

    The thread ends between two weights where the load is given up. What cannot be interrupted goes
    on in it, such as a download; a model that it still loads is closed.
    """

    def __init__(
        self, config: EngineConfig, on_progress: OnProgress, stopping: threading.Event
    ) -> None:
        """Begin to load.

        Args:
            config: the model and how to load it.
            on_progress: called with the share of the weights that are loaded, in the thread.
            stopping: gives the load up when it is set.

        """
        self._config, self._on_progress, self._stopping = config, on_progress, stopping
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
                    engine.warm_up()
                    self._engine.set_result(engine)
                except BaseException:
                    engine.close()
                    raise
            except Exception as error:  # noqa: BLE001 raised where the model is waited for
                self._engine.set_exception(error)
