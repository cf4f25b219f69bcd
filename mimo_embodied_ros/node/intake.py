"""What the robot senses: the newest message of each topic is taken and decoded when asked for."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time as Stamp
from nav_msgs.msg import Odometry as OdometryMsg
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from mimo_embodied_ros.core.errors import (
    BadEncodingError,
    InvalidRequestError,
    NoImageError,
    StaleImageError,
)
from mimo_embodied_ros.core.frames import Frame, Intrinsics, Odometry, View
from mimo_embodied_ros.geometry import camera_model as geometry
from mimo_embodied_ros.geometry.odometry import interpolate
from mimo_embodied_ros.msg import CameraStatus
from mimo_embodied_ros.ros.calibration import intrinsics_of
from mimo_embodied_ros.ros.images import (
    decode_compressed_depth,
    decode_depth,
    decode_image,
    decode_reduced,
)
from mimo_embodied_ros.ros.streams import Clip, Decoded, Message, Stream, read

from . import faults
from .diagnostics import camera_status, odometry_status

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from diagnostic_msgs.msg import DiagnosticStatus
    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecycleNode

    from mimo_embodied_ros.core.resize import PixelLimits

    from .faults import Fault
    from .settings import CameraSettings, Settings

_DEPTH_TOLERANCE_NS = 50_000_000  # a depth image within this of the image belongs to it
_KEPT = 8  # of depth and camera info, to find the one that belongs to an image
_KEPT_ODOMETRY = 512  # two seconds and more of a fast one
_PATH_POINTS, _PATH_STEP_NS = 4, 500_000_000  # what ReCogDrive's prompt tells of the past
_IDLE_S = 10.0  # after the last request a camera on demand is unsubscribed


def frame_of(message: Image) -> Frame:
    """The frame of an image that a request brings along; the same pixels have the same id.

    Raises:
        BadEncodingError: the image cannot be decoded.

    """
    pixels, header = decode_image(message), message.header
    return Frame(
        pixels, Time.from_msg(header.stamp).nanoseconds, header.frame_id,
        image_id=(pixels.shape, hashlib.blake2b(pixels.data.cast('B'), digest_size=16).digest()))


class Camera:
    """What has arrived from one camera.

    Attributes:
        image, info, depth, depth_info: its streams; ``streams`` are those that have a topic.
        malformed: messages that could not be used, by cause; only what was asked for is looked at.
        wanted: until when somebody needs it, ``time.monotonic()``.

    """

    def __init__(self, node: LifecycleNode, settings: CameraSettings, limits: PixelLimits) -> None:
        """Nothing yet; ``limits`` are the areas that the model sees."""
        self.settings, self._limits = settings, limits
        name = settings.name
        self.image = Stream(
            node, CompressedImage if settings.compressed else Image, settings.image_topic,
            f'{name}.image_topic',
            clip=Clip(settings.clip_frames, settings.clip_rate, settings.clip_mb * 1_000_000))
        self.info = Stream(node, CameraInfo, settings.camera_info_topic,
                           f'{name}.camera_info_topic', kept=_KEPT, optional=True)
        self.depth = Stream(
            node, CompressedImage if settings.depth_compressed else Image, settings.depth_topic,
            f'{name}.depth_topic', kept=_KEPT)
        self.depth_info = Stream(node, CameraInfo, settings.depth_info_topic,
                                 f'{name}.depth_info_topic', kept=_KEPT, optional=True)
        self.streams = [
            s for s in (self.image, self.info, self.depth, self.depth_info) if s.name]
        self.malformed: Counter[str] = Counter()
        self.wanted = 0.0
        self._pictures = Decoded(self._picture, self.malformed, 1 + settings.clip_frames)
        self._depths = Decoded(self._depth, self.malformed)
        self._intrinsics = Decoded(
            partial(lens_of, rectified=settings.rectified), self.malformed)
        self._depth_intrinsics = Decoded(lens_of, self.malformed)

    def frame(self, image: Message, odometry: Odometry | None, *, spatial: bool = True) -> Frame:
        """An image with what belongs to its stamp, decoded once for all requests.

        Args:
            image: of this camera.
            odometry: at its stamp.
            spatial: with depth and intrinsics, as far as they have arrived.

        Raises:
            BadEncodingError: the image, or what belongs to it, cannot be decoded.
            NoCameraInfoError: the camera info is not of this image.

        """
        frame = replace(self._pictures.of(image), odometry=odometry)
        if not spatial:
            return frame
        for stream in (self.depth, self.info, self.depth_info):
            stream.poll()  # after the image, so that what came before it is there
        depth, info = self.depth.nearest(image.stamp_ns), self.info.nearest(image.stamp_ns)
        if depth and abs(depth.stamp_ns - image.stamp_ns) > _DEPTH_TOLERANCE_NS:
            depth = None
        lens = self._intrinsics.of(info, frame.width, frame.height) if info else None
        metres, depth_frame = self._depths.of(depth) if depth else (None, '')
        view = None if metres is None else self._view(metres, depth_frame, frame)
        return replace(frame, intrinsics=lens, depth=metres, depth_view=view)

    def _view(self, metres: NDArray[np.float32], depth_frame: str, frame: Frame) -> View | None:
        """From where the depth was taken; None where it is registered."""
        if self.settings.depth_registered or depth_frame in {'', frame.frame_id}:
            return None
        info, (rows, columns) = self.depth_info.nearest(frame.stamp_ns), metres.shape
        lens = self._depth_intrinsics.of(info, columns, rows) if info else None
        return View(depth_frame, lens)

    def is_complete(self, wait_s: float) -> bool:
        """Whether depth and camera info have come, or are not waited for any more."""
        opened = self.image.opened
        for stream in self.streams:
            stream.poll()
        return (opened is None or time.monotonic() > opened + wait_s
                or not any(stream.is_awaited for stream in self.streams))

    def _picture(self, message: Message) -> Frame:
        size, image = None, read(message, self.image.kind)
        if self.settings.compressed:
            pixels, size = decode_reduced(image, self._limits)
        else:
            pixels = decode_image(image)
        return Frame(
            pixels, message.stamp_ns, image.header.frame_id, self.settings.name, size=size)

    def _depth(self, message: Message) -> tuple[NDArray[np.float32], str]:
        """Metres, and the frame that they are of."""
        decode = decode_compressed_depth if self.settings.depth_compressed else decode_depth
        image = read(message, self.depth.kind)
        return decode(image), image.header.frame_id


class Intake:
    """Subscribes to the sensors of a node; requests take what they need, and decode it.

    Subscriptions are made and destroyed in the executor's thread; ``frame``, ``clip`` and ``path``
    run in those of the scheduler.
    """

    def __init__(self, node: LifecycleNode, settings: Settings, limits: PixelLimits) -> None:
        """Subscribe to every topic of the settings; ``limits`` are the areas the model sees."""
        self._node = node
        self.cameras = {c.name: Camera(node, c, limits) for c in settings.cameras}
        self._odometry = Stream(node, OdometryMsg, settings.odometry_topic, 'odometry_topic',
                                kept=_KEPT_ODOMETRY, polled=False, optional=True)
        self._malformed: Counter[str] = Counter()
        self._poses = Decoded(odometry_of, self._malformed, _KEPT)
        self._said = faults.Said(node.get_logger().warning)
        self._closed = False
        # those on demand, too: what is wrong with their topics is to be found out now
        for camera in self.cameras.values():
            camera.wanted = time.monotonic() + _IDLE_S
            self._open(camera)
        if self._odometry.name:
            self._odometry.open()
        # twice as often as a clip needs one, so that none of a camera of its rate is missed
        self._timers = [
            node.create_timer(0.5 / camera.settings.clip_rate, camera.image.poll,
                              callback_group=MutuallyExclusiveCallbackGroup())
            for camera in self.cameras.values() if camera.settings.clip_frames]
        self._jumps = node.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)),
            post_callback=lambda _: self._on_jump())

    # -- in the executor's thread

    def _open(self, camera: Camera) -> None:
        for stream in camera.streams:
            if stream.opened is None and not self._closed:
                stream.open(reliable=camera.settings.reliable)

    @property
    def _streams(self) -> list[Stream]:
        return [self._odometry, *(s for c in self.cameras.values() for s in c.streams)]

    def close(self) -> None:
        """Unsubscribe."""
        self._closed = True
        self._jumps.unregister()
        for timer in self._timers:
            self._node.destroy_timer(timer)
        for stream in self._streams:
            stream.close()

    def _on_jump(self) -> None:
        """Forget what is of the future, since the clock fell back: a bag began anew."""
        now_ns = self._node.get_clock().now().nanoseconds
        for stream in self._streams:
            stream.poll()  # else what is of the future is found later
            stream.forget(now_ns)

    def diagnoses(self, max_age_s: float) -> list[DiagnosticStatus]:
        """How the sensors are; to be called once a second.

        What is wrong is said in the log, too, and what nobody has needed for long is unsubscribed.

        Args:
            max_age_s: as for ``frame``.

        """
        now, now_ns = time.monotonic(), self._node.get_clock().now().nanoseconds
        statuses = []
        for camera in self.cameras.values():
            if camera.settings.on_demand and now > camera.wanted:
                for stream in camera.streams:
                    stream.close()
            found = self._problems(camera.streams, now, max_age_s)
            if not found.get(camera.image):
                found[camera.image] = (faults.clock(camera.image, now_ns)
                                       or faults.loss(camera.image))
            newest = camera.image.newest
            age = None if newest is None else self._age(newest)
            statuses.append(camera_status(
                camera.settings.name, camera.image, age, max_age_s, camera.malformed,
                self._said.update(found)))
        if self._odometry.name:
            found = self._problems([self._odometry], now, max_age_s)
            statuses.append(odometry_status(
                self._odometry, self._malformed, self._said.update(found)))
        return statuses

    def _problems(
        self, streams: list[Stream], now: float, max_age_s: float
    ) -> dict[Stream, Fault | None]:
        found: dict[Stream, Fault | None] = {}
        for stream in streams:
            stream.tick(now)
            newest, since = stream.newest, stream.opened
            if newest is not None:
                # calibration and the like may come once; images, as long as any age will do
                since = newest.arrived if max_age_s and not stream.optional else None
            patience = max(faults.SILENCE_S, max_age_s)
            if since is not None and now - since > patience:
                found[stream] = self._why_silent(stream)
        return found

    def _why_silent(self, stream: Stream) -> Fault | None:
        quality = stream.quality
        if quality is None:
            return None
        return faults.silence(stream, quality,
                              self._node.get_publishers_info_by_topic(stream.topic))

    def status(self, name: str) -> CameraStatus:
        """What has arrived from a camera so far."""
        camera = self.cameras[name]
        for stream in camera.streams:
            stream.poll()
        newest = camera.image.newest
        status = CameraStatus(
            name=name, image_topic=camera.image.topic, camera_info_topic=camera.info.topic,
            depth_topic=camera.depth.topic, images_received=camera.image.received,
            camera_info_valid=camera.info.received > 0, depth_valid=camera.depth.received > 0)
        with contextlib.suppress(BadEncodingError):  # that is none
            if newest is not None:
                image = read(newest, camera.image.kind)
                stamp = Stamp(sec=image.header.stamp.sec, nanosec=image.header.stamp.nanosec)
                status.image_valid = True
                status.header = Header(stamp=stamp, frame_id=image.header.frame_id)
                if camera.settings.compressed:
                    status.encoding = image.format
                else:
                    status.encoding = image.encoding
                    status.image_width, status.image_height = image.width, image.height
        return status

    def _age(self, message: Message) -> float:
        """Seconds of ROS time since a message was stamped."""
        return float(self._node.get_clock().now().nanoseconds - message.stamp_ns) / 1e9

    # -- in the threads of the scheduler

    def frame(
        self, name: str, max_age_s: float, wait_s: float, stopped: Callable[[], bool], *,
        spatial: bool = True,
    ) -> Frame:
        """The newest image of a camera, with what belongs to its stamp.

        Args:
            name: of the camera; empty is the first one.
            max_age_s: oldest image, seconds of ROS time; 0 is any.
            wait_s: how long to wait for an image that is not older, steady seconds; and, after
                subscribing, for what belongs to it.
            stopped: asked while waiting; True ends the wait.
            spatial: with depth and intrinsics, as far as they have arrived.

        Raises:
            InvalidRequestError: there is no such camera.
            NoImageError: nothing arrived.
            StaleImageError: the newest image is too old.
            BadEncodingError: the image, or what belongs to it, cannot be decoded.
            NoCameraInfoError: the camera info is not of this image.

        """
        camera = self._camera(name)
        end = time.monotonic() + wait_s
        while not self._has(camera, max_age_s, wait_s, spatial=spatial):
            if time.monotonic() >= end or stopped():
                break
            time.sleep(0.005)
        message = camera.image.newest
        if message is None:
            raise self._no_image(camera.image)
        age = self._age(message)
        if max_age_s and age > max_age_s:
            camera.frame(message, None, spatial=False)  # what cannot be read has no stamp either
            msg = (
                f'the newest image of {camera.settings.name} is {age:.2f} s old and the limit is '
                f'{max_age_s:g} s; raise max_image_age, or see whether the camera still publishes '
                'and whether both clocks agree (use_sim_time with a bag)'
            )
            raise StaleImageError(msg)
        return camera.frame(message, self.odometry_at(message.stamp_ns), spatial=spatial)

    def clip(
        self, name: str, max_age_s: float, wait_s: float, stopped: Callable[[], bool], *,
        spatial: bool = False,
    ) -> tuple[Frame, ...]:
        """The newest image of a camera and those before it, oldest first, as it was set.

        Takes and raises what ``frame`` does. Earlier images that cannot be decoded are left out.
        """
        newest = self.frame(name, max_age_s, wait_s, stopped, spatial=spatial)
        camera, frames = self.cameras[newest.camera], list[Frame]()
        for message in camera.image.before(newest.stamp_ns):
            with contextlib.suppress(BadEncodingError):
                frames.append(camera.frame(
                    message, self.odometry_at(message.stamp_ns), spatial=False))
        return (*frames, newest)

    def _has(self, camera: Camera, max_age_s: float, wait_s: float, *, spatial: bool) -> bool:
        """Whether there is what a request needs; to be asked until there is."""
        self.want(camera.settings.name)
        camera.image.poll()
        message = camera.image.newest
        if message is None or (max_age_s and self._age(message) > max_age_s):
            return False
        return not spatial or camera.is_complete(wait_s)

    def _no_image(self, images: Stream) -> NoImageError:
        fault = self._why_silent(images)
        why = fault.text if fault else 'check its name, type and quality of service'
        return NoImageError(f'no image has arrived on {images.topic} '
                            f'({self._node.count_publishers(images.topic)} publishers); {why}')

    def _camera(self, name: str) -> Camera:
        camera = self.cameras.get(name) if name else next(iter(self.cameras.values()))
        if camera is None:
            msg = f'there is no camera {name!r}; this node has {", ".join(self.cameras)}'
            raise InvalidRequestError(msg)
        return camera

    def want(self, name: str) -> None:
        """Let a camera on demand be subscribed for some time; see ``frame``, which does it, too."""
        camera = self._camera(name)
        if camera.settings.on_demand:
            camera.wanted = time.monotonic() + _IDLE_S
            if camera.image.opened is None and self._node.executor is not None:
                self._node.executor.create_task(self._open, camera)

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
        known = []
        for message in self._odometry.around(stamp_ns):
            with contextlib.suppress(BadEncodingError):  # it is counted; images can do without
                known.append(self._poses.of(message))
        return interpolate(known[0], known[-1], stamp_ns) if known else None


def odometry_of(message: Message) -> Odometry:
    """Of a nav_msgs/Odometry.

    Raises:
        BadEncodingError: the bytes are no such message.

    """
    msg = read(message, OdometryMsg)
    pose, twist = msg.pose.pose, msg.twist.twist
    at, turn = pose.position, pose.orientation
    return Odometry(
        Time.from_msg(msg.header.stamp).nanoseconds, msg.header.frame_id, msg.child_frame_id,
        (at.x, at.y, at.z), (turn.x, turn.y, turn.z, turn.w),
        (twist.linear.x, twist.linear.y, twist.linear.z),
        (twist.angular.x, twist.angular.y, twist.angular.z),
    )


def lens_of(
    message: Message, width: int, height: int, *, rectified: bool = False
) -> Intrinsics | None:
    """Of a serialised CameraInfo; see ``intrinsics_of``.

    Raises:
        BadEncodingError: the bytes are no CameraInfo.
        NoCameraInfoError: its numbers make no camera, or none of an image of this size.

    """
    intrinsics = intrinsics_of(read(message, CameraInfo), rectified=rectified)
    if intrinsics is not None:
        geometry.CameraModel(intrinsics, width, height)  # raises
    return intrinsics
