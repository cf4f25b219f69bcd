"""Skills of a robot: the phrases that name them, and the actions and services that run them."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .action_verbs import HAN
from .answers import ArgumentType
from .errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .yaml_tables import FieldPath

GROUNDED = (ArgumentType.OBJECT, ArgumentType.PLACE)
"""Types of arguments that the model looks for in the image."""

_LOOKED_UP = ('position', 'frame', 'orientation', 'approach', 'goal', 'bearing')
PARTS: dict[ArgumentType, tuple[str, ...]] = {
    ArgumentType.OBJECT: _LOOKED_UP,
    ArgumentType.PLACE: _LOOKED_UP,
    ArgumentType.POINT: _LOOKED_UP,
    ArgumentType.POSE: ('position', 'orientation', 'frame', 'goal'),
}
"""Names of the parts of an argument's value, see `core.skill_files`."""

MAX_STEPS = 100
PLACEHOLDER = re.compile(r'\{([^{}]*)\}')
PHRASE_PART = re.compile(r'\{[^{}]*\}|[^{}\s]+')
"""A word of a phrase in ``says``, or an argument in braces."""

# A name is made of words only, so that it cannot look like another step or a control token.
_NAME = r"[^\W_]{1,24}(?:[ '-][^\W_]{1,24}){0,7}"
_ARTICLE = '(?:(?:the|an?|your|its|this|that) )?'
_CHINESE_ARTICLE = '(?:一个|这个|那个)?'
_PIXEL = r'\[[0-9]{1,5}, ?[0-9]{1,5}\]'
_VALUES = {
    ArgumentType.OBJECT: _NAME,
    ArgumentType.PLACE: _NAME,
    ArgumentType.POINT: _PIXEL,
    ArgumentType.NUMBER: r'-?[0-9]{1,6}(?:\.[0-9]{1,3})?',
    ArgumentType.TEXT: r'[^\x00-\x1F\[\]<>{}|\\]{1,200}',
}


@dataclass(frozen=True)
class NamedPose:
    """A pose of the robot: metres, and degrees to the left from the frame's x axis."""

    frame: str
    position: tuple[float, float, float]
    yaw: float = 0.0


@dataclass(frozen=True)
class Argument:
    """An argument of a skill; `core.skill_files` describes the fields.

    Of type POSE, ``options`` are the names of ``poses``.
    """

    name: str
    type: ArgumentType
    description: str = ''
    unit: str = ''
    range: tuple[float, float] | None = None
    options: tuple[str, ...] = ()
    poses: Mapping[str, NamedPose] = field(default_factory=dict, hash=False)
    default: str | None = None


@dataclass(frozen=True)
class Fact:
    """A fact about the robot, such as that it holds something."""

    name: str
    argument: str = ''

    def words(self, values: Mapping[str, str]) -> str:
        """Word the fact with the value of its argument, such as "holding red cube"."""
        return f'{self.name} {values.get(self.argument, "")}'.strip()


@dataclass(frozen=True)
class Call:
    """One call of an action or a service of the robot.

    Attributes:
        action: True for an action, False for a service.
        name: of the action or service.
        type: of its interface, such as ``nav2_msgs/action/NavigateToPose``.
        fields: of the goal or request, with placeholders; see `fill`.
        expect: fields that the result or response must have.
        timeout: seconds that the call may take.
        lines: of the file, by the path of a value, such as ``('goal', 'pose', 'x')``.

    """

    action: bool
    name: str
    type: str
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    expect: Mapping[str, Any] = field(default_factory=dict, hash=False)
    timeout: float = 60.0
    lines: Mapping[FieldPath, int] = field(
        default_factory=dict, hash=False, compare=False, repr=False)

    @property
    def message_field(self) -> str:
        """What ``fields`` is called in the file: goal or request."""
        return 'goal' if self.action else 'request'


@dataclass(frozen=True)
class Condition:
    """What the robot itself must say after a skill that has succeeded.

    Attributes:
        name: of the topic, or of the call whose result it is.
        type: of the topic's messages, such as ``sensor_msgs/msg/JointState``; empty: of a result.
        joint: the joint of a JointState whose values count; empty: all fields count.
        equal: fields that have these values.
        least: fields with numbers that are not less than these.
        most: fields with numbers that are not greater than these.
        timeout: seconds within which a message of the topic must come.
        lines: of the file, by the path of a value, such as ``('least', 'position')``.

    """

    name: str
    type: str = ''
    joint: str = ''
    equal: Mapping[str, Any] = field(default_factory=dict, hash=False)
    least: Mapping[str, Any] = field(default_factory=dict, hash=False)
    most: Mapping[str, Any] = field(default_factory=dict, hash=False)
    timeout: float = 5.0
    lines: Mapping[FieldPath, int] = field(
        default_factory=dict, hash=False, compare=False, repr=False)


