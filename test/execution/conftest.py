"""The fixture of tests in which an executor does plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def make(ros: Any, tmp_path: Path) -> Iterator[Any]:
    """Makes worlds of `support.planning_robot`; ``start`` tells whether the executor starts."""
    from support.planning_robot import World

    worlds: list[World] = []

    def world(policy: str = '', *, start: bool = True, **values: Any) -> World:
        worlds.append(World(ros, tmp_path, policy, **values))
        return worlds[-1].start() if start else worlds[-1]

    yield world
    for open_world in worlds:
        open_world.close()
