"""The tabletop that Gazebo and MuJoCo share: same bodies, masses and camera."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mimo_embodied_ros.worlds import fixed_table, gazebo_world
from mimo_embodied_ros.worlds.physics.fixed_table import FixedTable
from mimo_embodied_ros.worlds.things import SHAPES


@pytest.fixture(scope='module')
def table() -> FixedTable:
    return FixedTable()


def test_things_have_the_same_masses_and_inertias_in_gazebo_and_mujoco(table: FixedTable) -> None:
    for thing in fixed_table.THINGS:
        mass, centre, inertia = gazebo_world.inertia_of(gazebo_world.parts_of(thing))
        body = table.model.body(thing.name)
        assert mass == pytest.approx(body.mass[0])
        assert centre == pytest.approx(body.ipos, abs=1e-6)
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, body.iquat)
        axes = turn.reshape(3, 3)
        assert inertia == pytest.approx(axes @ np.diag(body.inertia) @ axes.T, rel=1e-3, abs=1e-9)


def test_things_rest_where_the_list_puts_them_in_view_of_the_camera(table: FixedTable) -> None:
    table.step(1)
    view = table.look('camera')
    camera = table.cameras['camera']
    for number, (state, thing) in enumerate(zip(table.things(), fixed_table.THINGS), 1):
        assert state.name == thing.name
        assert state.position == pytest.approx((thing.x, thing.y, 0), abs=0.005)
        rows, columns = np.nonzero(view.labels == number)
        assert rows.min() > 20
        assert rows.max() < 460
        assert columns.min() > 20
        assert columns.max() < 620
        middle = SHAPES[thing.shape].height * thing.size / 2
        x, y, z = camera.pose.inverse.apply([thing.x, thing.y, middle])
        pixel = 320 + camera.focal * x / z, 240 + camera.focal * y / z
        assert pixel == pytest.approx((columns.mean(), rows.mean()), abs=25)
    table.reset()
    assert table.time == 0
