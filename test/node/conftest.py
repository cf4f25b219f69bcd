"""Fixtures for tests of the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.openai_server import Server
    from support.robot import Robot
    from support.ros import Ros


@pytest.fixture
def robot(ros: Ros) -> Robot:
    """A robot whose node is active, with the embedded model."""
    from support.robot import Robot

    return Robot(ros).start()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of a model that says yes to everything."""
    from support.openai_server import Handler, Server

    def say(handler: Handler) -> None:
        handler.start()
        handler.say('\\boxed{yes}', finish='stop')

    with Server(say) as made:
        yield made
