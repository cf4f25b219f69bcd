"""A vLLM server on the CPU with the embedded model, started as by the launch file."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING

from mimo_embodied_ros.launching import server_command
from support.launch_files import constant
from support.paths import EMBEDDED_MODEL, LAUNCH, ROOT
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ROOT / '.venv-vllm' / 'bin' / 'vllm'
MODEL = 'mimo_tiny'
CONTEXT = 4096  # less than a request with reasoning asks for
START_S = 3600.0  # on a busy machine; alone it takes a minute or two
# arguments of the launch file, where they are not as on a GPU with the model of 7 billion
_ARGUMENTS = {
    'served_model_name': MODEL, 'dtype': 'float32', 'max_model_len': str(CONTEXT),
    'mm_processor_kwargs': '{"max_pixels": 38416}',  # the model's own
    'limit_mm_per_prompt': '{"image": 6, "video": {"count": 2, "num_frames": 16}}',
}
# Blocks of 128, as on CPUs, are longer than most prompts of the embedded model: no prefix would be
# found again.
_MORE = '--enforce-eager --block-size 32 --max-num-seqs 16'
# One thread that does not wait busily: others compute here, too.
_ENVIRONMENT = {
    'VLLM_CPU_KVCACHE_SPACE': '1', 'VLLM_CPU_OMP_THREADS_BIND': 'nobind', 'OMP_NUM_THREADS': '1',
    'KMP_BLOCKTIME': '0', 'HF_HUB_OFFLINE': '1', 'VLLM_NO_USAGE_STATS': '1', 'DO_NOT_TRACK': '1',
}


class VllmServer:
    """A server on a port of its own.

    Attributes:
        url: of its interface.
        process: the one that ends with all processes of the server.

    """

    def __init__(self, folder: Path) -> None:
        """Choose a port; nothing is started yet."""
        with socket.create_server(('127.0.0.1', 0)) as taken:
            self._port = taken.getsockname()[1]
        self._folder = folder
        self.url = f'http://127.0.0.1:{self._port}/v1'
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it does not serve yet."""
        assert PROGRAM.exists(), f'there is no {PROGRAM}; run `make test-vllm`'
        defaults = {name: value for name, value, _ in constant(
            'FLAGS', LAUNCH / 'vllm_server.launch.py')}
        flags = {**defaults, **_ARGUMENTS, 'port': str(self._port)}
        with (self._folder / 'vllm.log').open('ab') as log:
            self.process = subprocess.Popen(
                server_command(str(PROGRAM), str(EMBEDDED_MODEL), flags, _MORE), stdout=log,
                stderr=log, cwd=self._folder, env={**os.environ, **_ENVIRONMENT})

    def wait(self) -> None:
        """Wait until it serves."""
        assert self.process is not None
        process = self.process
        wait_for(lambda: self._get('/health') is not None or process.poll() is not None, START_S)
        assert process.poll() is None, (self._folder / 'vllm.log').read_text()[-5000:]

    def stop(self) -> None:
        """End it in order; all its processes are gone then."""
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(WAIT_S)

    def kill(self) -> None:
        """Kill the process that answers HTTP, as the system does when memory runs out."""
        os.kill(self.first, signal.SIGKILL)

    @property
    def first(self) -> int:
        """Number of the server's first process, and of its group."""
        assert self.process is not None
        number = self.process.pid
        with open(f'/proc/{number}/task/{number}/children') as children:  # noqa: PTH123 no file
            return int(children.read().split()[0])

    def metric(self, name: str) -> float:
        """Return one of its metrics, over all its labels."""
        values = re.findall(rf'(?m)^vllm:{name}(?:\{{.*\}})? (\S+)$', self._get('/metrics') or '')
        assert values, f'there is no metric vllm:{name}'
        return sum(map(float, values))

    def _get(self, path: str) -> str | None:
        url = f'http://127.0.0.1:{self._port}{path}'
        try:
            with urllib.request.urlopen(url, timeout=WAIT_S) as response:
                return str(response.read().decode())
        except OSError:
            return None
