"""Films of a physical world: its states are kept while it goes on, and rendered afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .physical_world import PhysicalWorld


class Film:
    """The states of a world at equal steps of its time.

    Attributes:
        states: positions of all joints, in their order.

    """

    def __init__(self, world: PhysicalWorld, every: float) -> None:
        """Begin.

        Args:
            world: that goes on; another scene needs another film.
            every: seconds of its time between two states.

        """
        self._world, self._model, self._every = world, world.model, every
        self._next = world.time
        self.states: list[NDArray[np.float64]] = []

    def on_tick(self) -> None:
        """Keep the state if it is time."""
        if self._world.time >= self._next:
            self._next += self._every
            with self._world.lock:
                self.states.append(self._world.data.qpos.copy())

    def pictures(
        self, cameras: Sequence[str], width: int, height: int, most: int
    ) -> list[NDArray[np.uint8]]:
        """Render the states, with the renderer of the world.

        Args:
            cameras: names of those that are shown side by side.
            width: columns of each.
            height: rows.
            most: number of pictures; of more states some are left out.

        Returns:
            (height, cameras * width, 3) uint8 each.

        """
        data, renderer, out = mujoco.MjData(self._model), self._world.renderer(self._model), []
        for state in self.states[:: -(-len(self.states) // most) or 1]:
            data.qpos[:] = state
            mujoco.mj_kinematics(self._model, data)
            mujoco.mj_camlight(self._model, data)
            out.append(np.hstack([
                renderer.render(data, camera, width, height).pixels for camera in cameras]))
        renderer.close()
        return out
