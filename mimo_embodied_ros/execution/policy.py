"""The policy: what to do when a step fails, and what to ask the model about it; a YAML file.

A file maps the names of skills, and ``default`` for all others, to fields::

    default: {repeat: 1, then: plan}
    pick: {repeat: 3}
    dock: {before: false, then: give_up}

``repeat``
    How often a failed step is tried again, as long as the facts that it needs hold (default: 1).
``then``
    What to do after the last try: ``plan`` again on new images (default), or ``give_up``.
``before``
    Whether the model is asked if the step is possible and its preconditions hold (default: true).
``look``
    Whether the step's objects are found again in new images, since they may have moved since the
    plan was made (default: true).
``after``
    Whether the model is asked if the step's success condition holds (default: true). What the robot
    itself can say of it is looked at in any case.
``finds``
    Whether the skill is done to look for a thing that is not visible where it was seen last, if
    there is a memory (default: false); for skills such as "look at" and "go to".
"""

from __future__ import annotations

import reprlib
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
    """Policy for the steps of one skill; the module's docstring explains the fields."""

    repeat: int = 1
    then: str = 'plan'
    before: bool = True
    look: bool = True
    after: bool = True
    finds: bool = False


def load_policy(path: Path | str, skills: Collection[str]) -> dict[str, StepPolicy]:
    """Read the policy file; return the policy of each skill by the skill's name.

    Args:
        path: path of the file; empty: the default for all skills.
        skills: names of the robot's skills.

    Raises:
        InvalidRequestError: the file cannot be read, does not have the form that the module's
            docstring describes, or names an unknown skill; the message names file and line.

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
        fits, allowed = type(value) is int and 0 <= value <= 100, 'from 0 to 100'
    elif field == 'then':
        fits, allowed = value in _THEN, ' or '.join(_THEN)
    else:
        fits, allowed = isinstance(value, bool), 'true or false'
    if not fits:
        raise node.error(f'{field} is {reprlib.repr(value)}; it must be {allowed}')
    return value
