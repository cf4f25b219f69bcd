"""What an active node answers requests with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import PreemptedError
from mimo_embodied_ros.engine.answer_cache import AnswerCache
from mimo_embodied_ros.engine.scheduler import DEACTIVATED, Scheduler
from mimo_embodied_ros.geometry.lifting import Lifter
from mimo_embodied_ros.geometry.registration import SharedRegistration
from mimo_embodied_ros.ros.transforms import Transforms

from .followed_cameras import FollowedCamera
from .intake import Intake
from .recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.lifecycle import LifecycleNode

    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.engine import Engine, Reply

    from .settings import Settings


class Session:
    """From activate to deactivate: subscriptions, transforms, queue and recorder beside the model.

    Attributes:
        engine: the model, which outlives the session.
        intake: the cameras and odometry.
        transforms: between the frames of the robot.
        registration: of depth to the view of an image, once for all requests.
        answers: to the latest questions, for requests that ask the same.
        recorder: of answers; None where they are not recorded.
        scheduler: the queue before the model.

    """

    def __init__(self, node: LifecycleNode, settings: Settings, engine: Engine) -> None:
        """Subscribe, and accept requests."""
        self.engine = engine
        self.intake = Intake(node, settings, engine.limits)
        self.registration = SharedRegistration()
        self.transforms = Transforms(node, settings.extrinsics, settings.tf_buffer)
        self.recorder: Recorder | None = None
        if settings.record_to:
            self.recorder = Recorder(settings.record_to, settings.record_max_mb * 10**6,
                                     engine.limits, node.get_logger().warning, engine.profile)
        self._followed = {
            name: FollowedCamera(camera, self.intake, self.transforms, node.get_logger())
            for name, camera in self.intake.cameras.items()}
        self.scheduler = Scheduler(settings.max_queue, settings.engine.at_once)
        self.answers: AnswerCache[tuple[Answer, Reply]] = AnswerCache(self.scheduler)
        self.scheduler.start()

    def followed(self, name: str) -> FollowedCamera:
        """Return what follows points in the images of a camera; empty: of the first one.

        Raises:
            InvalidRequestError: there is no such camera.

        """
        return self._followed[self.intake.camera(name).settings.name]

    def lifter(
        self, frame: Frame, target_frame: str, until: float,
        stopped: Callable[[], bool] = lambda: False, check: Callable[[], None] = lambda: None,
    ) -> Lifter:
        """Return what lifts pixels of a frame into a frame of the robot.

        Args:
            frame: with depth and intrinsics.
            target_frame: of the positions.
            until: how long to wait for a transform that is late, ``time.monotonic()`` seconds.
            stopped: asked while waiting; True ends the wait.
            check: called while depth is registered; see `Lifter`.

        """
        return Lifter(
            frame, target_frame, partial(
                self.transforms.lookup, stamp_ns=frame.stamp_ns,
                odometry=partial(self.intake.odometry.nearest, frame.stamp_ns), until=until,
                stopped=stopped),
            self.registration, check)

    def close(self) -> None:
        """End all requests, then what they needed; the model stays loaded."""
        for camera in self._followed.values():
            camera.close(PreemptedError(DEACTIVATED))
        self.scheduler.stop()
        self.intake.close()
        if self.recorder is not None:
            self.recorder.close()
        self.transforms.close()
