"""Programs that run beside this one, the node first of all."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


def node_command(parameters: Mapping[str, str]) -> list[str]:
    """What starts the node with these parameters; empty values are left to their defaults."""
    command = [sys.executable, '-m', 'mimo_embodied_ros.nodes.node', '--ros-args']
    for name, value in parameters.items():
        if value:
            command += ['-p', f'{name}:={value}']
    return command


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes to ``log`` and is ended at the end; by force after 20 s."""
    with log.open('wb') as output:
        # not from the user's folder: python -m looks there first, and it may be the sources'
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=log.parent)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
