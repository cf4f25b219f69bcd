"""One point that is followed from image to image."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from . import flow
from .appearance import Appearance, appearance, colour_at, depth_allowance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from .small_image import SmallImage

    Floats = NDArray[np.float32]
    Flags = NDArray[np.bool_]

_LIKE = 0.7  # likeness to its view of what is tracked, at least
_FOUND = 0.8  # the same of what is found again
_COLOUR = 0.1  # difference of colours, whose parts have the sum 1
_WORN = 0.85  # likeness below which the view is renewed
_RENEWED = 4  # corners that a new view needs
_BESIDE = 11  # pixels from the point within which corners surely are on its thing
_WAIT_S = 0.12  # how long a point may be occluded where no depth tells
_SEARCH, _GROWTH = 10.0, 60.0  # pixels around the expected place; more for each second
_BEHIND, _LOST = 40.0, 20.0  # at most, of a point that is occluded, and of one that is lost
_LEAST = 0.3  # pixels: nothing is more certain
_SIZES = 0.25, 4.0  # times the first view
_AROUND = np.mgrid[-1:2, -1:2].reshape(2, -1).T  # directions to look around a point
_EDGE = 2.0  # pixels within which the depth may be that of what is beside


class State(IntEnum):
    """What is known about a point in the newest image."""

    TRACKED = 0
    OCCLUDED = 1  # something is before it
    LOST = 2
    ASKED_AGAIN = 3  # lost, and the model is asked again


class Track:
    """A point on a thing.

    A similarity carries the view of its first image into the newest one. It is renewed where the
    thing has turned, which makes the point less certain; its colour is that of the first image for
    good.

    Attributes:
        state: in the newest image.
        uncertainty: standard deviation of its column and of its row, pixels.

    """

    def __init__(self, image: SmallImage, at: Floats) -> None:
        """Begin where the model has pointed, (2,) pixels inside of the small image."""
        self.state, self.uncertainty = State.TRACKED, _LEAST
        self._colour = colour_at(image, at)
        self._depth = float(image.depth_at(at[None])[0])  # metres, when last seen; 0: not known
        self._speed = np.zeros(2, np.float32)  # pixels a second
        self._drift = 0.0  # pixels of uncertainty of the view
        self._begin(image, appearance(image, at))

    @property
    def at(self) -> Floats:
        """Where it was last seen, (2,) pixels of the small image."""
        at: Floats = flow.moved(self._motion, self._view.at[None])[0]
        return at

    @property
    def corners(self) -> Floats:
        """The corners of its thing where it was last seen, (n, 2)."""
        return self._corners[self._alive]

    def expected(self, image: SmallImage) -> Floats:
        """Where it would be if its thing stood still, or else went on as it did, (2,) pixels."""
        before = self._seen_in
        if before.camera and image.camera and self._depth > 0:
            fixed = before.camera.point_at(self.at.astype(float) / before.scale, self._depth)
            return np.nan_to_num(
                image.camera.pixel_of(fixed) * image.scale, nan=-1.0).astype(np.float32)
        seconds = min(self._unseen_s(image), _WAIT_S)
        return np.asarray(self.at + self._speed * seconds, np.float32)

    def advance(self, image: SmallImage, corners: Floats, good: Flags) -> None:
        """Take the newest image, into which `corners` were followed.

        Args:
            image: the newest one.
            corners: (n, 2) where they are in it.
            good: (n,) which of them came back.

        """
        alive = np.flatnonzero(self._alive)
        begin = self._view.corners[alive]
        like, motion = self._most_likely(image, self._similarities(begin, corners, good))
        if motion is None or like < _LIKE:
            self.look_for(image)
            return
        before, seconds = self.at, max(self._unseen_s(image), 1e-3)
        agreeing = good & flow.agree(motion, begin, corners)
        error = float(np.median(flow.errors(motion, begin, corners)[agreeing])) if (
            agreeing.any()) else 1.0
        error = max(error, (1 - like) * self._view.radius)  # what has turned is seen elsewhere
        motion = self._view.refined(image.grey, motion)
        # where the view has them, since corners that are followed one by one drift
        self._corners[alive], self._alive[alive] = flow.moved(motion, begin), agreeing
        self._see(image, motion, error)
        self._speed = (self.at - before) / seconds
        if like < _WORN or 2 * int(agreeing.sum()) < len(self._view.corners):
            self._renew(image, int(agreeing.sum()))

    def look_for(self, image: SmallImage) -> None:
        """Look for a point that was not followed into the newest image, near where it should be."""
        if image.grey.shape != self._seen_in.grey.shape:
            self._lose(State.LOST)
            return
        most = _LOST if self.state in {State.LOST, State.ASKED_AGAIN} else _BEHIND
        reach = min(_SEARCH + _GROWTH * self._unseen_s(image), most)
        motion = self._view.find(image.grey, self._motion, self.expected(image), reach)
        if motion is not None:
            begin = self._view.corners
            corners, good = flow.follow(
                self._seen_in.grey, image.grey, flow.moved(self._motion, begin),
                flow.moved(motion, begin))
            like, motion = self._most_likely(
                image, [motion, *self._similarities(begin, corners, good)])
            if motion is not None and like >= _FOUND:
                motion = self._view.refined(image.grey, motion)
                self._corners, self._alive = corners, good & flow.agree(motion, begin, corners)
                self._speed = np.zeros(2, np.float32)
                self._see(image, motion, 1.0)
                return
        self._miss(image)

    def _begin(self, image: SmallImage, view: Appearance) -> None:
        self._view, self._seen_in = view, image
        self._motion = np.eye(2, 3, dtype=np.float32)
        self._corners, self._alive = view.corners.copy(), np.ones(len(view.corners), np.bool_)

    def _unseen_s(self, image: SmallImage) -> float:
        return (image.stamp_ns - self._seen_in.stamp_ns) / 1e9

    def _similarities(
        self, begin: Floats, corners: Floats, good: Flags
    ) -> Iterator[Floats | None]:
        """What may carry the view into the newest image, by the corners that came back.

        That on which most agree; the same of those beside the point, which are on its thing; and
        the last one, moved as most of these were.
        """
        yield flow.similarity(begin[good], corners[good])
        beside = good & (np.linalg.norm(begin - self._view.at, axis=1) < _BESIDE)
        beside = beside if beside.any() else good
        yield flow.similarity(begin[beside], corners[beside])
        if beside.any():
            shifted = self._motion.copy()
            shifted[:, 2] += np.median(
                corners[beside] - flow.moved(self._motion, begin[beside]), axis=0)
            yield shifted

    def _most_likely(
        self, image: SmallImage, motions: Iterable[Floats | None]
    ) -> tuple[float, Floats | None]:
        """The similarity that leads to what looks most as the view does, and how much.

        The first one that is like enough will do.
        """
        most, best = 0.0, None
        for motion in motions:
            like = 0.0 if motion is None else self._likeness(image, motion)
            if like > most:
                most, best = like, motion
            if most >= _WORN:
                break
        return most, best

    def _likeness(self, image: SmallImage, motion: Floats) -> float:
        """How much what a similarity leads to looks as the view does; 0: it cannot be that."""
        at = flow.moved(motion, self._view.at[None])[0]
        if not (_inside(image, at) and _SIZES[0] < np.linalg.norm(motion[:, 0]) < _SIZES[1]
                and self._depth_fits(image, at)
                and np.abs(colour_at(image, at) - self._colour).max() <= _COLOUR):
            return 0.0
        return self._view.likeness(image.grey, motion)

    def _depths_beside(self, image: SmallImage, at: Floats, span: float) -> Floats:
        """What is known of depths around a place, in metres behind the point."""
        around = image.depth_at(np.asarray(at + span * _AROUND, np.float32))
        known: Floats = around[around > 0] - self._depth
        return known if self._depth > 0 else known[:0]

    def _depth_fits(self, image: SmallImage, at: Floats) -> bool:
        """Whether the point may be there, as far as depth is known."""
        beside = self._depths_beside(image, at, _EDGE)
        return not len(beside) or bool(np.abs(beside).min() <= depth_allowance(self._depth))

    def _see(self, image: SmallImage, motion: Floats, error: float) -> None:
        self.state, self._motion, self._seen_in = State.TRACKED, motion, image
        self.uncertainty = float(np.hypot(self._drift, max(_LEAST, error)))
        self._depth = float(image.depth_at(self.at[None])[0]) or self._depth

    def _renew(self, image: SmallImage, agreeing: int) -> None:
        """Take the newest image for the view."""
        reach = self._view.radius * _AROUND[[0, -1]]
        if agreeing < _RENEWED or not all(_inside(image, self.at + edge) for edge in reach):
            return
        view = appearance(image, self.at)
        if len(view.corners) >= _RENEWED:
            self._drift = self.uncertainty
            self._begin(image, view)

    def _miss(self, image: SmallImage) -> None:
        """Say why the point is not seen."""
        at, allowed = self.expected(image), depth_allowance(self._depth)
        here, around = (self._depths_beside(image, at, span) for span in (
            _EDGE, self._view.radius))
        if len(here):  # nothing is behind it that should be before, and something is nearer
            hidden = bool(here.min() <= allowed and around.min() < -allowed)
        else:
            hidden = self._unseen_s(image) < _WAIT_S
        self._lose(State.OCCLUDED if hidden and _inside(image, at) else State.LOST)

    def _lose(self, state: State) -> None:
        if self.state is not State.ASKED_AGAIN:
            self.state = state


def _inside(image: SmallImage, at: Floats) -> bool:
    return bool((at >= 0).all() and (at < image.grey.shape[::-1]).all())
