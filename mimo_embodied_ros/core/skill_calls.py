"""Read the calls of a skill, and its conditions; `core.skill_files` describes the fields."""

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING, Any

from .skill_fields import check_placeholders, read_mapping, read_number, read_text
from .skills import PARTS, Argument, Call, Condition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .yaml_tables import FieldPath, YamlNode

_INTERFACE = re.compile(r'[a-z][a-z0-9_]*/(action|srv|msg)/[A-Z][A-Za-z0-9]*')
_JOINT_STATE = 'sensor_msgs/msg/JointState'
_RELATIONS = ('equal', 'least', 'most')


def read_call(node: YamlNode, arguments: tuple[Argument, ...]) -> Call:
    """Read a call, in which the arguments may stand."""
    fields = node.fields(('action', 'service', 'type', 'goal', 'request', 'expect', 'timeout'),
                         'a call with action or service and its type')
    kinds = [kind for kind in ('action', 'service') if kind in fields]
    if len(kinds) != 1 or 'type' not in fields:
        raise node.error('a call has an action or a service, and its type')
    action = kinds[0] == 'action'
    own, other = ('goal', 'request') if action else ('request', 'goal')
    if other in fields:
        raise fields[other].error(f'{kinds[0]} has no {other}; it has a {own}')
    interface = _interface(fields['type'], 'action' if action else 'srv')
    values = {name: read_mapping(fields[name], name) if name in fields else {}
              for name in (own, 'expect')}
    parts = {a.name: PARTS.get(a.type, ()) for a in arguments}
    if own in fields:
        check_placeholders(fields[own], values[own], parts)
    return Call(action, read_text(fields[kinds[0]], {}), interface, values[own], values['expect'],
                _timeout(fields, 60.0), _lines(fields, (kinds[0], 'type', own, 'expect')))


def read_success(
    node: YamlNode, parts: Mapping[str, tuple[str, ...]], calls: list[str]
) -> tuple[str, tuple[Condition, ...]]:
    """Read the words and the conditions of ``success``; calls are the names in ``runs``."""
    if node.text():
        return read_text(node, parts), ()
    words, conditions = '', []
    items = node.items('words, or a list of words and conditions')
    for item in items:
        if not item.text():
            conditions.append(_condition(item, calls))
        elif words:
            raise item.error('these are second words; give one sentence')
        else:
            words = read_text(item, parts)
    if not items:
        raise node.error('this list is empty')
    return words, tuple(conditions)


def _condition(node: YamlNode, calls: list[str]) -> Condition:
    fields = node.fields(('result', 'topic', 'type', 'joint', *_RELATIONS, 'timeout'),
                         'words, or a condition with a result or a topic')
    kinds = [kind for kind in ('result', 'topic') if kind in fields]
    relations = {name: read_mapping(fields[name], name) for name in _RELATIONS if name in fields}
    if len(kinds) != 1 or not any(relations.values()):
        raise node.error('a condition has a result or a topic, and fields that are '
                         f'{", ".join(_RELATIONS)}')
    name, kind = read_text(fields[kinds[0]], {}), ''
    if kinds[0] == 'topic':
        if 'type' not in fields:
            raise node.error(f'the topic {name} has no type')
        kind = _interface(fields['type'], 'msg')
    else:
        for other in fields.keys() & {'type', 'joint', 'timeout'}:
            raise fields[other].error(f'a result has no {other}')
        if name not in calls:
            raise fields['result'].error(
                f'the skill does not call {name}; it calls {", ".join(calls)}')
    if 'joint' in fields and kind != _JOINT_STATE:
        raise fields['joint'].error(f'only a topic of type {_JOINT_STATE} has a joint')
    for relation in relations.keys() - {'equal'}:
        _check_numbers(fields[relation], relations[relation])
    return Condition(
        name, kind, read_text(fields['joint'], {}) if 'joint' in fields else '', **relations,
        timeout=_timeout(fields, 5.0), lines=_lines(fields, (kinds[0], 'type', *_RELATIONS)))


def _check_numbers(node: YamlNode, value: Any) -> None:
    if isinstance(value, dict):
        for inner in value.values():
            _check_numbers(node, inner)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise node.error(f'{reprlib.repr(value)} is no number')


def _interface(node: YamlNode, folder: str) -> str:
    """Read the name of an action, service or message, by the folder of its definition."""
    text = read_text(node, {})
    match = _INTERFACE.fullmatch(text)
    if not match or match.group(1) != folder:
        raise node.error(f'type is {text!r}; it is like my_msgs/{folder}/Name')
    return text


def _timeout(fields: Mapping[str, YamlNode], default: float) -> float:
    timeout = read_number(fields['timeout']) if 'timeout' in fields else default
    if not timeout > 0:
        raise fields['timeout'].error(f'timeout is {timeout:g} s; give one above 0')
    return timeout


def _lines(fields: Mapping[str, YamlNode], names: tuple[str, ...]) -> dict[FieldPath, int]:
    """Return the lines of the values of these fields, by their paths."""
    return {(name, *path): line for name in fields.keys() & set(names)
            for path, line in fields[name].lines().items()}
