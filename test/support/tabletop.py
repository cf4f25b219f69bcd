"""A drawn table with three things, which many tests ask about; without ROS."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from mimo_embodied_ros.worlds import table_scene

if TYPE_CHECKING:
    from collections.abc import Iterable

INSTRUCTION = 'put the red cube in the blue bowl'


def draw_tabletop(things: Iterable[table_scene.Thing]) -> table_scene.Table:
    """Draw the things on the same table each time, 640 by 480 pixels."""
    return table_scene.draw_table(random.Random(7), 640, 480, things=tuple(things))


SCENE = draw_tabletop((
    table_scene.Thing('red', 'cube', 180, 320, 48),
    table_scene.Thing('blue', 'bowl', 420, 200, 58),
    table_scene.Thing('green', 'ball', 400, 390, 45)))
