"""Reads skills and looks up the actions, services and topics that they name, before a step does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.exceptions import NameValidationException
from rclpy.validate_topic_name import validate_topic_name

from mimo_embodied_ros.core.answers import ArgumentType
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import Call, fill
from mimo_embodied_ros.msg import AffordancePoint, SkillArgument, TaskStep

from .conditions import fields_by_relation
from .fields import FieldError, interface_class, set_fields
from .parameters import ros_reason
from .placeholders import placeholder_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rclpy.node import Node

    from mimo_embodied_ros.core.skills import Argument, Condition, Skill
    from mimo_embodied_ros.core.yaml_tables import FieldPath


def load_checked_skills(
    path: Path | str, on_absent: Callable[[str], None] | None = None
) -> dict[str, Skill]:
    """Read a skills file, and check its calls and conditions against the types that they name.

    Args:
        path: of the file.
        on_absent: called with a sentence about the types that are not installed, for a node that
            does not use them itself; None: such a type is an error.

    Raises:
        InvalidRequestError: the file is wrong, a type is not installed, or a field is not in its
            type or of another type; the message has the file and the line.

    """
    skills = load_skills(path)
    types: dict[str, str] = {}
    topic_types: dict[str, str] = {}
    absent: dict[str, None] = {}
    for skill in skills.values():
        kinds: dict[str, Any] = {}  # of what the skill calls, by name
        for call in skill.runs:
            check = _Check(path, skill, call)
            check.name('action' if call.action else 'service', types)
            kinds[call.name] = check.kind(required=on_absent is None)
            if kinds[call.name] is None:
                absent[call.type] = None
            else:
                check.call_fields(call, kinds[call.name])
        for condition in skill.conditions:
            check = _Check(path, skill, condition)
            if condition.type:
                check.name('topic', topic_types)
                kind = check.kind(required=on_absent is None)
                if kind is None:
                    absent[condition.type] = None
            else:
                kind = _answer(kinds[condition.name])
            if kind is not None:
                check.condition_fields(condition, kind)
    if absent and on_absent is not None:
        are, them = ('is', 'it') if len(absent) == 1 else ('are', 'them')
        on_absent(f'{path}: {", ".join(absent)} {are} not installed here, so what uses {them} was '
                  'not checked')
    return skills


def absent_endpoints(node: Node, skills: Mapping[str, Skill]) -> list[str]:
    """What skills need and nobody offers now: actions, services and topics, each with its type.

    Args:
        node: whose namespace and remappings hold for the names.
        skills: by name.

    """
    typed = dict(node.get_service_names_and_types())  # those that have only clients, too
    absent: dict[str, None] = {}
    for call in (call for skill in skills.values() for call in skill.runs):
        name = node.resolve_service_name(call.name)
        service = f'{name}/_action/send_goal' if call.action else name
        types = typed.get(service, [])
        expected = f'{call.type}_SendGoal' if call.action else call.type
        kind = 'action' if call.action else 'service'
        if not node.count_services(service):
            absent[f'the {kind} {name} ({call.type}) has no server'] = None
        elif expected not in types:
            other = ', '.join(types).replace('_SendGoal', '')
            absent[f'the {kind} {name} is of type {other}, not {call.type}'] = None
    for condition in (c for skill in skills.values() for c in skill.conditions if c.type):
        name = node.resolve_topic_name(condition.name)
        found = {info.topic_type for info in node.get_publishers_info_by_topic(name)}
        if not found:
            absent[f'the topic {name} ({condition.type}) has no publisher'] = None
        elif condition.type not in found:
            other = ', '.join(sorted(found))
            absent[f'the topic {name} is of type {other}, not {condition.type}'] = None
    return list(absent)


def _answer(kind: Any) -> Any:
    """The type of an action's result, or of a service's response; None for None."""
    return getattr(kind, 'Result', None) or getattr(kind, 'Response', None)


@dataclass(frozen=True)
class _Check:
    """Checks of a call or a condition; each raises InvalidRequestError with file and line."""

    path: Path | str
    skill: Skill
    use: Call | Condition

    def name(self, place: str, types: dict[str, str]) -> None:
        """Check the name, and that it has one type wherever it is used; types are by name."""
        name, type_name = self.use.name, self.use.type
        try:
            validate_topic_name(name, is_service=place != 'topic')
        except NameValidationException as error:
            raise self.error((place,), ros_reason(error)) from error
        if (other := types.setdefault(name, type_name)) != type_name:
            where = 'condition' if place == 'topic' else 'call'
            raise self.error(('type',), f'another {where} of {name} has the type {other}')

    def kind(self, *, required: bool) -> Any:
        """Return the class of the interface; None where it is not installed."""
        try:
            return interface_class(self.use.type)
        except InvalidRequestError as error:
            if required:
                raise self.error(('type',), str(error)) from error
            return None

    def call_fields(self, call: Call, kind: Any) -> None:
        """Fill in values of each argument, as a step does, and set the fields."""
        message = kind.Goal if call.action else kind.Request
        for end in (0, 1):
            values = placeholder_values(_step(self.skill, end), self.skill, 'frame', 1.0)
            self._set(message(), fill(dict(call.fields), values), call.message_field)
        self._set(_answer(kind)(), call.expect, 'expect')

    def condition_fields(self, condition: Condition, kind: Any) -> None:
        """Set the fields of all relations."""
        for relation, fields in fields_by_relation(condition).items():
            self._set(kind(), fields, relation)

    def _set(self, message: Any, fields: Mapping[str, Any], place: str) -> None:
        try:
            set_fields(message, fields)
        except FieldError as error:
            raise self.error((place, *error.path), str(error)) from error

    def error(self, place: FieldPath, problem: str) -> InvalidRequestError:
        """Return the error that says what is wrong at a place of the call or condition."""
        lines = self.use.lines
        while place not in lines:  # such as an item of !!binary
            place = place[:-1] or ('type',)
        does = 'call' if isinstance(self.use, Call) else 'use'
        return InvalidRequestError(
            f'{self.path}, line {lines[place]}: skill {self.skill.name} cannot {does} '
            f'{self.use.name}: {problem}')


def _step(skill: Skill, end: int) -> TaskStep:
    """Make a step of a skill, with the lowest (0) or highest (1) values of its arguments."""
    return TaskStep(skill=skill.name, arguments=[
        SkillArgument(
            name=argument.name, type=int(argument.type), value=_words(argument),
            number=float(round(argument.range[end])) if argument.range else 1.0,
            grounding=SkillArgument.SEEN,
            point=AffordancePoint(position_status=AffordancePoint.OK))
        for argument in skill.arguments])


def _words(argument: Argument) -> str:
    if argument.type is ArgumentType.POSE:
        return argument.options[0]
    return max(argument.options, key=len, default='x')
