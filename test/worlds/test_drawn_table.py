"""The drawn tabletop behind the protocol that physical worlds have, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
from mimo_embodied_ros.worlds.drawn_table import DrawnTable
from mimo_embodied_ros.worlds.table_camera import OPTICAL_FRAME
from mimo_embodied_ros.worlds.world import SkillGoal, complete
from support.paths import CONFIG

if TYPE_CHECKING:
    from mimo_embodied_ros.worlds.world import World

CAMERA = load_extrinsics(CONFIG / 'extrinsics' / 'tabletop.yaml').lookup(
    'base_link', OPTICAL_FRAME, 0)


def test_a_drawn_table_is_a_world() -> None:
    world: World = DrawnTable(3, CAMERA, drop=0.0)
    first = world.things()
    cube, bowl = first[:2]
    view = world.look('camera')
    rows, columns = np.nonzero(view.labels == 1)
    z, camera = view.depth[rows, columns], world.cameras['camera']
    seen = camera.pose.apply(np.column_stack([
        (columns + 0.5 - 320) * z / camera.focal, (rows + 0.5 - 240) * z / camera.focal, z]))
    assert np.linalg.norm(seen.mean(0) - cube.position) < 0.02
    pick = SkillGoal('pick', cube.name, np.array(cube.position))
    place = SkillGoal('place', place=bowl.name, place_at=np.array(bowl.position))
    assert complete(world, world.skills['pick'](pick)) == ''
    assert [state.place for state in world.things()[:2]] == ['held', '']
    assert not (world.look('camera').labels == 1).any()
    assert complete(world, world.skills['place'](place)) == ''
    assert world.things()[0].place == 'in the blue bowl'
    assert world.time > 0
    assert 'does not say where' in complete(world, world.skills['place'](SkillGoal('place')))
    world.reset()
    assert (world.time, world.things()) == (0.0, first)
    world.reset(4)
    assert world.things() != first
