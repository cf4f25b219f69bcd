"""Programs that run beside this one, the node first of all."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from mimo_embodied_ros.share import share_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


def keep_apart(domain: str) -> None:
    """Stay on this host, in a domain of our own unless one is set, with room for large pictures.

    To be called before rclpy is imported; programs that are started later inherit it.
    """
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ.setdefault('ROS_DOMAIN_ID', domain)
    profile = share_folder() / 'config' / 'fastdds_large_images.xml'
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        os.environ.setdefault(name, str(profile))


def node_command(parameters: Mapping[str, str]) -> list[str]:
    """What starts the node with these parameters; empty values are left to their defaults."""
    return module_command('node.lifecycle_node', parameters)


def module_command(module: str, parameters: Mapping[str, str]) -> list[str]:
    """The same of any node of this package."""
    command = [sys.executable, '-m', f'mimo_embodied_ros.{module}', '--ros-args']
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


def tail(log: Path) -> str:
    """What a program said last."""
    return log.read_text('utf-8', 'replace')[-2000:]
