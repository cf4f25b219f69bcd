"""Parameters that a node is given, compared with those that it has; ROS passes over the others."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.suggestions import suggestion

from .arguments import given_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rclpy.node import Node

    from .arguments import Section

_QUALITIES = 'qos_overrides.'  # declared by subscriptions, when they are made


def check_given(node: Node, args: Sequence[str]) -> list[str]:
    """Check that a node has the parameters that its program is given.

    A node whose parameters depend on the values of others says in ``parameters_with(values)`` which
    ones it has with these.

    Args:
        node: has declared its parameters.
        args: of its program.

    Returns:
        A sentence for each parameter that it does not have and that is given to nodes of all names.

    Raises:
        InvalidRequestError: it does not have another parameter, or a file or an argument is for
            other nodes only.

    """
    full_name = node.get_fully_qualified_name()
    sections = given_parameters(args)
    problems: list[str] = []
    warnings: list[str] = []
    for source, of_source in itertools.groupby(sections, lambda section: section.source):
        group = list(of_source)
        ours = [section for section in group if section.is_for(full_name)]
        if not ours:
            problems.append(_for_others(source, group, full_name))
        known = _known(node, {name: value for section in ours
                              for name, value in section.values.items()})
        for section in ours:
            sentences = [
                f'{source}: {_absent(name, known)}' for name in section.values
                if name not in known and not name.startswith(_QUALITIES)]
            (warnings if section.shared else problems).extend(sentences)
    if problems:
        raise InvalidRequestError('; '.join(problems))
    return [f'{sentence}; it has no effect on this node' for sentence in warnings]


def _for_others(source: str, sections: Iterable[Section], full_name: str) -> str:
    others = ', '.join(section.node for section in sections)
    return (f'{source} is for {others}, and this node is {full_name}; write '
            f'/**/{full_name.rpartition("/")[2]}')


def _known(node: Node, values: Mapping[str, Any]) -> set[str]:
    """Names of the parameters that a node has, now or with the values of one source."""
    known = {*node.get_parameters_by_prefix('')}
    return known | node.parameters_with(values) if hasattr(node, 'parameters_with') else known


def _absent(name: str, known: Iterable[str]) -> str:
    hint = suggestion(name, known) or 'see docs/parameters.md'
    return f'there is no parameter {name}; {hint}'


def unused_qualities(node: Node) -> list[str]:
    """Return a sentence for each quality of service that is given and that no subscription has.

    Args:
        node: has subscribed to all its topics.

    """
    declared = [name for name in node.get_parameters_by_prefix('') if name.startswith(_QUALITIES)]
    given: Sequence[str] = [*node._parameter_overrides]  # rclpy tells no other way
    return [f'{_absent(name, declared)}; it has no effect' for name in given
            if name.startswith(_QUALITIES) and name not in declared]
