"""What the robot senses: the newest message of each topic is stored, and decoded when asked for."""

from __future__ import annotations

import hashlib
import struct
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from nav_msgs.msg import Odometry as OdometryMsg
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mimo_embodied_ros.core.errors import InvalidRequestError, NoImageError, StaleImageError
from mimo_embodied_ros.core.frames import Frame, Intrinsics, Odometry, View
from mimo_embodied_ros.geometry.odometry import interpolate
from mimo_embodied_ros.msg import CameraStatus

from .calibration import intrinsics_of
from .diagnostics import camera_status
from .images import decode_depth, decode_image, decode_reduced

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from diagnostic_msgs.msg import DiagnosticStatus
    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecycleNode
    from rclpy.subscription import Subscription

    from mimo_embodied_ros.core.resize import PixelLimits

    from .parameters import CameraSettings, Settings

_DEPTH_TOLERANCE_NS = 50_000_000  # a depth image within this of the image belongs to it
_KEPT_DEPTH = 8  # to find the one that belongs to an image
_KEPT_ODOMETRY = 512  # two seconds and more of a fast one
_PATH_POINTS, _PATH_STEP_NS = 4, 500_000_000  # what ReCogDrive's prompt tells of the past
T = TypeVar('T')


def stamp_of(message: bytes) -> int:
    """Nanoseconds of the stamp with which a serialised message begins (its header is first)."""
    order = '<' if message[1] & 1 else '>'
    seconds, nanoseconds = struct.unpack_from(f'{order}iI', message, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def frame_of(message: Image) -> Frame:
    """The frame of an image that a request brings along; the same pixels have the same id.

    Raises:
        BadEncodingError: the image cannot be decoded.

    """
    pixels, header = decode_image(message), message.header
    return Frame(
        pixels, Time.from_msg(header.stamp).nanoseconds, header.frame_id,
        image_id=(pixels.shape, hashlib.blake2b(pixels.data.cast('B'), digest_size=16).digest()))


class Stream:
    """The newest serialised messages of one topic."""

    def __init__(self, kept: int = 1) -> None:
        """Keep so many; older ones are dropped."""
        self._messages: deque[bytes] = deque(maxlen=kept)
        self.received = 0

    def store(self, message: bytes) -> None:
        """Called for every message; nothing is decoded here."""
        self._messages.append(message)
        self.received += 1

    @property
    def newest(self) -> bytes:
        """Empty when nothing has arrived."""
        return self._messages[-1] if self._messages else b''

    def nearest(self, stamp_ns: int) -> bytes:
        """The one whose stamp is nearest; empty when nothing has arrived."""
        # the copy is taken in one go while the executor goes on storing
        return min(list(self._messages), key=lambda m: abs(stamp_of(m) - stamp_ns), default=b'')

    def around(self, stamp_ns: int) -> tuple[bytes, bytes]:
        """The nearest before (or at) a stamp and the nearest after; empty where there is none."""
        stamped = [(stamp_of(message), message) for message in list(self._messages)]
        return (
            max((s for s in stamped if s[0] <= stamp_ns), key=lambda s: s[0], default=(0, b''))[1],
            min((s for s in stamped if s[0] > stamp_ns), key=lambda s: s[0], default=(0, b''))[1])


class Latest(Generic[T]):
    """What a message was decoded to, kept until another one is asked for."""

    def __init__(self, decode: Callable[[bytes], T]) -> None:
        """Nothing is decoded yet."""
        self._decode = decode
        self._decoded: tuple[bytes, T] | None = None

    def of(self, message: bytes) -> T:
        """Messages are told apart as objects: cameras without a clock stamp all theirs alike."""
        if self._decoded is None or self._decoded[0] is not message:
            self._decoded = message, self._decode(message)
        return self._decoded[1]


class Camera:
    """What has arrived from one camera."""

    def __init__(self, settings: CameraSettings, limits: PixelLimits) -> None:
        """Nothing yet; ``limits`` are the areas that the model sees."""
        self.settings, self._limits = settings, limits
        self.image = Stream()
        self.info = Stream()
        self.depth = Stream(_KEPT_DEPTH)
        self.depth_info = Stream()
        self._lock = threading.Lock()
        self._pictures = Latest(self._picture)
        self._depths = Latest(_depth)
        self._intrinsics = Latest(lambda m: _intrinsics(m, rectified=settings.rectified))
        self._depth_intrinsics = Latest(_intrinsics)

    def frame(self, image: bytes, odometry: Odometry | None) -> Frame:
        """An image with what belongs to its stamp, decoded once for all requests.

        Raises:
            BadEncodingError: the image or its depth cannot be decoded.

        """
        stamp_ns = stamp_of(image)
        depth, info = self.depth.nearest(stamp_ns), self.info.newest
        if depth and abs(stamp_of(depth) - stamp_ns) > _DEPTH_TOLERANCE_NS:
            depth = b''
        with self._lock:
            frame = self._pictures.of(image)
            metres, depth_frame = self._depths.of(depth) if depth else (None, '')
            return replace(
                frame,
                intrinsics=self._intrinsics.of(info) if info else None,
                depth=metres,
                depth_view=self._view(depth_frame, frame.frame_id),
                odometry=odometry,
            )

    def _view(self, depth_frame: str, image_frame: str) -> View | None:
        """From where the depth was taken; None where it is registered."""
        if self.settings.depth_registered or depth_frame in {'', image_frame}:
            return None
        info = self.depth_info.newest
        return View(depth_frame, self._depth_intrinsics.of(info) if info else None)

    def _picture(self, message: bytes) -> Frame:
        size = None
        if self.settings.compressed:
            compressed = deserialize_message(message, CompressedImage)
            pixels, size = decode_reduced(compressed, self._limits)
            frame_id = compressed.header.frame_id
        else:
            image = deserialize_message(message, Image)
            pixels, frame_id = decode_image(image), image.header.frame_id
        return Frame(pixels, stamp_of(message), frame_id, self.settings.name, size=size)


class Intake:
    """Subscribes to the sensors of a node; callbacks store, requests decode.

    Callbacks run in the executor's thread, ``frame`` and ``path`` in those of the scheduler.
    """

    def __init__(self, node: LifecycleNode, settings: Settings, limits: PixelLimits) -> None:
        """Subscribe to every topic of the settings; ``limits`` are the areas the model sees."""
        self._node = node
        self.cameras = {c.name: Camera(c, limits) for c in settings.cameras}
        self._odometry = Stream(_KEPT_ODOMETRY)
        self._subscriptions: list[Subscription] = []
        for camera in self.cameras.values():
            chosen = camera.settings
            kind = CompressedImage if chosen.compressed else Image
            self._subscribe(kind, chosen.image_topic, camera.image, chosen.reliable)
            self._subscribe(CameraInfo, chosen.camera_info_topic, camera.info, chosen.reliable)
            self._subscribe(Image, chosen.depth_topic, camera.depth, chosen.reliable)
            self._subscribe(
                CameraInfo, chosen.depth_info_topic, camera.depth_info, chosen.reliable)
        self._subscribe(OdometryMsg, settings.odometry_topic, self._odometry)

    def _subscribe(
        self, kind: type, topic: str, stream: Stream, reliable: bool = False
    ) -> None:
        if not topic:
            return
        quality = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(depth=1, reliability=quality)
        # raw: thirty pictures a second are not decoded for one question a second
        self._subscriptions.append(
            self._node.create_subscription(kind, topic, stream.store, profile, raw=True))

    def status(self, name: str) -> CameraStatus:
        """What has arrived from a camera so far."""
        camera = self.cameras[name]
        chosen = camera.settings
        status = CameraStatus(
            name=name, image_topic=self._node.resolve_topic_name(chosen.image_topic),
            images_received=camera.image.received, image_valid=camera.image.received > 0,
            camera_info_valid=camera.info.received > 0, depth_valid=camera.depth.received > 0)
        if chosen.camera_info_topic:
            status.camera_info_topic = self._node.resolve_topic_name(chosen.camera_info_topic)
        if chosen.depth_topic:
            status.depth_topic = self._node.resolve_topic_name(chosen.depth_topic)
        newest = camera.image.newest
        if newest and chosen.compressed:
            compressed = deserialize_message(newest, CompressedImage)
            status.header, status.encoding = compressed.header, compressed.format
        elif newest:
            image = deserialize_message(newest, Image)
            status.header, status.encoding = image.header, image.encoding
            status.image_width, status.image_height = image.width, image.height
        return status

    def _age(self, message: bytes) -> float:
        """Seconds of ROS time since a serialised message was stamped."""
        return float(self._node.get_clock().now().nanoseconds - stamp_of(message)) / 1e9

    def diagnoses(self, max_age_s: float) -> list[DiagnosticStatus]:
        """How each camera is; ``max_age_s`` as for ``frame``."""
        statuses = []
        for name, camera in self.cameras.items():
            topic = self._node.resolve_topic_name(camera.settings.image_topic)
            newest, received = camera.image.newest, camera.image.received
            age = self._age(newest) if newest else None
            statuses.append(camera_status(name, topic, received, age, max_age_s))
        return statuses

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def frame(
        self, name: str, max_age_s: float, wait_s: float, stopped: Callable[[], bool]
    ) -> Frame:
        """The newest image of a camera, with what belongs to its stamp.

        Args:
            name: of the camera; empty is the first one.
            max_age_s: oldest image, seconds of ROS time; 0 is any.
            wait_s: how long to wait for the first image, steady seconds.
            stopped: asked while waiting; True ends the wait.

        Raises:
            InvalidRequestError: there is no such camera.
            NoImageError: nothing arrived.
            StaleImageError: the newest image is too old.
            BadEncodingError: the image cannot be decoded.

        """
        camera = self.cameras.get(name) if name else next(iter(self.cameras.values()))
        if camera is None:
            msg = f'there is no camera {name!r}; this node has {", ".join(self.cameras)}'
            raise InvalidRequestError(msg)
        self._wait_for_image(camera, wait_s, stopped)
        message = camera.image.newest
        age = self._age(message)
        if max_age_s and age > max_age_s:
            msg = (
                f'the newest image of {camera.settings.name} is {age:.2f} s old and the limit is '
                f'{max_age_s:g} s; raise max_image_age, or see whether the camera still publishes '
                'and whether both clocks agree (use_sim_time with a bag)'
            )
            raise StaleImageError(msg)
        return camera.frame(message, self.odometry_at(stamp_of(message)))

    def _wait_for_image(self, camera: Camera, wait_s: float, stopped: Callable[[], bool]) -> None:
        end = time.monotonic() + wait_s
        while not camera.image.received and time.monotonic() < end and not stopped():
            time.sleep(0.005)
        if not camera.image.received:
            topic = self._node.resolve_topic_name(camera.settings.image_topic)
            msg = (
                f'no image has arrived on {topic} ({self._node.count_publishers(topic)} '
                'publishers); check its name, type and quality of service'
            )
            raise NoImageError(msg)

    def path(self, stamp_ns: int) -> tuple[Odometry, ...]:
        """Where the base was up to a stamp, oldest first, every half second as far as known."""
        path: list[Odometry] = []
        for age in range(_PATH_POINTS - 1, -1, -1):
            wanted = stamp_ns - age * _PATH_STEP_NS
            pose = self.odometry_at(wanted)
            if pose and (age == 0 or abs(pose.stamp_ns - wanted) < _PATH_STEP_NS / 2):
                path.append(pose)
        return tuple(path)

    def odometry_at(self, stamp_ns: int) -> Odometry | None:
        """Where the base was at a stamp, or at the nearest stamp that is known; None: never."""
        known = [_odometry(message) for message in self._odometry.around(stamp_ns) if message]
        return interpolate(known[0], known[-1], stamp_ns) if known else None


def _odometry(message: bytes) -> Odometry:
    msg = deserialize_message(message, OdometryMsg)
    pose, twist = msg.pose.pose, msg.twist.twist
    at, turn = pose.position, pose.orientation
    return Odometry(
        Time.from_msg(msg.header.stamp).nanoseconds, msg.header.frame_id, msg.child_frame_id,
        (at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w),
        (twist.linear.x, twist.linear.y, twist.linear.z),
        (twist.angular.x, twist.angular.y, twist.angular.z),
    )


def _depth(message: bytes) -> tuple[NDArray[np.float32], str]:
    """Metres, and the frame that they are of."""
    image = deserialize_message(message, Image)
    return decode_depth(image), image.header.frame_id


def _intrinsics(message: bytes, *, rectified: bool = False) -> Intrinsics | None:
    return intrinsics_of(deserialize_message(message, CameraInfo), rectified=rectified)
