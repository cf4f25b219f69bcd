"""Eight robots and two replicas, one of which is killed and comes back; run by make test-fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fleet
import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fleet


@pytest.fixture(scope='module')
def drawn() -> tuple[Any, Any]:
    return fleet.draw_questions(robots=8, count=4)


@pytest.mark.parametrize('name', fleet.FLEETS)
def test_nothing_is_lost_and_nothing_comes_twice(
    drawn: tuple[Any, Any], tmp_path: Path, name: str
) -> None:
    robots, limits = drawn
    with fleet.FLEETS[name](2, tmp_path) as servers:
        result = fleet.ask(servers, robots, limits, kill=True)
    print(name, result)  # noqa: T201 (make test-fleet shows it)
    assert result['came_back']
    assert fleet.is_right(result), result
    assert result['answers'] >= 8 * 4
