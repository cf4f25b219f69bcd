"""Scenes of known geometry, as a depth camera sees them: a table with cuboids and balls.

In the world frame z points up and the table is the plane z = 0; metres. Depths are exact for any
ray, so that all errors come from the simulated sensor and from the code that reads its image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mimo_embodied_ros.core.frames import Intrinsics
from mimo_embodied_ros.geometry.camera_model import CameraModel
from mimo_embodied_ros.geometry.extrinsics import Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# usual lenses: (intrinsics, (width, height))
LENSES = {
    'pinhole': (Intrinsics(525.0, 525.0, 319.5, 239.5), (640, 480)),
    'plumb_bob': (Intrinsics(
        460.0, 462.0, 322.0, 236.0, 'plumb_bob', (-0.28, 0.09, 0.0004, -0.0003, -0.012)),
        (640, 480)),
    'rational_polynomial': (Intrinsics(
        505.0, 505.0, 316.0, 242.0, 'rational_polynomial',
        (0.55, -0.12, 0.0002, 0.0001, -0.01, 0.88, -0.05, -0.03)), (640, 480)),
    'equidistant': (Intrinsics(
        285.0, 286.0, 321.0, 241.0, 'equidistant', (-0.008, 0.03, -0.025, 0.005)), (640, 480)),
}


@dataclass(frozen=True)
class Cuboid:
    """An upright cuboid between two corners, metres."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def hit(self, origin: Floats, directions: Floats) -> Floats:
        """Return the distances along (n, 3) directions to the surface; infinite: missed."""
        with np.errstate(divide='ignore', invalid='ignore'):
            t = (np.array([self.low, self.high])[:, None] - origin) / directions
        near, far = t.min(0).max(1), t.max(0).min(1)
        return np.where((near <= far) & (near > 0), near, np.inf)

    def normal(self, points: Floats) -> Floats:
        """Return the outward normals at (n, 3) points on the surface."""
        middle, half = (np.add(self.low, self.high) / 2, np.subtract(self.high, self.low) / 2)
        away = (points - middle) / half
        side = np.abs(away).argmax(1)
        out = np.zeros_like(points)
        out[np.arange(len(points)), side] = np.sign(away[np.arange(len(points)), side])
        return out


@dataclass(frozen=True)
class Ball:
    """A sphere."""

    middle: tuple[float, float, float]
    radius: float

    def hit(self, origin: Floats, directions: Floats) -> Floats:
        """Return the distances along (n, 3) directions to the surface; infinite: missed."""
        to = origin - np.array(self.middle)
        a, b = (directions**2).sum(1), directions @ to
        root = b * b - a * (to @ to - self.radius**2)
        with np.errstate(invalid='ignore'):
            t = (-b - np.sqrt(root)) / a
        return np.where((root > 0) & (t > 0), t, np.inf)

    def normal(self, points: Floats) -> Floats:
        """Return the outward normals at (n, 3) points on the surface."""
        return (points - np.array(self.middle)) / self.radius


@dataclass(frozen=True)
class Ground:
    """The plane z = 0: a table or the floor."""

    def hit(self, origin: Floats, directions: Floats) -> Floats:
        """Return the distances along (n, 3) directions to the surface; infinite: missed."""
        with np.errstate(divide='ignore'):
            t = -origin[2] / directions[:, 2]
        return np.where(t > 0, t, np.inf)

    def normal(self, points: Floats) -> Floats:
        """Return the outward normals at (n, 3) points on the surface."""
        return np.tile([0.0, 0.0, 1.0], (len(points), 1))


