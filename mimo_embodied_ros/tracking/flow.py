"""Where corners of an image are in the next one, and the similarities on which they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Grey = NDArray[np.uint8]
    Flags = NDArray[np.bool_]

ENOUGH = 3
"""Corners that make a similarity more than a guess."""
_BACK = 0.7  # pixels by which a corner comes back beside where it began, at most
_AGREES = 1.5  # pixels from where the similarity puts a corner, at most
_WINDOW = 15, 15  # pixels
_NEARBY, _FAR = 1, 3  # levels above the image itself: where a corner is expected, and anywhere
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)


def follow(before: Grey, now: Grey, corners: Floats, expected: Floats) -> tuple[Floats, Flags]:
    """Follow corners into the next image and back, by pyramidal Lucas-Kanade optical flow.

    First near where they are expected: further away, a shadow or another thing is as good.

    Args:
        before: (rows, columns) grey.
        now: the same, of the next image.
        corners: (n, 2) columns and rows in the first one.
        expected: (n, 2) in the next one.

    Returns:
        (n, 2) where they are, and (n,) which of them came back to where they began, when followed
        backward ("Forward-backward error", Kalal et al., 2010).

    """
    if not len(corners):
        return corners, np.zeros(0, np.bool_)
    now = _in_light_of(before, now)
    there, good = _there_and_back(before, now, corners, expected, _NEARBY)
    if not good.all():
        there[~good], good[~good] = _there_and_back(
            before, now, corners[~good], expected[~good], _FAR)
    return there, good


def similarity(begin: Floats, end: Floats) -> Floats | None:
    """Return the similarity, (2, 3), on which most of the corners agree; None: they are too few.

    Args:
        begin: (n, 2) pixels.
        end: (n, 2) pixels, where they are moved to.

    """
    if len(begin) < ENOUGH:
        return None
    motion, _ = cv2.estimateAffinePartial2D(
        begin, end, method=cv2.RANSAC, ransacReprojThreshold=_AGREES, maxIters=100,
        confidence=0.98, refineIters=5)
    return None if motion is None else motion.astype(np.float32)


def moved(motion: Floats, points: Floats) -> Floats:
    """Move points, (n, 2), by a similarity, (2, 3)."""
    points = points @ motion[:, :2].T + motion[:, 2]
    return points.astype(np.float32)


def errors(motion: Floats, begin: Floats, end: Floats) -> Floats:
    """Return how far corners are from where the similarity puts them, (n,) pixels."""
    distances: Floats = np.linalg.norm(moved(motion, begin) - end, axis=1)
    return distances


def agree(motion: Floats, begin: Floats, end: Floats) -> Flags:
    """Return which corners are where the similarity puts them, (n,)."""
    return errors(motion, begin, end) < _AGREES


def _in_light_of(before: Grey, now: Grey) -> Grey:
    """The next image as bright and as rich in contrast as the first: the flow needs that."""
    (mean, deviation), (mean_now, deviation_now) = map(cv2.meanStdDev, (before, now))
    gain = float(deviation.item() + 1) / float(deviation_now.item() + 1)
    return np.asarray(cv2.convertScaleAbs(
        now, alpha=gain, beta=mean.item() - gain * mean_now.item()), np.uint8)


def _there_and_back(
    before: Grey, now: Grey, corners: Floats, expected: Floats, levels: int
) -> tuple[Floats, Flags]:
    options: dict[str, Any] = {'winSize': _WINDOW, 'maxLevel': levels, 'criteria': _CRITERIA,
                               'flags': cv2.OPTFLOW_USE_INITIAL_FLOW}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, expected.copy(), **options)
    back, again, _ = cv2.calcOpticalFlowPyrLK(now, before, there, corners.copy(), **options)
    good = (found.ravel() > 0) & (again.ravel() > 0) & (
        np.linalg.norm(back - corners, axis=1) < _BACK)
    return np.asarray(there, np.float32), good
