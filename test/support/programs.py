"""Running programs and Python code as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COMMAND_LINE = (sys.executable, '-m', 'mimo_embodied_ros.cli.main')
# Only a hang takes so long, on a busy machine too.
PROGRAM_S = 1200.0
_NOT_WHERE_THE_SOURCES_ARE = ROOT / 'test'  # which Python would import: they lack the interfaces


def run_program(
    *command: str | Path,
    folder: Path = _NOT_WHERE_THE_SOURCES_ARE,
    environment: Mapping[str, str] = os.environ,
    succeeds: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Args:
        command: its words.
        folder: where it runs.
        environment: its variables.
        succeeds: whether it must return 0.

    Returns:
        Its return code and all that it printed.

    """
    process = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, text=True,
        capture_output=True, timeout=PROGRAM_S, check=False)
    assert process.returncode == 0 or not succeeds, process.stdout + process.stderr
    return process


def run_python(
    code: str,
    *arguments: str | Path,
    folder: Path = _NOT_WHERE_THE_SOURCES_ARE,
    environment: Mapping[str, str] = os.environ,
    succeeds: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run Python code to its end, as :func:`run_program` does."""
    return run_program(sys.executable, '-c', code, *arguments, folder=folder,
                       environment=environment, succeeds=succeeds)
