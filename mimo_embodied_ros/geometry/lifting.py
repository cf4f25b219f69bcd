"""From pixels of an image to positions in a frame of the robot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.core.errors import NoCameraInfoError, NoDepthError, TransformError

from .camera_model import CameraModel
from .extrinsics import Transform
from .registration import register
from .surface import NoSurfaceError, Plane, check_plane, connected_surface, fit_plane

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mimo_embodied_ros.core.errors import MimoError
    from mimo_embodied_ros.core.frames import Frame

    Floats = NDArray[np.floating[Any]]
    Mask = NDArray[np.bool_]
    Lookup = Callable[[str, str], Transform]

# Radii of windows, in widths of the depth image; see _radius.
_AROUND = 0.0035  # what must be on one surface
_DEPTH = 0.006  # what the depth is of
_NORMAL = 0.02  # what the normal is of, which needs a longer lever
_FEWEST = 12  # pixels for a normal
_FLATTEST = 0.015  # change of depth from pixel to pixel, as a share: more is a look along a surface
_SHOWN = 0.4  # share of the middle of a box that is of one surface
_STEEPEST = 0.1  # standard error of a normal, radians


class PositionStatus(IntEnum):
    """The values of ``position_status`` in AffordancePoint and AffordanceBox."""

    NOT_REQUESTED = 0
    OK = 1
    NO_DEPTH = 2
    DEPTH_INVALID = 3
    TF_ERROR = 4
    OUT_OF_RANGE = 5


@dataclass(frozen=True)
class Position:
    """Of a point on a surface; what follows ``problem`` is zero unless the status is OK.

    Attributes:
        status: whether there is a position, or what is missing.
        problem: cause and remedy; empty with OK.
        xyz: metres in the target frame.
        depth_stddev: metres, spread of the depths about the surface.
        normal: unit vector out of the surface, in the target frame; None where not known.

    """

    status: PositionStatus
    problem: str = ''
    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    depth_stddev: float = 0.0
    normal: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Extent:
    """Of the surface that is seen in a box of pixels; see Position.

    Attributes:
        status: as of a Position.
        problem: as of a Position.
        center: metres in the target frame, the middle of ``size``.
        size: metres along the axes of the target frame, of what is seen: no thing's back is.

    """

    status: PositionStatus
    problem: str = ''
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Lifter:
    """Lifts points and boxes of one frame into one target frame.

    What they share is made at the first of them: the depth in the image's view, and the transform.
    """

    def __init__(self, frame: Frame, target_frame: str, lookup: Lookup) -> None:
        """Nothing is computed yet.

        Args:
            frame: with what is known of its depth and intrinsics.
            target_frame: in which positions are wanted.
            lookup: the transform that takes points of its second frame to its first, at the frame's
                stamp; raises TransformError.

        """
        self._frame, self.target_frame, self._lookup = frame, target_frame, lookup
        self.error: MimoError | None = None  # why nothing of this frame has a position

    @cached_property
    def _camera(self) -> CameraModel:
        frame = self._frame
        if frame.intrinsics is None:
            msg = (f'no usable camera info of {frame.camera or "the image"}: set '
                   'camera_info_topic to one that is calibrated')
            raise NoCameraInfoError(msg)
        return CameraModel(frame.intrinsics, frame.width, frame.height)

    @cached_property
    def _depth(self) -> NDArray[np.float32]:
        """In the view of the image, in whatever size."""
        frame, view = self._frame, self._frame.depth_view
        if frame.depth is None:
            msg = (f'no depth image belongs to the image of {frame.camera or "the request"}: set '
                   'depth_topic, and see whether both clocks agree')
            raise NoDepthError(msg)
        if view is None:
            return frame.depth
        if view.intrinsics is None:
            msg = ('the depth image is not registered and its camera info is not known: set '
                   'depth_info_topic, or depth_registered where it is')
            raise NoCameraInfoError(msg)
        rows, columns = frame.depth.shape
        source = CameraModel(view.intrinsics, columns, rows)
        return register(frame.depth, source, self._camera, (frame.width, frame.height),
                        self._lookup(frame.frame_id, view.frame_id))

    @cached_property
    def _transform(self) -> Transform:
        if self.target_frame == self._frame.frame_id:
            return Transform()
        return self._lookup(self.target_frame, self._frame.frame_id)

    def _prepare(self) -> tuple[PositionStatus, str]:
        """What all positions of the frame lack; OK where nothing."""
        if self.error is None:
            try:
                _ = self._camera, self._depth, self._transform
            except (NoCameraInfoError, NoDepthError, TransformError) as error:
                self.error = error
        if self.error is None:
            return PositionStatus.OK, ''
        lost = isinstance(self.error, TransformError)
        return PositionStatus.TF_ERROR if lost else PositionStatus.NO_DEPTH, str(self.error)

    def _rays(self, rows: NDArray[Any], columns: NDArray[Any]) -> Floats:
        """Of pixels of the depth image, through their middles."""
        height, width = self._depth.shape
        scale = (self._frame.width / width, self._frame.height / height)
        return self._camera.rays((np.column_stack([columns, rows]) + 0.5) * scale)

    def point(self, x: float, y: float) -> Position:
        """Position of a pixel of the original image, whose left and upper edges are 0."""
        frame = self._frame
        status, problem = self._prepare()
        if status is not PositionStatus.OK:
            return Position(status, problem)
        if not (0 <= x < frame.width and 0 <= y < frame.height):
            return Position(PositionStatus.OUT_OF_RANGE, 'the pixel is outside of the image')
        ray = self._camera.rays([(x, y)])
        if not np.isfinite(ray).all():
            return Position(PositionStatus.OUT_OF_RANGE,
                            "the camera's lens model does not hold that far from the middle")
        height, width = self._depth.shape
        row, column = int(y * height / frame.height), int(x * width / frame.width)
        reach = _radius(_NORMAL, width)
        top, left = max(0, row - reach), max(0, column - reach)
        window = self._depth[top:row + reach + 1, left:column + reach + 1].astype(float)
        rows, columns = np.indices(window.shape) + np.array([top, left])[:, None, None]
        rays = self._rays(rows.ravel(), columns.ravel()).reshape(*window.shape, 2)
        away = np.maximum(abs(rows - row), abs(columns - column))
        # edges that were moved here from another view are off by up to a pixel more
        around = away <= _radius(_AROUND, width) + (frame.depth_view is not None)
        near = away <= _radius(_DEPTH, width)
        try:
            surface = connected_surface(window, around)
            plane = self._plane(window, rays, surface & near, around, away == 1, ray)
        except NoSurfaceError as error:
            return Position(PositionStatus.DEPTH_INVALID, str(error))
        # a plane is not trusted beyond what was measured
        known = window[surface & near]
        z = float(np.clip(plane.depth(ray)[0], known.min(), known.max()))
        return Position(
            PositionStatus.OK, '', _three(self._transform.apply([*ray[0] * z, z])), plane.stddev,
            self._normal(rays[surface], window[surface]))

    @staticmethod
    def _plane(
        window: Floats, rays: Floats, on: Mask, around: Mask, beside: Mask, ray: Floats
    ) -> Plane:
        """Through what is ``on`` a surface, if all ``around`` is and it is not seen too flat."""
        plane = fit_plane(rays[on], window[on])
        if plane is None:
            msg = 'the depth image has too few values there; ask for a point further inside'
            raise NoSurfaceError(msg)
        seen = around & np.isfinite(window)
        check_plane(plane, rays[seen], window[seen])
        z = plane.depth(ray)[0]
        if np.abs(plane.depth(rays[beside]) - z).max() > _FLATTEST * z:
            msg = 'the surface there is seen at too flat an angle; look from further above'
            raise NoSurfaceError(msg)
        return plane

    def _normal(self, rays: Floats, depths: Floats) -> tuple[float, float, float] | None:
        """Of the surface through these; None where too uncertain."""
        plane = fit_plane(rays, depths)
        if plane is None or len(depths) < _FEWEST:
            return None
        lever = float(np.nanstd(rays, axis=0).min() * np.median(depths))
        if plane.stddev > _STEEPEST * lever * np.sqrt(len(depths)):
            return None
        return _three(self._transform.rotate(plane.normal))

    def box(self, x_min: float, y_min: float, x_max: float, y_max: float) -> Extent:
        """Place and size of the surface that the middle of a box of pixels shows.

        A thing is taken to reach no further behind its middle than it is wide or high, so that what
        it stands on does not count.
        """
        frame = self._frame
        status, problem = self._prepare()
        if status is not PositionStatus.OK:
            return Extent(status, problem)
        height, width = self._depth.shape
        sx, sy = width / frame.width, height / frame.height
        if not (x_min < frame.width and x_max > 0 and y_min < frame.height and y_max > 0):
            return Extent(PositionStatus.OUT_OF_RANGE, 'the box is outside of the image')
        left, right = int(max(x_min, 0) * sx), int(np.ceil(min(x_max, frame.width) * sx))
        top, bottom = int(max(y_min, 0) * sy), int(np.ceil(min(y_max, frame.height) * sy))
        if left >= right or top >= bottom:
            return Extent(PositionStatus.OUT_OF_RANGE, 'the box is empty')
        window = self._depth[top:bottom, left:right]
        grid = np.indices(window.shape)
        rows, columns = grid[0], grid[1]
        inner = ((abs(rows - (bottom - top - 1) / 2) <= (bottom - top) / 4)
                 & (abs(columns - (right - left - 1) / 2) <= (right - left) / 4))
        try:
            surface = connected_surface(window, inner, _SHOWN)
        except NoSurfaceError as error:
            return Extent(PositionStatus.DEPTH_INVALID, str(error))
        middle = float(np.median(window[surface & inner]))
        reach = middle * max((x_max - x_min), (y_max - y_min)) / self._camera.focal
        surface &= abs(np.nan_to_num(window) - middle) <= reach
        rays = self._rays(rows[surface] + top, columns[surface] + left)
        z = window[surface][:, None].astype(float)
        points = self._transform.apply(np.column_stack([rays * z, z]))
        # of 100 pixels at the rim of a thing one or two are of something else
        low, high = np.nanpercentile(points, (1.5, 98.5), axis=0)
        return Extent(PositionStatus.OK, '', _three((low + high) / 2), _three(high - low))


def _radius(share: float, width: int) -> int:
    """Pixels: a share of the depth image's width, and two at least."""
    return max(2, round(share * width))


def _three(values: Floats) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
