"""Drawn pictures with known marks, for the grounding test: coloured balls on a grey ground."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import FACTOR, smart_resize
from mimo_embodied_ros.core.tasks import Media, Task

from .grounding_verdict import TWO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mimo_embodied_ros.core.resize import PixelLimits

VIDEO = 'video'

_COLOURS = {'red': (208, 38, 38), 'green': (44, 158, 62), 'blue': (40, 88, 212),
            'yellow': (234, 206, 44), 'purple': (138, 58, 178), 'orange': (240, 128, 28)}
_GROUND = 150
_AREA = 448**2  # pixels of a picture, where the model's limits allow it
_RADIUS = 0.12  # of the shorter side, at most one token of the model
_FRAMES = 4  # of the video, which is two pairs
_INTERVAL_NS = 500_000_000
_FRACTION_BITS = 4


@dataclass(frozen=True)
class _Layout:
    """A picture: its form, and its balls by their colours.

    Attributes:
        ratio: of width to height.
        balls: (x, y) by colour, as shares of width and height.
        scale: area as a multiple of the model's largest; 0: within its limits.

    """

    ratio: float
    balls: dict[str, tuple[float, float]]
    scale: float = 0.0


# The places differ from each other in all that can be mistaken: each axis, both together, and
# from picture to picture; none is near the diagonal.
_LAYOUTS = {
    'one': _Layout(1.0, {'red': (0.78, 0.30), 'blue': (0.24, 0.62), 'yellow': (0.62, 0.80)}),
    TWO: _Layout(1.0, {'green': (0.26, 0.42), 'red': (0.80, 0.62), 'blue': (0.56, 0.22)}),
    'wide': _Layout(16 / 9, {'orange': (0.85, 0.45), 'green': (0.18, 0.70), 'purple': (0.5, 0.3)}),
    'tall': _Layout(9 / 16, {'blue': (0.70, 0.24), 'red': (0.28, 0.53), 'green': (0.68, 0.82)}),
    'large': _Layout(
        4 / 3, {'yellow': (0.75, 0.60), 'blue': (0.35, 0.78), 'red': (0.60, 0.22)}, 1.5),
    VIDEO: _Layout(4 / 3, {'green': (0.70, 0.30), 'orange': (0.25, 0.50), 'red': (0.62, 0.78)}),
}
_FIRST = _Layout(1.0, {'yellow': (0.25, 0.78), 'purple': (0.45, 0.62), 'orange': (0.80, 0.25)})


@dataclass(frozen=True)
class Picture:
    """What is asked about, with what is known of it.

    Attributes:
        name: one of ``PICTURES``.
        queries: one for each mark.
        marks: (marks, 2), pixels of the original image.
        decoys: (any, 2), of the image that is not asked about; None where there is none.

    """

    name: str
    queries: tuple[Query, ...]
    marks: NDArray[np.float64]
    decoys: NDArray[np.float64] | None = None


def draw(name: str, limits: PixelLimits) -> Picture:
    """Draw a picture within, or beyond, the image areas of a model.

    Args:
        name: one of ``PICTURES``.
        limits: of the model; pictures have the sizes that it sees, but for the large one.

    """
    layout = _LAYOUTS[name]
    width, height = _size(layout, limits)
    pixels, marks = _draw(layout, width, height)
    frames: tuple[Frame, ...] = (Frame(pixels),)
    # an answer about one of several images; elsewhere it would not say which one it is about
    task, decoys = Task.POINTS, None
    if name == TWO:
        other, decoys = _draw(_FIRST, width, height)
        frames, task = (Frame(other), *frames), replace(task, media=Media.IMAGES)
    elif name == VIDEO:
        # No published model of this class promises where a thing was in a frame. The balls are at
        # rest, so that every frame has the answer.
        frames = tuple(Frame(pixels, i * _INTERVAL_NS) for i in range(_FRAMES))
        task = replace(task, media=Media.VIDEO)
    queries = tuple(Query(task, f'the {colour} ball', frames) for colour in layout.balls)
    return Picture(name, queries, marks, decoys)


def _size(layout: _Layout, limits: PixelLimits) -> tuple[int, int]:
    """Columns and rows of a picture."""
    area = layout.scale * limits.max_pixels or min(_AREA, limits.max_pixels)
    columns, rows = math.sqrt(area * layout.ratio), math.sqrt(area / layout.ratio)
    if not layout.scale:
        rows, columns = smart_resize(round(rows), round(columns), limits)
    return round(columns), round(rows)


def _draw(
    layout: _Layout, width: int, height: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return (height, width, 3) uint8, RGB, and the centres of the balls, (balls, 2) pixels."""
    pixels = np.full((height, width, 3), _GROUND, np.uint8)
    radius = min(_RADIUS * min(width, height), FACTOR)
    for colour, (x, y) in layout.balls.items():
        shade = _COLOURS[colour]
        light = tuple((c + 255) / 2 for c in shade)
        centre = np.array([x * width, y * height])
        _ellipse(pixels, centre, (radius, radius), shade)
        _ellipse(pixels, centre - radius * np.array([0.3, 0.4]), (0.27 * radius, 0.25 * radius),
                 light)
    return pixels, np.array(list(layout.balls.values())) * (width, height)


def _ellipse(
    pixels: NDArray[np.uint8], centre: NDArray[np.float64], axes: tuple[float, float],
    colour: tuple[float, ...],
) -> None:
    middle, half = ([round(float(v) * (1 << _FRACTION_BITS)) for v in pair]
                    for pair in (centre, axes))
    cv2.ellipse(pixels, middle, half, 0, 0, 360, colour, -1, cv2.LINE_AA, _FRACTION_BITS)
