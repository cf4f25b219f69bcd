"""The room in which a thing is pushed aside while a base drives to it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.worlds.physics.base_skills import STAND_OFF
from mimo_embodied_ros.worlds.physics.pushed_room import PushedRoom
from mimo_embodied_ros.worlds.world import Motion, complete

SMALL = 160, 120


def box_at(world: PushedRoom) -> np.ndarray:
    return np.array(world.things()[0].position[:2])


@pytest.mark.parametrize('seed', range(5))
def test_the_thing_is_in_view_and_is_pushed_aside_once_the_base_drives(seed: int) -> None:
    world = PushedRoom(seed, size=SMALL)
    view = world.look('camera')
    assert (view.labels == 1).sum() > 20
    world.step(1.0)
    assert world.pushed < 0.01
    before, way = box_at(world), []
    problem = complete(world, follow_and_note(world, way))
    assert problem == ''
    moved = box_at(world) - before
    assert 0.4 < np.linalg.norm(moved) < 1.3
    assert world.pushed == pytest.approx(np.linalg.norm(moved), abs=0.01)
    across = abs(float(moved @ before)) / np.linalg.norm(moved) / np.linalg.norm(before)
    assert across < 0.1
    assert np.abs(np.diff(way, axis=0)).max() < 0.05  # it slides, and is not put elsewhere
    assert world.gap('yellow box')[0] == pytest.approx(STAND_OFF, abs=0.3)


def follow_and_note(world: PushedRoom, way: list[np.ndarray]) -> Motion:
    def where() -> np.ndarray:
        way.append(box_at(world))
        return way[-1]

    return world.motions.follow(where)
