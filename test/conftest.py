"""Fixtures for tests with real nodes: own domain, own context, traffic on this host only."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from domains import claimed_domain
from hypothesis import settings

# hooks, which pytest finds by their names
from support.allowed_skips import pytest_addoption, pytest_configure  # noqa: F401
from support.ros import Ros
from support.shared_memory import pytest_sessionfinish, pytest_sessionstart  # noqa: F401

# a busy machine may hold up any example for longer
settings.register_profile('untimed', deadline=None)
settings.load_profile('untimed')
# before anything imports rclpy, and inherited by the processes that tests start
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
# a shell's background job ignores Ctrl-C, and so would the programs that tests start
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def ros() -> Iterator[Ros]:
    """A domain, a context and a spinning executor of the test's own."""
    with claimed_domain() as domain_id:
        world = Ros(domain_id)
        yield world
        world.close()


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """All lines on standard error so far.

    /rosout would not do: a node that is destroyed late, as one whose parameters were refused, takes
    the publisher with it from the next one of its name in the process.
    """
    text = ''

    def lines() -> list[str]:
        nonlocal text
        text += capfd.readouterr().err
        return text.splitlines()

    return lines
