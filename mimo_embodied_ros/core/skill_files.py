"""Reads what a robot can do from a YAML file.

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
    What it is for, a sentence.
``says`` (required)
    The words by which a step of a plan names it, one or several ways, with the arguments' names in
    braces, each a word of its own. The first that fits a step is taken, in the file's order.
``asked``
    More words by which people ask for it.
``arguments``
    By name: ``type``, ``description``, and what the type has more (below).
``preconditions``
    What must be so before it is begun, in words; arguments may stand in braces.
``success`` (required)
    How to tell that it is done, in the same manner.
``needs``, ``lacks``, ``gives``, ``ends``
    Facts about the robot by which the order of steps is checked: what must be so before it, what
    must not, what is so after it, and what no longer. A fact is a word and at most one argument.
    Only what the robot cannot have at the start, unless the request says so, can be needed.
``reveals``
    Whether more may be seen after it (default: false), so that later steps may be about things
    that are not visible yet.
``runs`` (required)
    The calls that do it, one after the other: ``action`` or ``service`` with its name, its
    ``type``, and its ``goal`` or ``request`` as ``ros2 action send_goal`` takes it. A string that
    is ``{argument}`` or ``{argument.part}`` becomes that value, with its type; inside of a longer
    string it becomes words. ``expect`` holds fields that the result or response must have besides
    the status of an action, ``timeout`` the seconds that it may take (default: 60).

Types of arguments:

``object``, ``place``
    A thing, or where something is put or where to go, by its words. It is looked for in the image.
    Parts: ``position`` (geometry_msgs/Point, metres) and ``frame`` (the frame of all parts),
    ``orientation`` (Quaternion of a tool that points at the surface there), ``approach`` (Point,
    0.1 m before the surface), ``goal`` (PoseStamped of a base that stands before it), ``bearing``
    (radians to the left of where the base faces).
``point``
    A pixel that the step names, without words. The same parts.
``pose``
    One of the poses that ``poses`` declares by name: ``frame``, ``position`` [x, y, z] in metres
    and ``yaw`` in degrees (default: 0). Parts: ``position``, ``orientation``, ``frame``, ``goal``.
``number``
    In ``unit``, from the first to the second of ``range``.
``text``
    Free words, at most 200 characters.
``choice``
    One of ``options``.

A ``number``, ``text``, ``choice`` or ``pose`` may have a ``default``, which it is where the step
does not name it.
"""  # noqa: D214, D405, D411 - the fields of the file

from __future__ import annotations

import re
import reprlib
from typing import TYPE_CHECKING, Any

from .answers import ArgumentType
from .skills import PARTS, PLACEHOLDER, Argument, Call, Fact, NamedPose, Skill, value_problem
from .yaml_tables import YamlNode, load_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_IDENTIFIER = re.compile(r'[a-z][a-z0-9_]*')
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_INTERFACE = re.compile(r'[a-z][a-z0-9_]*/(action|srv)/[A-Z][A-Za-z0-9]*')
_OPTIONS = {ArgumentType.CHOICE: 'options', ArgumentType.POSE: 'poses'}
_SEE = 'mimo_embodied_ros.core.skill_files for the fields'


def load_skills(path: Path | str) -> dict[str, Skill]:
    """Read skills from a YAML file.

    Raises:
        InvalidRequestError: the file cannot be read or is not as the module's docstring says; with
            its name and the line.

    """
    return load_table(path, 'skill', _skill, _SEE)


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
    for twice in (n for i, n in enumerate(names) if n in names[:i]):
        raise fields['arguments'].error(f'a second argument {twice}')
    words: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    preconditions = _texts(fields['preconditions'], words) if 'preconditions' in fields else ()
    reveals = fields['reveals'].value() if 'reveals' in fields else False
    if not isinstance(reveals, bool):
        raise fields['reveals'].error(f'reveals is {reveals!r}; it is true or false')
    runs = fields['runs'].items('a list of calls')
    if not runs:
        raise fields['runs'].error(f'skill {name} runs nothing; give an action or a service')
    asked = _texts(fields['asked'], {}) if 'asked' in fields else ()
    facts = {field: _facts(fields.get(field), words) for field in _FACTS}
    return Skill(
        name, _text(fields['description'], {}), _says(fields['says'], arguments), arguments,
        _text(fields['success'], words), tuple(_call(run, arguments) for run in runs),
        asked=asked, preconditions=preconditions, reveals=reveals, **facts)


