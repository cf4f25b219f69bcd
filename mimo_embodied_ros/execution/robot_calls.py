"""Calls of the robot's actions and services, none beside an earlier one that may still run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from action_msgs.msg import GoalInfo
from action_msgs.srv import CancelGoal
from unique_identifier_msgs.msg import UUID

from mimo_embodied_ros.client.request import no_server
from mimo_embodied_ros.core.errors import (
    CancelledError,
    MimoError,
    RequestTimeoutError,
    SendGoalError,
    StepFailedError,
)
from mimo_embodied_ros.ros.fields import interface_class, mismatch, set_fields

from .control import STOP_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.core.skills import Call

    from .control import Control


class StillRunningError(StepFailedError):
    """A call was given up, or not made, because the robot may still be doing an earlier one."""


def goal_ids(calls: Sequence[Call]) -> list[str]:
    """Return the id of a goal for each call, as hexadecimal digits; empty for a service."""
    return [uuid4().hex if call.action else '' for call in calls]


def stop_goals(
    mimo: MimoClient, calls: Sequence[Call], ids: Sequence[str], control: Control
) -> None:
    """Cancel the goals that an executor has left behind when it was killed; wait for their ends.

    Args:
        mimo: client that cancels them.
        calls: of the skill that was under way.
        ids: as `goal_ids` gave them then.
        control: cancels the wait.

    Raises:
        StillRunningError: a goal does not end.
        CancelledError: the plan was cancelled.

    """
    for call, goal_id in zip(calls, ids):
        if not goal_id:
            continue
        name = f'{mimo.node.resolve_service_name(call.name)}/_action'
        id_ = UUID(uuid=list(bytes.fromhex(goal_id)))
        service = interface_class(call.type).Impl.GetResultService
        mimo.call(CancelGoal, f'{name}/cancel_goal',
                  CancelGoal.Request(goal_info=GoalInfo(goal_id=id_)))
        # answered at the end, or at once where the server does not know the goal
        end = mimo.call(service, f'{name}/get_result', service.Request(goal_id=id_))
        try:
            control.result_of(end, mimo.wait_s + STOP_S)
        except SendGoalError:
            pass  # there is no server that could do it
        except RequestTimeoutError as error:
            msg = (f'{call.name} still does what it was asked before the executor was started '
                   'again, and does not stop, so it is not called again')
            raise StillRunningError(msg) from error


def find_servers(mimo: MimoClient, name: str, control: Control) -> list[str]:
    """Wait for the servers of a service; return their ids, hexadecimal.

    Raises:
        SendGoalError: there is none.
        CancelledError: the plan was cancelled.

    """
    found = _present_servers(mimo, name, control)
    if not found:
        control.checkpoint(lambda: None)
        raise no_server(mimo.node.resolve_service_name(name), mimo.wait_s)
    return found


def _present_servers(mimo: MimoClient, name: str, control: Control) -> list[str]:
    control.wait_until(lambda: bool(mimo.servers(name)), mimo.wait_s)
    return sorted(id_.hex() for id_ in mimo.servers(name))


def check_services(
    mimo: MimoClient, servers: Mapping[str, Sequence[str]], control: Control
) -> None:
    """Check that no service can still do what an executor has called that was killed meanwhile.

    Args:
        mimo: client that looks for the servers.
        servers: by the names of the services that were called, as `find_servers` gave them then.
        control: cancels the wait.

    Raises:
        StillRunningError: a server of then is still there.

    """
    for name, ids in servers.items():
        if not set(ids).isdisjoint(_present_servers(mimo, name, control)):
            msg = (f'{name} may still be doing what it was asked before the executor was started '
                   'again, since a service cannot be cancelled, so it is not called again; see '
                   'what it does, and start its server again or send another plan')
            raise StillRunningError(msg)


def make_call(
    mimo: MimoClient, call: Call, fields: Mapping[str, Any], goal_id: str, control: Control
) -> Any:
    """Make a call, wait for its end, and return the result or response.

    Args:
        mimo: client that makes it; the same for all calls, since it knows what may still run.
        call: the call.
        fields: its fields, without placeholders.
        goal_id: as `goal_ids` gave it.
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
    request = (
        mimo.send(kind, call.name, set_fields(kind.Goal(), fields), bytes.fromhex(goal_id))
        if call.action else
        mimo.call(kind, call.name, set_fields(kind.Request(), fields)))
    try:
        result = control.result_of(request, call.timeout)
    except MimoError as error:
        if call.action and request.is_done():
            # not accepted in time: it is cancelled when it is, or its server turns out to be dead
            control.wait_until(lambda: not request.may_still_run(), STOP_S)
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
    return result
