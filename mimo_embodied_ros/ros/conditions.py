"""Conditions on messages of a robot: whether they hold, and messages for which they do."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from .fields import mismatch, set_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mimo_embodied_ros.core.skills import Condition

_RELATIONS = {'equal': (operator.eq, ''), 'least': (operator.ge, 'at least '),
              'most': (operator.le, 'at most ')}


def fields_by_relation(condition: Condition) -> dict[str, Mapping[str, Any]]:
    """Return the fields as messages have them: those of a joint are lists with one item."""
    fields = {relation: getattr(condition, relation) for relation in _RELATIONS}
    if not condition.joint:
        return fields
    return {relation: {name: [value] for name, value in values.items()}
            for relation, values in fields.items()}


def concerns(condition: Condition, message: Any) -> bool:
    """Whether a message says something of the condition's joint, if it has one."""
    return not condition.joint or condition.joint in message.name


def unmet(condition: Condition, message: Any) -> str:
    """Describe what in a message that concerns the condition is not as it wants; else ''."""
    if condition.joint:
        message = _one_joint(message, condition.joint)
    for relation, fields in fields_by_relation(condition).items():
        if wrong := mismatch(message, fields, *_RELATIONS[relation]):
            return f'{wrong} ({condition.joint})' if condition.joint else wrong
    return ''


def meet(condition: Condition, message: Any) -> None:
    """Set the fields of a message, which is about no other joint, so that the condition holds."""
    if condition.joint:
        message.name = [condition.joint]
    for fields in fields_by_relation(condition).values():
        set_fields(message, fields)


def _one_joint(message: Any, joint: str) -> Any:
    """Return a JointState with the values of one joint; what it does not have is empty."""
    at = message.name.index(joint)
    return type(message)(name=[joint], **{
        name: getattr(message, name)[at:at + 1] for name in ('position', 'velocity', 'effort')})
