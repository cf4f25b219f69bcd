"""Imports go one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from support.paths import ROOT
from support.programs import run_python

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = 'mimo_embodied_ros'
SOURCE = ROOT / PACKAGE
# what each part of the package may import of the others; the module at the top is '__init__'
ALLOWED = {
    '__init__': set(),
    'core': set(),
    'program': set(),
    'launching': {'core'},
    'process_group': set(),
    'share': {'core'},
    'annotate': {'core'},
    'bags': {'core'},
    'pictures': {'core'},
    'videos': {'core', 'share', 'pictures'},
    'engine': {'core', 'share'},
    'geometry': {'core'},
    'tracking': {'core', 'geometry'},
    'memory': {'core', 'geometry'},
    'serving': {'core', 'engine', 'share', 'pictures'},
    'worlds': {'core', 'geometry', 'share'},
    'evaluation': {'core', 'engine', 'share', 'annotate', 'pictures', 'videos'},
    'embedded': {'core', 'worlds', 'engine', 'share', 'evaluation'},
    'ros': {'core', 'geometry', 'tracking', 'pictures', 'msg', 'srv', 'action'},
    'node': {'core', 'engine', 'geometry', 'tracking', 'program', 'ros', 'share', 'pictures',
             'msg', 'srv', 'action'},
    'viewer': {'core', 'program', 'ros', 'annotate', 'pictures', 'msg', 'srv'},
    'client': {'core', 'ros', 'srv', 'action'},
    'trees': {'core', 'client', 'pictures', 'msg', 'action'},
    'memory_node': {'core', 'program', 'geometry', 'memory', 'ros', 'msg', 'srv'},
    'execution': {'core', 'program', 'geometry', 'ros', 'client', 'msg', 'action'},
    'simulation': {'core', 'program', 'geometry', 'worlds', 'ros', 'share', 'action'},
    'cli': {'core', 'engine', 'evaluation', 'ros', 'node', 'viewer', 'memory_node', 'execution',
            'share', 'annotate', 'program', 'bags', 'pictures', 'videos', 'msg', 'srv', 'action',
            'client', 'trees', 'simulation', 'worlds', 'geometry', 'serving'},
}
FILES = sorted(SOURCE.rglob('*.py'))


def part_of(module: str) -> str:
    """The part that a module's full name belongs to."""
    return module.split('.')[1] if '.' in module else '__init__'


def imported(file: Path) -> set[str]:
    """Full names of what a file imports of this package, inside of functions too."""
    folder = (PACKAGE, *file.parent.relative_to(SOURCE).parts)
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            base = '.'.join((*above, *filter(None, [node.module])))
            # what is imported from the package itself is a part of it
            names |= {f'{base}.{a.name}' for a in node.names} if base == PACKAGE else {base}
    return {name for name in names if name.split('.')[0] == PACKAGE}


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_go_one_way(file: Path) -> None:
    part = file.relative_to(SOURCE).parts[0].removesuffix('.py')
    others = {part_of(name) for name in imported(file)} - {part, '__init__'}
    assert others <= ALLOWED[part]


def loaded_by(*modules: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter holds after the imports."""
    lines = [f'import {module}' for module in modules]
    lines.append('import sys; print(*{name.split(".")[0] for name in sys.modules})')
    return set(run_python('\n'.join(lines)).stdout.split())


def modules_in(part: str) -> list[str]:
    return [
        '.'.join((PACKAGE, *file.relative_to(SOURCE).with_suffix('').parts))
        for file in FILES if file.is_relative_to(SOURCE / part)]


def test_core_needs_neither_ros_nor_torch() -> None:
    assert loaded_by(*modules_in('core')).isdisjoint({'rclpy', 'torch', 'transformers'})


def test_engine_needs_no_ros_and_imports_torch_with_the_model() -> None:
    loaded = loaded_by(f'{PACKAGE}.engine', f'{PACKAGE}.engine.answering')
    assert loaded.isdisjoint({'rclpy', 'torch', 'transformers'})


def test_node_and_command_line_import_torch_with_the_model() -> None:
    loaded = loaded_by(*modules_in('node'), *modules_in('cli'))
    assert 'rclpy' in loaded
    assert loaded.isdisjoint({'torch', 'transformers'})
