"""A table with an arm and a task, which is another one in each scene."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.worlds.table_tasks import TASKS, TableTask, random_task
from mimo_embodied_ros.worlds.things import SHAPES

from .arm_table import ArmTable
from .bodies import TableThing
from .table import random_things

if TYPE_CHECKING:
    from collections.abc import Sequence


class TaskTable(ArmTable):
    """A table whose things are those of a task.

    The camera stands still, so that its pose need not be told again.

    Attributes:
        task: of the present scene.

    """

    task: TableTask

    def __init__(self, seed: int = 0, only: str = '', **options: Any) -> None:
        """Set the table.

        Args:
            seed: of all that is random.
            only: kind of the tasks; empty: each kind in turn.
            options: more arguments of `ArmTable`.

        """
        self._only = only
        super().__init__(seed, spread=0.0, **options)

    def _choose(self, rng: random.Random) -> Sequence[TableThing]:
        kind = self._only or [*TASKS][self._seed % len(TASKS)]
        while True:  # until all things have found room
            task = random_task(rng, kind)
            below = [kind for kind in task.things if ' '.join(kind) not in task.starts]
            things = {t.name: t for t in random_things(rng, len(below), below)}
            if len(things) == len(below):
                break
        for colour, shape in task.things:
            if holder := task.starts.get(f'{colour} {shape}'):
                under = things[holder.removeprefix('on the ')]
                upper = TableThing(colour, shape, rng.uniform(*SHAPES[shape].sizes), under.x,
                                   under.y, rng.uniform(0, 3), under.height)
                things[upper.name] = upper
        self.task = task
        return [*things.values()]
