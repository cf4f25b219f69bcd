"""What the surroundings of a point look like, and where else they look so."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .small_image import SmallImage

    Floats = NDArray[np.float32]
    Grey = NDArray[np.uint8]

_RADII = (8, 11, 15, 20, 28, 40)  # of the patch that is compared, the first with some contrast
_LARGE_RADII = (56, 80, 112, 160)  # the same amid a surface without any, whose edges are far
_CONTRAST = 6.0  # grey levels from pixel to pixel, in each direction
_CORNERS, _APART, _QUALITY = 24, 4, 0.02  # at most; pixels; of the best one
_NEAR, _FAR = 24, 64  # pixels around a point where its surface is, of many colours or of one
_FARTHEST = 192  # the same where the edges are far
_ENOUGH = 1000  # pixels that suffice with that contrast, of a large patch
_EDGE = 3  # pixels beyond the edge of a surface that are compared and followed, too
_SHADES = 14  # by which neighbours on a surface of one colour differ
_LARGE = 150  # pixels of one colour that are a surface
_DISC = 3  # pixels around a point that have its colour
_DARK = 8.0  # of each colour: what is darker has no certain one
_FOUND = 0.8  # likeness of a place that may be the same one
_DRIFT = 2.5  # pixels by which a similarity is wrong, at most
_UNIQUE = 0.05  # by which the likeness of any other place is less


class Appearance(NamedTuple):
    """How the surroundings of a point looked in one image.

    Attributes:
        at: (2,) the point, in pixels of that small image.
        corners: (n, 2) corners on its surface, in pixels of that image.
        patch: (size, size) grey, which is compared.
        mask: (size, size) 1 where the patch shows the point's surface or its edge, else 0.
        colour: (3,) of the point without its brightness; the sum is 1.

    """

    at: Floats
    corners: Floats
    patch: Floats
    mask: Floats
    colour: Floats

    @property
    def radius(self) -> int:
        """Pixels from the middle of the patch to its edge."""
        return len(self.patch) // 2

    def likeness(self, image: Grey, motion: Floats) -> float:
        """Compare the patch with another image: 1 is the same, but for the light.

        Args:
            image: (rows, columns) grey.
            motion: (2, 3) similarity from pixels of this image to those of the other one.

        """
        return _correlation(self.patch, self._seen(image, motion), self.mask)

    def refined(self, image: Grey, motion: Floats) -> Floats:
        """Move a similarity by the fraction of a pixel by which it has drifted."""
        size, middle = len(self.patch), np.full((1, 1, 2), self.radius, np.float32)
        # in the same light, which the flow takes for granted
        patch, seen = (np.clip(128 + 40 * (part - part.mean()) / (part.std() + 1), 0, 255).astype(
            np.uint8) for part in (self.patch, self._seen(image, motion)))
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            patch, seen, middle, middle.copy(), winSize=(size, size), maxLevel=0)
        drift = (there - middle).reshape(2)
        if not found.all() or np.abs(drift).max() > _DRIFT:
            return motion
        better: Floats = motion.copy()
        better[:, 2] += motion[:, :2] @ drift
        return better

    def _seen(self, image: Grey, motion: Floats) -> Floats:
        """What another image has in place of the patch."""
        placed = motion.copy()
        placed[:, 2] += motion[:, :2] @ (self.at - self.radius)
        return _cut(image, placed, len(self.patch))

    def find(self, image: Grey, motion: Floats, expected: Floats, reach: float) -> Floats | None:
        """Find the one place that looks as the patch does, around where the point is expected.

        Args:
            image: (rows, columns) grey.
            motion: (2, 3) similarity from this image to the one in which it was last seen.
            expected: (2,) pixels of the image.
            reach: pixels around that.

        Returns:
            The similarity from this image to the other one; None: there is no such place, or there
            are several.

        """
        radius, size = self.radius, len(self.patch)
        span = round(reach) + radius
        # what has left the image comes back at its edge
        expected = np.clip(expected, radius, np.array(image.shape[::-1]) - radius - 1)
        left, top = (max(0, round(float(value)) - span) for value in expected)
        right, bottom = (min(limit, round(float(value)) + span + 1) for limit, value in zip(
            image.shape[::-1], expected, strict=True))
        if right - left <= size or bottom - top <= size:
            return None
        # in the size and turn in which it was last seen
        placed = np.asarray(cv2.invertAffineTransform(motion), np.float32)
        placed[:, 2] = radius - placed[:, :2] @ np.full(2, radius, np.float32)
        patch, mask = (_cut(part, placed, size) for part in (self.patch, self.mask))
        likeness = np.nan_to_num(cv2.matchTemplate(
            image[top:bottom, left:right].astype(np.float32), patch, cv2.TM_CCOEFF_NORMED,
            mask=mask), nan=0.0, posinf=0.0, neginf=0.0)
        row, column = np.unravel_index(likeness.argmax(), likeness.shape)
        best = float(likeness[row, column])
        likeness[max(0, row - radius) : row + radius + 1,
                 max(0, column - radius) : column + radius + 1] = -1
        if best < _FOUND or float(likeness.max()) > best - _UNIQUE:
            return None
        found: Floats = motion.copy()
        at = np.array([left + column + radius, top + row + radius], np.float32)
        found[:, 2] = at - motion[:, :2] @ self.at
        return found


def appearance(image: SmallImage, at: Floats) -> Appearance:
    """Look at the surroundings of a point, (2,) pixels inside the small image."""
    surface, (left, top) = _surface(image, at, _FAR)
    for radius in _RADII + _LARGE_RADII:
        if radius == _LARGE_RADII[0]:
            surface, (left, top) = _surface(image, at, _FARTHEST)
        size = 2 * radius + 1
        placed = np.array([[1, 0, at[0] - radius], [0, 1, at[1] - radius]], np.float32)
        patch = _cut(image.grey, placed, size)
        placed[:, 2] -= left, top
        mask = _cut(surface, placed, size, cv2.BORDER_CONSTANT)
        # of a large one it is the edges alone that count
        share = min(1.0, _ENOUGH / float(mask.sum())) if radius in _LARGE_RADII else 1.0
        if _contrast(patch, mask) >= _CONTRAST * math.sqrt(share):
            break
    rows, columns = surface.shape
    corners = cv2.goodFeaturesToTrack(
        image.grey[top : top + rows, left : left + columns], _CORNERS, _QUALITY, _APART,
        mask=surface, blockSize=5)
    found = np.zeros((0, 2)) if corners is None else (
        corners.reshape(-1, 2) + np.array([left, top]))
    return Appearance(np.asarray(at, np.float32), np.asarray(found, np.float32), patch, mask,
                      colour_at(image, at))


def colour_at(image: SmallImage, at: Floats) -> Floats:
    """Return the colour at a point without its brightness, (3,), whose sum is 1."""
    x, y = (round(float(value)) for value in at)
    disc = image.colours[max(0, y - _DISC) : y + _DISC + 1, max(0, x - _DISC) : x + _DISC + 1]
    colour = np.median(disc.reshape(-1, 3), axis=0) + _DARK
    return np.asarray(colour / colour.sum(), np.float32)


def depth_allowance(depth: float) -> float:
    """Return by how many metres the depth of one surface differs around a point."""
    return 0.03 + 0.03 * depth


def _cut(
    image: NDArray[np.uint8] | Floats, placed: Floats, size: int, border: int = cv2.BORDER_REPLICATE
) -> Floats:
    """The square part of an image that a similarity, (2, 3), leads to."""
    return np.asarray(cv2.warpAffine(
        image, placed, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border), np.float32)


def _correlation(one: Floats, other: Floats, mask: Floats) -> float:
    """The correlation of two patches where the mask is not 0; 0: one of them has no contrast."""
    count = max(float(mask.sum()), 1.0)
    a, b = ((part - float((part * mask).sum()) / count) * mask for part in (one, other))
    norm = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > count else 0.0


def _contrast(patch: Floats, mask: Floats) -> float:
    """How much a patch changes along the direction in which it changes least, for each pixel.

    Along an edge alone, it would be found everywhere.
    """
    down, across = np.gradient(patch)
    count = max(float(mask.sum()), 1.0)
    xx, xy, yy = (float((a * b * mask).sum()) / count for a, b in (
        (across, across), (across, down), (down, down)))
    least = (xx + yy) / 2 - math.hypot((xx - yy) / 2, xy)
    return math.sqrt(max(least, 0.0))


def _surface(image: SmallImage, at: Floats, reach: int) -> tuple[Grey, tuple[int, int]]:
    """Where the surface of a point is, with its edge: 1, else 0, in a part of the image.

    It is what has one colour with the point, where that is large enough, or else what is near; and
    of that what is at the same depth, where depth is measured.

    Returns:
        The part, and its left column and top row.

    """
    x, y = (int(value) for value in at)
    left, top = max(0, x - reach), max(0, y - reach)
    colours = image.colours[top : y + reach + 1, left : x + reach + 1].copy()
    rows, columns = colours.shape[:2]
    middle, filled = (x - left, y - top), np.zeros((rows + 2, columns + 2), np.uint8)
    cv2.floodFill(colours, filled, middle, (0, 0, 0), (_SHADES,) * 3, (_SHADES,) * 3,
                  4 | cv2.FLOODFILL_MASK_ONLY | 1 << 8)
    surface = filled[1:-1, 1:-1].copy()
    if surface.sum() < _LARGE:
        surface[:] = 0
        cv2.circle(surface, middle, _NEAR, 1, -1)
    here = float(image.depth_at(at[None])[0])
    if here > 0:
        down, across = np.mgrid[top : top + rows, left : left + columns]
        depth = image.depth_at(np.stack((across.ravel(), down.ravel()), -1).astype(np.float32))
        surface &= (np.abs(depth - here) < depth_allowance(here)).reshape(rows, columns)
    return np.asarray(cv2.dilate(surface, np.ones((2 * _EDGE + 1,) * 2)), np.uint8), (left, top)