@dataclass(frozen=True)
class Skill:
    """Something that the robot can do; `core.skill_files` describes the fields.

    ``success`` holds the words of the file's field, which may be empty, and ``conditions`` the
    conditions.
    """

    name: str
    description: str
    says: tuple[str, ...]
    arguments: tuple[Argument, ...]
    success: str
    runs: tuple[Call, ...]
    conditions: tuple[Condition, ...] = ()
    asked: tuple[str, ...] = ()
    preconditions: tuple[str, ...] = ()
    needs: tuple[Fact, ...] = ()
    lacks: tuple[Fact, ...] = ()
    gives: tuple[Fact, ...] = ()
    ends: tuple[Fact, ...] = ()
    reveals: bool = False

    def argument(self, name: str) -> Argument:
        """Return the argument of this name."""
        return next(argument for argument in self.arguments if argument.name == name)

    def match(self, text: str) -> list[dict[str, str]]:
        """Match a step's text with the phrases in ``says``.

        Args:
            text: without coordinates, as `core.plan_readers` reads it.

        Returns:
            For each phrase that fits, the words of the arguments by name. Arguments of type POINT
            have no words and are left out.

        """
        matches = (re.fullmatch(_pattern(self, says, written=False), text, re.IGNORECASE)
                   for says in self.says)
        return [{name: words or '' for name, words in match.groupdict().items()}
                for match in matches if match]

    def grammar(self) -> str:
        """Return a regular expression of the skill's steps as a model writes them, with pixels."""
        return '|'.join(_pattern(self, says, written=True) for says in self.says)


@dataclass(frozen=True)
class SkillList:
    """The skills that a plan may use, and the rules that it must follow.

    Attributes:
        skills: that may be used, in the order in which a step is matched with them.
        max_steps: how many steps a plan may have.
        facts: that hold before the first step, such as "holding red cube", and parts of the
            instruction that are done, such as "done put the red cube in the blue bowl".
        open_ended: steps may use skills and things that the instruction does not name.

    """

    skills: tuple[Skill, ...]
    max_steps: int = 10
    facts: tuple[str, ...] = ()
    open_ended: bool = False


def select_skills(
    skills: Mapping[str, Skill], names: tuple[str, ...] = (), *, facts: tuple[str, ...] = (),
    max_steps: int = 10, open_ended: bool = False,
) -> SkillList:
    """Select a robot's skills for one request: those of the names, or all without names.

    Raises:
        InvalidRequestError: a name is no skill, no skill has a fact, or max_steps is out of range.

    """
    if not 1 <= max_steps <= MAX_STEPS:
        msg = f'max_steps is {max_steps}; give 1 to {MAX_STEPS}'
        raise InvalidRequestError(msg)
    if unknown := [name for name in names if name not in skills]:
        available = ', '.join(skills) or 'none, see skills_file'
        msg = f'there is no skill {unknown[0]!r}; the robot has {available}'
        raise InvalidRequestError(msg)
    fact_names = {f.name for s in skills.values() for f in (*s.needs, *s.lacks, *s.gives, *s.ends)}
    fact_names.add('done')
    if unknown := [fact for fact in facts if fact.split(' ', 1)[0] not in fact_names]:
        msg = f'no skill has the fact {unknown[0]!r}; they have {", ".join(sorted(fact_names))}'
        raise InvalidRequestError(msg)
    selected = tuple(skill for name, skill in skills.items() if not names or name in names)
    return SkillList(selected, max_steps, facts, open_ended)


def is_chinese(says: str) -> bool:
    """Tell whether a phrase is Chinese, so that no spaces need to stand between its words."""
    return re.search(f'[{HAN}]', PLACEHOLDER.sub('', says)) is not None


def value_problem(argument: Argument, value: str) -> str:
    """Return what is wrong with the words of an argument; '' if nothing is."""
    pattern = '|'.join(argument.options) or _VALUES[argument.type]
    if argument.type is ArgumentType.POINT:
        return ''
    if not re.fullmatch(pattern, value, re.IGNORECASE):
        return (f'{argument.name} is {reprlib.repr(value)}, and no {argument.type.name.lower()}'
                + (f' of {", ".join(argument.options)}' if argument.options else ''))
    if argument.range and not argument.range[0] <= float(value) <= argument.range[1]:
        return '{} is {}; it is from {:g} to {:g}'.format(argument.name, value, *argument.range)
    return ''


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Put values into the fields of a call, or into words.

    Args:
        template: fields with placeholders, or a sentence.
        values: by ``argument`` and ``argument.part``.

    Raises:
        KeyError: a placeholder has no value.

    """
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    placeholder = PLACEHOLDER.fullmatch(template)
    if placeholder:
        return values[placeholder.group(1)]
    return PLACEHOLDER.sub(lambda match: str(values[match.group(1)]), template)


def _pattern(skill: Skill, says: str, *, written: bool) -> str:
    """Return a regular expression of a phrase.

    With ``written`` it matches what a model writes, with pixels; else it matches a step's text
    without them and has a group for each argument.
    """
    parts = []
    chinese = is_chinese(says)
    for word in PHRASE_PART.findall(says):
        placeholder = PLACEHOLDER.fullmatch(word)
        if placeholder is None:
            parts.append(word)
            continue
        argument = skill.argument(placeholder.group(1))
        if argument.options:
            longest_first = sorted(argument.options, key=len, reverse=True)
            value = f'(?:{"|".join(longest_first)})'
        else:
            value = _VALUES[argument.type]
        takes_article = argument.type in (*GROUNDED, ArgumentType.POSE)
        if not written:
            if argument.type is ArgumentType.POINT:
                continue
            # as few words as possible: "the cup in the bowl on the table" is put in the bowl
            value = value.replace('{0,7}', '{0,7}?')
            if chinese:
                value = value.replace('{1,24}', '{1,24}?')
            value = f'(?P<{argument.name}>{value})'
        elif argument.type in GROUNDED:
            value += f'(?: {_PIXEL})?'
        parts.append((_CHINESE_ARTICLE if chinese else _ARTICLE) * takes_article + value)
    return (' ?' if chinese else ' ').join(parts)
