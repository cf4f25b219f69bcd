"""What one answer saw, and what is remembered of it.

Positions and poses are metres in one frame that does not move, named by `frame_id`. Where that
frame begins anew, as that of odometry does, its `session` is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mimo_embodied_ros.geometry.extrinsics import Transform

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from mimo_embodied_ros.geometry.poses import Pose

    Floats = NDArray[np.float64]
    Vector = tuple[float, float, float]

_ALLOWANCE_M, _ALLOWANCE = 0.03, 0.03
"""By which depth and a place differ where they are the same: metres, and for each metre of depth"""
_UNKNOWN = (0.0,) * 9


@dataclass(frozen=True, eq=False)
class View:
    """What a pinhole camera had before it.

    Attributes:
        pose: of the optical frame: x to the right, y down, z forward.
        focal: lengths, pixels.
        centre: the principal point, pixels; the left and the upper edge of the image are 0.
        size: width and height of the image, pixels.
        depth: (rows, columns) metres along the optical axis, sampled over the whole image; NaN: not
            known; (0, 0): not measured.

    """

    pose: Pose
    focal: tuple[float, float]
    centre: tuple[float, float]
    size: tuple[int, int]
    depth: NDArray[np.float32]

    @cached_property
    def _in_frame(self) -> Transform:
        return Transform.of(self.pose.position, self.pose.orientation)

    def shows(self, position: ArrayLike) -> bool:
        """Whether a position, (3,) metres, is in the image, and nothing is known to hide it.

        Where depth was measured but is not known at that pixel, nobody can tell: False.
        """
        x, y, z = (float(value) for value in self._in_frame.inverse.apply(position))
        if not z > 0:
            return False
        u, v = ((self.focal[0] * x / z + self.centre[0]) / self.size[0],
                (self.focal[1] * y / z + self.centre[1]) / self.size[1])
        if not (0 <= u < 1 and 0 <= v < 1):
            return False
        if not self.depth.size:
            return True
        rows, columns = self.depth.shape
        surface = float(self.depth[int(v * rows), int(u * columns)])
        return z <= surface + _ALLOWANCE_M + _ALLOWANCE * z

    def bounds(self, reach_m: float) -> tuple[Floats, Floats]:
        """Return the least and the largest x, y, z, (3,) metres, of what it can show.

        Args:
            reach_m: depth of the farthest that is of interest; less, where all surfaces are nearer.

        """
        if self.depth.size:
            farthest = float(np.max(self.depth, initial=0.0, where=~np.isnan(self.depth)))
            reach_m = min(reach_m, (farthest + _ALLOWANCE_M) / (1 - _ALLOWANCE))
        corners = np.array([(x, y) for x in (0, self.size[0]) for y in (0, self.size[1])])
        rays = np.column_stack(((corners - self.centre) / self.focal, np.ones(4)))
        points = self._in_frame.apply(np.vstack((np.zeros(3), reach_m * rays)))
        return points.min(axis=0), points.max(axis=0)


class SeenThing(NamedTuple):
    """A thing in an image, and its place.

    Attributes:
        name: in words.
        position: metres.
        size: metres along the axes of the frame; zeros: not known.
        covariance: of the position, square metres, (3, 3) row by row; zeros: not known.
        pixel: column and row in the image.

    """

    name: str
    position: Vector
    size: Vector = (0.0, 0.0, 0.0)
    covariance: tuple[float, ...] = _UNKNOWN
    pixel: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Sighting:
    """What one answer saw in one image.

    Attributes:
        stamp_ns: of the image.
        camera: its name.
        question: that was answered.
        frame_id: of all positions and of the view.
        session: of that frame.
        things: that were seen.
        view: None: not known.
        base: pose of the robot's base in `base_frame`; None: not known.
        base_frame: need not be `frame_id`.
        complete: the things are all that the image shows of what was asked for. Without things, it
            is not there.
        image_size: width and height of the image, pixels.
        picture: the image, small, JPEG; empty: not kept.

    """

    stamp_ns: int
    camera: str
    question: str
    frame_id: str
    session: str
    things: tuple[SeenThing, ...]
    view: View | None = None
    base: Pose | None = None
    base_frame: str = ''
    complete: bool = False
    image_size: tuple[int, int] = (0, 0)
    picture: bytes = b''


@dataclass(frozen=True)
class RememberedThing:
    """A thing, where it was when it was seen last; see `Sighting` for what is not told here.

    Attributes:
        id: of no other thing or search, nor of one that was forgotten.
        name: the one that says most of those under which it was seen.
        stamp_ns: of the image that saw it last.
        first_ns: of the first one.
        sightings: how often it was seen.
        missed: images since then that show its place without it.
        missed_ns: stamp of the newest of these; 0: there is none.
        position: metres; NaN where `place_problem` says why.
        camera_pose: of the view that saw it last; None: not known, or not valid any more.
        base: as `camera_pose`.
        base_session: of `base_frame`.
        pixel: in the picture.
        image_size: of the image that the picture shows.
        picture: the newest that shows it; empty also where it was not asked for.
        fit: of the name with what was asked for, 0 to 1; 0: nothing was.
        place_problem: why its place is not known, and the remedy; empty where it is.

    """

    id: int
    name: str
    stamp_ns: int
    first_ns: int
    sightings: int
    missed: int
    missed_ns: int
    frame_id: str
    session: str
    position: Vector
    size: Vector
    covariance: tuple[float, ...]
    camera_pose: Pose | None
    base: Pose | None
    base_frame: str
    base_session: str
    camera: str
    question: str
    pixel: tuple[float, float]
    image_size: tuple[int, int]
    picture: bytes = b''
    fit: float = 0.0
    place_problem: str = ''


@dataclass(frozen=True)
class RememberedSearch:
    """A view in which something was looked for that was not there; see `RememberedThing`."""

    id: int
    what: str
    stamp_ns: int
    frame_id: str
    session: str
    camera_pose: Pose | None
    camera: str
    picture: bytes = b''
    fit: float = 0.0
    place_problem: str = ''
