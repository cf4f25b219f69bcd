"""Run the demos of the closed loop: tree, node with the embedded model, executor and world."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from domains import claimed_domain

from .programs import COMMAND_LINE, run_program

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


def run_demo(
    folder: Path, *arguments: str
) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """Run a demo that writes to ``folder``/out; return its report, and how it ended."""
    with claimed_domain() as domain:
        done = run_program(
            *COMMAND_LINE, *arguments, '--out', 'out', folder=folder,
            environment={**os.environ, 'ROS_DOMAIN_ID': str(domain)}, succeeds=False)
    report_file = folder / 'out' / 'report.json'
    assert report_file.exists(), done.stdout + done.stderr
    return json.loads(report_file.read_text('utf-8')), done
