"""Calls of the robot's actions and services, none beside an earlier one that may still run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import CancelledError, MimoError, StepFailedError

from .fields import interface_class, mismatch, set_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.core.skills import Call

    from .control import Control


class StillRunningError(StepFailedError):
    """A call was given up, or not made, because the robot may still be doing an earlier one."""


def make_call(
    mimo: MimoClient, call: Call, fields: Mapping[str, Any], control: Control
) -> None:
    """Make a call, and wait for its end.

    Args:
        mimo: client that makes it; the same for all calls, since it knows what may still run.
        call: the call.
        fields: its fields, without placeholders.
        control: cancels it.

    Raises:
        StillRunningError: it takes longer than its timeout and does not stop, or an earlier call of
            this name may still run.
        StepFailedError: its result is not as the skill expects.
        CancelledError: the plan was cancelled.
        MimoError: the call failed.

    """
    if mimo.given_up(call.name):
        msg = (f'{call.name} may still be doing what it was asked before; wait until it has ended, '
               'or start its server again')
        raise StillRunningError(msg)
    kind = interface_class(call.type)
    request = (mimo.send(kind, call.name, set_fields(kind.Goal(), fields)) if call.action
               else mimo.call(kind, call.name, set_fields(kind.Request(), fields)))
    try:
        result = control.result_of(request, call.timeout)
    except MimoError as error:
        if not request.may_still_run():
            raise
        why = '' if call.action else ', since a service cannot be cancelled'
        msg = f'{error}; {call.name} may still be running{why}'
        if isinstance(error, CancelledError):
            raise CancelledError(msg) from error
        raise StillRunningError(f'{msg}, so it is not called again') from error
    if wrong := mismatch(result, call.expect):
        msg = f'{call.name} says that {wrong}'
        raise StepFailedError(msg)
