"""Arguments of ROS programs, checked before ROS reads them, which says less of what is wrong."""

from __future__ import annotations

import reprlib
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import yaml

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand, reason, yaml_reason
from mimo_embodied_ros.core.yaml_files import read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARAMETER, _NAMES = 'NAME:=VALUE', 'FROM:=TO'
_RULES = {'-p': _PARAMETER, '--param': _PARAMETER, '-r': _NAMES, '--remap': _NAMES}


def checked_arguments(args: Sequence[str]) -> list[str]:
    """Return the arguments, with the whole paths of the files of parameters.

    Raises:
        InvalidRequestError: a file of parameters cannot be read or is none, or a rule has another
            form than ``NAME:=VALUE`` or ``FROM:=TO``.

    """
    args = list(args)
    of_ros = False
    for index, (flag, value) in enumerate(pairwise(args)):
        if flag in {'--ros-args', '--'}:
            of_ros = flag == '--ros-args'
        elif of_ros and flag == '--params-file':
            args[index + 1] = _parameter_file(value)
        elif of_ros and flag in _RULES:
            _check_rule(flag, value)
    return args


def _check_rule(flag: str, text: str) -> None:
    left, separator, right = text.partition(':=')
    if not (left and separator and right):
        empty = " ('' for an empty text, in further quotation marks for the shell)"
        msg = f'{flag} {text}: give {_RULES[flag]}' + empty * (_RULES[flag] == _PARAMETER)
        raise InvalidRequestError(msg)


def _parameter_file(name: str) -> str:
    """Return the path of a file of parameters; rcl says less of what is wrong with one.

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
    return str(path)


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
