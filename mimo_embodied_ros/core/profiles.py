r"""Profiles of models, read from YAML files; ``profiles.yaml`` holds the package's own profiles.

A file maps the name of each profile to its fields. This one is complete::

    my-model:
      models: my-model
      range: 1000
      point: point_2d
      box: bbox_2d
      prompts:
        points: 'Locate {text}. Output the point coordinates in JSON format.'

``models`` (required)
    Regular expression; a model in whose name it occurs, in any case of letters, has the profile.
``range``
    The number that stands for the whole width or height of the image in a position, such as 1000;
    0, the default: positions are pixels of the image that the model sees.
``y_first``
    Whether positions are [y, x] and boxes [y, x, y, x] (default: false).
``point``, ``box``
    The keys of points and boxes in JSON. Without its key, an answer has another form, and cannot be
    held to a grammar.
``tags``
    Whether points may come as tags: ``<points x1="4" y1="5" alt="cup">cup</points>``.
``marks``
    Regular expressions of marks in its answers, which are taken out; what their group holds stays.
``prompts``
    The model's words for tasks of this package, by their names, in place of those in tasks.yaml.
``system``
    The system prompt of requests whose task, caller and node name none.
``thinking``, ``answering``
    How the model is made to reason, or to answer at once; a model without ``thinking`` never
    reasons, and one with ``thinking`` but no ``answering`` always does. Their fields are suffix (of
    the prompt), system (added to the system prompt), prefill (the begin of the model's turn) and
    request (fields of a request to a server, such as {chat_template_kwargs: {enable_thinking:
    false}}).
``factor``
    The sides of images are multiples of it, in pixels (default: 28); the model in this process has
    its own.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InvalidRequestError
from .resize import FACTOR
from .tasks import TASKS, Task
from .yaml_tables import YamlNode, load_table

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ThinkingMode:
    """How a model is made to reason, or not to; the module's docstring describes the fields."""

    suffix: str = ''
    system: str = ''
    prefill: str = ''
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """How a model is asked and what its answers mean; the module's docstring describes the fields.

    Attributes:
        tasks: tasks of this package in the model's words, by name.

    """

    name: str
    models: str
    range: int = 0
    y_first: bool = False
    point: str = ''
    box: str = ''
    tags: bool = False
    marks: tuple[str, ...] = ()
    tasks: Mapping[str, Task] = field(default_factory=dict)
    system: str = ''
    thinking: ThinkingMode | None = None
    answering: ThinkingMode | None = None
    factor: int = FACTOR

    def thinks(self, *, wanted: bool) -> bool:
        """Tell whether the model reasons where that is wanted, or is not."""
        if self.thinking is None:
            return False
        return wanted or self.answering is None

    def mode(self, *, thinks: bool) -> ThinkingMode:
        """Return how the model is made to reason, or to answer at once."""
        return (self.thinking if self.thinks(wanted=thinks) else self.answering) or ThinkingMode()

    def worded(self, task: Task) -> Task:
        """Return a task in the model's words; a task of the user's own stays as it is."""
        return self.tasks.get(task.name, task) if TASKS.get(task.name) == task else task

    def fits(self, model: str) -> bool:
        """Tell whether a model of this name has the profile."""
        return re.search(self.models, model, re.IGNORECASE) is not None


_NAME = re.compile(r'[a-z0-9][a-z0-9._-]*')
_FIELDS = ('models', 'range', 'y_first', 'point', 'box', 'tags', 'marks', 'prompts', 'system',
           'thinking', 'answering', 'factor')
_TYPES: dict[str, type[Any]] = {
    'models': str, 'range': int, 'y_first': bool, 'point': str, 'box': str, 'tags': bool,
    'system': str, 'factor': int}
_LEAST_RANGE = 100  # the readers refuse shares of 1, which models of pixels write by mistake


def load_profiles(path: Path | str) -> dict[str, Profile]:
    """Read profiles from a YAML file.

    See ``known_profiles`` to use them beside the package's own.

    Raises:
        InvalidRequestError: the file cannot be read or is not as the module's docstring describes;
            the message has its name and the line.

    """
    return load_table(path, 'profile', _profile, 'mimo_embodied_ros.core.profiles for the fields')


