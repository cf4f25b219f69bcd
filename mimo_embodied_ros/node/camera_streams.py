"""The topics of one camera, whose newest messages are decoded when a request needs them."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mimo_embodied_ros.core.errors import MimoError, NoCameraInfoError, NoDepthError
from mimo_embodied_ros.core.frames import Frame, Intrinsics, Odometry, View
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.geometry.camera_model import CameraModel
from mimo_embodied_ros.ros.calibration import intrinsics_of
from mimo_embodied_ros.ros.images import (
    decode_compressed_depth,
    decode_depth,
    decode_raw,
    decode_reduced,
)
from mimo_embodied_ros.ros.streams import Clip, Decoded, Message, Stream, read
from mimo_embodied_ros.tracking.small_image import (
    WIDEST,
    CameraPlace,
    SmallImage,
    small_image,
)

from . import faults

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecycleNode

    from mimo_embodied_ros.geometry.extrinsics import Transform

    from .faults import Fault
    from .settings import CameraSettings

T = TypeVar('T')
_DEPTH_TOLERANCE_NS = 50_000_000  # largest difference of the stamps of an image and its depth
_DEPTH_BYTES = 2  # of a pixel in 16UC1
# Of JPEGs, which are decoded at twice that width: as large as a small image, where that is enough.
_TRACKED = PixelLimits(min_pixels=28**2, max_pixels=(WIDEST // 2) ** 2 * 9 // 16)
_KEPT = 8  # messages of depth and of camera info, to find the one that belongs to an image


class CameraStreams:
    """The images, depth and calibration of one camera; decoded when a request needs them.

    Attributes:
        image, info, depth, depth_info: its streams; ``streams`` are those that have a topic.
        malformed: number of messages that could not be used, by cause; but for their stamps, only
            messages that a request needed are looked at.
        picture_fault: what is wrong with the picture that was decoded last, though it is shown.
        wanted: until when a request needs the camera, ``time.monotonic()`` seconds.

    """

    def __init__(self, node: LifecycleNode, settings: CameraSettings, limits: PixelLimits) -> None:
        """Prepare its streams; ``limits`` are the areas that the model sees."""
        self._node, self.settings = node, settings
        name = settings.name
        self.malformed: Counter[str] = Counter()
        stream = partial(Stream, node, malformed=self.malformed)
        self.image = stream(
            CompressedImage if settings.compressed else Image, settings.image_topic,
            f'{name}.image_topic',
            clip=Clip(settings.clip_frames, settings.clip_rate, settings.clip_mb * 1_000_000))
        self.info = stream(CameraInfo, settings.camera_info_topic,
                           f'{name}.camera_info_topic', kept=_KEPT, optional=True)
        self.depth = stream(
            CompressedImage if settings.depth_compressed else Image, settings.depth_topic,
            f'{name}.depth_topic', kept=_KEPT)
        self.depth_info = stream(CameraInfo, settings.depth_info_topic,
                                 f'{name}.depth_info_topic', kept=_KEPT, optional=True)
        self.streams = [
            s for s in (self.image, self.info, self.depth, self.depth_info) if s.name]
        self.picture_fault: Fault | None = None
        self.wanted = 0.0
        self._pictures = Decoded(
            partial(self._picture, limits=limits), self.malformed, 1 + settings.clip_frames)
        self._tracked = Decoded(partial(self._picture, limits=_TRACKED), self.malformed)
        self._depths = Decoded(self._depth, self.malformed)
        self._intrinsics = Decoded(
            partial(intrinsics_for, rectified=settings.rectified), self.malformed)
        self._depth_intrinsics = Decoded(intrinsics_for, self.malformed)

    def frame(self, image: Message, odometry: Odometry | None, *, spatial: bool = True) -> Frame:
        """Return an image with what belongs to its stamp, decoded once for all requests.

        What only 3D positions need and cannot be used is left out; ``no_3d`` of the frame says why.

        Args:
            image: of this camera.
            odometry: at its stamp.
            spatial: with depth and intrinsics, as far as they have arrived.

        Raises:
            BadEncodingError: the image cannot be decoded.

        """
        frame = replace(self._pictures.of(image), odometry=odometry)
        if not spatial:
            return frame
        for stream in (self.depth, self.info, self.depth_info):
            stream.poll()  # after the image, so that messages from before it are there
        errors = [frame.no_3d] if frame.no_3d else []

        def usable(
            decoded: Decoded[T], stream: Stream, message: Message | None, *more: Any
        ) -> T | None:
            if message is None:
                if stream.refused is not None:
                    errors.append(stream.refused)
                return None
            try:
                return decoded.of(message, *more)
            except MimoError as error:
                errors.append(error.with_traceback(None))
            return None

        info, depth = self.info.nearest(frame.stamp_ns), self.depth.nearest(frame.stamp_ns)
        if error := self._no_depth(frame, depth):
            errors.append(error)
            depth = None
        if info is None and frame.stamp_ns:
            errors.append(NoCameraInfoError(self._why_missing(self.info)))
        lens = usable(self._intrinsics, self.info, info, frame.width, frame.height)
        metres, depth_frame = usable(self._depths, self.depth, depth) or (None, '')
        view = None
        # without it, the depth is registered to the image
        if metres is not None and not self._is_registered(depth_frame, frame):
            depth_info, (rows, columns) = self.depth_info.nearest(frame.stamp_ns), metres.shape
            if depth_info is None:
                errors.append(NoCameraInfoError(
                    'the depth image is not registered (set depth_registered where it is), and '
                    f'its camera info is missing: {self._why_missing(self.depth_info)}'))
            view = View(depth_frame, usable(
                self._depth_intrinsics, self.depth_info, depth_info, columns, rows))
        no_3d = min(errors, key=lambda error: error.code, default=None)
        return replace(frame, intrinsics=lens, depth=metres, depth_view=view, no_3d=no_3d)

    def tracked(
        self, message: Message, pose_of: Callable[[str, int], Transform | None]
    ) -> tuple[Frame, SmallImage]:
        """Return an image, and the same as it is tracked: with depth in its view, where there is.

        Args:
            message: of this camera.
            pose_of: returns where a frame was at a stamp; None: not known.

        Raises:
            BadEncodingError: the image cannot be decoded.

        """
        frame = self._tracked.of(message)
        for stream in (self.depth, self.info):
            stream.poll()
        depth, info = self.depth.nearest(frame.stamp_ns), self.info.nearest(frame.stamp_ns)
        metres, place = None, None
        with contextlib.suppress(MimoError):
            if depth is not None and _apart_ns(frame, depth) <= _DEPTH_TOLERANCE_NS:
                there, depth_frame = self._depths.of(depth)
                metres = there if self._is_registered(depth_frame, frame) else None
        pose = pose_of(frame.frame_id, frame.stamp_ns)
        with contextlib.suppress(MimoError):
            if pose is not None and info is not None:
                lens = self._intrinsics.of(info, frame.width, frame.height)
                if lens is not None:
                    place = CameraPlace(
                        CameraModel(lens, frame.width, frame.height).matrix, pose)
        return frame, small_image(
            frame.pixels, message.time_ns, columns=frame.width, depth=metres, camera=place)

    def _is_registered(self, depth_frame: str, frame: Frame) -> bool:
        """Whether depth in a frame of the robot is in the view of the image."""
        return self.settings.depth_registered or depth_frame in {'', frame.frame_id}

    def _no_depth(self, frame: Frame, depth: Message | None) -> NoDepthError | None:
        """Why the depth with the nearest stamp is not that of the image; None where it is."""
        if not frame.stamp_ns:
            return NoDepthError(faults.no_stamp(self.image).text)
        if depth is None:  # without a topic there can be none
            return NoDepthError(self._why_missing(self.depth, frame)) if self.depth.name else None
        if not depth.stamp_ns:
            return NoDepthError(faults.no_stamp(self.depth).text)
        apart_ns = _apart_ns(frame, depth)
        if apart_ns <= _DEPTH_TOLERANCE_NS:
            return None
        newest = self.depth.newest
        if newest and time.monotonic() - newest.arrived > faults.SILENCE_S:
            return NoDepthError(self._why_missing(self.depth))
        if fault := faults.loss(self.depth):
            return NoDepthError(fault.text)
        return NoDepthError(
            f'the nearest depth image on {self.depth.topic} is {apart_ns / 1e9:.3f} s from the '
            f'image of {self.settings.name}, more than {_DEPTH_TOLERANCE_NS / 1e9:g} s; see '
            'whether it is still published and whether both clocks agree')

    def _why_missing(self, stream: Stream, frame: Frame | None = None) -> str:
        """Why nothing arrives on a topic; a depth image is as large as the picture of a frame."""
        fault, quality = None, stream.quality
        raw = frame is not None and not self.settings.depth_compressed
        if quality is not None:
            fault = faults.silence(
                stream, quality, self._node.get_publishers_info_by_topic(stream.topic), needed=True,
                size=_DEPTH_BYTES * frame.width * frame.height if frame and raw else 0)
        return fault.text if fault else f'nothing has arrived on {stream.topic} yet; ask again'

    def is_complete(self, wait_s: float) -> bool:
        """Whether depth and camera info have arrived, or need not be waited for any longer."""
        opened = self.image.opened
        for stream in self.streams:
            stream.poll()
        return (opened is None or time.monotonic() > opened + wait_s
                or not any(stream.is_awaited for stream in self.streams))

    def _picture(self, message: Message, limits: PixelLimits) -> Frame:
        image, no_3d = read(message, self.image.kind), None
        if self.settings.compressed:
            picture = decode_reduced(image, limits, self.settings.levels)
        else:
            picture = decode_raw(image, self.settings.levels)
        self.picture_fault = faults.of_picture(self.image, picture)
        if picture.turned and self.picture_fault:
            no_3d = NoCameraInfoError(self.picture_fault.text)
        return Frame(
            picture.pixels, message.stamp_ns, image.header.frame_id, self.settings.name,
            size=picture.size, no_3d=no_3d, arrived=message.arrived)

    def _depth(self, message: Message) -> tuple[NDArray[np.float32], str]:
        """Depth in metres, and the frame_id of its message."""
        decode = decode_compressed_depth if self.settings.depth_compressed else decode_depth
        image = read(message, self.depth.kind)
        return decode(image), image.header.frame_id


def _apart_ns(frame: Frame, message: Message) -> float:
    """Between the stamps of both; infinite where one has none."""
    stamped = frame.stamp_ns and message.stamp_ns
    return abs(message.stamp_ns - frame.stamp_ns) if stamped else math.inf


def intrinsics_for(
    message: Message, width: int, height: int, *, rectified: bool = False
) -> Intrinsics | None:
    """Read the intrinsics of an image of this size from a serialised CameraInfo.

    Raises:
        BadEncodingError: the bytes are no CameraInfo.
        NoCameraInfoError: its numbers describe no camera, or not one of an image of this size.

    """
    intrinsics = intrinsics_of(read(message, CameraInfo), rectified=rectified)
    if intrinsics is not None:
        CameraModel(intrinsics, width, height)  # raises
    return intrinsics
