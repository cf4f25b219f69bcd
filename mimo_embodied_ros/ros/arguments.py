"""Arguments of ROS programs, checked before ROS reads them, which says less of what is wrong."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import yaml

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand, reason, yaml_reason
from mimo_embodied_ros.core.yaml_files import by_full_name, parse_yaml, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_PARAMETER, _NAMES = 'NAME:=VALUE', 'FROM:=TO'
_RULES = {'-p': _PARAMETER, '--param': _PARAMETER, '-r': _NAMES, '--remap': _NAMES}


@dataclass(frozen=True)
class Section:
    """Parameters of one section of a file, or of one argument.

    Attributes:
        source: the file or the argument.
        node: name of the node, in which ``*`` stands for one part and ``**`` for any number.
        values: by the full names of the parameters.
        shared: whether they are for nodes of all names.

    """

    source: str
    node: str
    values: dict[str, Any]
    shared: bool = False

    def is_for(self, node: str) -> bool:
        """Whether a node of this full name gets the parameters; as rcl decides it."""
        pattern = '/' + re.escape(self.node).lstrip('/')
        for stars, parts in ((r'/\*\*', r'(/\w+)*'), (r'/\*', r'/\w+')):
            pattern = pattern.replace(stars, parts)
        return re.fullmatch(pattern, node) is not None


def checked_arguments(args: Sequence[str]) -> list[str]:
    """Return the arguments, with the whole paths of the files of parameters.

    Raises:
        InvalidRequestError: a file of parameters cannot be read or is none, or a rule has another
            form than ``NAME:=VALUE`` or ``FROM:=TO``.

    """
    args = list(args)
    for index, flag, value in _of_ros(args):
        if flag == '--params-file':
            path, _ = _read(value)
            args[index] = str(path)
        elif flag in _RULES:
            _check_rule(flag, value)
    return args


def given_parameters(args: Sequence[str]) -> list[Section]:
    """Return the parameters in arguments that have been checked, in their order.

    Raises:
        InvalidRequestError: a file of parameters can no longer be read.

    """
    sections: list[Section] = []
    for _, flag, value in _of_ros(args):
        if flag == '--params-file':
            path, content = _read(value)
            sections += _sections(str(path), content)
        elif _RULES.get(flag) == _PARAMETER:
            name, _, text = value.partition(':=')
            node, _, name = name.rpartition(':')
            sections.append(Section(f'{flag} {value}', node or '/**', {name: _value(text)}))
    return sections


def _value(text: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError:  # such as 2020-13-45, which is a text for rcl
        return text


def _of_ros(args: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Yield each flag of ROS with the argument after it, and the place of that argument."""
    of_ros = False
    for index, (flag, value) in enumerate(pairwise(args), 1):
        if flag in {'--ros-args', '--'}:
            of_ros = flag == '--ros-args'
        elif of_ros:
            yield index, flag, value


def _sections(source: str, content: dict[str, Any], above: str = '') -> Iterator[Section]:
    for name, inner in content.items():
        node = f'{above}/{name}'.replace('//', '/')
        if 'ros__parameters' in inner:
            values = dict(by_full_name(inner['ros__parameters']))
            yield Section(source, node, values, shared=str(name).endswith('*'))
        else:
            yield from _sections(source, inner, node)


def _check_rule(flag: str, text: str) -> None:
    left, separator, right = text.partition(':=')
    if not (left and separator and right):
        empty = " ('' for an empty text, in further quotation marks for the shell)"
        msg = f'{flag} {text}: give {_RULES[flag]}' + empty * (_RULES[flag] == _PARAMETER)
        raise InvalidRequestError(msg)


def _read(name: str) -> tuple[Path, dict[str, Any]]:
    """Return path and content of a file of parameters; rcl says less of what is wrong with one.

    Raises:
        InvalidRequestError: it cannot be read, or is not a file of parameters.

    """
    path = expand(name)
    try:
        content = read_yaml(path)
    except OSError as error:
        msg = f'the file of parameters cannot be read: {reason(error)}'
        raise InvalidRequestError(msg) from error
    except yaml.YAMLError as error:
        msg = f'{path} is not YAML: {yaml_reason(error)}'
        raise InvalidRequestError(msg) from error
    problem = _problem(content)
    if problem:
        msg = f'{path}: {problem}; see the files in config/ for examples'
        raise InvalidRequestError(msg)
    return path, content


def _problem(content: Any) -> str:
    """What keeps the content of a file from being parameters of nodes; empty where nothing does."""
    if not isinstance(content, dict) or not content:
        return 'it is not a mapping; begin with the name of the node, then ros__parameters'
    return next(filter(None, (_node_problem(*item) for item in content.items())), '')


def _node_problem(name: Any, content: Any) -> str:
    if not isinstance(content, dict):
        return f'{name} is not a mapping; below the name of the node stands ros__parameters'
    if 'ros__parameters' in content:
        return _value_problem('ros__parameters', content['ros__parameters'])
    return _problem(content) and f'{name} has no ros__parameters'


def _value_problem(name: str, value: Any) -> str:
    if isinstance(value, dict):
        each = (_value_problem(str(key), item) for key, item in value.items())
        return next(filter(None, each), '')
    if value is None:
        return f"{name} has no value; give '' for an empty text"
    if isinstance(value, list) and len({type(item) for item in value}) > 1:
        return f'{name} is {reprlib.repr(value)}; give values of one type, texts in quotation marks'
    return ''
