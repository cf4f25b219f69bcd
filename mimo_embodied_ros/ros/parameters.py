"""ROS parameters with defaults, ranges and meanings: declared from tables, read and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rclpy.parameter
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import NameValidationException

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rclpy.node import Node

COUNT = (0, 2**31 - 1)  # the range of a count without an upper bound
_EXPECTED = {
    bool: 'true or false', int: 'a whole number', float: 'a number',
    str: "a text, in quotation marks where it looks like something else, such as '7'",
    list: 'a list of texts, such as [front, back]',
}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        name: full name; for a camera's parameter, the part after the camera's name and a dot.
        default: its type is the type of the parameter.
        description: a sentence for users.
        range: smallest and largest allowed value.
        choices: all allowed values; empty where other code checks the value.
        unit: of the value; empty where it has none.
        live: a new value holds for the next request; otherwise when the node is configured next.
        read_only: the value holds from the start of the program to its end.
        path: the value is a path, in which ``~`` is the user's home.
        check: raises InvalidRequestError for a value that is not allowed.

    """

    name: str
    default: Any
    description: str
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    unit: str = ''
    live: bool = False
    read_only: bool = False
    path: bool = False
    check: Callable[[Any], object] | None = None


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """The descriptor that ``ros2 param describe`` shows and rclpy checks."""
    constraints = [f'in {parameter.unit}'] if parameter.unit else []
    if parameter.choices:
        constraints.append(f'one of {", ".join(parameter.choices)}')
    if not parameter.live and not parameter.read_only:
        constraints.append('read when the node is configured')
    out = ParameterDescriptor(
        description=parameter.description, read_only=parameter.read_only,
        additional_constraints='; '.join(constraints))
    if parameter.range is not None:
        low, high = parameter.range
        if isinstance(parameter.default, float):
            out.floating_point_range = [
                FloatingPointRange(from_value=float(low), to_value=float(high))]
        else:
            out.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return out


def read_value(node: Node, parameter: Parameter, prefix: str = '') -> Any:
    """Read a value, and declare it at first use.

    Raises:
        InvalidRequestError: the value has another type, is out of the range, or is not one of the
            choices; or it is a path in the home of a user who has none.

    """
    name = prefix + parameter.name
    if not node.has_parameter(name):
        _declare(node, name, parameter)
    value = node.get_parameter(name).value
    if problem := fault(name, parameter, value):
        raise InvalidRequestError(problem)
    return str(expand(value)) if parameter.path and value else value


def _declare(node: Node, name: str, parameter: Parameter) -> None:
    """Declare a parameter; rclpy alone takes a given value only if it has the default's type."""
    node.declare_parameter(name, parameter.default, ParameterDescriptor(dynamic_typing=True))
    given = node.get_parameter(name).value
    node.undeclare_parameter(name)
    if given is None:  # what an empty list in YAML becomes
        given = []
    if given is False and 'off' in parameter.choices:  # which YAML reads as false
        given = 'off'
    value = fitted(given, parameter.default)
    if problem := fault(name, parameter, value):
        raise InvalidRequestError(problem)
    # rclpy cannot tell the type of an empty list
    node.declare_parameter(
        name, parameter.default if value == [] else value, descriptor(parameter),
        ignore_override=True)
    if value == []:
        node.set_parameters([_as_declared(node, rclpy.parameter.Parameter(name, value=[]))])


def fitted(value: Any, default: Any) -> Any:
    """Return a value as the default's type where that changes nothing; else as it is.

    An integer is a number, too, a number without a fraction is an integer, and an empty list has no
    type of its own.
    """
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if isinstance(default, int) and not isinstance(default, bool) and isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(default, list) and not isinstance(value, (int, float)):
        return list(value)
    return value


def _as_declared(
    node: Node, parameter: rclpy.parameter.Parameter
) -> rclpy.parameter.Parameter:
    """Return a new value of a parameter in the type in which the parameter was declared."""
    if not node.has_parameter(parameter.name):
        return parameter
    type_ = node.get_parameter(parameter.name).type_
    default = _DEFAULTS.get(type_)
    value = fitted(parameter.value, default)
    if type(value) is type(default) and type_.check(value):
        return rclpy.parameter.Parameter(parameter.name, type_, value)
    return parameter  # rclpy says what is wrong with it


_DEFAULTS = {
    rclpy.parameter.Parameter.Type.DOUBLE: 0.0,
    rclpy.parameter.Parameter.Type.INTEGER: 0,
    rclpy.parameter.Parameter.Type.STRING_ARRAY: [],
}


def take_numbers_of_both_kinds(node: Node) -> None:
    """Let a running node take 60 for 60.0, and an empty list, as it takes them when it starts."""
    node.add_pre_set_parameters_callback(
        lambda changed: [_as_declared(node, parameter) for parameter in changed])


def fault(name: str, parameter: Parameter, value: Any) -> str:
    """The error text for a value that is not allowed; empty where it is allowed."""
    default = parameter.default
    if type(value) is not type(default) or (
            isinstance(value, list) and not all(isinstance(item, str) for item in value)):
        return f'parameter {name} is {value!r}; give {_EXPECTED[type(default)]}'
    if parameter.choices and value not in parameter.choices:
        return f'parameter {name} is {value!r}; give one of {", ".join(parameter.choices)}'
    if parameter.range is not None:
        low, high = parameter.range
        if not low <= value <= high:
            unit = f' {parameter.unit}' if parameter.unit else ''
            return f'parameter {name} is {value!r}; give a value from {low} to {high}{unit}'
    if parameter.check is not None:
        try:
            parameter.check(value)
        except InvalidRequestError as error:
            return f'parameter {name}: {error}'
    return ''


def check_topic(node: Node, topic: str, origin: str) -> None:
    """Check the name of a topic before something subscribes to it.

    Args:
        node: node of the subscription.
        topic: name; empty: none.
        origin: the parameter that gives it, for the message.

    Raises:
        InvalidRequestError: ROS does not allow the name.

    """
    try:
        if topic:
            node.resolve_topic_name(topic)
    except (RuntimeError, NameValidationException) as error:
        msg = f'{origin} gives the topic {topic!r}: {ros_reason(error)}; give another name'
        raise InvalidRequestError(msg) from error


def ros_reason(error: Exception) -> str:
    """Return what an exception of rclpy says, without the place in the sources of ROS."""
    return re.sub(r',? at \S+:\d+|\s\^$', '', ' '.join(str(error).split()))


def read_table(node: Node, table: Iterable[Parameter]) -> dict[str, Any]:
    """Read the values of a table by name, and declare those that are not declared yet.

    Raises:
        InvalidRequestError: as ``read_value`` does.

    """
    return {p.name: read_value(node, p) for p in table}
