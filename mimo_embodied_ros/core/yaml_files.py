"""Read YAML files of any origin within bounds: a small file must not cost minutes or the memory.

An alias is a second place of the same value, so a few lines of aliases to aliases stand for more
values than a memory holds. PyYAML does not mind, but all that walks through the values does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from .characters import valid_values
from .files import expand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_BYTES = 16_000_000
"""Size of the largest file that is read."""
MAX_DEPTH = 64
"""How deep lists and mappings may be nested, aliases included."""
MAX_ALIASED = 100_000
"""Number of values that aliases may add to those that are written."""
_MAX_DIGITS = 400
_NUMBERS = ('tag:yaml.org,2002:int', 'tag:yaml.org,2002:float')
_MERGE = 'tag:yaml.org,2002:merge'


class BoundedLoader(yaml.SafeLoader):  # type: ignore[misc]
    """SafeLoader that refuses what a file of settings does not need, with the line."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; refuse deep nesting, which ends in a RecursionError."""
        if self._depth > MAX_DEPTH:
            raise _error(f'this is nested deeper than {MAX_DEPTH} levels', self.peek_event())
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        """Compose a scalar; refuse endless numbers, whose conversion takes long."""
        node = super().compose_scalar_node(anchor)
        if node.tag in _NUMBERS and len(node.value) > _MAX_DIGITS:
            raise _error(f'this number has more than {_MAX_DIGITS} characters', node)
        return node

    def get_single_node(self) -> Any:
        """Compose the document; refuse aliases that stand for too many values."""
        root = super().get_single_node()
        if root is not None:
            _check_aliases(root)
        return root


def open_yaml(path: Path | str) -> tuple[BoundedLoader, yaml.Node | None]:
    """Read a file; return the node of its document, and the loader that makes values of nodes.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is no YAML, or beyond the bounds.

    """
    with expand(path).open('rb') as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        msg = f'it has more than {MAX_BYTES:,} bytes; is it the right file?'
        raise yaml.YAMLError(msg)
    try:
        text = content.decode('utf-8')
    except ValueError as error:
        raise yaml.YAMLError(str(error)) from error
    loader = BoundedLoader(text)
    return loader, loader.get_single_node()


def read_yaml(path: Path | str) -> Any:
    """Read the value of a file.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is no YAML, or beyond the bounds.

    """
    loader, root = open_yaml(path)
    return None if root is None else value_of(loader, root)


def parse_yaml(text: str) -> Any:
    """Return the value of a text.

    Raises:
        yaml.YAMLError: it is no YAML, or beyond the bounds.

    """
    loader = BoundedLoader(text)
    root = loader.get_single_node()
    return None if root is None else value_of(loader, root)


def value_of(loader: BoundedLoader, node: yaml.Node) -> Any:
    """Make the value of a node.

    Raises:
        yaml.YAMLError: it has none, such as 30 February.

    """
    try:
        return valid_values(loader.construct_object(node, deep=True))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # PyYAML's constructors trust that the text of !!int, !!bool and so on is one
        raise _error(f'this has no value: {error}', node) from error


def pairs_of(loader: BoundedLoader, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return the keys and values of a mapping, those that ``<<`` merges into it first.

    Raises:
        yaml.YAMLError: what is merged is no mapping.

    """
    own = [pair for pair in node.value if pair[0].tag != _MERGE]
    if len(own) < len(node.value):
        loader.flatten_mapping(node)
        merged = {key.value: (key, value) for key, value in node.value[:-len(own) or None]}
        for key, _ in own:
            merged.pop(key.value, None)
        node.value = [*merged.values(), *own]
    return list(node.value)


def by_full_name(values: Any, above: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the values in nested mappings, each with the names that lead to it, as ``a.b.c``."""
    for name, value in (values.items() if isinstance(values, dict) else ()):
        if isinstance(value, dict):
            yield from by_full_name(value, f'{above}{name}.')
        else:
            yield f'{above}{name}', value


def _check_aliases(root: yaml.Node) -> None:
    """Refuse a document whose aliases are in a circle, or stand for too many values."""
    sizes: dict[yaml.Node, int] = {}  # number of values in a node; 0: it is being counted
    depths: dict[yaml.Node, int] = {}

    def count(node: yaml.Node) -> None:
        sizes[node] = 0
        size, depth = 1, 0
        for child in _children(node):
            if child not in sizes:
                count(child)
            elif not sizes[child]:
                raise _error('an alias in here stands for the value that it is in', child)
            size, depth = size + sizes[child], max(depth, depths[child] + 1)
        sizes[node], depths[node] = size, depth
        if size - len(sizes) > MAX_ALIASED:
            raise _error(f'aliases in here stand for more than {MAX_ALIASED:,} values', node)
        if depth > MAX_DEPTH:
            raise _error(f'aliases nest this deeper than {MAX_DEPTH} levels', node)

    count(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _error(problem: str, place: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)
