"""Measure how well points are followed, and what it costs; see bench_out/tracking.json.

Sequences of a simulated table, whose truth is known: the camera moves, a thing moves, something
passes before it, it leaves and comes back, it is taken away, and the lights change. Each is
followed with depth and the camera's place, with depth alone, and with pictures alone. The cost is
that of eight points in pictures of 1920x1080, beside a program that only converts each of them,
and that of a point in the node, beside a node that does so (`tracked_camera`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import tracked_camera
from recorded_scenes import RecordedSequence
from tracking_scenes import KINDS, RATE, Picture, PictureSequence

from mimo_embodied_ros.tracking.point_follower import PointFollower
from mimo_embodied_ros.tracking.small_image import small_image
from mimo_embodied_ros.tracking.track import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

KNOWN = {'depth and place': (True, True), 'depth': (True, False), 'pictures': (False, False)}
TARGETS = {
    'false_share': 0.01, 'lost_after_s': 0.2, 'core_share': 0.2, 'node_delay_frames': 1.0}
_SEEDS, _SECONDS = range(1, 5), 3.0
_POINTS, _LARGE = 8, (1920, 1080)
_BESIDE = 2  # pixels from a thing that are still on it


def main() -> None:
    """Measure, print a table, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--quick', action='store_true', help='one short sequence of each kind')
    parser.add_argument('--recorded', type=Path, action='append', default=[], metavar='FOLDER',
                        help='follow points in a recorded RGB-D sequence, too, in the files of '
                             '7-Scenes; may be repeated')
    parser.add_argument('--out', type=Path, default=Path('bench_out/tracking.json'))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    counts: dict[tuple[str, str], list[Counts]] = defaultdict(list)
    for kind in KINDS:
        for seed in [*_SEEDS][: 1 if options.quick else None]:
            sequence = PictureSequence(kind, seed, 1.0 if options.quick else _SECONDS)
            pictures = list(sequence)
            sequence.close()
            for known, (depth, place) in KNOWN.items():
                counts[known, kind].append(
                    follow(pictures, sequence.things, depth=depth, place=place))
    rows = {known: {kind: figures(counts[known, kind]) for kind in KINDS} for known in KNOWN}
    whole = {known: figures([c for kind in KINDS for c in counts[known, kind]]) for known in KNOWN}
    for folder in options.recorded:
        recorded = RecordedSequence(folder)
        pictures = list(recorded)
        for known, (depth, place) in KNOWN.items():
            rows[known][folder.name] = figures([
                follow(pictures, recorded.things, depth=depth, place=place)])
    report: dict[str, Any] = {
        **whole['depth and place'], **cost(30 if options.quick else 300),
        **tracked_camera.measure(2.0 if options.quick else 20.0),
        'targets': TARGETS, 'all': whole, 'by_kind': rows}
    print(f'{"":28}{"median_px":>10}{"tracked":>9}{"false":>8}{"lost after":>12}')
    for known, kinds in rows.items():
        for kind, row in {**kinds, 'all': whole[known]}.items():
            gone = row['lost_after_s']
            print(f'{known:17}{kind:11}{row["median_px"]:10.2f}{row["tracked_share"]:9.1%}'
                  f'{row["false_share"]:8.2%}{"-" if gone is None else f"{gone:.2f} s":>12}')
    print(f'{_POINTS} points at {RATE:g} Hz: {report["core_share"]:.2f} of a core '
          f'(target {TARGETS["core_share"]}), {report["cpu_ratio"]:.1f} times the conversion alone')
    print('one point in the node: {node_cpu_ratio:.2f} times the CPU of a node that converts each '
          'image, told {node_delay_frames:.2f} images later'.format(**report))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    print(f'written: {options.out}')


