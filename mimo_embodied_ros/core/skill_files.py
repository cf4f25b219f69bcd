"""Read the skills of a robot from a YAML file.

A file maps the name of each skill to its fields. This one is complete::

    pick:
      description: Grasp a thing and lift it.
      says: ["pick up {object}", "grasp {object}"]
      asked: [take, lift]
      arguments:
        object: {type: object, description: what to grasp}
      preconditions: ["{object} can be reached", the gripper is empty]
      success: the gripper holds {object}
      lacks: holding
      gives: holding {object}
      runs:
        - action: /pick
          type: my_robot_msgs/action/Pick
          goal: {where: {header: {frame_id: "{object.frame}"}, point: "{object.position}"}}

``description`` (required)
    What the skill is for, in a sentence.
``says`` (required)
    One or several phrases by which a step of a plan names the skill, with the arguments' names in
    braces, each a word of its own. In Chinese no spaces are needed: ``把{object}放进{place}里``. A
    step is matched with the phrases in the file's order. Phrases are also read in other languages
    that have spaces between words; then all phrases and the instructions are in that language.
``asked``
    More phrases by which people ask for the skill.
``arguments``
    By name: ``type``, ``description``, and the fields of the type (below).
``preconditions``
    What must hold before the skill begins, in words; arguments may stand in braces.
``success`` (required)
    How to tell that the skill has succeeded: words, which the model is asked about and in which
    arguments may stand in braces; or a list of such words, conditions (below), or both. Where the
    model says something else than the conditions, the conditions decide.
``needs``, ``lacks``, ``gives``, ``ends``
    Facts about the robot by which the order of steps is checked: facts that must hold before the
    skill, facts that must not hold before it, facts that hold after it, and facts that no longer
    hold after it. A fact is a word and at most one argument. Before the first step only the facts
    hold that the request lists.
``reveals``
    Whether more may be visible after the skill (default: false), so that later steps may be about
    things that are not visible yet.
``runs`` (required)
    The calls that carry out the skill, one after the other: ``action`` or ``service`` with its
    name, its ``type``, and its ``goal`` or ``request`` as ``ros2 action send_goal`` takes it. A
    string that is only ``{argument}`` or ``{argument.part}`` becomes that value, with its type;
    inside of a longer string it becomes words. A Duration takes a number, as seconds. ``expect``
    holds fields that the result or response must have besides the status of an action, ``timeout``
    the seconds that the call may take (default: 60).

A condition is about what the robot itself says, such as::

    success:
      - the gripper holds {object}
      - {result: /gripper_controller/gripper_cmd, equal: {stalled: true}}
      - topic: /joint_states
        type: sensor_msgs/msg/JointState
        joint: left_finger_joint
        least: {position: 0.01}

``result``
    Name of a call in ``runs``, whose result or response the fields are of: of the last call of this
    name.
``topic``
    Name of a topic, whose fields are those of the first message after the end of the skill. Its
    ``type`` is required. ``joint`` names the joint of a JointState whose values count; messages
    without it are left out. ``timeout`` is within how many seconds a message must come (default:
    5), so the topic has to be published all the time.
``equal``, ``least``, ``most``
    Fields with the values that they must have, must at least have, or must not exceed.

Types of arguments:

``object``, ``place``
    The name of a thing, or of the place where to put something or where to go. The model looks for
    it in the image. Parts: ``position`` (geometry_msgs/Point, metres) and ``frame`` (the frame of
    all parts), ``orientation`` (Quaternion of a tool that points at the surface there),
    ``approach`` (Point, 0.1 m before the surface), ``goal`` (PoseStamped of a base that stands
    before it), ``bearing`` (radians to the left of where the base faces).
``point``
    A pixel that the step names, without words. It has the same parts.
``pose``
    One of the poses that ``poses`` declares by name: ``frame``, ``position`` [x, y, z] in metres
    and ``yaw`` in degrees (default: 0). Parts: ``position``, ``orientation``, ``frame``, ``goal``.
``number``
    In ``unit``, from the first to the second of ``range``.
``text``
    Free words, at most 200 characters.
``choice``
    One of ``options``.

A ``number``, ``text``, ``choice`` or ``pose`` may have a ``default``, the value where the step does
not name one.
"""  # noqa: D214, D405, D411 - the fields of the file

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING

