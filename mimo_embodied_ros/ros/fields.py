"""Conversion between ROS messages and the mappings of fields that YAML and JSON hold."""

from __future__ import annotations

import importlib
import math
import operator
import re
import reprlib
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from rosidl_parser.definition import (
    AbstractGenericString,
    AbstractNestedType,
    Array,
    BasicType,
    BoundedSequence,
    NamespacedType,
)

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.suggestions import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LISTS = (list, tuple, bytes, array, np.ndarray)
_TIMES = (['builtin_interfaces', 'msg', 'Duration'], ['builtin_interfaces', 'msg', 'Time'])


class FieldError(InvalidRequestError):
    """A field that a message does not have, or a value that does not fit its type.

    Attributes:
        path: the names and indices that lead to the field.
        is_item: it is in a list, whose name is not in the message yet.

    """

    def __init__(self, message: str, *path: str | int) -> None:
        """Take the path from the innermost message on; those around it put theirs before."""
        super().__init__(message)
        self.path = path
        self.is_item = bool(path) and isinstance(path[0], int)


def interface_class(name: str) -> Any:
    """Import the class of an interface such as ``nav2_msgs/action/NavigateToPose``.

    Raises:
        InvalidRequestError: it is not installed.

    """
    package, kind, type_name = name.split('/')
    try:
        module = importlib.import_module(f'{package}.{kind}')
    except ImportError as error:
        msg = f'{name} is not installed ({error}); install {package}, or source its workspace'
        raise InvalidRequestError(msg) from error
    if not hasattr(module, type_name):
        hint = suggestion(type_name, dir(module)) or (
            f'"ros2 interface package {package}" lists what it has')
        msg = f'{name} is not installed: {package} has no {kind} of this name; {hint}'
        raise InvalidRequestError(msg)
    return getattr(module, type_name)


def set_fields(message: Any, fields: Mapping[str, Any]) -> Any:
    """Set fields of a message and of the messages in it; return the message.

    rclpy itself checks values only when it is told to, and fails without a reason when it sends
    those that do not fit. A whole number is taken for an integer field if it is a float, too, as
    arguments of skills are, and seconds are taken for a Duration or Time.

    Raises:
        FieldError: the message has no such field, or the value has another type, or is out of the
            bounds of the type.

    """
    types = dict(zip(message.get_fields_and_field_types(), message.SLOT_TYPES))
    for name, value in fields.items():
        if name not in types:
            has = ', '.join(types) or 'none'
            hint = '; '.join(filter(None, (has, suggestion(str(name), types))))
            msg = f'{_name(message)} has no field {name}; it has {hint}'
            raise FieldError(msg, name)
        try:
            setattr(message, name, _value(types[name], value, getattr(message, name)))
        except FieldError as error:
            text = f'{name} of {_name(message)}: {error}' if error.is_item else str(error)
            raise FieldError(text, name, *error.path) from None
        except (AssertionError, TypeError, ValueError, OverflowError) as error:
            msg = f'{name} of {_name(message)} is {reprlib.repr(value)}: {error}'
            raise FieldError(msg, name) from None
    return message


def fields_of(message: Any) -> Any:
    """The fields of a message as JSON can hold them; other values unchanged."""
    if hasattr(message, 'get_fields_and_field_types'):
        return {name: fields_of(getattr(message, name))
                for name in message.get_fields_and_field_types()}
    if isinstance(message, (np.ndarray, array)):
        return message.tolist()
    if isinstance(message, (list, tuple)):
        return [fields_of(item) for item in message]
    return message


def mismatch(
    message: Any, expected: Mapping[str, Any], fits: Callable[[Any, Any], bool] = operator.eq,
    relation: str = '',
) -> str:
    """Describe the first field that does not fit the expected value; '' where all do.

    Args:
        message: whose fields are compared.
        expected: values by the names of fields.
        fits: called with a field's value and the expected one.
        relation: between the two, in words that end with a space, such as "at least "; empty:
            they are equal.

    """
    for name, value in expected.items():
        actual = getattr(message, name, None)
        if isinstance(value, dict):
            inner = mismatch(actual, value, fits, relation)
            if inner:
                return f'{name}.{inner}'
        elif not fits(fields_of(actual), fields_of(_as_field(message, name, value))):
            return f'{name} is {fields_of(actual)!r} instead of {relation}{value!r}'
    return ''


