"""YAML files that map names to entries, read with errors that name file and line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from .errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar('T')


@dataclass(frozen=True)
class YamlNode:
    """A value of the file and where it stands; what its methods raise becomes ``load_table``'s."""

    loader: yaml.SafeLoader
    node: yaml.Node | None

    def error(self, problem: str) -> yaml.MarkedYAMLError:
        """The error that says what is wrong at this place."""
        return yaml.MarkedYAMLError(
            problem=problem, problem_mark=self.node.start_mark if self.node else None)

    def value(self) -> Any:
        """As Python has it."""
        try:
            return self.loader.construct_object(self.node, deep=True)
        except ValueError as error:  # such as a date that there is not
            raise self.error(str(error)) from error

    def text(self) -> str:
        """As it stands in the file, such as "on", which is true to YAML; '' of no scalar."""
        return str(self.node.value) if isinstance(self.node, yaml.ScalarNode) else ''

    def pairs(self, what: str) -> list[tuple[str, YamlNode, YamlNode]]:
        """Names of a mapping, each with the places of the name and of its value."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f'this is not {what}')
        return [(str(key.value), YamlNode(self.loader, key), YamlNode(self.loader, value))
                for key, value in self.node.value]

    def fields(
        self, known: Collection[str], what: str = 'a mapping of fields'
    ) -> dict[str, YamlNode]:
        """The fields of an entry, none of them unknown and none there twice."""
        found: dict[str, YamlNode] = {}
        for name, key, value in self.pairs(what):
            if name not in known:
                raise key.error(f'unknown field {name!r}; the fields are {", ".join(known)}')
            if name in found:
                raise key.error(f'a second {name}')
            found[name] = value
        return found

    def items(self, what: str) -> list[YamlNode]:
        """The items of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f'this is not {what}')
        return [YamlNode(self.loader, item) for item in self.node.value]


def load_table(
    path: Path | str, kind: str, read: Callable[[str, YamlNode, YamlNode], T], see: str
) -> dict[str, T]:
    """Read a file that maps names to entries.

    Args:
        path: of the file.
        kind: what an entry is, in the singular.
        read: makes an entry of its name, the place of the name, and the value.
        see: where the form is explained.

    Raises:
        InvalidRequestError: the file cannot be read or has another form; with its name and the
            line.

    """
    try:
        loader = yaml.SafeLoader(Path(path).read_text(encoding='utf-8'))
        table: dict[str, T] = {}
        for name, key, value in YamlNode(loader, loader.get_single_node()).pairs(
                f'a mapping of names to {kind}s'):
            entry = read(name, key, value)
            if name in table:
                raise key.error(f'a second {kind} {name}')
            table[name] = entry
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f', line {mark.line + 1}' if mark else ''
        msg = f'{path}{line}: {error.problem}; see {see}'
        raise InvalidRequestError(msg) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        msg = f'{path} cannot be read as {kind}s: {str(error).splitlines()[0]}'
        raise InvalidRequestError(msg) from error
    return table
