"""The drawn tabletop as a world: its camera, and its gripper's skills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .table_camera import FOCAL, HEIGHT, OPTICAL_FRAME, WIDTH
from .tabletop import Tabletop
from .world import ThingState, View, WorldCamera

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from numpy.typing import ArrayLike

    from mimo_embodied_ros.geometry.extrinsics import Transform

    from .world import Motion, SkillGoal


class DrawnTable:
    """A world with a drawn tabletop.

    Attributes:
        table: the tabletop; `reset` replaces it.
        motion_s: how long a skill takes, seconds of the world's time; infinite: until its motion
            is closed.

    """

    frame = 'base_link'

    def __init__(self, seed: int, camera: Transform, drop: float = 0.2) -> None:
        """Draw a table; see `Tabletop` for the arguments."""
        self._seed, self._camera, self._drop = seed, camera, drop
        self._time, self.motion_s = 0.0, 0.3
        self.table = Tabletop(seed, camera, drop)
        self.cameras: Mapping[str, WorldCamera] = {'camera': WorldCamera(
            'camera', WIDTH, HEIGHT, FOCAL, OPTICAL_FRAME, '', camera)}
        self.skills: Mapping[str, Callable[[SkillGoal], Motion]] = {
            'pick': lambda goal: self._do(goal.object_at, Tabletop.pick),
            'place': lambda goal: self._do(goal.place_at, Tabletop.place)}

    @property
    def time(self) -> float:
        """Seconds since the last reset."""
        return self._time

    def look(self, camera: str) -> View:
        """Return what the camera sees now; its labels are 0, since drawings have none."""
        table, labels = self.table, np.zeros((HEIGHT, WIDTH), np.int16)
        assert camera in self.cameras
        depth = (table.depth / 1000).astype(np.float32)
        return View(table.pixels, depth, labels, self._time)

    def things(self) -> tuple[ThingState, ...]:
        """Return the truth about the things that lie on the table, and then those elsewhere."""
        table = self.table
        lying = [ThingState(t.name, _point(table.position(t))) for t in table.things]
        held = [ThingState(table.held.name, (0.0, 0.0, 0.0), place='held')] if table.held else []
        inside = [ThingState(name, (0.0, 0.0, 0.0), place=f'in the {holder}')
                  for name, holder in table.inside.items()]
        return (*lying, *held, *inside)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self._time += seconds

    def reset(self, seed: int | None = None) -> None:
        """Begin anew: with another table, or with None the same one."""
        self._seed = self._seed if seed is None else seed
        self.table, self._time = Tabletop(self._seed, self._camera, self._drop), 0.0

    def _do(
        self, point: ArrayLike | None, run: Callable[[Tabletop, ArrayLike], str]
    ) -> Generator[None, None, str]:
        if point is None:
            return 'the goal does not say where; give a point and its frame'
        begin = self._time
        while self._time - begin < self.motion_s:
            yield
        return run(self.table, point)


def _point(at: ArrayLike) -> tuple[float, float, float]:
    x, y, z = np.asarray(at, float)
    return float(x), float(y), float(z)