def _as_field(message: Any, name: str, value: Any) -> Any:
    return getattr(set_fields(type(message)(), {name: value}), name)


def _value(kind: Any, value: Any, present: Any = None) -> Any:
    """Return a value as a field of this type takes it; a present message keeps other fields."""
    if isinstance(kind, AbstractNestedType):
        return _list(kind, value)
    if isinstance(kind, NamespacedType):
        return _message(kind, value, present)
    if isinstance(kind, AbstractGenericString):
        if not isinstance(value, str):
            raise TypeError('give a text, in quotation marks where it looks like something else')
        if kind.has_maximum_size() and len(value) > kind.maximum_size:
            msg = f'give at most {kind.maximum_size} characters'
            raise ValueError(msg)
        value.encode()  # half of a surrogate pair cannot be sent
        return value
    assert isinstance(kind, BasicType)
    return _basic(kind.typename, value)


def _basic(type_name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type_name == 'boolean':
        if not isinstance(value, bool):
            raise TypeError('give true or false')
        return value
    if type_name == 'octet' and isinstance(value, bytes) and len(value) == 1:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError('give a number')
    if type_name in {'float', 'double'}:
        if type_name == 'float' and math.isfinite(value) and abs(value) > float(np.finfo('f4').max):
            raise ValueError('a float32 cannot hold that')
        return float(np.float32(value)) if type_name == 'float' else float(value)
    if not math.isfinite(value) or value != int(value):
        raise ValueError('give a whole number')
    bits = int((re.search(r'\d+', type_name) or ['8'])[0])  # char and octet have 8
    low, high = (0, 2**bits) if not type_name.startswith('int') else (
        -2**(bits - 1), 2**(bits - 1))
    if not low <= value < high:
        msg = f'give one from {low} to {high - 1}'
        raise ValueError(msg)
    return bytes([int(value)]) if type_name == 'octet' else int(value)


def _message(kind: NamespacedType, value: Any, present: Any) -> Any:
    names = kind.namespaced_name()
    message_class = interface_class('/'.join(names))
    if isinstance(value, dict):
        return set_fields(message_class() if present is None else present, value)
    if isinstance(value, message_class):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if list(names) in _TIMES and is_number:
        nanoseconds = round(value * 1e9)
        fields = {'sec': nanoseconds // 10**9, 'nanosec': nanoseconds % 10**9}
        return set_fields(message_class(), fields)
    has = ', '.join(message_class.get_fields_and_field_types())
    msg = f'give the fields of a {"/".join(names)}: {has}'
    raise TypeError(msg)


def _list(kind: AbstractNestedType, value: Any) -> Any:
    if not isinstance(value, _LISTS):  # a text would become a list of its letters
        raise TypeError('give a list')
    if isinstance(kind, Array) and len(value) != kind.size:
        msg = f'give {kind.size} items'
        raise ValueError(msg)
    if isinstance(kind, BoundedSequence) and len(value) > kind.maximum_size:
        msg = f'give at most {kind.maximum_size} items'
        raise ValueError(msg)
    return [_item(kind.value_type, index, item) for index, item in enumerate(value)]


def _item(kind: Any, index: int, value: Any) -> Any:
    try:
        return _value(kind, value)
    except FieldError as error:
        raise FieldError(str(error), index, *error.path) from None
    except (TypeError, ValueError, OverflowError) as error:
        msg = f'item {index} is {reprlib.repr(value)}: {error}'
        raise FieldError(msg, index) from None


def _name(message: Any) -> str:
    return '/'.join((*type(message).__module__.split('.')[:2], type(message).__name__))
