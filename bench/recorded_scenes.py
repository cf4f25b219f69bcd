"""Recorded RGB-D sequences with poses, in the files of the dataset 7-Scenes.

A folder has ``frame-000000.color.png``, ``frame-000000.depth.png`` (16 bits, millimetres; 0 and
65535: not known) and ``frame-000000.pose.txt`` (4 by 4, from the camera to the world) of each
picture; ``camera.txt`` has fx, fy, cx and cy where it is another camera. Where nothing in the
scene moves, depth and poses tell where each point of it is.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from tracking_scenes import RATE, Picture

from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.pictures import read_picture
from mimo_embodied_ros.tracking.small_image import CameraPlace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

INTRINSICS = (585.0, 585.0, 320.0, 240.0)
"""Focal lengths and principal point of the dataset's camera, pixels."""
_POINTS, _APART = 12, 50.0  # pixels between two of them
_AROUND = 3  # pixels from a point that are on its surface
_EDGE = 20  # pixels from the edge of the image, of the points that are chosen
_SAME = 0.05  # metres: what is seen is the point itself, as far as depth and poses are exact
_UNKNOWN_MM = 0, 65535


class RecordedView(NamedTuple):
    """What the camera saw: pixels, depth (metres, NaN: unknown), and where the points are."""

    pixels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    labels: NDArray[np.int64]


class RecordedSequence:
    """A sequence of recorded pictures, as `tracking_scenes.PictureSequence` is one.

    Attributes:
        things: (n,) the points' labels in the views.

    """

    def __init__(
        self, folder: Path, *, first: int = 0, pictures: int = 90, seed: int = 0
    ) -> None:
        """Choose points in the first picture.

        Args:
            folder: with the files.
            first: number of the first picture.
            pictures: how many, at most.
            seed: of the points.

        Raises:
            FileNotFoundError: there is no such picture.

        """
        files = sorted(folder.glob('frame-*.color.png'))[first : first + pictures]
        if not files:
            msg = f'{folder} has no picture {first} (frame-*.color.png, as 7-Scenes has them)'
            raise FileNotFoundError(msg)
        self._stems = [str(file).removesuffix('.color.png') for file in files]
        camera_file = folder / 'camera.txt'
        fx, fy, cx, cy = np.loadtxt(camera_file) if camera_file.exists() else INTRINSICS
        self._matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        pixels, depth, camera = self._read(self._stems[0])
        self._points = self._choose(pixels, depth, camera, random.Random(seed))
        self.things = np.arange(1, len(self._points) + 1)

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures, one after the other."""
        for number, stem in enumerate(self._stems):
            pixels, depth, camera = self._read(stem)
            ahead = camera.pose.inverse.apply(self._points) @ self._matrix.T
            points = ahead[:, :2] / np.where(ahead[:, 2:] > 0, ahead[:, 2:], np.nan)
            labels = self._labels(depth, camera)
            rows, columns = depth.shape
            column, row = np.nan_to_num(np.round(points), nan=-1).astype(int).T
            inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
            at = np.where(inside, row, 0), np.where(inside, column, 0)
            seen = inside & (labels[at] == self.things)
            yield Picture(round(number / RATE * 1e9), RecordedView(pixels, depth, labels), camera,
                          np.nan_to_num(points, nan=-1.0), seen)

    def _read(self, stem: str) -> tuple[NDArray[np.uint8], NDArray[np.float32], CameraPlace]:
        pose = np.loadtxt(f'{stem}.pose.txt')
        millimetres = cv2.imread(f'{stem}.depth.png', cv2.IMREAD_UNCHANGED)
        depth = np.where(np.isin(millimetres, _UNKNOWN_MM), np.nan, millimetres / 1000)
        return (read_picture(f'{stem}.color.png'), depth.astype(np.float32),
                CameraPlace(self._matrix, Transform(pose[:3, :3], pose[:3, 3])))

    def _choose(
        self, pixels: NDArray[np.uint8], depth: NDArray[np.float32], camera: CameraPlace,
        rng: random.Random,
    ) -> Floats:
        """Choose corners that are on one surface, (n, 3) metres in the world."""
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        allowed = np.zeros(grey.shape, np.uint8)
        allowed[_EDGE:-_EDGE, _EDGE:-_EDGE] = 255
        corners = cv2.goodFeaturesToTrack(grey, 4 * _POINTS, 0.01, _APART, mask=allowed)
        places = []
        for column, row in (corners if corners is not None else np.empty((0, 1, 2)))[:, 0]:
            around = depth[int(row) - _AROUND : int(row) + _AROUND + 1,
                           int(column) - _AROUND : int(column) + _AROUND + 1]
            if np.ptp(around) < _SAME:  # not where depth is not known
                places.append(camera.point_at(
                    np.array([column, row]), float(depth[int(row), int(column)])))
        rng.shuffle(places)
        return np.array(places[:_POINTS]).reshape(-1, 3)

    def _labels(self, depth: NDArray[np.float32], camera: CameraPlace) -> NDArray[np.int64]:
        """Mark what is within `_SAME` of each point, with its number from 1 on."""
        rows, columns = np.indices(depth.shape)
        rays = np.linalg.solve(self._matrix, np.stack(
            [columns.ravel(), rows.ravel(), np.ones(depth.size)])).T
        world = camera.pose.apply(rays * depth.reshape(-1, 1))
        labels = np.zeros(depth.size, np.int64)
        for number, point in enumerate(self._points, 1):
            labels[np.linalg.norm(world - point, axis=1) < _SAME] = number
        return labels.reshape(depth.shape)
