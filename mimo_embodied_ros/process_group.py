"""Run a program, and end with it all processes that it has started.

``python3 -m mimo_embodied_ros.process_group vllm serve ...`` is for servers of several processes:
where vLLM's first one is killed, its engine and workers stay, and keep the GPU's memory.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def run(command: Sequence[str]) -> int:
    """Run a program in a process group of its own, and kill the group when the program has ended.

    A signal that asks this process to end is passed on to the program, which may end its own
    processes in order; the next one kills the group.

    Args:
        command: the program and its arguments.

    Returns:
        The program's exit code; 128 and the number of the signal that ended it, as a shell has it.

    Raises:
        OSError: the program cannot be started.

    """
    # waited for one by one: none is lost, and none comes before there is a group to end
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, signal.SIGCHLD})
    program = subprocess.Popen(
        command, start_new_session=True,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before))  # noqa: PLW1509 no threads here
    asked = False
    while program.poll() is None:
        number = signal.sigwait({*_ENDING, signal.SIGCHLD})
        if number in _ENDING and not asked:
            program.send_signal(number)
            asked = True
        elif number in _ENDING:
            _kill_group(program.pid)
    _kill_group(program.pid)
    return program.returncode if program.returncode >= 0 else 128 - program.returncode


def _kill_group(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all have ended
        os.killpg(number, signal.SIGKILL)


if __name__ == '__main__':
    sys.exit(run(sys.argv[1:]))
