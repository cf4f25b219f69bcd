"""The topics of one camera, whose newest messages are decoded when a request needs them."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mimo_embodied_ros.core.frames import Frame, Intrinsics, Odometry, View
from mimo_embodied_ros.geometry.camera_model import CameraModel
from mimo_embodied_ros.ros.calibration import intrinsics_of
from mimo_embodied_ros.ros.images import (
    decode_compressed_depth,
    decode_depth,
    decode_image,
    decode_reduced,
)
from mimo_embodied_ros.ros.streams import Clip, Decoded, Message, Stream, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rclpy.lifecycle import LifecycleNode

    from mimo_embodied_ros.core.resize import PixelLimits

    from .settings import CameraSettings

_DEPTH_TOLERANCE_NS = 50_000_000  # largest difference of the stamps of an image and its depth
_KEPT = 8  # messages of depth and of camera info, to find the one that belongs to an image


class CameraStreams:
    """The images, depth and calibration of one camera; decoded when a request needs them.

    Attributes:
        image, info, depth, depth_info: its streams; ``streams`` are those that have a topic.
        malformed: number of messages that could not be used, by cause; only messages that a request
            needed are looked at.
        wanted: until when a request needs the camera, ``time.monotonic()`` seconds.

    """

    def __init__(self, node: LifecycleNode, settings: CameraSettings, limits: PixelLimits) -> None:
        """Prepare its streams; ``limits`` are the areas that the model sees."""
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
            partial(intrinsics_for, rectified=settings.rectified), self.malformed)
        self._depth_intrinsics = Decoded(intrinsics_for, self.malformed)

    def frame(self, image: Message, odometry: Odometry | None, *, spatial: bool = True) -> Frame:
        """Return an image with what belongs to its stamp, decoded once for all requests.

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
            stream.poll()  # after the image, so that messages from before it are there
        depth, info = self.depth.nearest(image.stamp_ns), self.info.nearest(image.stamp_ns)
        if depth and abs(depth.stamp_ns - image.stamp_ns) > _DEPTH_TOLERANCE_NS:
            depth = None
        lens = self._intrinsics.of(info, frame.width, frame.height) if info else None
        metres, depth_frame = self._depths.of(depth) if depth else (None, '')
        view = None if metres is None else self._view(metres, depth_frame, frame)
        return replace(frame, intrinsics=lens, depth=metres, depth_view=view)

    def _view(self, metres: NDArray[np.float32], depth_frame: str, frame: Frame) -> View | None:
        """The camera of the depth; None where the depth is registered to the image."""
        if self.settings.depth_registered or depth_frame in {'', frame.frame_id}:
            return None
        info, (rows, columns) = self.depth_info.nearest(frame.stamp_ns), metres.shape
        lens = self._depth_intrinsics.of(info, columns, rows) if info else None
        return View(depth_frame, lens)

    def is_complete(self, wait_s: float) -> bool:
        """Whether depth and camera info have arrived, or need not be waited for any longer."""
        opened = self.image.opened
        for stream in self.streams:
            stream.poll()
        return (opened is None or time.monotonic() > opened + wait_s
                or not any(stream.is_awaited for stream in self.streams))

    def _picture(self, message: Message) -> Frame:
        size, image = None, read(message, self.image.kind)
        if self.settings.compressed:
            pixels, size, *_ = decode_reduced(image, self._limits)
        else:
            pixels = decode_image(image)
        return Frame(
            pixels, message.stamp_ns, image.header.frame_id, self.settings.name, size=size)

    def _depth(self, message: Message) -> tuple[NDArray[np.float32], str]:
        """Depth in metres, and the frame_id of its message."""
        decode = decode_compressed_depth if self.settings.depth_compressed else decode_depth
        image = read(message, self.depth.kind)
        return decode(image), image.header.frame_id


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
