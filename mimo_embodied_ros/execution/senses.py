"""What the robot itself says of the conditions of a skill: results of calls, and topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import SendGoalError
from mimo_embodied_ros.ros.conditions import concerns, unmet
from mimo_embodied_ros.ros.fields import interface_class

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.core.skills import Condition

    from .control import Control


def sense(
    mimo: MimoClient, conditions: Sequence[Condition], results: Mapping[str, Any],
    control: Control,
) -> tuple[bool | None, str]:
    """Tell whether conditions hold now, and what says so.

    Args:
        mimo: client that receives messages; only those count that are published after this call.
        conditions: of a skill.
        results: of its calls, by their names; those that are not known are left out.
        control: cancels the wait.

    Returns:
        None where a result is not known, and all other conditions hold.

    Raises:
        SendGoalError: no message of a topic has come in time.
        CancelledError: the plan was cancelled.

    """
    unknown = [c.name for c in conditions if not c.type and c.name not in results]
    for condition in conditions:
        if condition.name in unknown:
            continue
        message = (_message(mimo, condition, control) if condition.type
                   else results[condition.name])
        if wrong := unmet(condition, message):
            return False, f'{condition.name} says that {wrong}'
    names = ' and '.join(dict.fromkeys(c.name for c in conditions))
    return (None if unknown else True), f'{names} says so'


def _message(mimo: MimoClient, condition: Condition, control: Control) -> Any:
    future = mimo.next_message(
        interface_class(condition.type), condition.name, lambda m: concerns(condition, m))
    control.wait_until(future.done, condition.timeout)
    if future.cancel():  # it has not come
        control.checkpoint(lambda: None)
        about = f' with the joint {condition.joint}' if condition.joint else ''
        count = mimo.node.count_publishers(mimo.node.resolve_topic_name(condition.name))
        publishers = 'it has no publisher' if not count else (
            f'publishers: {count}, which must publish {condition.type} all the time')
        msg = (f'no message of {condition.name}{about} has come within {condition.timeout:g} s, so '
               f'what the robot itself knows is missing; {publishers}')
        raise SendGoalError(msg)
    return future.result()