from .answers import ArgumentType
from .skill_calls import read_call, read_success
from .skill_fields import read_number, read_numbers, read_text, read_texts
from .skills import (
    PHRASE_PART,
    PLACEHOLDER,
    Argument,
    Fact,
    NamedPose,
    Skill,
    is_chinese,
    value_problem,
)
from .yaml_tables import YamlNode, load_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_IDENTIFIER = re.compile(r'[a-z][a-z0-9_]*')
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_OPTIONS = {ArgumentType.CHOICE: 'options', ArgumentType.POSE: 'poses'}
_REFERENCE = 'mimo_embodied_ros.core.skill_files for the fields'


def load_skills(path: Path | str) -> dict[str, Skill]:
    """Read skills from a YAML file.

    Raises:
        InvalidRequestError: the file cannot be read or is not as the module's docstring describes;
            the message has its name and the line.

    """
    return load_table(path, 'skill', _skill, _REFERENCE)


_FIELDS = ('description', 'says', 'asked', 'arguments', 'preconditions', 'success', 'needs',
           'lacks', 'gives', 'ends', 'reveals', 'runs')
_FACTS = ('needs', 'lacks', 'gives', 'ends')


def _skill(name: str, key: YamlNode, value: YamlNode) -> Skill:
    if not _IDENTIFIER.fullmatch(name):
        raise key.error(f'the name {name!r} is not made of small letters, digits and _')
    fields = value.fields(_FIELDS)
    for required in ('description', 'says', 'success', 'runs'):
        if required not in fields:
            raise key.error(f'skill {name} has no {required}')
    arguments = tuple(
        _argument(*pair) for pair in fields['arguments'].pairs('a mapping of arguments')
    ) if 'arguments' in fields else ()
    names = [argument.name for argument in arguments]
    for duplicate in (n for i, n in enumerate(names) if n in names[:i]):
        raise fields['arguments'].error(f'a second argument {duplicate}')
    no_parts: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    preconditions = (
        read_texts(fields['preconditions'], no_parts) if 'preconditions' in fields else ())
    reveals = fields['reveals'].value() if 'reveals' in fields else False
    if not isinstance(reveals, bool):
        raise fields['reveals'].error(f'reveals is {reprlib.repr(reveals)}; it is true or false')
    runs = fields['runs'].items('a list of calls')
    if not runs:
        raise fields['runs'].error(f'skill {name} runs nothing; give an action or a service')
    phrases = read_texts(fields['asked'], {}) if 'asked' in fields else ()
    facts = {field: _facts(fields.get(field), no_parts) for field in _FACTS}
    calls = tuple(read_call(run, arguments) for run in runs)
    success, conditions = read_success(fields['success'], no_parts, [call.name for call in calls])
    return Skill(
        name, read_text(fields['description'], {}), _says(fields['says'], arguments), arguments,
        success, calls, conditions, asked=phrases, preconditions=preconditions, reveals=reveals,
        **facts)


