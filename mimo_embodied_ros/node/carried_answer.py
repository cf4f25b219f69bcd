"""The points of one answer, carried from the image that it is about to the newest one."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.msg import TrackedAffordances
from mimo_embodied_ros.ros.messages import tracked_message
from mimo_embodied_ros.tracking.point_follower import FollowedPoint, PointFollower
from mimo_embodied_ros.tracking.small_image import Recording
from mimo_embodied_ros.tracking.track import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mimo_embodied_ros.core.errors import MimoError
    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.msg import AffordancePoint

    from .followed_cameras import FollowedCamera, Seen
    from .session import Session

_NOWHERE = FollowedPoint(State.LOST, math.nan, math.nan, math.nan)
_LATE_S = 0.03  # for which a transform at the stamp of the newest image is waited for
_CAUGHT_UP = 2  # images behind the newest one, which are followed while new ones wait


class CarriedAnswer:
    """Records images while the model thinks, and follows the points of its answer from then on.

    Attributes:
        camera: whose images these are.
        points: of the answer, in the image that it is about; empty until it is there.
        newest: the newest image; None: none has come.

    """

    def __init__(self, camera: FollowedCamera) -> None:
        """Watch the camera, before an image is taken for the question."""
        self.camera = camera
        self.points: list[AffordancePoint] = []
        self.newest: Seen | None = None
        self._asked_ns = 0
        self._lock = threading.Lock()  # between the camera's thread and that of the question
        self._recording: Recording | None = None
        self._follower: PointFollower | None = None
        camera.watch(self)

    def begin(self, frame: Frame) -> None:
        """Take the image that the model is asked about."""
        if not self.camera.since(frame):  # waits, and must not hold up the camera's thread
            return
        with self._lock:
            first, *later = self.camera.since(frame)
            self._asked_ns = first.image.stamp_ns
            self._recording = Recording(first.image)
            for seen in later:
                self._recording.add(seen.image)
            self.newest = [first, *later][-1]

    def carry(self, points: Sequence[AffordancePoint]) -> None:
        """Take the points of the answer, and follow them through all images since."""
        done = 0
        follower: PointFollower | None = None
        self.points = [*points]
        while True:
            with self._lock:
                images = self._recording.images() if self._recording else []
                if not images:  # all are lost
                    return
                if follower is None:
                    inside = [(p.x, p.y) for p in points if p.in_image]
                    follower, done = PointFollower(images[0], inside), images[0].stamp_ns
                images = [image for image in images if image.stamp_ns > done]
                if len(images) <= _CAUGHT_UP:
                    for image in images:
                        follower.advance(image)
                    self._follower, self._recording = follower, None
                    return
            for image in images:
                follower.advance(image)
            done = images[-1].stamp_ns

    def on_image(self, seen: Seen) -> None:
        """Record the next image, or follow the points into it."""
        with self._lock:
            if self._recording is not None:
                self._recording.add(seen.image)
            elif self._follower is not None:
                self._follower.advance(seen.image)
            self.newest = seen

    def on_tick(self) -> None:
        """Have nothing to do."""

    def on_close(self, error: MimoError) -> None:
        """Have nothing to do."""

    def followed(self) -> list[FollowedPoint]:
        """Return the points in the newest image, in the order of `points`."""
        found = iter(self._follower.points if self._follower else ())
        return [next(found, _NOWHERE) if point.in_image else _NOWHERE for point in self.points]

    def ask_again(self) -> None:
        """Note that the model is asked where the lost ones are."""
        with self._lock:
            if self._follower is not None:
                self._follower.ask_again()

    def message(self, session: Session, query: str, target_frame: str = '') -> Any:
        """Return the points in the newest image, ``msg/TrackedAffordances``.

        Args:
            session: of the node.
            query: the text of the request.
            target_frame: of 3D positions; empty: none.

        """
        with self._lock:
            newest, followed = self.newest, self.followed()
        if newest is None:
            return TrackedAffordances(query=query)
        odometry, lifter = session.intake.odometry.at(newest.frame.stamp_ns), None
        frame = replace(newest.frame, odometry=odometry)
        if target_frame and any(point.state is State.TRACKED for point in followed):
            frame = self.camera.camera.frame(newest.message, odometry)
            lifter = session.lifter(frame, target_frame, time.monotonic() + _LATE_S)
        return tracked_message(query, frame, self.points, followed, self.age_ns, lifter)

    def close(self) -> None:
        """Follow them no longer, and give the memory of all images back."""
        self.camera.leave(self)
        with self._lock:
            self._recording = self._follower = None

    @property
    def age_ns(self) -> int:
        """From the stamp of the image that the model was asked about to that of the newest one."""
        return self.newest.image.stamp_ns - self._asked_ns if self.newest else 0
