"""Fixtures for tests of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.robot import Robot
    from support.ros import Ros


@pytest.fixture
def robot(ros: Ros) -> Robot:
    """A robot whose node is active, with the embedded model."""
    from support.robot import Robot

    return Robot(ros).start()
