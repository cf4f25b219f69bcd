"""ROS parameters with defaults, ranges and meanings: declared from tables, read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from mimo_embodied_ros.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rclpy.node import Node

COUNT = (0, 2**31 - 1)  # the range of a count without an upper bound


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

    """

    name: str
    default: Any
    description: str
    range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    unit: str = ''
    live: bool = False
    read_only: bool = False


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
    """Read a value, and declare it at first use; rclpy checks type and range, this the choices.

    Raises:
        InvalidRequestError: the value is not one of the choices.

    """
    name = prefix + parameter.name
    if not node.has_parameter(name):
        node.declare_parameter(name, parameter.default, descriptor(parameter))
    value = node.get_parameter(name).value
    if problem := fault(name, parameter, value):
        raise InvalidRequestError(problem)
    return value


def fault(name: str, parameter: Parameter, value: Any) -> str:
    """The error text for a value that is not one of the choices; empty where it is."""
    if parameter.choices and value not in parameter.choices:
        return f'parameter {name} is {value!r}; give one of {", ".join(parameter.choices)}'
    return ''


def read_table(node: Node, table: Iterable[Parameter]) -> dict[str, Any]:
    """Read the values of a table by name, and declare those that are not declared yet.

    Raises:
        InvalidRequestError: a value is not one of its choices.

    """
    return {p.name: read_value(node, p) for p in table}
