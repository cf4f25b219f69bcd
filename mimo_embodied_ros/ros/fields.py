"""Conversion between ROS messages and the mappings of fields that YAML and JSON hold."""

from __future__ import annotations

import importlib
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
from rosidl_parser.definition import AbstractNestedType, BasicType, NamespacedType

from mimo_embodied_ros.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FLOATS = ('float', 'double')


def interface_class(name: str) -> Any:
    """Import the class of an interface such as ``nav2_msgs/action/NavigateToPose``.

    Raises:
        InvalidRequestError: it is not installed.

    """
    package, kind, type_name = name.split('/')
    try:
        return getattr(importlib.import_module(f'{package}.{kind}'), type_name)
    except (ImportError, AttributeError) as error:
        msg = f'{name} is not installed ({error}); install {package}, or source its workspace'
        raise InvalidRequestError(msg) from error


def set_fields(message: Any, fields: Mapping[str, Any]) -> Any:
    """Set fields of a message and of the messages in it; return the message.

    Raises:
        InvalidRequestError: the message has no such field, or the value has another type.

    """
    types = dict(zip(message.get_fields_and_field_types(), message.SLOT_TYPES))
    for name, value in fields.items():
        if name not in types:
            msg = f'{_name(message)} has no field {name}; it has {", ".join(types)}'
            raise InvalidRequestError(msg)
        try:
            setattr(message, name, _value(types[name], getattr(message, name), value))
        except (AssertionError, TypeError, ValueError) as error:
            msg = f'{name} of {_name(message)} is {value!r}: {error}'
            raise InvalidRequestError(msg) from None
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


def mismatch(message: Any, expected: Mapping[str, Any]) -> str:
    """Describe the first field that differs from the expected value; '' where none does."""
    for name, value in expected.items():
        actual = getattr(message, name, None)
        if isinstance(value, dict):
            inner = mismatch(actual, value)
            if inner:
                return f'{name}.{inner}'
        elif actual != value:
            return f'{name} is {actual!r} instead of {value!r}'
    return ''


def _value(kind: Any, present: Any, value: Any) -> Any:
    if isinstance(kind, NamespacedType) and isinstance(value, dict):
        return set_fields(present, value)
    if isinstance(kind, AbstractNestedType):
        item = kind.value_type
        if isinstance(item, NamespacedType):
            item_class = interface_class('/'.join((*item.namespaces, item.name)))
            return [set_fields(item_class(), v) if isinstance(v, dict) else v for v in value]
        return [_value(item, None, v) for v in value]
    if isinstance(kind, BasicType) and kind.typename in _FLOATS and isinstance(value, int):
        return float(value)
    return value


def _name(message: Any) -> str:
    return '/'.join((*type(message).__module__.split('.')[:2], type(message).__name__))