def _argument(name: str, key: YamlNode, value: YamlNode) -> Argument:
    if not _IDENTIFIER.fullmatch(name):
        raise key.error(f'the name {name!r} is not made of small letters, digits and _')
    fields = value.fields(
        ('type', 'description', 'unit', 'range', 'options', 'poses', 'default'))
    if 'type' not in fields:
        raise key.error(f'argument {name} has no type')
    types = {kind.name.lower(): kind for kind in ArgumentType}
    kind = types.get(str(fields['type'].value()))
    if kind is None:
        raise fields['type'].error(
            f'type is {reprlib.repr(fields["type"].value())}; it is one of {", ".join(types)}')
    allowed = {'unit': (ArgumentType.NUMBER,), 'range': (ArgumentType.NUMBER,),
               'options': (ArgumentType.CHOICE,), 'poses': (ArgumentType.POSE,),
               'default': (ArgumentType.NUMBER, ArgumentType.TEXT, *_OPTIONS)}
    for other, kinds in allowed.items():
        if other in fields and kind not in kinds:
            raise fields[other].error(f'an argument of type {kind.name.lower()} has no {other}')
    if kind in _OPTIONS and _OPTIONS[kind] not in fields:
        raise key.error(f'argument {name} of type {kind.name.lower()} has no {_OPTIONS[kind]}')
    poses = _poses(fields['poses']) if 'poses' in fields else {}
    options = tuple(poses)
    if 'options' in fields:
        options = tuple(_words(node, node.text()) for node in
                        fields['options'].items('a list of words'))
        if not options:
            raise fields['options'].error('there is nothing to choose from')
    limits = read_numbers(fields['range'], 2) if 'range' in fields else None
    if limits and limits[0] > limits[1]:
        raise fields['range'].error(f'the range {limits} is empty')
    default = fields['default'].text() if 'default' in fields else None
    description = read_text(fields['description'], {}) if 'description' in fields else ''
    argument = Argument(
        name, kind, description=description,
        unit=read_text(fields['unit'], {}) if 'unit' in fields else '',
        range=(limits[0], limits[1]) if limits else None, options=options, poses=poses,
        default=default)
    if default is not None and (problem := value_problem(argument, default)):
        raise fields['default'].error(f'default: {problem}')
    return argument


def _poses(node: YamlNode) -> dict[str, NamedPose]:
    poses = {}
    for name, key, value in node.pairs('a mapping of names to poses'):
        fields = value.fields(('frame', 'position', 'yaw'))
        if not {'frame', 'position'} <= fields.keys():
            raise key.error(f'pose {name} has no frame or no position')
        x, y, z = read_numbers(fields['position'], 3)
        yaw = read_number(fields['yaw']) if 'yaw' in fields else 0.0
        poses[_words(key, name)] = NamedPose(read_text(fields['frame'], {}), (x, y, z), yaw)
    if not poses:
        raise node.error('there are no poses')
    return poses


def _says(node: YamlNode, arguments: tuple[Argument, ...]) -> tuple[str, ...]:
    """Read phrases, each with all arguments that have no default, once."""
    parts: dict[str, tuple[str, ...]] = {argument.name: () for argument in arguments}
    templates = read_texts(node, parts)
    for template in templates:
        names = []
        # Chinese words and arguments follow each other without spaces
        words = PHRASE_PART.findall(template) if is_chinese(template) else template.split()
        for word in words:
            if placeholder := PLACEHOLDER.fullmatch(word):
                names.append(placeholder.group(1))
            elif not _WORD.fullmatch(word):
                raise node.error(
                    f'{word!r} in {template!r} is neither a word nor an argument in braces')
        if not template[:1].isalpha():
            raise node.error(f'{template!r} does not begin with a word')
        needed = {argument.name for argument in arguments if argument.default is None}
        if len(names) != len(set(names)) or not needed <= set(names):
            raise node.error(f'{template!r} must name each argument once: {", ".join(parts)}')
    return templates


def _facts(node: YamlNode | None, parts: Mapping[str, tuple[str, ...]]) -> tuple[Fact, ...]:
    if node is None:
        return ()
    facts = []
    for text in read_texts(node, parts):
        name, _, argument = text.partition(' ')
        placeholder = PLACEHOLDER.fullmatch(argument)
        if not _IDENTIFIER.fullmatch(name) or (argument and not placeholder):
            raise node.error(f'{text!r} is no fact; give a word and at most one argument in braces')
        facts.append(Fact(name, placeholder.group(1) if placeholder else ''))
    return tuple(facts)


def _words(node: YamlNode, text: str) -> str:
    """Return the text, and refuse it if it is not words with single spaces between them."""
    if not text or not all(_WORD.fullmatch(word) for word in text.split(' ')):
        raise node.error(f'{text!r} is not made of words')
    return text
