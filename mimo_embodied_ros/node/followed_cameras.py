"""The cameras in whose images points are followed, each in a thread of its own."""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mimo_embodied_ros.core.errors import BackendError, MimoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.impl.rcutils_logger import RcutilsLogger

    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.geometry.extrinsics import Transform
    from mimo_embodied_ros.ros.streams import Message
    from mimo_embodied_ros.ros.transforms import Transforms
    from mimo_embodied_ros.tracking.small_image import SmallImage

    from .camera_streams import CameraStreams
    from .intake import Intake

_POLL_S = 0.004
_RECENT = 8  # images among which that of a question is found
_WAIT_S = 0.5  # for the image of a question, which the thread of the camera may be decoding


class Seen(NamedTuple):
    """An image of a followed camera.

    Attributes:
        message: of the topic.
        frame: without depth and intrinsics.
        image: small, as it is tracked.

    """

    message: Message
    frame: Frame
    image: SmallImage


class Watcher(Protocol):
    """Hears of the images of a camera, in the camera's thread."""

    def on_image(self, seen: Seen) -> None:
        """Take the next image."""

    def on_tick(self) -> None:
        """Look at the time; called often."""

    def on_close(self, error: MimoError) -> None:
        """Take that there will be no more images."""


class FollowedCamera:
    """Decodes each image of a camera as long as somebody watches it; nothing otherwise."""

    def __init__(
        self, camera: CameraStreams, intake: Intake, transforms: Transforms, log: RcutilsLogger
    ) -> None:
        """Take the camera; nothing is decoded yet."""
        self.camera, self._intake, self._transforms, self._log = camera, intake, transforms, log
        self._lock = threading.Lock()
        self._watchers: list[Watcher] = []
        self._recent: deque[Seen] = deque(maxlen=_RECENT)
        self._thread: threading.Thread | None = None
        self._closed: MimoError | None = None

    def watch(self, watcher: Watcher) -> None:
        """Give a watcher each image from now on, the newest one first."""
        with self._lock:
            if self._closed is not None:
                raise self._closed
            self._watchers.append(watcher)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f'follow {self.camera.settings.name}', daemon=True)
                self._thread.start()

    def leave(self, watcher: Watcher) -> None:
        """Give a watcher no more images; without any, the thread ends."""
        with self._lock:
            if watcher in self._watchers:
                self._watchers.remove(watcher)

    def close(self, error: MimoError) -> None:
        """End the thread, and tell all watchers why."""
        with self._lock:
            self._closed, watchers, thread = error, self._watchers, self._thread
            self._watchers = []
        for watcher in watchers:
            watcher.on_close(error)
        if thread is not None:
            thread.join()

    def since(self, frame: Frame) -> list[Seen]:
        """Return a frame of this camera and the images after it; none where it was not decoded."""
        time_ns, end = frame.stamp_ns or round(frame.arrived * 1e9), time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            with self._lock:
                recent = [*self._recent]
            if recent and recent[-1].message.time_ns >= time_ns:
                break
            time.sleep(_POLL_S)
        later = [seen for seen in recent if seen.message.time_ns >= time_ns]
        return later if later and later[0].message.time_ns == time_ns else []

    def _run(self) -> None:
        before: Message | None = None
        while True:
            with self._lock:
                watchers = [*self._watchers]
                if not watchers:
                    self._thread = None
                    self._recent.clear()
                    return
            self._intake.want(self.camera.settings.name)
            self.camera.image.poll()
            message = self.camera.image.newest
            seen = None
            if message is not None and message is not before:
                before = message
                with suppress(MimoError):  # which is counted, and told by /diagnostics
                    seen = self._see(message)
            if seen is not None:
                for watcher in watchers:
                    self._call(watcher, watcher.on_image, seen)
            for watcher in watchers:
                self._call(watcher, watcher.on_tick)
            if seen is None:
                time.sleep(_POLL_S)

    def _call(self, watcher: Watcher, function: Callable[..., None], *arguments: Seen) -> None:
        """Let the others go on where one fails."""
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 whatever it is
            self._log.error(traceback.format_exc())
            self.leave(watcher)
            watcher.on_close(BackendError(f'tracking failed, {error!r}; see the log'))

    def _see(self, message: Message) -> Seen:
        frame, image = self.camera.tracked(message, self._pose)
        seen = Seen(message, frame, image)
        with self._lock:
            if self._recent and message.time_ns < self._recent[-1].message.time_ns:
                self._recent.clear()  # time begins anew, as when a bag does
            self._recent.append(seen)
        return seen

    def _pose(self, frame_id: str, stamp_ns: int) -> Transform | None:
        """Where a frame was, in that of odometry; None: not known."""
        odometry = self._intake.odometry.at(stamp_ns) if stamp_ns else None
        if odometry is None:
            return None
        with suppress(MimoError):
            return self._transforms.lookup(
                odometry.frame_id, frame_id, stamp_ns, lambda: odometry)
        return None
