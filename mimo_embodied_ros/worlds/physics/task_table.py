"""A table with an arm and a task, which is another one in each scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.worlds.table_tasks import TASKS, TableTask, random_task
from mimo_embodied_ros.worlds.things import SHAPES, TableThing

from .arm_table import ArmTable
from .film import Film
from .table import random_things

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from mimo_embodied_ros.worlds.world import Motion, SkillGoal

_FRAME_S = 0.4  # seconds between two pictures of a film


class TaskTable(ArmTable):
    """A table whose things are those of a task.

    The camera stands still, so that its pose need not be told again.

    Attributes:
        task: of the present scene.
        film: of the present scene.
        motions: how many skills the arm has begun to do in the present scene.

    """

    task: TableTask
    film: Film
    motions: int

    def __init__(self, seed: int = 0, only: str = '', **options: Any) -> None:
        """Set the table.

        Args:
            seed: of all that is random.
            only: kind of the tasks; empty: each kind in turn.
            options: more arguments of `ArmTable`.

        """
        self._only = only
        super().__init__(seed, spread=0.0, **options)

    def step(self, seconds: float) -> None:
        """Let time pass, and film it."""
        super().step(seconds)
        self.film.on_tick()

    def _begin(self) -> None:
        super()._begin()
        self.film, self.motions = Film(self, _FRAME_S), 0
        self.skills = {name: self._counted(skill) for name, skill in self.skills.items()}

    def _counted(self, skill: Callable[[SkillGoal], Motion]) -> Callable[[SkillGoal], Motion]:
        def counted(goal: SkillGoal) -> Motion:
            self.motions += 1
            return (yield from skill(goal))
        return counted

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
                                   under.y, rng.uniform(0, 3), z=under.height)
                things[upper.name] = upper
        self.task = task
        return [*things.values()]
