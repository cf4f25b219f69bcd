"""Read values of a skills file: words with placeholders, numbers, and mappings of fields."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from .skills import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .yaml_tables import YamlNode


def read_text(node: YamlNode, parts: Mapping[str, tuple[str, ...]]) -> str:
    """Read words; parts are those of the arguments that may stand in them, by argument."""
    value = node.value()
    if isinstance(value, bool):
        value = node.text()
    if not isinstance(value, str) or not value.strip():
        raise node.error(f'this is {reprlib.repr(value)}; words are needed')
    check_placeholders(node, value, parts)
    return ' '.join(value.split())


def read_texts(node: YamlNode, parts: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Read one text or a list of them."""
    if node.text():
        return (read_text(node, parts),)
    texts = tuple(read_text(item, parts) for item in node.items('words or a list of them'))
    if not texts:
        raise node.error('this list is empty')
    return texts


def read_number(node: YamlNode) -> float:
    """Read a finite number."""
    value = node.value()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
        raise node.error(f'this is {reprlib.repr(value)}; a number is needed')
    return float(value)


def read_numbers(node: YamlNode, count: int) -> list[float]:
    """Read a list of so many numbers."""
    numbers = [read_number(item) for item in node.items(f'a list of {count} numbers')]
    if len(numbers) != count:
        raise node.error(f'these are {len(numbers)} numbers; {count} are needed')
    return numbers


def read_mapping(node: YamlNode, name: str) -> dict[str, Any]:
    """Read the fields of a message, which are called name in the file."""
    value = node.value()
    if not isinstance(value, dict):
        raise node.error(f'{name} is no mapping of fields')
    return value


def check_placeholders(node: YamlNode, value: Any, parts: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse placeholders that name no argument, or no part of one; parts are by argument."""
    if isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            check_placeholders(node, item, parts)
    elif isinstance(value, list):
        for item in value:
            check_placeholders(node, item, parts)
    elif isinstance(value, str):
        for placeholder in PLACEHOLDER.findall(value):
            name, dot, part = placeholder.partition('.')
            if name not in parts or (dot and part not in parts[name]):
                allowed = [
                    f'{n}{f".{p}" if p else ""}' for n, ps in parts.items() for p in ('', *ps)]
                raise node.error(f'there is no argument {{{placeholder}}}; there is '
                                 f'{", ".join(allowed) or "none"}')
