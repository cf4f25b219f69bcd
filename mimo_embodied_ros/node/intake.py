"""Intake of images and odometry: a request takes the newest messages and decodes them."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Time as Stamp
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from mimo_embodied_ros.core.errors import (
    BadEncodingError,
    InvalidRequestError,
    NoImageError,
    StaleImageError,
)
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.video import frames_of_video
from mimo_embodied_ros.msg import CameraStatus
from mimo_embodied_ros.ros.images import decode_raw, decode_reduced
from mimo_embodied_ros.ros.messages import seconds
from mimo_embodied_ros.ros.stamps import nanoseconds_of, when_time_falls_back
from mimo_embodied_ros.ros.streams import Message, Stream, read

from . import faults
from .camera_streams import CameraStreams
from .diagnostics import camera_status, odometry_status
from .faults import Fault
from .odometry_stream import OdometryStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from diagnostic_msgs.msg import DiagnosticStatus
    from rclpy.lifecycle import LifecycleNode
    from sensor_msgs.msg import Image

    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.core.tasks import Task

    from .settings import Settings

_IDLE_S = 10.0  # from the last request until a camera on demand is unsubscribed


class Intake:
    """Subscribes to the cameras and odometry of a node; requests take and decode what they need.

    Subscriptions are made and destroyed in the executor's thread; ``frame``, ``clip`` and what
    ``odometry`` has run in those of the scheduler.

    Attributes:
        cameras: by their names.
        odometry: of the base.

    """

    def __init__(self, node: LifecycleNode, settings: Settings, limits: PixelLimits) -> None:
        """Subscribe to all topics of the settings; ``limits`` are the image areas of the model."""
        self._node, self._limits = node, limits
        self.cameras = {c.name: CameraStreams(node, c, limits) for c in settings.cameras}
        self.odometry = OdometryStream(node, settings.odometry_topic)
        self._fault_log = faults.FaultLog(node.get_logger().warning)
        self._closed = False
        # cameras on demand, too, so that faults of their topics show at once
        for camera in self.cameras.values():
            camera.wanted = time.monotonic() + _IDLE_S
            self._open(camera)
        if self.odometry.stream.name:
            self.odometry.stream.open()
        # twice the rate of the clip, so that no image of a camera of that rate is missed
        self._timers = [
            node.create_timer(0.5 / camera.settings.clip_rate, camera.image.poll,
                              callback_group=MutuallyExclusiveCallbackGroup())
            for camera in self.cameras.values() if camera.settings.clip_frames]
        self._jumps = when_time_falls_back(node, self._on_jump)
        self._clock_watch = faults.ClockWatch(node.get_clock())

    # -- in the executor's thread

    def _open(self, camera: CameraStreams) -> None:
        for stream in camera.streams:
            if stream.opened is None and not self._closed:
                stream.open(reliable=camera.settings.reliable)

    @property
    def _streams(self) -> list[Stream]:
        return [self.odometry.stream, *(s for c in self.cameras.values() for s in c.streams)]

    def close(self) -> None:
        """Unsubscribe."""
        self._closed = True
        self._jumps.unregister()
        for timer in self._timers:
            self._node.destroy_timer(timer)
        for stream in self._streams:
            stream.close()

    def _on_jump(self) -> None:
        """Forget messages of the future after the clock fell back, as when a bag begins anew."""
        now_ns = self._node.get_clock().now().nanoseconds
        for stream in self._streams:
            stream.poll()  # else messages of the future would be taken later
            stream.forget(now_ns)

    def diagnoses(self, max_age_s: float) -> list[DiagnosticStatus]:
        """The state of cameras and odometry, for ``/diagnostics``; to be called once a second.

        Faults are logged, too. A camera on demand that no request needs any more is unsubscribed.

        Args:
            max_age_s: as for ``frame``.

        """
        now, statuses = time.monotonic(), []
        self._clock_watch.look(now)
        for camera in self.cameras.values():
            if camera.settings.on_demand and now > camera.wanted:
                for stream in camera.streams:
                    stream.close()
            problems = self._problems(camera.streams, now, max_age_s)
            if not problems.get(camera.image):
                problems[camera.image] = (self._clock_watch.fault(camera.image)
                                          or faults.loss(camera.image))
            if not problems.get(camera.depth):
                problems[camera.depth] = faults.loss(camera.depth)
            present = self._fault_log.update(
                (*problems.items(), (camera.image, camera.picture_fault)))
            newest = camera.image.newest
            age = None if newest is None else self._age(newest)
            statuses.append(camera_status(
                camera.settings.name, camera.image, age, max_age_s, camera.malformed, present))
        odometry = self.odometry.stream
        if odometry.name:
            problems = self._problems([odometry], now, max_age_s)
            if not problems.get(odometry):
                newest = odometry.newest
                problems[odometry] = faults.odometry(
                    odometry, self._node.get_publishers_info_by_topic(odometry.topic),
                    now - newest.arrived if newest and max_age_s else 0.0)
            statuses.append(odometry_status(
                odometry, self.odometry.malformed, self._fault_log.update(problems.items())))
        return statuses

    def _problems(
        self, streams: list[Stream], now: float, max_age_s: float
    ) -> dict[Stream, Fault | None]:
        problems: dict[Stream, Fault | None] = {}
        for stream in streams:
            stream.tick(now)
            newest, since = stream.newest, stream.opened
            if newest is not None:
                # an optional topic may come only once, and so may images where any age will do
                since = newest.arrived if max_age_s and not stream.optional else None
            patience = max(faults.SILENCE_S, max_age_s)
            if stream.refused is not None:
                problems[stream] = Fault('bad stamp', str(stream.refused))
            elif since is not None and now - since > patience:
                problems[stream] = self._why_silent(stream)
        return problems

    def _why_silent(self, stream: Stream) -> Fault | None:
        quality = stream.quality
        if quality is None:
            return None
        return faults.silence(stream, quality,
                              self._node.get_publishers_info_by_topic(stream.topic))

    def status(self, name: str) -> CameraStatus:
        """The message about what has arrived from a camera so far."""
        camera = self.cameras[name]
        for stream in camera.streams:
            stream.poll()
        newest = camera.image.newest
        status = CameraStatus(
            name=name, image_topic=camera.image.topic, camera_info_topic=camera.info.topic,
            depth_topic=camera.depth.topic, images_received=camera.image.received,
            camera_info_valid=camera.info.received > 0, depth_valid=camera.depth.received > 0)
        with contextlib.suppress(BadEncodingError):  # then image_valid stays false
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

    def frames(
        self, task: Task, request: Any, settings: Settings, stopped: Callable[[], bool]
    ) -> tuple[Frame, ...]:
        """The images of a request, or the newest ones or clips of the cameras that it names.

        Args:
            task: says whether it is about clips.
            request: a goal, or the request of a service.
            settings: the defaults of what the request leaves out.
            stopped: asked while waiting for images; True ends the wait.

        Raises:
            InvalidRequestError: the request has more than one of images, compressed images and
                cameras, or names a camera that is not there, or a negative ``max_image_age``.
            MimoError: as ``frame`` does.

        """
        given = [*request.images, *request.compressed_images]
        if sum(map(bool, (request.images, request.compressed_images, request.cameras))) > 1:
            text = 'the request has several of images, compressed_images and cameras; give one'
            raise InvalidRequestError(text)
        if given:
            return tuple(map(self._frame_of, given))
        age = seconds(request.max_image_age)
        if age < 0:
            text = f'max_image_age is {age:g} s; give a positive one, or 0 for the default'
            raise InvalidRequestError(text)
        names = request.cameras or ['']
        for name in names:  # all cameras on demand are subscribed at once
            self.want(name)
        limits = age or settings.max_image_age, settings.wait_for_image, stopped
        spatial = bool(getattr(request, 'target_frame', ''))  # else no depth is decoded
        if task.media.is_timed:
            clips = [self.clip(name, *limits, spatial=spatial) for name in names]
            if task.media.is_video:
                clips = [frames_of_video(clip) for clip in clips]
            length = min(map(len, clips))  # the clips of several views are equally long
            return tuple(frame for clip in clips for frame in clip[-length:])
        return tuple(self.frame(name, *limits, spatial=spatial) for name in names)

    def _frame_of(self, message: Image | CompressedImage) -> Frame:
        """The frame of an image in a request; equal pixels have the same ``image_id``."""
        picture = (decode_reduced(message, self._limits) if isinstance(message, CompressedImage)
                   else decode_raw(message))
        if picture.white:
            self._node.get_logger().warning(
                f'the 16-bit values of an image in a request seem to end at {picture.white}, so '
                'it is nearly black; scale them to 65535', once=True)
        pixels, header = picture.pixels, message.header
        digest = hashlib.blake2b(pixels.data.cast('B'), digest_size=16).digest()
        return Frame(pixels, nanoseconds_of(header.stamp), header.frame_id, size=picture.size,
                     image_id=(picture.size, pixels.shape, digest))

    def frame(
        self, name: str, max_age_s: float, wait_s: float, stopped: Callable[[], bool], *,
        spatial: bool = True,
    ) -> Frame:
        """The newest image of a camera, with the depth, intrinsics and odometry of its stamp.

        Args:
            name: of the camera; empty: the first camera.
            max_age_s: age of the oldest image to use, seconds of ROS time; 0: any age.
            wait_s: how long to wait for an image that is not older, steady seconds; and, after
                subscribing, for depth and intrinsics.
            stopped: asked while waiting; True ends the wait.
            spatial: whether depth and intrinsics are wanted, as far as they have arrived.

        Raises:
            InvalidRequestError: there is no such camera.
            NoImageError: nothing arrived.
            StaleImageError: the newest image is too old.
            BadEncodingError: the image cannot be decoded.

        """
        camera = self.camera(name)
        end = time.monotonic() + wait_s
        while not self._has(camera, max_age_s, wait_s, spatial=spatial):
            if time.monotonic() >= end or stopped():
                break
            time.sleep(0.005)
        message = camera.image.newest
        if message is None:
            raise camera.image.refused or self._no_image(camera.image)
        age = self._age(message)
        if max_age_s and age > max_age_s:
            camera.frame(message, None, spatial=False)  # raises where even the stamp is unreadable
            silent = time.monotonic() - message.arrived > faults.SILENCE_S
            fault = self._why_silent(camera.image) if silent else faults.loss(camera.image)
            why = fault.text if fault else (
                'raise max_image_age, or see whether the camera still publishes and whether both '
                'clocks agree (use_sim_time with a bag)')
            msg = (f'the newest image of {camera.settings.name} is {age:.2f} s old and the limit '
                   f'is {max_age_s:g} s; {why}')
            if camera.image.refused is not None:
                msg = f'{camera.image.refused}; {msg}'
            raise StaleImageError(msg if message.stamp_ns else faults.no_stamp(camera.image).text)
        return camera.frame(message, self.odometry.at(message.stamp_ns), spatial=spatial)

    def clip(
        self, name: str, max_age_s: float, wait_s: float, stopped: Callable[[], bool], *,
        spatial: bool = False,
    ) -> tuple[Frame, ...]:
        """The clip of a camera: its newest image and the ones before it, oldest first.

        Its length and rate are parameters of the camera. Takes and raises what ``frame`` does.
        Earlier images that cannot be decoded are left out.
        """
        newest = self.frame(name, max_age_s, wait_s, stopped, spatial=spatial)
        camera, frames = self.cameras[newest.camera], list[Frame]()
        for message in camera.image.before(newest.stamp_ns or round(newest.arrived * 1e9)):
            with contextlib.suppress(BadEncodingError):
                frames.append(camera.frame(
                    message, self.odometry.at(message.stamp_ns), spatial=False))
        return (*frames, newest)

    def _has(
        self, camera: CameraStreams, max_age_s: float, wait_s: float, *, spatial: bool
    ) -> bool:
        """Look whether the images of a request have arrived."""
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

    def camera(self, name: str) -> CameraStreams:
        """Return a camera by its name; empty: the first one.

        Raises:
            InvalidRequestError: there is no such camera.

        """
        camera = self.cameras.get(name) if name else next(iter(self.cameras.values()))
        if camera is None:
            msg = f'there is no camera {name!r}; this node has {", ".join(self.cameras)}'
            raise InvalidRequestError(msg)
        return camera

    def want(self, name: str) -> None:
        """Keep a camera on demand subscribed for some time; ``frame`` does it, too."""
        camera = self.camera(name)
        if camera.settings.on_demand:
            camera.wanted = time.monotonic() + _IDLE_S
            if camera.image.opened is None and self._node.executor is not None:
                self._node.executor.create_task(self._open, camera)
