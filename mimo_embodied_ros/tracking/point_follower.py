"""Follows the points of an answer from image to image, and says when it cannot.

Corners on the thing of a point are followed by optical flow (`flow`), and what they lead to is
compared with the image in which the model has pointed (`appearance`): in its texture, its colour
and its depth. So a point does not drift to something else: it is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError

from . import flow
from .track import State, Track

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from .small_image import SmallImage


class FollowedPoint(NamedTuple):
    """A point in the newest image.

    Attributes:
        state: what is known about it.
        x: column in the camera's image, pixels; NaN unless it is tracked.
        y: row.
        uncertainty: standard deviation of x and of y, pixels; NaN unless it is tracked.

    """

    state: State
    x: float
    y: float
    uncertainty: float


class PointFollower:
    """Follows points that are on things."""

    def __init__(self, image: SmallImage, points: ArrayLike) -> None:
        """Begin with the image that the model has answered on.

        Args:
            image: this image.
            points: (n, 2) columns and rows in the camera's image, pixels.

        Raises:
            InvalidRequestError: a point is outside of the image.

        """
        self._newest = image
        places = np.asarray(points, np.float32).reshape(-1, 2)
        limit = np.array(image.grey.shape[::-1], np.float32)
        # halves of an odd number of columns or rows leave the last one out
        outside = (places < 0) | (places > limit / image.scale + 1) | ~np.isfinite(places)
        if outside.any():
            x, y = places[outside.any(1)][0]
            msg = f'({x:g}, {y:g}) is outside of the image; follow points that are in it'
            raise InvalidRequestError(msg)
        self._tracks = [Track(image, at) for at in np.minimum(places * image.scale, limit - 1)]

    @property
    def points(self) -> list[FollowedPoint]:
        """The points in the newest image, in the order in which they came."""
        return [FollowedPoint(track.state, *self._place(track)) for track in self._tracks]

    def _place(self, track: Track) -> tuple[float, float, float]:
        if track.state is not State.TRACKED:
            return np.nan, np.nan, np.nan
        x, y = track.at.tolist()
        scale = self._newest.scale
        return x / scale, y / scale, track.uncertainty / scale

    def ask_again(self) -> None:
        """Note that the model is asked about the points that are lost."""
        for track in self._tracks:
            if track.state is State.LOST:
                track.state = State.ASKED_AGAIN

    def advance(self, image: SmallImage) -> None:
        """Take the next image of the same camera.

        In one of another size no point is found.
        """
        followed = [track for track in self._tracks if track.state is State.TRACKED]
        others = [track for track in self._tracks if track.state is not State.TRACKED]
        if followed and image.grey.shape == self._newest.grey.shape:
            self._follow(followed, image)
        else:
            others = self._tracks
        for track in others:
            track.look_for(image)
        self._newest = image

    def _follow(self, tracks: Sequence[Track], image: SmallImage) -> None:
        """Follow the corners of all points at once, which is much faster than one by one."""
        corners = [track.corners for track in tracks]
        expected = [part + track.expected(image) - track.at
                    for part, track in zip(corners, tracks, strict=True)]
        there, good = flow.follow(self._newest.grey, image.grey, np.concatenate(corners),
                                  np.concatenate(expected).astype(np.float32))
        ends = np.cumsum([len(part) for part in corners])[:-1]
        for track, end, came in zip(
                tracks, np.split(there, ends), np.split(good, ends), strict=True):
            track.advance(image, end.astype(np.float32), came.astype(np.bool_))
