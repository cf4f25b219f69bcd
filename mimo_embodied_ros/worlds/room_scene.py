"""A room as the camera of a mobile base sees it, with its truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .table_scene import SeenThing, Table
from .things import ROOM_SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class RoomScene(Table):
    """A rendered room.

    Its things have their shapes from `things.ROOM_SHAPES`, and their `ground` is in the frame of
    the base: x ahead, y to the left, on the floor.

    Attributes:
        front: metres from the middle of the base to its front.

    """

    front: float = 0.0

    @property
    def shapes(self) -> Iterable[str]:
        """The shapes that its things may have."""
        return ROOM_SHAPES

    def gap(self, thing: SeenThing) -> float:
        """Return the metres between the base and a thing."""
        x, y, radius = thing.ground
        return math.hypot(x, y) - radius - self.front
