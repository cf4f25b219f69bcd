"""A server process with the embedded model, which can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx2
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

START_S = 600.0  # on a busy machine; alone it takes a few


def free_port() -> int:
    """Return a port of this host that nothing listens on."""
    with socket.create_server(('127.0.0.1', 0)) as taken:
        return int(taken.getsockname()[1])


def answers(url: str) -> bool:
    """Whether a URL answers with status 200."""
    try:
        return bool(httpx2.get(url, timeout=5, trust_env=False).status_code == 200)
    except httpx2.HTTPError:
        return False


class Process:
    """A process that is ended with all its children.

    Attributes:
        port: for it to listen on.

    """

    def __init__(
        self, command: Callable[[int], Sequence[str]], log: Path, health: str = ''
    ) -> None:
        """Take what is to be started.

        Args:
            command: returns the command for a port.
            log: gets what it writes.
            health: path of the URL that answers once it is ready; empty: once its port is open.

        """
        self.port = free_port()
        self._command, self._log, self._health = command, log, health
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of its API."""
        return f'http://127.0.0.1:{self.port}/v1'

    def start(self, *, wait: bool = True) -> None:
        """Start it on its port, and wait until it is ready.

        Raises:
            RuntimeError: it has ended, or takes too long.

        """
        with self._log.open('ab') as log:
            self._process = subprocess.Popen(
                self._command(self.port), stdout=log, stderr=log, cwd=self._log.parent,
                env={**os.environ, 'HF_HUB_OFFLINE': '1'})
        if wait:
            self.wait()

    def wait(self) -> None:
        """Wait until it is ready; raises as ``start`` does."""
        assert self._process is not None
        end = time.monotonic() + START_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(self._log.read_text(errors='replace')[-3000:])
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        if self._health:
            return answers(f'http://127.0.0.1:{self.port}{self._health}')
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', self.port)):
            return True
        return False

    def descendants(self) -> list[psutil.Process]:
        """Return its children, with theirs, that live now."""
        assert self._process is not None
        try:
            return list(psutil.Process(self._process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """Kill it with all its children, as the system does when memory is short."""
        self._stop(signal.SIGKILL)

    def end(self, number: int = signal.SIGTERM) -> int | None:
        """Ask it to end, and kill what is left after 30 s; return its exit code."""
        return self._stop(number)

    def _stop(self, number: int) -> int | None:
        if self._process is None or self._process.poll() is not None:
            return None
        children = self.descendants()
        self._process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        for process in (*children, *self.descendants()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.kill()
        return self._process.wait()


class Replica(Process):
    """``mimo-embodied serve-openai``."""

    def __init__(self, log: Path, *options: str) -> None:
        """Take further options of the command."""
        super().__init__(lambda port: [
            sys.executable, '-m', 'mimo_embodied_ros.cli.main', 'serve-openai', '--device', 'cpu',
            '--port', str(port), *options], log, '/health')
