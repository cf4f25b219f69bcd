"""Whether a server's points are right: known before it answers a robot, and again once it was lost.

The test of a server runs in a thread of its own, so that requests go on to the other servers.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import MimoError

from .interface import Grounding, GroundingError, GroundingState

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_S = 0.02  # how often it is checked whether a test has ended


class GroundingGate:
    """Lets requests to a server pass while its points are known to be right.

    Attributes:
        result: of the latest test of the server that answers now.

    """

    def __init__(self, strictness: str, test: Callable[[], Grounding]) -> None:
        """Take the parameter ``grounding_test``, and the test, which raises where it refuses."""
        self.result = Grounding()
        self._test = test
        self._tests, self._refuses = strictness != 'off', strictness == 'refuse'
        self._losses = 0
        self._tested = -1  # losses before the latest test
        self._refused: GroundingError | None = None  # by the latest test
        self._running: Future[Exception | None] | None = None
        self._lock = threading.Lock()

    @property
    def is_known(self) -> bool:
        """Whether the server was tested since it was last lost."""
        return self._tested == self._losses

    @property
    def is_open(self) -> bool:
        """Whether requests pass at once."""
        return not self._refuses or (self.is_known and self.result.state is GroundingState.RIGHT)

    @property
    def is_due(self) -> bool:
        """Whether a test is needed: the result is not known, or requests are refused by it."""
        return self._tests and not (self.is_known and self.is_open)

    def forget(self) -> None:
        """Note that the server was lost: another one may answer at its place."""
        self._losses += 1
        self.result = Grounding()

    def start(self) -> Future[Exception | None]:
        """Begin a test in a thread, unless one runs; return its error, None where all is right."""
        with self._lock:
            if self._running is None:
                self._running = Future()
                threading.Thread(target=self._run, args=(self._running,), name='grounding test',
                                 daemon=True).start()
            return self._running

    def check(self) -> None:
        """Test the server now, if that is needed.

        Raises:
            GroundingError: its points are wrong, and it is refused for that.
            MimoError: it cannot answer.

        """
        if self.is_due and (error := self.start().result()) is not None:
            raise error

    async def refusal(self, *, again: bool) -> MimoError | None:
        """Wait until a request may pass; return why it may not, None where it may.

        Args:
            again: test a server again whose points were wrong.

        """
        if self.is_open:
            return None
        if self.is_known and not again:
            return self._refused
        test = self.start()
        while not test.done():
            await asyncio.sleep(_POLL_S)
        error = test.result()
        if error is None or isinstance(error, MimoError):
            return error
        raise error

    def _run(self, outcome: Future[Exception | None]) -> None:
        losses = self._losses
        error: Exception | None = None
        try:
            result = self._test()
        except GroundingError as refused:
            result, error = refused.grounding, refused
            self._refused = refused
        except Exception as failure:  # noqa: BLE001 raised where it is waited for
            result, error, losses = Grounding(), failure, -1
        with self._lock:
            self.result, self._tested, self._running = result, losses, None
        outcome.set_result(error)
