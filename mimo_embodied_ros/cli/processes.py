"""Starts and ends other processes, such as the node."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from mimo_embodied_ros.share import carry_large_images

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


def keep_apart(domain: str) -> None:
    """Restrict ROS to this host and to a domain of its own, with a transport for large images.

    Call it before rclpy is imported; processes that are started later inherit it.

    Args:
        domain: the ROS domain, unless ``ROS_DOMAIN_ID`` is set.

    """
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ.setdefault('ROS_DOMAIN_ID', domain)
    carry_large_images()


def node_command(parameters: Mapping[str, str]) -> list[str]:
    """Return the command that starts ``mimo_embodied``; empty values keep their defaults."""
    return module_command('node.lifecycle_node', parameters)


def module_command(module: str, parameters: Mapping[str, str]) -> list[str]:
    """Return the command that starts a node of this package; empty values keep their defaults."""
    command = [sys.executable, '-m', f'mimo_embodied_ros.{module}', '--ros-args']
    for name, value in parameters.items():
        if value:
            command += ['-p', f'{name}:={value}']
    return command


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that writes to ``log``, and end it at the end; kill it after 20 s."""
    with log.open('wb') as output:
        # python -m looks into its folder first, and the user's folder may hold the sources
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
                process.wait()


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return log.read_text('utf-8', 'replace')[-2000:]
