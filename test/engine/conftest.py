"""Fixtures for tests of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.openai_server import Behaviour, Server


@pytest.fixture(scope='session')
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a small model of the real class with random weights."""
    from support.random_model import save_random_model

    folder = tmp_path_factory.mktemp('engine') / 'random_vlm'
    save_random_model(folder)
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server; all are stopped after the test."""
    from support.openai_server import Server

    servers = []

    def start(behaviour: Behaviour, port: int = 0) -> Server:
        servers.append(Server(behaviour, port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
