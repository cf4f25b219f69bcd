"""The benchmarks' metrics, as pure functions over numpy arrays.

Positions are pixels of the original image, x right and y down, unless it says metres.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Places = Sequence[tuple[float, float]]
    Corners = tuple[float, float, float, float]

IOU = 0.5  # least overlap at which a box counts as found
# VSI-Bench, section 3.2 of arXiv 2412.14171: the confidences .50, .55, ..., .95
_CONFIDENCES = np.linspace(0.5, 0.95, 10)


def in_mask(points: Places, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which points lie on a pixel of the mask; those outside of the image do not.

    Args:
        points: n positions.
        mask: (height, width).

    Returns:
        (n,) bool.

    """
    columns, rows = np.floor(np.asarray(points, float).reshape(-1, 2)).astype(np.int64).T
    height, width = mask.shape
    inside: NDArray[np.bool_] = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    inside[inside] = mask[rows[inside], columns[inside]]
    return inside


def in_polygons(points: Places, polygons: Sequence[Places]) -> NDArray[np.bool_]:
    """Tell which points lie in any of the polygons, by the even-odd rule.

    Returns:
        (n,) bool.

    """
    x, y = np.asarray(points, float).reshape(-1, 2, 1).transpose(1, 0, 2)  # (n, 1) each
    inside = np.zeros(len(x), bool)
    for polygon in polygons:
        xs, ys = np.asarray(polygon, float).T
        x_next, y_next = np.roll(xs, -1), np.roll(ys, -1)
        crossed = (ys > y) != (y_next > y)
        rise = np.where(ys == y_next, 1.0, y_next - ys)  # level edges are never crossed
        right = x < xs + (y - ys) * (x_next - xs) / rise
        inside |= np.count_nonzero(crossed & right, axis=1) % 2 == 1
    return inside


def hit_rate(hits: NDArray[np.bool_]) -> float:
    """Share of points that hit; 0 where nothing was pointed at.

    The accuracy of Where2Place, RoboAfford-Eval and RefSpatial-Bench: its mean over questions.
    """
    return float(hits.mean()) if hits.size else 0.0


def iou(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes ``x_min, y_min, x_max, y_max``; 0 for empty ones."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def boxes_f1(said: Sequence[Corners], true: Sequence[Corners], least: float = IOU) -> float:
    """F1 score of boxes that overlap at least so much, each counted once, best pairs first.

    For one box said and one true box this is the published "accuracy at IoU 0.5" of a question:
    1 or 0. Both empty is 1: rightly nothing was found.
    """
    if not said and not true:
        return 1.0
    pairs = sorted(((iou(s, t), i, j) for i, s in enumerate(said) for j, t in enumerate(true)),
                   reverse=True)
    used_said: set[int] = set()
    used_true: set[int] = set()
    for overlap, i, j in pairs:
        if overlap >= least and i not in used_said and j not in used_true:
            used_said.add(i)
            used_true.add(j)
    return 2 * len(used_said) / (len(said) + len(true))


def normalize(words: str) -> str:
    """Words as they are compared: lower case, single spaces, no full stop at the end."""
    return ' '.join(words.lower().split()).rstrip('. ')


def exact_match(said: str, accepted: Sequence[str]) -> bool:
    """Whether the words are one of the accepted answers, after `normalize`."""
    return normalize(said) in {normalize(words) for words in accepted}


def relative_accuracy(said: float, true: float) -> float:
    """Mean relative accuracy of a number, the metric of VSI-Bench.

    The share of confidences c in .50, .55, ..., .95 at which the relative error is at most 1 - c.
    Of zero nothing is a relative error: there the number is right or wrong.
    """
    if true == 0:
        return float(said == 0)
    return float((abs(said - true) / abs(true) <= 1 - _CONFIDENCES).mean())


def displacement(said: Places, true: Places) -> float:
    """Mean L2 distance in metres between two paths of as many positions, one for each time."""
    offsets = np.asarray(said, float) - np.asarray(true, float)
    return float(np.linalg.norm(offsets, axis=1).mean())
