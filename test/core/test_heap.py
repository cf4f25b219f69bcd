"""Freed memory of large blocks is used again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_COPIES = """
import resource, sys, threading
from mimo_embodied_ros.core.heap import keep_freed_blocks

if sys.argv[1] == 'keep':
    assert keep_freed_blocks()
image, faults = bytearray(6_220_800), []

def copy():
    for _ in range(20):
        begin = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        copies = [bytes(image) for _ in range(3)]
        del copies
        faults.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - begin)

thread = threading.Thread(target=copy)
thread.start()
thread.join()
print(sum(faults[1:]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='mallopt is of glibc')
def test_images_are_copied_into_memory_that_the_process_has_already() -> None:
    pages = {how: int(subprocess.run(
        [sys.executable, '-c', _COPIES, how], check=True, capture_output=True, text=True).stdout)
        for how in ('keep', 'return')}
    assert pages['keep'] < 100
    assert pages['return'] > 10_000
