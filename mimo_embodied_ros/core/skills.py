"""What a robot can do: its skills, the words for them, and what of the robot runs each one."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .answers import ArgumentType
from .errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUNDED = (ArgumentType.OBJECT, ArgumentType.PLACE)
"""Types that are looked for in the image."""

_LOOKED_UP = ('position', 'frame', 'orientation', 'approach', 'goal', 'bearing')
PARTS: dict[ArgumentType, tuple[str, ...]] = {
    ArgumentType.OBJECT: _LOOKED_UP,
    ArgumentType.PLACE: _LOOKED_UP,
    ArgumentType.POINT: _LOOKED_UP,
    ArgumentType.POSE: ('position', 'orientation', 'frame', 'goal'),
}
"""Names of the parts that an argument's value has beside its words."""

MAX_STEPS = 100
PLACEHOLDER = re.compile(r'\{([^{}]*)\}')

# What a name may be made of: words, and nothing that could look like another step or a token.
_NAME = r"[^\W_]{1,24}(?:[ '-][^\W_]{1,24}){0,7}"
_ARTICLE = '(?:(?:the|an?|your|its|this|that) )?'
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
    """What a skill is done with; `core.skill_files` tells what the fields mean.

    ``options`` of a pose are its names.
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
    """Something that is so of the robot, such as holding something."""

    name: str
    argument: str = ''

    def words(self, values: Mapping[str, str]) -> str:
        """Such as "holding red cube", of the values by argument."""
        return f'{self.name} {values.get(self.argument, "")}'.strip()


@dataclass(frozen=True)
class Call:
    """One call of an action or a service of the robot.

    Attributes:
        action: whether it is one; else a service.
        name: of the action or service.
        type: of its interface, such as ``nav2_msgs/action/NavigateToPose``.
        fields: of the goal or request, with placeholders; see `fill`.
        expect: fields that the result or response must have.
        timeout: seconds that it may take.

    """

    action: bool
    name: str
    type: str
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    expect: Mapping[str, Any] = field(default_factory=dict, hash=False)
    timeout: float = 60.0


@dataclass(frozen=True)
class Skill:
    """Something that the robot can do; `core.skill_files` tells what the fields mean."""

    name: str
    description: str
    says: tuple[str, ...]
    arguments: tuple[Argument, ...]
    success: str
    runs: tuple[Call, ...]
    asked: tuple[str, ...] = ()
    preconditions: tuple[str, ...] = ()
    needs: tuple[Fact, ...] = ()
    lacks: tuple[Fact, ...] = ()
    gives: tuple[Fact, ...] = ()
    ends: tuple[Fact, ...] = ()
    reveals: bool = False

    def argument(self, name: str) -> Argument:
        """The one of this name."""
        return next(argument for argument in self.arguments if argument.name == name)

    def match(self, text: str) -> list[dict[str, str]]:
        """Words of the arguments in a step's words, for each of ``says`` that fits; '' of a pixel.

        The words are without coordinates, as `core.plan_readers` reads them.
        """
        found = (re.fullmatch(_pattern(self, says, written=False), text, re.IGNORECASE)
                 for says in self.says)
        return [{name: words or '' for name, words in match.groupdict().items()}
                for match in found if match]

    def grammar(self) -> str:
        """A regular expression of its steps as a model writes them, with coordinates."""
        return '|'.join(_pattern(self, says, written=True) for says in self.says)


@dataclass(frozen=True)
class SkillList:
    """What a plan may be made of.

    Attributes:
        skills: that may be used, in the order in which a step's words are tried.
        max_steps: how long a plan may be.
        facts: what is so before the first step, such as "holding red cube", and what of the
            instruction is done, such as "done put the red cube in the blue bowl".
        open_ended: steps may be of skills and things that the instruction does not name.

    """

    skills: tuple[Skill, ...]
    max_steps: int = 10
    facts: tuple[str, ...] = ()
    open_ended: bool = False


def select_skills(
    skills: Mapping[str, Skill], names: tuple[str, ...] = (), *, facts: tuple[str, ...] = (),
    max_steps: int = 10, open_ended: bool = False,
) -> SkillList:
    """Some of a robot's skills, or all without names, for one request.

    Raises:
        InvalidRequestError: there is no such skill or fact, or max_steps is out of its range.

    """
    if not 1 <= max_steps <= MAX_STEPS:
        msg = f'max_steps is {max_steps}; give 1 to {MAX_STEPS}'
        raise InvalidRequestError(msg)
    if unknown := [name for name in names if name not in skills]:
        known_names = ', '.join(skills) or 'none, see skills_file'
        msg = f'there is no skill {unknown[0]!r}; the robot has {known_names}'
        raise InvalidRequestError(msg)
    known = {f.name for s in skills.values() for f in (*s.needs, *s.lacks, *s.gives, *s.ends)}
    known.add('done')
    if wrong := [fact for fact in facts if fact.split(' ', 1)[0] not in known]:
        msg = f'no skill knows of the fact {wrong[0]!r}; they know of {", ".join(sorted(known))}'
        raise InvalidRequestError(msg)
    some = tuple(skill for name, skill in skills.items() if not names or name in names)
    return SkillList(some, max_steps, facts, open_ended)


def value_problem(argument: Argument, value: str) -> str:
    """What is wrong with the words of an argument; '' where nothing is."""
    known = '|'.join(argument.options) or _VALUES[argument.type]
    if argument.type is ArgumentType.POINT:
        return ''
    if not re.fullmatch(known, value, re.IGNORECASE):
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
        KeyError: a value that is not there.

    """
    if isinstance(template, dict):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = PLACEHOLDER.fullmatch(template)
    if whole:
        return values[whole.group(1)]
    return PLACEHOLDER.sub(lambda found: str(values[found.group(1)]), template)


def _pattern(skill: Skill, says: str, *, written: bool) -> str:
    """A regular expression of a template: as a model writes it, or with groups, to read it."""
    parts = []
    for word in says.split():
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
        named = argument.type in (*GROUNDED, ArgumentType.POSE)
        if not written:
            if argument.type is ArgumentType.POINT:
                continue
            # as few words as possible: "the cup in the bowl on the table" is put in the bowl
            value = f'(?P<{argument.name}>{value.replace("{0,7}", "{0,7}?")})'
        elif argument.type in GROUNDED:
            value += f'(?: {_PIXEL})?'
        parts.append(_ARTICLE * named + value)
    return ' '.join(parts)
