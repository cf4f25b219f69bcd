"""The drawn tabletop as a world: its camera, and its gripper's skills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .table_camera import FOCAL, HEIGHT, OPTICAL_FRAME, WIDTH
from .table_scene import Table, mask
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
        self.motion_s = 0.3
        self.reset()
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
        """Return what the camera sees now."""
        assert camera in self.cameras
        table, labels = self.table, np.zeros((HEIGHT, WIDTH), np.int16)
        scene = Table(table.pixels, table.things, 0.0)
        for thing in table.things:
            labels[mask(scene, thing)] = 1 + self._names.index(thing.name)
        return View(table.pixels, (table.depth / 1000).astype(np.float32), labels, self._time)

    def things(self) -> tuple[ThingState, ...]:
        """Return the truth about all things; one that is held is where it was last."""
        table = self.table
        for thing in table.things:
            self._positions[thing.name] = _point(table.position(thing))
        places = {name: f'in the {holder}' for name, holder in table.inside.items()}
        if table.held:
            places[table.held.name] = 'held'
        return tuple(ThingState(
            name, self._positions[table.inside.get(name, name)], place=places.get(name, ''))
            for name in self._names)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self._time += seconds

    def reset(self, seed: int | None = None) -> None:
        """Begin anew: with another table, or with None the same one."""
        self._seed = self._seed if seed is None else seed
        self.table, self._time = Tabletop(self._seed, self._camera, self._drop), 0.0
        self._names = [thing.name for thing in self.table.things]
        self._positions: dict[str, tuple[float, float, float]] = {}
        self.things()

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
