"""Runs a node as a program, from its start to the end of its process."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import rclpy
import yaml
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError
from mimo_embodied_ros.core.files import expand, reason, yaml_reason

from .parameters import ros_reason, unknown_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PARAMETER, _NAMES = 'NAME:=VALUE', 'FROM:=TO'
_RULES = {'-p': _PARAMETER, '--param': _PARAMETER, '-r': _NAMES, '--remap': _NAMES}


def run(
    make: Callable[[], Any], name: str, args: Sequence[str] | None = None,
    start: Callable[[Any], bool] = lambda _: True,
) -> int:
    """Spin a node until it is interrupted; the exit code is 1 when it cannot start.

    Args:
        make: makes the node.
        name: of the logger that says why it cannot be made.
        args: of the command line; None: of this process.
        start: called with the node once it could be spun; False: it cannot start.

    """
    node = None
    try:
        init(sys.argv if args is None else args)
        node = _made(make)
        for sentence in unknown_parameters(node):
            node.get_logger().warning(sentence)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        if not start(node):
            return 1
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except MimoError as error:
        rclpy.logging.get_logger(name).fatal(f'{error.code.name}: {error}')
        return 1
    except RuntimeError:
        if rclpy.ok():  # else the interrupt came between the executor's check and its wait
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def init(args: Sequence[str], **options: Any) -> None:
    """Initialise ROS, without a file for its log where none can be written.

    Args:
        args: of the command line; paths after ``--params-file`` may begin with ``~``.
        options: further arguments of ``rclpy.init``.

    Raises:
        InvalidRequestError: ROS does not take an argument, or a file of parameters.

    """
    args = list(args)
    for index, (flag, value) in enumerate(pairwise(args)):
        if flag == '--params-file':
            args[index + 1] = _parameter_file(value)
        elif flag in _RULES:
            _check_rule(flag, value)
    unwritable = _unwritable_log()
    if unwritable:
        args += ['--ros-args', '--disable-external-lib-logs']
    try:
        rclpy.init(args=args, **options)
    except (RuntimeError, NameValidationException) as error:
        msg = f'{ros_reason(error)}; see the arguments after --ros-args'
        raise InvalidRequestError(msg) from error
    if unwritable:
        rclpy.logging.get_logger('rcl').warning(
            f'there is no file with the log ({unwritable}); set ROS_LOG_DIR to have one')


def _made(make: Callable[[], Any]) -> Any:
    """Make the node.

    Raises:
        InvalidRequestError: a name or a parameter that ROS itself reads is not allowed.

    """
    try:
        return make()
    except (NameValidationException, ParameterException) as error:
        msg = f'{ros_reason(error)}; see the parameters and the arguments after --ros-args'
        raise InvalidRequestError(msg) from error


def _unwritable_log() -> str:
    """Why ROS cannot write a file with its log, which would end the program; else ''."""
    home = os.environ.get('ROS_HOME') or (os.environ.get('HOME') and os.environ['HOME'] + '/.ros')
    folder = os.environ.get('ROS_LOG_DIR') or (home and home + '/log')
    if not folder:
        return 'HOME is not set'
    try:
        expand(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return reason(error)
    return '' if os.access(expand(folder), os.W_OK) else f'{folder} cannot be written'


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
        content = yaml.safe_load(path.read_text('utf-8'))
    except OSError as error:
        msg = f'the file of parameters cannot be read: {reason(error)}'
        raise InvalidRequestError(msg) from error
    except (yaml.YAMLError, ValueError) as error:
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
        return f'{name} is {value!r}; give values of one type, texts in quotation marks'
    return ''
