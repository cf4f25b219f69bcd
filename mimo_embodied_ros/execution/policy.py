"""What to do when a step fails, and what to ask the model about it; a YAML file.

A file maps the names of skills, and ``default`` for all others, to fields::

    default: {repeat: 1, then: plan}
    pick: {repeat: 3}
    dock: {before: false, then: give_up}

``repeat``
    How often a step is tried again, as long as what it needs is still so (default: 1).
``then``
    What to do when that is used up: ``plan`` again from the present view, or ``give_up``.
``before``
    Whether the model is asked if the step is possible and its preconditions hold.
``look``
    Whether its things are found again in the present view, since the world has changed.
``after``
    Whether the model is asked if its success condition holds.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.yaml_tables import YamlNode, load_table

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

DEFAULT = 'default'
_THEN = ('plan', 'give_up')
_SEE = 'mimo_embodied_ros.execution.policy for the fields'


@dataclass(frozen=True)
class StepPolicy:
    """Of the steps of one skill; the module's docstring tells what the fields mean."""

    repeat: int = 1
    then: str = 'plan'
    before: bool = True
    look: bool = True
    after: bool = True


def load_policy(path: Path | str, skills: Collection[str]) -> dict[str, StepPolicy]:
    """Read a policy for a robot's skills, one for each of them.

    Args:
        path: of the file; empty: the default for all.
        skills: their names.

    Raises:
        InvalidRequestError: the file cannot be read, is not as the module's docstring says, or
            names another skill; with its name and the line.

    """
    def entry(name: str, key: YamlNode, value: YamlNode) -> dict[str, Any]:
        if name != DEFAULT and name not in skills:
            raise key.error(f'there is no skill {name}; the robot has {", ".join(skills)}')
        return {field: _checked(field, node)
                for field, node in value.fields([f.name for f in fields(StepPolicy)]).items()}

    table = load_table(path, 'policy', entry, _SEE) if path else {}
    usual = StepPolicy(**table.pop(DEFAULT, {}))
    return {name: replace(usual, **table.get(name, {})) for name in skills}


def _checked(field: str, node: YamlNode) -> Any:
    value = node.value()
    if field == 'repeat':
        fits, wanted = type(value) is int and 0 <= value <= 100, 'from 0 to 100'
    elif field == 'then':
        fits, wanted = value in _THEN, ' or '.join(_THEN)
    else:
        fits, wanted = isinstance(value, bool), 'true or false'
    if not fits:
        raise node.error(f'{field} is {value!r}; it is {wanted}')
    return value
