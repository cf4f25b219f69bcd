"""Examples of pages and docstrings, for tests that run or read them."""

from __future__ import annotations

import re
import sys
import textwrap
from typing import TYPE_CHECKING

from support.programs import run_program

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType


def code_blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page that are marked with a language, in their order."""
    return re.findall(rf'```{language}\n(.+?)```', page.read_text('utf-8'), re.DOTALL)


def run_python_blocks(page: Path, environment: Mapping[str, str], folder: Path) -> str:
    """Run all Python blocks of a page as one program and return what it prints."""
    script = folder / 'example.py'
    script.write_text('\n'.join(code_blocks(page, 'python')), 'utf-8')
    return run_program(sys.executable, script, environment=environment, folder=folder).stdout


def docstring_example(module: ModuleType) -> str:
    """Return the literal block of a module's docstring, up to the field list that follows."""
    assert module.__doc__ is not None
    return textwrap.dedent(module.__doc__.partition('::\n')[2].partition('\n``')[0])
