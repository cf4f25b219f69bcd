"""Measure the error of 3D positions: ``python bench/geometry.py`` writes bench_out/geometry.json.

Pixels are lifted to 3D in scenes of known geometry (depth_scenes.py), through each lens model and a
depth camera with noise, holes and bad edges: half of them anywhere, half of them near edges. It
also measures what registering the depth of another camera costs at 1280x720.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from depth_scenes import LENSES, Scene, draw_scene, stereo_depth
from plain_registration import register_plainly

from mimo_embodied_ros.core.frames import Frame, View
from mimo_embodied_ros.geometry import camera_model
from mimo_embodied_ros.geometry.camera_model import CameraModel
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.geometry.lifting import Lifter, PositionStatus
from mimo_embodied_ros.geometry.registration import register

if TYPE_CHECKING:
    from collections.abc import Callable

OK_WITHIN = 0.03  # most relative error of a position that is reported OK
# pose of a depth camera that is not registered, in the image's optical frame
_BESIDE = Transform.of((0.015, 0.003, -0.002), (0.005, -0.01, 0.008, 1.0))


def frame_of(scene: Scene, random: np.random.Generator) -> Frame:
    """Return the frame of a camera with registered depth; a quarter have depth of half size."""
    depth = stereo_depth(scene.depth, random)
    if random.random() < 0.25:
        depth = depth[::2, ::2]
    width, height = scene.size
    return Frame(np.zeros((height, width, 3), np.uint8), frame_id='optical', depth=depth,
                 intrinsics=scene.intrinsics)


def frame_beside(scene: Scene, random: np.random.Generator) -> Frame:
    """Return the frame of a camera with a pinhole depth camera beside it."""
    width, height = scene.size
    lens, size = LENSES['pinhole']
    lens = replace(lens, size=size)
    other = Scene(scene.things, scene.pose @ _BESIDE, lens, scene.size)
    return Frame(np.zeros((height, width, 3), np.uint8), frame_id='optical',
                 depth=stereo_depth(other.depth, random), depth_view=View('depth', lens),
                 intrinsics=scene.intrinsics)


def pixels_of(scene: Scene, random: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
    """Choose pixels: half anywhere, half within a few pixels of an edge in the depth."""
    width, height = scene.size
    anywhere = random.uniform((0, 0), (width, height), (count // 2, 2))
    depth = np.nan_to_num(scene.depth, nan=10.0)
    rows, columns = np.nonzero(np.abs(np.diff(depth, axis=1)) > 0.05 * depth[:, 1:])
    if not len(rows):
        return anywhere
    chosen = random.integers(0, len(rows), count - count // 2)
    edges = np.column_stack([columns[chosen], rows[chosen]])
    edges = edges + random.uniform(-4, 5, edges.shape)
    return np.concatenate([anywhere, edges]).clip(0, (width - 0.01, height - 0.01))


def measure(scenes: int, points: int, seed: int = 1) -> dict[str, Any]:
    """Measure the errors over all lenses.

    A quarter of the scenes has a depth camera that is not registered. Most images have 320x240
    pixels, where a pixel covers twice the distance, and one in nine has 640x480.
    """
    random = np.random.default_rng(seed)
    errors, depths, turns, count, inside = [], [], [], 0, [0, 0]
    lenses = list(LENSES)
    for number in range(scenes):
        scene = draw_scene(random, lenses[number % len(lenses)], 1 if number % 9 == 5 else 2)
        frame = frame_of(scene, random) if number % 16 < 12 else frame_beside(scene, random)
        lifter = Lifter(frame, 'optical', lambda *_: _BESIDE)  # called for the depth's frame only
        pixels = pixels_of(scene, random, points)
        truth, depth, things = scene.cast_rays(pixels)
        normals = scene.normals(np.nan_to_num(truth, posinf=0, neginf=0), np.maximum(things, 0))
        half = len(pixels) // 2
        for index, (x, y) in enumerate(pixels):
            lifted = lifter.point(x, y)
            count += 1
            if things[index] < 0 or not np.isfinite(truth[index]).all():
                assert lifted.status is not PositionStatus.OK, (x, y)
                continue
            good = lifted.status is PositionStatus.OK
            if index < half:
                inside[0] += good
                inside[1] += 1
            if good:
                away = float(np.linalg.norm(truth[index]))
                errors.append(float(np.linalg.norm(lifted.xyz - truth[index])) / away)
                depths.append(abs(lifted.xyz[2] / float(depth[index]) - 1))
                if lifted.normal is not None:
                    cosine = float(np.clip(lifted.normal @ normals[index], -1, 1))
                    turns.append(float(np.degrees(np.arccos(cosine))))
    return {
        'scenes': scenes, 'asked': count, 'ok': len(errors),
        'ok_anywhere': inside[0] / inside[1],
        'median_error': float(np.median(errors)),
        'p99_error': float(np.quantile(errors, 0.99)),
        'worst_ok_error': float(np.max(errors)),
        'worst_ok_depth_error': float(np.max(depths)),
        'off_by_more_than_3_percent': int(np.sum(np.array(depths) > OK_WITHIN)),
        'normals': len(turns), 'median_normal_error_deg': float(np.median(turns)),
    }


def measure_registration(repeats: int, size: tuple[int, int] = (1280, 720)) -> dict[str, Any]:
    """Measure the processor time of registering depth, seconds a frame, the median of repeats.

    For each lens of the depth camera and of the image beside it: the plain way, the package's, and
    the package's first frame, before which the rays of the depth camera are not known.
    """
    def seconds(way: Callable[..., Any], *arguments: Any) -> float:
        begin = time.process_time()
        way(*arguments)
        return time.process_time() - begin

    random, out = np.random.default_rng(1), {}
    for lens in ('pinhole', 'plumb_bob', 'rational_polynomial', 'equidistant'):
        # an image of 4:3 in the middle of one of 16:9 would be cropped, so the lens is scaled
        intrinsics, (_, height) = LENSES[lens]
        intrinsics = replace(intrinsics, size=size, fx=intrinsics.fx * size[1] / height,
                             fy=intrinsics.fy * size[1] / height, cx=size[0] / 2, cy=size[1] / 2)
        scene = replace(draw_scene(random), intrinsics=intrinsics, size=size)
        camera, depth = CameraModel(intrinsics, *size), stereo_depth(scene.depth, random)
        arguments = depth, camera, camera, size, _BESIDE
        camera_model._kept_rays.cache_clear()
        first = seconds(register, *arguments)
        plain, own = (statistics.median(seconds(way, *arguments) for _ in range(repeats))
                      for way in (register_plainly, register))
        out[lens] = {'plain_s': plain, 'first_s': first, 'own_s': own, 'share': own / plain}
    return out


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--scenes', type=int, default=160)
    parser.add_argument('--points', type=int, default=60)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=5,
                        help='of each registration of depth; 0: none')
    parser.add_argument('--out', type=Path, default=Path('bench_out/geometry.json'))
    options = parser.parse_args()
    report = measure(options.scenes, options.points, options.seed)
    if options.repeats:
        report['registration'] = measure_registration(options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    print(json.dumps(report, indent=2))


if __name__ == '__main__':
    main()
