"""Publishes what the cameras of a world see, from a thread of its own.

Topics and frames are those of realsense2_camera: ``<camera>/color/image_raw``,
``<camera>/color/camera_info`` and ``<camera>/aligned_depth_to_color/image_raw``.
"""

from __future__ import annotations

import array
import logging
import threading
from typing import TYPE_CHECKING, Any

from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mimo_embodied_ros.ros.images import encode_image
from mimo_embodied_ros.ros.process import until_shutdown
from mimo_embodied_ros.worlds.world import TICK

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from rclpy.node import Node

    from mimo_embodied_ros.worlds.world import WorldCamera

    from .world_runner import WorldRunner

_logger = logging.getLogger(__name__)


class CameraPublisher:
    """Looks at a world at a rate of simulated time; what nobody subscribes to is not rendered."""

    def __init__(self, node: Node, runner: WorldRunner, rate: float) -> None:
        """Offer the topics; `start` begins to look.

        Args:
            node: that publishes.
            runner: of the world.
            rate: images in a second of simulated time.

        """
        self._runner, self._period = runner, 1 / rate
        self._outputs = [_Camera(node, camera) for camera in runner.world.cameras.values()]
        self._next = 0.0  # when to look again, seconds of simulated time
        self._looking = False
        self._after: list[tuple[float, Callable[[], None]]] = []
        self._changed, self._closing = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name='cameras', daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def late(self) -> bool:
        """Whether the next images are due and these are not ready, so that the world must wait."""
        return self._looking and self._runner.time >= self._next

    def on_tick(self) -> None:
        """Look if it is time; called after each tick of the world."""
        if self._runner.time >= self._next:
            with self._changed:
                self._changed.notify_all()

    def after(self, time: float, callback: Callable[[], None]) -> None:
        """Call a function, in the cameras' thread, when images of this time have been published.

        Args:
            time: seconds of simulated time.
            callback: the function.

        """
        with self._changed:
            self._after.append((time, callback))
            self._changed.notify_all()

    def _run(self) -> None:
        with until_shutdown():
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing or self._after
                                           or self._runner.time >= self._next)
                    if self._closing:
                        break
                    waiting, self._after = self._after, []
                # the nearest tick to the next one
                self._next = self._runner.time + self._period - TICK / 2
                self._looking = True
                try:
                    for output in [*self._outputs]:
                        if output.wanted:
                            self._publish(output)
                finally:  # the world waits for it
                    self._looking = False
                for _, callback in waiting:
                    callback()

    def _publish(self, output: _Camera) -> None:
        try:
            view, time = self._runner.look(output.camera.name)
        except Exception:  # without its pictures the world goes on
            _logger.exception('the camera %s cannot be looked through any more', output.camera.name)
            self._outputs.remove(output)
        else:
            output.publish(view, time)


class _Camera:
    def __init__(self, node: Node, camera: WorldCamera) -> None:
        self.camera = camera
        self._image = node.create_publisher(Image, f'{camera.name}/color/image_raw', 1)
        self._info = node.create_publisher(CameraInfo, f'{camera.name}/color/camera_info', 1)
        self._depth = node.create_publisher(
            Image, f'{camera.name}/aligned_depth_to_color/image_raw', 1
        ) if camera.has_depth else None

    @property
    def wanted(self) -> bool:
        return any(publisher.get_subscription_count() for publisher in (
            self._image, self._info, self._depth) if publisher is not None)

    def publish(self, view: Any, time: float) -> None:
        header = Header(stamp=Time(nanoseconds=round(time * 1e9)).to_msg(),
                        frame_id=self.camera.frame)
        self._info.publish(camera_info(self.camera, header))
        if self._depth is not None:
            self._depth.publish(_depth_image(view.millimetres, header))
        self._image.publish(encode_image(view.pixels, header))


def camera_info(camera: WorldCamera, header: Header) -> CameraInfo:
    """Make the calibration of a camera."""
    f, _, cx, _, _, cy, *_ = camera.matrix
    return CameraInfo(
        header=header, height=camera.height, width=camera.width, distortion_model='plumb_bob',
        d=[0.0] * 5, k=camera.matrix,
        r=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        p=(f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0))


def _depth_image(depth: NDArray[np.uint16], header: Header) -> Image:
    """Make an image of millimetres."""
    height, width = depth.shape
    return Image(header=header, height=height, width=width, encoding='16UC1', step=2 * width,
                 data=array.array('B', depth.tobytes()))