def _profile(name: str, key: YamlNode, value: YamlNode) -> Profile:
    if not _NAME.fullmatch(name):
        raise key.error(f'the name {name!r} is not made of small letters, digits, ".", "_" and "-"')
    nodes = value.fields(_FIELDS)
    if 'models' not in nodes:
        raise key.error(f'profile {name} has no models')
    fields = {field: _scalar(field, nodes[field]) for field in _TYPES if field in nodes}
    if 'marks' in nodes:
        fields['marks'] = tuple(_pattern(node) for node in nodes['marks'].items('a list of marks'))
    if 'prompts' in nodes:
        fields['tasks'] = {task: _worded(task, task_key, words) for task, task_key, words in
                           nodes['prompts'].pairs('a mapping of tasks to prompts')}
    for mode in ('thinking', 'answering'):
        if mode in nodes and nodes[mode].value() is not None:
            fields[mode] = _mode(nodes[mode])
    _pattern(nodes['models'])
    return Profile(name, **fields)


def _scalar(name: str, node: YamlNode) -> Any:
    value: Any = node.value()
    kind = _TYPES[name]
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise node.error(f'{name} is {reprlib.repr(value)}; it is of type {kind.__name__}')
    if name == 'range' and value != 0 and value < _LEAST_RANGE:
        raise node.error(f'range is {value}; it is 0 for pixels, or {_LEAST_RANGE} or more')
    if name == 'factor' and value < 1:
        raise node.error(f'factor is {value}; it is 1 or more')
    return value


def _pattern(node: YamlNode) -> str:
    value = node.value()
    try:
        if re.compile(value).match('') is None:
            return str(value)
    except (re.error, TypeError) as error:
        raise node.error(f'{reprlib.repr(value)} is no regular expression: {error}') from error
    raise node.error(f'{value!r} fits also where nothing is; give more of it')


def _worded(name: str, key: YamlNode, words: YamlNode) -> Task:
    prompt = words.value()
    if name not in TASKS:
        raise key.error(f'{name} is no task of this package')
    if not isinstance(prompt, str) or not prompt:
        raise words.error(f'the prompt of {name} is {reprlib.repr(prompt)}; give its words')
    try:
        task = dataclasses.replace(TASKS[name], prompt=prompt)
    except InvalidRequestError as error:
        raise words.error(str(error)) from error
    if task.uses('text') is not TASKS[name].uses('text'):
        raise words.error(f'the prompt of {name} has {{text}} where that in tasks.yaml has it')
    return task


def _mode(node: YamlNode) -> ThinkingMode:
    names = [field.name for field in dataclasses.fields(ThinkingMode)]
    fields = {name: part.value() for name, part in node.fields(names).items()}
    for name, value in fields.items():
        if not isinstance(value, dict if name == 'request' else str):
            kind = 'a mapping' if name == 'request' else 'a string'
            raise node.error(f'{name} is {reprlib.repr(value)}; it is {kind}')
    return ThinkingMode(**fields)


PROFILES = load_profiles(Path(__file__).with_name('profiles.yaml'))
"""The package's own profiles by name."""

MIMO_EMBODIED = PROFILES['mimo-embodied']
"""The default."""


def known_profiles(file: str = '') -> Mapping[str, Profile]:
    """Return the profiles of a file and the package's own, which they may replace.

    Raises:
        InvalidRequestError: as ``load_profiles`` does.

    """
    if not file:
        return PROFILES
    own = load_profiles(file)  # first, so that they are also found first
    return {**own, **{name: p for name, p in PROFILES.items() if name not in own}}


def find_profile(name: str, model: str, file: str = '') -> Profile | None:
    """Find a profile by its name, or else by the model's.

    Args:
        name: of the profile; empty: the first one that fits the model.
        model: name on the hub, the name of a folder, or the server's name for it.
        file: with further profiles; empty: none.

    Returns:
        None where no name is given and no profile fits the model.

    Raises:
        InvalidRequestError: there is no profile of the name, or as ``load_profiles`` does.

    """
    profiles = known_profiles(file)
    if not name:
        return next((profile for profile in profiles.values() if profile.fits(model)), None)
    if name not in profiles:
        msg = f"profile '{name}' is not known; use one of {', '.join(profiles)}"
        raise InvalidRequestError(msg)
    return profiles[name]
