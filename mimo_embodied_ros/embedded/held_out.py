"""Rendered scenes that training does not see, for the evaluation; rendered once and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimo_embodied_ros.worlds import road_scene, table_scene
from mimo_embodied_ros.worlds.room_scene import RoomScene

from .curriculum import CAMERA_SIZES
from .renders import EACH, Renders, render

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.table_clip import TableClip

    from .renders import Scene

_SEED = 1  # training has another one
_TABLES, _ROADS, _ROOMS = 3 * EACH, EACH, EACH
"""Scenes of each of the sizes of usual cameras."""
_SURROUND = (320, 180)  # each of six cameras


class RenderedScenes:
    """Rendered tables and roads at the sizes of usual cameras; see `evaluate.Scenes`."""

    def __init__(self, folder: Path, *, tables: int = _TABLES, roads: int = _ROADS,
                 rooms: int = _ROOMS) -> None:
        """Render what the folder does not have.

        Args:
            folder: where the scenes are kept.
            tables: number of tables of each size.
            roads: number of roads of each size.
            rooms: number of rooms of each size.

        """
        self._scenes: dict[tuple[str, tuple[int, int]], list[Scene]] = {}
        self._folder = folder
        for kind, number in (('table', tables), ('road', roads), ('room', rooms)):
            render(folder, kind, number * len(CAMERA_SIZES), seed=_SEED, sizes=CAMERA_SIZES,
                   masks=True)
            renders = Renders(folder, kind)
            self._scenes |= {(kind, size): renders.scenes(size) for size in CAMERA_SIZES}

    def table(self, rng: random.Random, size: tuple[int, int]) -> table_scene.Table:
        """Choose a table."""
        scene = rng.choice(self._scenes['table', size])
        assert isinstance(scene, table_scene.Table)
        return scene

    def road(self, rng: random.Random, size: tuple[int, int]) -> road_scene.Road:
        """Choose a road."""
        scene = rng.choice(self._scenes['road', size])
        assert isinstance(scene, road_scene.Road)
        return scene

    def rooms(self) -> tuple[RoomScene, ...]:
        """Return the rooms of all sizes, as the camera of a base sees them."""
        return tuple(scene for size in CAMERA_SIZES for scene in self._scenes['room', size]
                     if isinstance(scene, RoomScene))

    def surrounds(self) -> tuple[road_scene.Surround, ...]:
        """Return moments that all cameras of a car see."""
        render(self._folder, 'surround', EACH, seed=_SEED, sizes=[_SURROUND])
        width, height = _SURROUND
        scenes = Renders(self._folder, 'surround').scenes(
            (width, height * len(road_scene.VIEWS)))
        return tuple(scene for scene in scenes if isinstance(scene, road_scene.Surround))

    def clips(self, _: random.Random) -> Iterator[TableClip]:
        """There are none."""
        return iter(())

    def mask(self, scene: table_scene.Table, thing: table_scene.Thing) -> NDArray[np.bool_]:
        """Return where a thing is seen, by the segmentation."""
        return table_scene.mask(scene, thing)
