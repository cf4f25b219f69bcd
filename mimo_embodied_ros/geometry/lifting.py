"""Lift pixels of an image to positions in a frame of the robot, by depth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mimo_embodied_ros.core.errors import (
    MimoError,
    NoCameraInfoError,
    NoDepthError,
    TransformError,
)

from .camera_model import CameraModel
from .extrinsics import Transform
from .registration import SharedRegistration
from .surface import NoSurfaceError, Plane, check_plane, connected_surface, fit_plane

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mimo_embodied_ros.core.frames import Frame

    Floats = NDArray[np.floating[Any]]
    Mask = NDArray[np.bool_]
    Lookup = Callable[[str, str], Transform]

# Radii of windows, as shares of the depth image's width; see _radius.
_CORE_RADIUS = 0.0035  # nearly all pixels in it must be on one surface
_DEPTH_RADIUS = 0.006  # the depth is measured in it
_NORMAL_RADIUS = 0.02  # the normal is measured in it; a larger window makes it more precise
_MIN_PIXELS = 12  # for a normal
_MAX_SLOPE = 0.015  # relative change of depth a pixel; beyond, the view is along the surface
_AT_EDGES = 1.5  # percent of a thing's pixels that show something else, on each side
_BOX_SHARE = 0.4  # share of the middle of a box that must be on one surface
_MAX_NORMAL_ERROR = 0.1  # standard error, radians
_NO_RAY = "the camera's lens model is not valid that far from the middle"


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
    """The position of a point on a surface; without status OK it is zero.

    Attributes:
        status: OK, or what is missing.
        problem: cause and remedy; empty with OK.
        xyz: metres in the target frame.
        depth_stddev: metres, standard deviation of the depths about the surface.
        normal: unit vector out of the surface, in the target frame; None if unknown.

    """

    status: PositionStatus
    problem: str = ''
    xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)
    depth_stddev: float = 0.0
    normal: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Extent:
    """Place and size of the surface in a box of pixels; without status OK they are zero.

    Attributes:
        status: OK, or what is missing.
        problem: cause and remedy; empty with OK.
        center: metres in the target frame, the middle of ``size``.
        size: metres along the axes of the target frame, of the visible side of the thing.

    """

    status: PositionStatus
    problem: str = ''
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)


class Lifter:
    """Lifts points and boxes of one frame into one target frame.

    The depth in the image's view and the transform are computed once, for the first of them.
    """

    def __init__(
        self, frame: Frame, target_frame: str, lookup: Lookup,
        registration: SharedRegistration | None = None, check: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the settings; nothing is computed yet.

        Args:
            frame: with its depth and intrinsics.
            target_frame: frame of the positions.
            lookup: returns the transform that maps points of its second frame to its first, at the
                frame's stamp; raises TransformError.
            registration: shared with other requests on the frame.
            check: called while depth is registered; a MimoError that it raises ends that, and is
                why the frame has no positions.

        """
        self._frame, self.target_frame, self._lookup = frame, target_frame, lookup
        self._registration, self._check = registration or SharedRegistration(), check
        self.error: MimoError | None = None  # why this frame has no positions

    @cached_property
    def camera(self) -> CameraModel:
        """The model of the frame's camera; this and the next two raise MimoError, see `prepare`."""
        frame = self._frame
        if frame.intrinsics is None:
            msg = ('an image in the request has no camera info: name a camera for 3D'
                   if not frame.camera else
                   f'no usable camera info of {frame.camera}: set camera_info_topic to one that '
                   'is calibrated')
            raise NoCameraInfoError(msg)
        return CameraModel(frame.intrinsics, frame.width, frame.height)

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """Depth in the view of the image, (rows, columns) metres, of any size; NaN: unknown."""
        frame, view = self._frame, self._frame.depth_view
        if frame.depth is None:
            msg = (f'no depth image belongs to the image of {frame.camera or "the request"}: set '
                   'depth_topic, and see whether both clocks agree')
            raise NoDepthError(msg)
        if view is None:
            return frame.depth
        if view.intrinsics is None:
            msg = ('the depth image is not registered and its camera info is unknown: set '
                   'depth_info_topic, or depth_registered where it is')
            raise NoCameraInfoError(msg)
        rows, columns = frame.depth.shape
        source = CameraModel(view.intrinsics, columns, rows)
        return self._registration.register(
            frame.depth, source, self.camera, (frame.width, frame.height),
            self._lookup(frame.frame_id, view.frame_id), self._check)

    @cached_property
    def transform(self) -> Transform:
        """From the frame of the image to the target frame."""
        if self.target_frame == self._frame.frame_id:
            return Transform()
        return self._lookup(self.target_frame, self._frame.frame_id)

    def prepare(self) -> tuple[PositionStatus, str]:
        """Compute what the positions share; return what is missing and why, OK if nothing is."""
        if self.error is None:
            try:
                if self._frame.no_3d is not None:
                    raise self._frame.no_3d
                _ = self.camera, self.depth, self.transform
            except MimoError as error:
                self.error = error
        if self.error is None:
            return PositionStatus.OK, ''
        no_transform = isinstance(self.error, TransformError)
        status = PositionStatus.TF_ERROR if no_transform else PositionStatus.NO_DEPTH
        return status, str(self.error)

    def _rays(self, rows: NDArray[Any], columns: NDArray[Any]) -> Floats:
        """Return the rays through the centres of pixels of the depth image."""
        height, width = self.depth.shape
        scale = (self._frame.width / width, self._frame.height / height)
        return self.camera.rays((np.column_stack([columns, rows]) + 0.5) * scale)

    def point(self, x: float, y: float) -> Position:
        """Return the position of a pixel of the original image; its left and upper edges are 0."""
        frame = self._frame
        status, problem = self.prepare()
        if status is not PositionStatus.OK:
            return Position(status, problem)
        if not (0 <= x < frame.width and 0 <= y < frame.height):
            return Position(PositionStatus.OUT_OF_RANGE, 'the pixel is outside of the image')
        ray = self.camera.rays([(x, y)])
        if not np.isfinite(ray).all():
            return Position(PositionStatus.OUT_OF_RANGE, _NO_RAY)
        height, width = self.depth.shape
        row, column = int(y * height / frame.height), int(x * width / frame.width)
        reach = _radius(_NORMAL_RADIUS, width)
        top, left = max(0, row - reach), max(0, column - reach)
        window = self.depth[top:row + reach + 1, left:column + reach + 1].astype(float)
        rows, columns = np.indices(window.shape) + np.array([top, left])[:, None, None]
        rays = self._rays(rows.ravel(), columns.ravel()).reshape(*window.shape, 2)
        distance = np.maximum(abs(rows - row), abs(columns - column))
        # registration to another view moves edges by up to one pixel
        core = distance <= _radius(_CORE_RADIUS, width) + (frame.depth_view is not None)
        near = distance <= _radius(_DEPTH_RADIUS, width)
        try:
            surface = connected_surface(window, core)
            plane = self._plane(window, rays, surface & near, core, distance == 1, ray)
        except NoSurfaceError as error:
            return Position(PositionStatus.DEPTH_INVALID, str(error))
        # the plane is not extrapolated beyond the measured depths
        depths = window[surface & near]
        z = float(np.clip(plane.depth(ray)[0], depths.min(), depths.max()))
        return Position(
            PositionStatus.OK, '', _three(self.transform.apply([*ray[0] * z, z])), plane.stddev,
            self._normal(rays[surface], window[surface]))

    @staticmethod
    def _plane(
        window: Floats, rays: Floats, surface: Mask, core: Mask, beside: Mask, ray: Floats
    ) -> Plane:
        """Fit a plane to a surface.

        Args:
            window: (rows, columns) metres, NaN where unknown.
            rays: (rows, columns, 2) of its pixels.
            surface: pixels to fit.
            core: pixels that must be on the plane, too.
            beside: the neighbours of the middle pixel.
            ray: (1, 2) of the middle pixel.

        Raises:
            NoSurfaceError: too few depths, an edge, or a view along the surface.

        """
        plane = fit_plane(rays[surface], window[surface])
        if plane is None:
            msg = 'the depth image has too few values there; ask for a point further inside'
            raise NoSurfaceError(msg)
        measured = core & np.isfinite(window)
        check_plane(plane, rays[measured], window[measured])
        z = plane.depth(ray)[0]
        if np.abs(plane.depth(rays[beside]) - z).max() > _MAX_SLOPE * z:
            msg = 'the surface there is seen at too flat an angle; look from further above'
            raise NoSurfaceError(msg)
        return plane

    def _normal(self, rays: Floats, depths: Floats) -> tuple[float, float, float] | None:
        """Return the normal of the surface through these points; None if it is too uncertain."""
        plane = fit_plane(rays, depths)
        if plane is None or len(depths) < _MIN_PIXELS:
            return None
        lever = float(np.nanstd(rays, axis=0).min() * np.median(depths))
        if plane.stddev > _MAX_NORMAL_ERROR * lever * np.sqrt(len(depths)):
            return None
        return _three(self.transform.rotate(plane.normal))

    def box(self, x_min: float, y_min: float, x_max: float, y_max: float) -> Extent:
        """Return place and size of the surface in the middle of a box of pixels.

        A thing is assumed to reach no further behind its middle than it is wide or high, so that
        the surface that it stands on is not counted.
        """
        frame = self._frame
        status, problem = self.prepare()
        if status is not PositionStatus.OK:
            return Extent(status, problem)
        height, width = self.depth.shape
        sx, sy = width / frame.width, height / frame.height
        if not (x_min < frame.width and x_max > 0 and y_min < frame.height and y_max > 0):
            return Extent(PositionStatus.OUT_OF_RANGE, 'the box is outside of the image')
        left, right = int(max(x_min, 0) * sx), int(np.ceil(min(x_max, frame.width) * sx))
        top, bottom = int(max(y_min, 0) * sy), int(np.ceil(min(y_max, frame.height) * sy))
        if left >= right or top >= bottom:
            return Extent(PositionStatus.OUT_OF_RANGE, 'the box is empty')
        window = self.depth[top:bottom, left:right]
        grid = np.indices(window.shape)
        rows, columns = grid[0], grid[1]
        inner = ((abs(rows - (bottom - top - 1) / 2) <= (bottom - top) / 4)
                 & (abs(columns - (right - left - 1) / 2) <= (right - left) / 4))
        try:
            surface = connected_surface(window, inner, _BOX_SHARE)
        except NoSurfaceError as error:
            return Extent(PositionStatus.DEPTH_INVALID, str(error))
        middle = float(np.median(window[surface & inner]))
        reach = middle * max((x_max - x_min), (y_max - y_min)) / self.camera.focal
        surface &= abs(np.nan_to_num(window) - middle) <= reach
        rays = self._rays(rows[surface] + top, columns[surface] + left)
        z = window[surface][:, None].astype(float)
        points = self.transform.apply(np.column_stack([rays * z, z]))
        seen = np.isfinite(points).all(1)
        if seen.mean() < 1 - _AT_EDGES / 100:
            return Extent(PositionStatus.OUT_OF_RANGE, _NO_RAY)
        low, high = np.percentile(points[seen], (_AT_EDGES, 100 - _AT_EDGES), axis=0)
        return Extent(PositionStatus.OK, '', _three((low + high) / 2), _three(high - low))


def _radius(share: float, width: int) -> int:
    """Return a share of the depth image's width in pixels, at least two."""
    return max(2, round(share * width))


def _three(values: Floats) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
