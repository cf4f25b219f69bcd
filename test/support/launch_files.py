"""Constants of launch files and values of parameter files, read without the launch packages."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.paths import LAUNCH

if TYPE_CHECKING:
    from pathlib import Path

NODE_LAUNCH = LAUNCH / 'mimo_embodied.launch.py'
GAZEBO_LAUNCH = LAUNCH / 'gazebo.launch.py'


def constant(name: str, path: Path = NODE_LAUNCH) -> Any:
    """Return a constant of a launch file."""
    for statement in ast.parse(path.read_text('utf-8')).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    pytest.fail(f'{path} has no {name}')


def parameters_in(path: Path) -> dict[str, Any]:
    """Return the values of a parameters file for the node, by the parameters' full names."""
    (values,) = yaml.safe_load(path.read_text('utf-8')).values()
    return _by_full_name(values['ros__parameters'])


def _by_full_name(values: dict[str, Any]) -> dict[str, Any]:
    named = {}
    for name, value in values.items():
        inner = _by_full_name(value) if isinstance(value, dict) else {'': value}
        named |= {f'{name}.{key}'.rstrip('.'): item for key, item in inner.items()}
    return named
