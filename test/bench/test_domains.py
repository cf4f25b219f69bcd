"""A test gets a ROS domain of its own, whatever else runs on the host."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from domains import DOMAIN_IDS, claimed_domain, domains_in_use

from mimo_embodied_ros.cli import demo, demo_arm, demo_base, demo_drive, demo_memory, demo_pick
from support.ros import Ros
from support.waiting import wait_for

PARTICIPANT = """
import sys, rclpy
rclpy.init(args=[], domain_id=int(sys.argv[1]))
node = rclpy.create_node('participant')
print('ready', flush=True)
sys.stdin.read()
"""


def claims_in_turn(number: int = 2 * len(DOMAIN_IDS)) -> set[int]:
    """Claim one domain after the other and return their ids."""
    domains = set()
    for _ in range(number):
        with claimed_domain() as domain:
            domains.add(domain)
    return domains


def test_claims_at_the_same_time_differ() -> None:
    with ExitStack() as stack:
        domains = [stack.enter_context(claimed_domain()) for _ in range(5)]
    assert len(set(domains)) == 5


def test_no_claim_is_of_a_demo_or_of_the_default_domain() -> None:
    demos = {int(module._DOMAIN) for module in (
        demo, demo_arm, demo_base, demo_drive, demo_memory, demo_pick)}
    assert len(demos) == 6
    assert not {0, *demos} & set(DOMAIN_IDS)
    assert claims_in_turn() <= set(DOMAIN_IDS)


def test_a_domain_is_not_claimed_while_a_process_is_in_it() -> None:
    """Such as one that outlives its test, or one that no test has started."""
    with claimed_domain() as domain:
        process = subprocess.Popen(
            [sys.executable, '-c', PARTICIPANT, str(domain)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == 'ready\n'
    try:
        assert domain in domains_in_use()
        assert domain not in claims_in_turn()
    finally:
        process.communicate()  # closes its input, at which it ends
    wait_for(lambda: domain not in domains_in_use())


def test_the_domain_of_a_test_is_free_after_it() -> None:
    with claimed_domain() as domain:
        assert domain not in domains_in_use()
        ros = Ros(domain)
        ros.node('participant')
        assert domain in domains_in_use()
        ros.close()
        assert domain not in domains_in_use()