class Counts:
    """What was counted of one sequence.

    Attributes:
        errors: pixels from the truth, of points that are seen and tracked.
        certain: the same in units of the uncertainty.
        seen: how many points were seen.
        tracked: how many were tracked.
        false: how many were tracked on something else.
        lost_after: seconds from when a thing was not seen any more until its point was not tracked.

    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.errors: list[float] = []
        self.certain: list[float] = []
        self.seen = self.tracked = self.false = 0
        self.lost_after: list[float] = []


def follow(
    pictures: Sequence[Picture], things: NDArray[np.int64], *, depth: bool, place: bool
) -> Counts:
    """Follow the points that the first picture shows."""
    counts, follower = Counts(), None
    points = np.flatnonzero(pictures[0].seen)
    vanished: dict[int, int] = {}
    for picture in pictures:
        view = picture.view
        image = small_image(view.pixels, picture.stamp_ns, depth=view.depth if depth else None,
                            camera=picture.camera if place else None)
        if follower is None:
            follower = PointFollower(image, picture.points[points])
        else:
            follower.advance(image)
        for number, point in zip(points, follower.points, strict=True):
            seen, tracked = bool(picture.seen[number]), point.state is State.TRACKED
            counts.seen += seen
            counts.tracked += tracked
            if tracked and seen:
                error = float(np.hypot(*(picture.points[number] - [point.x, point.y])))
                counts.errors.append(error)
                counts.certain.append(error / point.uncertainty)
            if tracked:
                x, y = round(point.x), round(point.y)
                around = view.labels[max(0, y - _BESIDE) : y + _BESIDE + 1,
                                     max(0, x - _BESIDE) : x + _BESIDE + 1]
                counts.false += not (around == things[number]).any()
            if seen:
                vanished.pop(number, None)
            elif vanished.setdefault(number, picture.stamp_ns) >= 0 and not tracked:
                counts.lost_after.append((picture.stamp_ns - vanished[number]) / 1e9)
                vanished[number] = -1
    return counts


def figures(parts: Sequence[Counts]) -> dict[str, Any]:
    """The figures of several sequences."""
    errors = [error for part in parts for error in part.errors]
    gone = [seconds for part in parts for seconds in part.lost_after]
    tracked = sum(part.tracked for part in parts)
    return {
        'median_px': statistics.median(errors),
        'p95_px': float(np.percentile(errors, 95)),
        'errors_in_uncertainties': statistics.median(c for part in parts for c in part.certain),
        'tracked_share': len(errors) / sum(part.seen for part in parts),
        'false_share': sum(part.false for part in parts) / tracked,
        'lost_after_s': max(gone) if gone else None,
        'points': tracked,
    }


def cost(frames: int) -> dict[str, float]:
    """CPU time of a picture with eight points, and of converting it alone."""
    rng = np.random.default_rng(1)
    columns, rows = _LARGE
    coarse = rng.integers(40, 216, (rows // 15 + 2, columns // 15 + 2, 3), np.uint8)
    large = cv2.resize(coarse, None, fx=15, fy=15, interpolation=cv2.INTER_CUBIC)

    def message(frame: int) -> bytes:
        left = round(12 + 10 * np.sin(frame / 20))
        return np.ascontiguousarray(large[10 : 10 + rows, left : left + columns]).tobytes()

    places = np.stack(np.meshgrid(np.linspace(300, columns - 300, 4), [300, rows - 300]), -1)
    plain, followed = [], []
    follower = None
    for frame in range(frames):
        data = message(frame)
        began = time.process_time()
        pixels = np.asarray(cv2.cvtColor(
            np.frombuffer(data, np.uint8).reshape(rows, columns, 3), cv2.COLOR_BGR2RGB), np.uint8)
        plain.append(time.process_time() - began)
        image = small_image(pixels, round(frame / RATE * 1e9))
        if follower is None:
            follower = PointFollower(image, places.reshape(-1, 2))
        follower.advance(image)
        followed.append(time.process_time() - began)
    assert follower is not None
    assert all(point.state is State.TRACKED for point in follower.points)
    a, b = statistics.median(plain), statistics.median(followed)
    return {'convert_ms': 1e3 * a, 'track_ms': 1e3 * b, 'cpu_ratio': b / a,
            'core_share': (b - a) * RATE}


if __name__ == '__main__':
    main()