@dataclass(frozen=True, eq=False)
class Scene:
    """Things, and a camera that looks at them."""

    things: tuple[Cuboid | Ball | Ground, ...]
    pose: Transform  # from the optical frame to the world
    intrinsics: Intrinsics
    size: tuple[int, int]

    @cached_property
    def _camera(self) -> CameraModel:
        return CameraModel(self.intrinsics, *self.size)

    def cast_rays(self, pixels: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """Find what (n, 2) pixels show.

        Returns:
            (n, 3) positions in the optical frame, (n,) depths and (n,) numbers of the things. Where
            there is nothing the depth is infinite and the number -1.

        """
        rays = np.column_stack([self._camera.rays(pixels), np.ones(len(pixels))])
        # rays with a z of 1, so that the distance along them is the depth
        directions = self.pose.rotate(np.nan_to_num(rays))
        depth, numbers = np.full(len(rays), np.inf), np.full(len(rays), -1)
        for number, thing in enumerate(self.things):
            distance = thing.hit(self.pose.translation, directions)
            nearer = np.isfinite(rays[:, 0]) & (distance < depth)
            depth[nearer], numbers[nearer] = distance[nearer], number
        with np.errstate(invalid='ignore'):
            positions = rays * depth[:, None]
        return positions, depth, numbers

    def normals(self, positions: Floats, numbers: NDArray[np.intp]) -> Floats:
        """Return the outward normals, (n, 3) in the optical frame, at positions on things."""
        world, out = self.pose.apply(positions), np.zeros_like(positions)
        for number in set(numbers.tolist()):
            on_thing = numbers == number
            out[on_thing] = self.things[number].normal(world[on_thing])
        return self.pose.inverse.rotate(out)

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """The exact depth image, metres; NaN where nothing is within 10 m."""
        width, height = self.size
        rows, columns = np.indices((height, width))
        depth = self.cast_rays(np.column_stack([columns.ravel(), rows.ravel()]) + 0.5)[1]
        depth[depth > 10] = np.nan
        return depth.reshape(height, width).astype(np.float32)


def look_at(at: Floats, origin: Floats) -> Transform:
    """Return the pose of an upright optical frame at ``origin`` that looks at a point."""
    ahead = (at - origin) / np.linalg.norm(at - origin)
    right = np.cross(ahead, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return Transform(np.column_stack([right, np.cross(ahead, right), ahead]), origin)


def draw_scene(random: np.random.Generator, lens: str = 'pinhole', shrink: int = 1) -> Scene:
    """Make a table with up to eight things, seen from 0.6 to 2.5 m away.

    Args:
        random: source of all random choices.
        lens: a key of `LENSES`.
        shrink: divisor of the image's width and height.

    """
    things: list[Cuboid | Ball | Ground] = [Ground()]
    for _ in range(random.integers(3, 9)):
        x, y = random.uniform(-0.35, 0.35, 2)
        if random.random() < 0.5:
            radius = random.uniform(0.03, 0.09)
            things.append(Ball((x, y, radius), radius))
        else:
            a, b, c = random.uniform((0.03, 0.03, 0.04), (0.1, 0.1, 0.3))
            things.append(Cuboid((x - a, y - b, 0.0), (x + a, y + b, c)))
    distance, around, up = random.uniform((0.6, -np.pi, 0.4), (2.5, np.pi, 1.2))
    origin = distance * np.array(
        [np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)])
    at = np.array([*random.uniform(-0.1, 0.1, 2), 0.05])
    intrinsics, (width, height) = LENSES[lens]
    intrinsics = replace(intrinsics, size=(width, height))
    size = width // shrink, height // shrink
    return Scene(tuple(things), look_at(at, origin), intrinsics, size)


def stereo_depth(depth: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Return a depth image with the errors of a stereo camera.

    The errors are noise that grows with the square of the distance, single pixels and patches
    without a value, wrong values, edges that are off by a pixel and blurred, a shadow beside edges,
    and rounding to millimetres.
    """
    rows, columns = depth.shape
    # edges off by a pixel, in stretches as block matching leaves them
    shift = random.integers(-1, 2, (2, rows // 8 + 1, columns // 8 + 1)).repeat(8, 1).repeat(8, 2)
    at = np.indices(depth.shape) + shift[:, :rows, :columns]
    moved = depth[at[0].clip(0, rows - 1), at[1].clip(0, columns - 1)]
    filled = np.nan_to_num(depth, nan=10.0)
    step = cv2.dilate(filled, np.ones((3, 3))) - cv2.erode(filled, np.ones((3, 3)))
    edge = step > 0.05 * filled
    edge = cv2.dilate(edge.astype(np.uint8), np.ones((3, 3))).astype(bool)
    out = np.where(edge, moved, depth)
    # flying pixels between the two sides
    blurred = cv2.blur(filled, (3, 3))
    flying = edge & (random.random(depth.shape) < 0.15)
    out[flying] = blurred[flying]
    # beside some edges one of the two cameras sees nothing
    shadow = np.zeros_like(edge)
    shadow[:, :-6] = (filled[:, 6:] - filled[:, :-6]) < -0.08 * filled[:, 6:]
    out[shadow & (random.random() < 0.5)] = np.nan
    out += random.normal(0, 1, depth.shape).astype(np.float32) * (0.0012 * out**2)
    wrong = random.random(depth.shape) < 0.005
    out[wrong] *= random.uniform(0.5, 1.5, wrong.sum())
    out[random.random(depth.shape) < 0.03] = np.nan
    for _ in range(25):  # shiny and black patches
        row, column = random.integers(0, rows), random.integers(0, columns)
        cv2.ellipse(out, (int(column), int(row)), tuple(int(v) for v in random.integers(2, 14, 2)),
                    float(random.uniform(0, 180)), 0, 360, float('nan'), -1)
    return (np.round(out * 1000) / 1000).astype(np.float32)
