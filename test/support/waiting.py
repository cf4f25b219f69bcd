"""Waiting until a condition is true, with a limit that only a hang reaches."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar('T')
# For whatever a test waits for. Only a hang takes so long, on a busy machine too.
WAIT_S = 120.0


def wait_for(condition: Callable[[], T], timeout_s: float = WAIT_S) -> T:
    """Wait until the condition is truthy and return its value; fail after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f'the condition did not become true within {timeout_s} s')
        time.sleep(0.005)
    return value
