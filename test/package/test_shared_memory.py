"""Shared memory that killed nodes leave is removed at the end of a test run, and no other."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from domains import FIRST_PORT, claimed_domain

from support.paths import ROOT
from support.programs import run_program
from support.shared_memory import FOLDER, mapped, remove_dead, segments
from support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

NODE = 'import rclpy, time; rclpy.init(); node = rclpy.create_node("killed"); time.sleep(1000)'
RUN = f"""
import os, subprocess, sys
from support.shared_memory import mapped
from support.waiting import wait_for

def test_leaves() -> None:
    process = subprocess.Popen([sys.executable, '-c', {NODE!r}])
    wait_for(lambda: len(mapped(str(process.pid))) > 1)
    print('left', *mapped(str(process.pid)))
    process.kill()
    process.wait()
"""

pytestmark = pytest.mark.skipif(
    'fastrtps' not in rclpy.get_rmw_implementation_identifier(),
    reason='another middleware than Fast DDS')


def of_a_domain(names: frozenset[str]) -> frozenset[str]:
    """Leave out the ports that all domains share."""
    shared = range(FIRST_PORT)
    return frozenset(
        n for n in names if 'port' not in n or int(n.partition('port')[2]) not in shared)


def test_what_killed_nodes_leave_is_removed_when_the_tests_have_ended(tmp_path: Path) -> None:
    (tmp_path / 'test_leaves.py').write_text(RUN)
    with claimed_domain() as domain:
        before = segments()  # an earlier test of this domain may have left ports
        path = os.pathsep.join(str(ROOT / folder) for folder in ('test', 'bench'))
        environment = {n: v for n, v in os.environ.items() if not n.startswith('PYTEST_')}
        done = run_program(
            sys.executable, '-m', 'pytest', '-s', '-p', 'conftest', '-p', 'no:cacheprovider',
            tmp_path, folder=tmp_path, environment={
                **environment, 'PYTHONPATH': path, 'ROS_DOMAIN_ID': str(domain)})
    (names,) = re.findall('left (.*)', done.stdout)
    left = of_a_domain(frozenset(names.split()))
    assert len(left) > 1  # a segment, and ports
    left -= before
    assert left
    assert not [file for file in FOLDER.iterdir() if any(name in file.name for name in left)]


def test_what_is_used_or_locked_or_was_there_before_stays(ros: Any) -> None:
    before = segments()
    ros.node('living')
    used = of_a_domain(mapped(str(os.getpid())) - before)
    assert used
    with claimed_domain() as domain:
        process = subprocess.Popen(
            [sys.executable, '-c', NODE], env={**os.environ, 'ROS_DOMAIN_ID': str(domain)})
        wait_for(lambda: len(of_a_domain(mapped(str(process.pid)))) > 1)
        left = of_a_domain(mapped(str(process.pid)))
        process.kill()
        process.wait()
        remove_dead(segments())
        assert left <= segments()
        (segment,) = (name for name in left if 'port' not in name)
        with (FOLDER / f'{segment}_el').open('rb') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            remove_dead(segments() - left - used)
            assert left & segments() == {segment}
        remove_dead(segments() - left - used)
        assert not left & segments()
    assert used <= segments()
