"""What an executor asks the model, while the plan can be paused or cancelled."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import (
    BackendUnreachableError,
    CancelledError,
    GoalRejectedError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    ParseError,
    PreemptedError,
    SendGoalError,
)
from mimo_embodied_ros.msg import SpatialAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mimo_embodied_ros.client import MimoClient

    from .control import Control

POSSIBLE, DONE = 'is_possible', 'is_done'  # tasks of RoboVQA
# what the node that answers says while it starts, loads or is inactive; or it says nothing
_NO_MODEL = (SendGoalError, GoalRejectedError, ModelNotReadyError, BackendUnreachableError,
             PreemptedError)
_ASK_AGAIN_S = 1.0


class NoModelError(Exception):
    """The model did not come in time; passes by all that takes errors for those of a step."""


class Questions:
    """Asks the model about the present view; waits for it while it is absent or still loads.

    Attributes:
        fault: how the newest request to the model or the robot failed; None where it did not.

    """

    fault: MimoError | None = None

    def __init__(
        self, mimo: MimoClient, cameras: Sequence[str], settle_s: float, wait_s: float,
        control: Control, on_wait: Callable[[str], None], on_pause: Callable[[], None],
    ) -> None:
        """Ask nothing yet.

        Args:
            mimo: client that asks.
            cameras: names of the cameras that the model sees; empty: its default one.
            settle_s: greatest age of an image, seconds.
            wait_s: seconds for which the node that answers may be absent or not ready.
            control: pauses and cancels.
            on_wait: called with the reason whenever the model is waited for.
            on_pause: called when a pause begins while the model is waited for.

        """
        self.mimo = mimo
        self._wait_s, self._control, self._on_wait, self._on_pause = (
            wait_s, control, on_wait, on_pause)
        # an image from before the end of the last step does not show its result
        self._view = {'cameras': list(cameras), 'max_image_age': settle_s}
        self._held = True  # answers yes or no to the form of such an answer

    def ask(self, question: Callable[..., Any], text: str, **fields: Any) -> Any:
        """Ask a question of the client; return the action's result.

        Raises:
            NoModelError: the model did not come in time; `fault` says how it failed.
            CancelledError: the plan was cancelled.
            MimoError: there is no answer.

        """
        waits_until = time.monotonic() + self._wait_s
        while True:
            request = question(text, **fields, **self._view)
            try:
                return self.noted(self._control.result_of, request)
            except _NO_MODEL as error:
                if time.monotonic() > waits_until:
                    raise NoModelError from error
                self._on_wait(str(error))
                self._control.checkpoint(self._on_pause, _ASK_AGAIN_S)

    def yes_no(self, task: str, text: str) -> bool:
        """Ask a question of yes or no; raises as `ask` does."""
        try:
            answer = self._answer(task, text)
        except InvalidRequestError:
            if not self._held:
                raise
            self._held = False  # a model that cannot be held to a form is asked all the same
            answer = self._answer(task, text)
        if answer.answer_type != SpatialAnswer.YES_NO:
            msg = f'the model answers neither yes nor no to {text!r}: {answer.answer}'
            raise ParseError(msg)
        return bool(answer.yes)

    def is_done(self, condition: str) -> tuple[bool | None, str]:
        """Whether the model says that a condition holds; None and why not, where it cannot tell."""
        try:
            return self.yes_no(DONE, condition), ''
        except CancelledError:
            raise
        except MimoError as error:
            return None, str(error)

    def noted(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call what asks the model or the robot, and note how it failed."""
        try:
            result = function(*arguments)
        except MimoError as error:
            self.fault = error
            raise
        self.fault = None
        return result

    def _answer(self, task: str, text: str) -> Any:
        return self.ask(self.mimo.answer_spatial, text, task=task, structured=self._held).answer
