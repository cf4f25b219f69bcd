"""Pictures of drives: what the base saw with the tracked point, and the ways from above."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rclpy.time import Time
from sensor_msgs.msg import Image

from mimo_embodied_ros.annotate import MARK, PLAN, Canvas
from mimo_embodied_ros.core.answers import Affordances, Point
from mimo_embodied_ros.msg import TrackedPoint
from mimo_embodied_ros.ros.images import decode_raw
from mimo_embodied_ros.ros.messages import seconds

from .whereabouts import STATES, Tracked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rclpy.node import Node

    from mimo_embodied_ros.worlds.world import WorldCamera

    from .whereabouts import Whereabouts

    Pixels = NDArray[np.uint8]

_RECENT = 40  # images, among which that of the newest points is
_EVERY_S = 0.5  # seconds between two pictures of a drive
_WIDTH = 3  # of ways, pixels


class Sight:
    """What the base sees, with the tracked point.

    Attributes:
        shots: pictures of the present drive.

    """

    def __init__(self, node: Node) -> None:
        """Subscribe to the images of the camera."""
        self._recent: deque[Image] = deque(maxlen=_RECENT)
        node.create_subscription(
            Image, 'camera/color/image_raw', self._on_image, 1)
        self.begin()

    def begin(self) -> None:
        """Begin with a drive."""
        self.shots: list[Pixels] = []
        self._first = self._last = 0.0

    def take(self, thing: Whereabouts) -> None:
        """Take a picture of the image in which the tracked point is, if it is time for one."""
        points = thing.newest if isinstance(thing, Tracked) else None
        if points is None:
            return
        now = Time.from_msg(points.header.stamp).nanoseconds / 1e9
        if now < self._last + _EVERY_S:
            return
        image = next((i for i in [*self._recent] if i.header.stamp == points.header.stamp), None)
        if image is None:
            return
        self._first, self._last = self._first or now, now
        canvas = Canvas(decode_raw(image).pixels)
        note = f'{now - self._first:.1f} s: not found'
        for tracked in points.points[:1]:
            note = (f'{now - self._first:.1f} s: {STATES[tracked.state]}, '
                    f'by an answer that is {seconds(tracked.answer_age):.1f} s old')
            if tracked.state == TrackedPoint.TRACKED:
                canvas.mark(Affordances((Point(tracked.point.x, tracked.point.y),)))
        canvas.note(note)
        self.shots.append(canvas.picture())

    def _on_image(self, image: Image) -> None:
        self._recent.append(image)


def draw_ways(
    pixels: Pixels, camera: WorldCamera, base: Sequence[Sequence[float]],
    thing: Sequence[Sequence[float]], caption: str,
) -> Pixels:
    """Draw where base and thing have been.

    Args:
        pixels: (height, width, 3) uint8, RGB, from above.
        camera: that has seen them.
        base: (x, y) metres on the floor, one after the other.
        thing: the same.
        caption: below the picture.

    """
    picture = np.ascontiguousarray(pixels).copy()
    for way, colour in ((base, PLAN), (thing, MARK)):
        places = np.array([(x, y, 0.0) for x, y in way]).reshape(-1, 3)
        x, y, z = camera.pose.inverse.apply(places).T
        at = np.stack([x, y], 1) / z[:, None] * camera.focal + [camera.width / 2, camera.height / 2]
        cv2.polylines(picture, [np.rint(at).astype(np.int32)], False, colour, _WIDTH, cv2.LINE_AA)
    canvas = Canvas(picture)
    canvas.note(caption)
    return canvas.picture()
