"""Metrics of the benchmarks.

Positions are pixels of the original image, x right and y down, unless stated otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Places = Sequence[tuple[float, float]]
    Corners = tuple[float, float, float, float]

IOU = 0.5  # minimum overlap at which a box counts as found
# VSI-Bench, section 3.2 of arXiv 2412.14171: the confidences .50, .55, ..., .95
_CONFIDENCES = np.linspace(0.5, 0.95, 10)


def in_mask(points: Places, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which points lie on a pixel of the mask; points outside of the image do not.

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
    """Return the share of points that hit; 0 without points.

    Its mean over questions is the accuracy of Where2Place, RoboAfford-Eval and RefSpatial-Bench.
    """
    return float(hits.mean()) if hits.size else 0.0


def iou(a: Corners, b: Corners) -> float:
    """Return the intersection over union of two boxes ``x_min, y_min, x_max, y_max``.

    It is 0 for empty boxes.
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def boxes_f1(
    predicted: Sequence[Corners], true: Sequence[Corners], min_iou: float = IOU
) -> float:
    """Return the F1 score of boxes; pairs with enough overlap match, best pairs first.

    For one predicted and one true box this is the published "accuracy at IoU 0.5" of a question:
    1 or 0. Without any boxes it is 1, because nothing was to be found.
    """
    if not predicted and not true:
        return 1.0
    pairs = sorted(
        ((iou(p, t), i, j) for i, p in enumerate(predicted) for j, t in enumerate(true)),
        reverse=True)
    matched_predicted: set[int] = set()
    matched_true: set[int] = set()
    for overlap, i, j in pairs:
        if overlap >= min_iou and i not in matched_predicted and j not in matched_true:
            matched_predicted.add(i)
            matched_true.add(j)
    return 2 * len(matched_predicted) / (len(predicted) + len(true))


def normalize(words: str) -> str:
    """Return words for a comparison: lower case, single spaces, no full stop at the end."""
    return ' '.join(words.lower().split()).rstrip('. ')


def exact_match(predicted: str, accepted: Sequence[str]) -> bool:
    """Whether the words are one of the accepted answers, after `normalize`."""
    return normalize(predicted) in {normalize(words) for words in accepted}


def relative_accuracy(predicted: float, true: float) -> float:
    """Return the mean relative accuracy of a number, the metric of VSI-Bench.

    It is the share of confidences c in .50, .55, ..., .95 at which the relative error is at most
    1 - c. Of zero there is no relative error: the number is then right or wrong.
    """
    if true == 0:
        return float(predicted == 0)
    return float((abs(predicted - true) / abs(true) <= 1 - _CONFIDENCES).mean())


def displacement(predicted: Places, true: Places) -> float:
    """Return the mean L2 distance between two paths of equally many positions, in their unit."""
    offsets = np.asarray(predicted, float) - np.asarray(true, float)
    return float(np.linalg.norm(offsets, axis=1).mean())