def _argument(name: str, key: YamlNode, value: YamlNode) -> Argument:
    if not _IDENTIFIER.fullmatch(name):
        raise key.error(f'the name {name!r} is not made of small letters, digits and _')
    known = ('type', 'description', 'unit', 'range', 'options', 'poses', 'default')
    fields = value.fields(known)
    if 'type' not in fields:
        raise key.error(f'argument {name} has no type')
    types = {kind.name.lower(): kind for kind in ArgumentType}
    kind = types.get(str(fields['type'].value()))
    if kind is None:
        raise fields['type'].error(
            f'type is {fields["type"].value()!r}; it is one of {", ".join(types)}')
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
    limits = _numbers(fields['range'], 2) if 'range' in fields else None
    if limits and limits[0] > limits[1]:
        raise fields['range'].error(f'the range {limits} is empty')
    default = fields['default'].text() if 'default' in fields else None
    argument = Argument(
        name, kind, description=_text(fields['description'], {}) if 'description' in fields else '',
        unit=_text(fields['unit'], {}) if 'unit' in fields else '',
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
        x, y, z = _numbers(fields['position'], 3)
        yaw = _number(fields['yaw']) if 'yaw' in fields else 0.0
        poses[_words(key, name)] = NamedPose(_text(fields['frame'], {}), (x, y, z), yaw)
    if not poses:
        raise node.error('there are no poses')
    return poses


def _says(node: YamlNode, arguments: tuple[Argument, ...]) -> tuple[str, ...]:
    """Templates, each with all arguments that have no default, once."""
    known: dict[str, tuple[str, ...]] = {argument.name: () for argument in arguments}
    templates = _texts(node, known)
    for template in templates:
        said = []
        for word in template.split():
            if found := PLACEHOLDER.fullmatch(word):
                said.append(found.group(1))
            elif not _WORD.fullmatch(word):
                raise node.error(f'{word!r} in {template!r} is no word and no argument in braces')
        if not template[:1].isalpha():
            raise node.error(f'{template!r} does not begin with a word')
        needed = {argument.name for argument in arguments if argument.default is None}
        if len(said) != len(set(said)) or not needed <= set(said):
            raise node.error(f'{template!r} must name each argument once: {", ".join(known)}')
    return templates


def _facts(node: YamlNode | None, known: Mapping[str, tuple[str, ...]]) -> tuple[Fact, ...]:
    if node is None:
        return ()
    facts = []
    for text in _texts(node, known):
        name, _, argument = text.partition(' ')
        found = PLACEHOLDER.fullmatch(argument)
        if not _IDENTIFIER.fullmatch(name) or (argument and not found):
            raise node.error(f'{text!r} is no fact; give a word and at most one argument in braces')
        facts.append(Fact(name, found.group(1) if found else ''))
    return tuple(facts)


def _call(node: YamlNode, arguments: tuple[Argument, ...]) -> Call:
    fields = node.fields(('action', 'service', 'type', 'goal', 'request', 'expect', 'timeout'),
                         'a call with action or service and its type')
    kinds = [kind for kind in ('action', 'service') if kind in fields]
    if len(kinds) != 1 or 'type' not in fields:
        raise node.error('a call has an action or a service, and its type')
    action = kinds[0] == 'action'
    own, other = ('goal', 'request') if action else ('request', 'goal')
    if other in fields:
        raise fields[other].error(f'{kinds[0]} has no {other}; it has a {own}')
    interface = _text(fields['type'], {})
    found = _INTERFACE.fullmatch(interface)
    if not found or (found.group(1) == 'action') is not action:
        folder = 'action' if action else 'srv'
        raise fields['type'].error(f'type is {interface!r}; it is like my_msgs/{folder}/Name')
    values = {}
    for name in (own, 'expect'):
        values[name] = fields[name].value() if name in fields else {}
        if not isinstance(values[name], dict):
            raise fields[name].error(f'{name} is no mapping of fields')
    parts = {a.name: PARTS.get(a.type, ()) for a in arguments}
    if own in fields:
        _check_placeholders(fields[own], values[own], parts)
    timeout = _number(fields['timeout']) if 'timeout' in fields else 60.0
    if not timeout > 0:
        raise fields['timeout'].error(f'timeout is {timeout:g} s; give one above 0')
    return Call(action, _text(fields[kinds[0]], {}), interface, values[own], values['expect'],
                timeout)


def _check_placeholders(node: YamlNode, value: Any, known: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse what stands in braces and is no argument, or no part of one."""
    if isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            _check_placeholders(node, item, known)
    elif isinstance(value, list):
        for item in value:
            _check_placeholders(node, item, known)
    elif isinstance(value, str):
        for placeholder in PLACEHOLDER.findall(value):
            name, dot, part = placeholder.partition('.')
            if name not in known or (dot and part not in known[name]):
                parts = [f'{n}{f".{p}" if p else ""}' for n, ps in known.items() for p in ('', *ps)]
                raise node.error(f'there is no argument {{{placeholder}}}; there is '
                                 f'{", ".join(parts) or "none"}')


def _text(node: YamlNode, known: Mapping[str, tuple[str, ...]]) -> str:
    value = node.value()
    if isinstance(value, bool):
        value = node.text()
    if not isinstance(value, str) or not value.strip():
        raise node.error(f'this is {reprlib.repr(value)}; words are needed')
    _check_placeholders(node, value, known)
    return ' '.join(value.split())


def _texts(node: YamlNode, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """One text or a list of them."""
    if node.text():
        return (_text(node, known),)
    texts = tuple(_text(item, known) for item in node.items('words or a list of them'))
    if not texts:
        raise node.error('this list is empty')
    return texts


def _words(node: YamlNode, text: str) -> str:
    """Words with spaces between, and nothing else."""
    if not text or not all(_WORD.fullmatch(word) for word in text.split(' ')):
        raise node.error(f'{text!r} is not made of words')
    return text


def _number(node: YamlNode) -> float:
    value = node.value()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise node.error(f'this is {reprlib.repr(value)}; a number is needed')
    return float(value)


def _numbers(node: YamlNode, count: int) -> list[float]:
    numbers = [_number(item) for item in node.items(f'a list of {count} numbers')]
    if len(numbers) != count:
        raise node.error(f'these are {len(numbers)} numbers; {count} are needed')
    return numbers
