"""Read YAML files that map names to entries; errors name the file and the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from .characters import valid_text
from .errors import InvalidRequestError
from .files import reason
from .yaml_files import BoundedLoader, open_yaml, pairs_of, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

T = TypeVar('T')
FieldPath = tuple[str | int, ...]
"""The names and indices that lead to a value in another one."""


@dataclass(frozen=True)
class YamlNode:
    """A value with its place in the file; ``load_table`` converts the errors of its methods."""

    loader: BoundedLoader
    node: yaml.Node | None

    def error(self, problem: str) -> yaml.MarkedYAMLError:
        """Return the error that says what is wrong at this place."""
        return yaml.MarkedYAMLError(
            problem=problem, problem_mark=self.node.start_mark if self.node else None)

    def value(self) -> Any:
        """Return the value as a Python object."""
        return None if self.node is None else value_of(self.loader, self.node)

    def text(self) -> str:
        """Return a scalar as it is written, such as "on", which YAML reads as true; else ''."""
        node = self.node
        return valid_text(str(node.value)) if isinstance(node, yaml.ScalarNode) else ''

    def pairs(self, expected: str) -> list[tuple[str, YamlNode, YamlNode]]:
        """Return the names of a mapping, each with the nodes of the name and of its value.

        What ``<<`` merges into the mapping is a part of it.
        """
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f'this is not {expected}')
        return [(YamlNode(self.loader, key).text(), YamlNode(self.loader, key),
                 YamlNode(self.loader, value))
                for key, value in pairs_of(self.loader, self.node)]

    @property
    def line(self) -> int:
        """The line at which it begins, from 1."""
        return self.node.start_mark.line + 1 if self.node else 1

    def lines(self) -> dict[FieldPath, int]:
        """Return the line of each value in this one, and its own by the empty path."""
        found: dict[FieldPath, int] = {(): self.line}
        if isinstance(self.node, yaml.MappingNode):
            parts: list[tuple[str | int, YamlNode, YamlNode]] = [*self.pairs('a mapping')]
        elif isinstance(self.node, yaml.SequenceNode):
            parts = [(index, item, item) for index, item in enumerate(self.items('a list'))]
        else:
            parts = []
        for name, place, value in parts:
            found.update({(name, *path): line for path, line in value.lines().items()})
            found[(name,)] = place.line
        return found

    def fields(
        self, allowed: Collection[str], expected: str = 'a mapping of fields'
    ) -> dict[str, YamlNode]:
        """Return the fields of an entry; refuse unknown fields and fields that are there twice."""
        fields: dict[str, YamlNode] = {}
        for name, key, value in self.pairs(expected):
            if name not in allowed:
                raise key.error(f'unknown field {name!r}; the fields are {", ".join(allowed)}')
            if name in fields:
                raise key.error(f'a second {name}')
            fields[name] = value
        return fields

    def items(self, expected: str) -> list[YamlNode]:
        """Return the items of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f'this is not {expected}')
        return [YamlNode(self.loader, item) for item in self.node.value]


def load_table(
    path: Path | str, kind: str, read: Callable[[str, YamlNode, YamlNode], T], reference: str
) -> dict[str, T]:
    """Read a file that maps names to entries.

    Args:
        path: of the file.
        kind: noun for an entry, in the singular.
        read: makes an entry from its name, the node of the name, and the node of the value.
        reference: where the fields are documented.

    Raises:
        InvalidRequestError: the file cannot be read or has another form; the message has its name
            and the line.

    """
    try:
        table: dict[str, T] = {}
        for name, key, value in YamlNode(*open_yaml(path)).pairs(f'a mapping of names to {kind}s'):
            entry = read(name, key, value)
            if name in table:
                raise key.error(f'a second {kind} {name}')
            table[name] = entry
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f', line {mark.line + 1}' if mark else ''
        msg = f'{path}{line}: {error.problem}; see {reference}'
        raise InvalidRequestError(msg) from error
    except OSError as error:
        msg = f'{path} cannot be read as {kind}s: {reason(error, named=False)}'
        raise InvalidRequestError(msg) from error
    except yaml.YAMLError as error:
        msg = f'{path} cannot be read as {kind}s: {str(error).splitlines()[0]}'
        raise InvalidRequestError(msg) from error
    return table
