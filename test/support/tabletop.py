"""A drawn table with three things, which many tests ask about; without ROS."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from mimo_embodied_ros.worlds import scenes

if TYPE_CHECKING:
    from collections.abc import Iterable

INSTRUCTION = 'put the red cube in the blue bowl'


def draw_tabletop(things: Iterable[scenes.Thing]) -> scenes.Table:
    """Draw the things on the same table each time, 640 by 480 pixels."""
    return scenes.draw_table(random.Random(7), 640, 480, things=tuple(things))


SCENE = draw_tabletop((
    scenes.Thing('red', 'cube', 180, 320, 48),
    scenes.Thing('blue', 'bowl', 420, 200, 58),
    scenes.Thing('green', 'ball', 400, 390, 45)))
