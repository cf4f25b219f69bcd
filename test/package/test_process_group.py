"""A program that ends takes all its processes with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT
from support.programs import run_program
from support.waiting import WAIT_S, wait_for

GROUP = (sys.executable, '-m', 'mimo_embodied_ros.process_group')
AWAY = ROOT / 'test'  # Python would import the sources, which lack the interfaces
# says who it is and whom it has started, ends on SIGTERM by itself, and else waits
SERVER = """
import os, signal, subprocess, sys, time
worker = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7) if sys.argv[1] == 'orderly' else None)
print(os.getpid(), worker.pid, flush=True)
while True:
    time.sleep(1000)
"""


def is_running(number: int) -> bool:
    """Whether a process does; one that nobody has waited for yet does not."""
    try:
        status = Path(f'/proc/{number}/stat').read_text()
    except OSError:
        return False
    return status.rpartition(')')[2].split()[0] != 'Z'


@pytest.mark.parametrize(('kind', 'signals', 'to_group', 'code'), [
    ('orderly', [signal.SIGTERM], True, 7),
    ('stubborn', [signal.SIGTERM, signal.SIGTERM], True, 128 + signal.SIGKILL),
    ('orderly', [signal.SIGKILL], False, 128 + signal.SIGKILL),  # as the system does
])
def test_all_processes_end_with_the_program(
    kind: str, signals: list[signal.Signals], to_group: bool, code: int
) -> None:
    group = subprocess.Popen(
        [*GROUP, sys.executable, '-c', SERVER, kind], stdout=subprocess.PIPE, cwd=AWAY)
    try:
        assert group.stdout is not None
        server, worker = map(int, group.stdout.readline().split())
        assert os.getpgid(server) == os.getpgid(worker) != os.getpgid(group.pid)
        assert is_running(worker)
        first, *others = signals
        os.kill(group.pid if to_group else server, first)
        for number in others:
            wait_for(lambda: not pending(group.pid))  # two that come at once are one
            os.kill(group.pid, number)
        assert group.wait(WAIT_S) == code
        wait_for(lambda: not is_running(worker))
        assert not is_running(server)
    finally:
        group.kill()


def pending(number: int) -> bool:
    """Whether a signal to a process waits to be taken."""
    lines = Path(f'/proc/{number}/status').read_text().splitlines()
    return any(int(line.split()[1], 16) for line in lines if line.startswith('ShdPnd'))


def test_its_exit_code_is_that_of_the_program() -> None:
    for code in (0, 3):
        done = run_program(*GROUP, 'sh', '-c', f'exit {code}', succeeds=False)
        assert done.returncode == code
    assert 'No such file' in run_program(*GROUP, '/nowhere/vllm', succeeds=False).stderr
