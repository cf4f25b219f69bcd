"""A robot for tests that measures depth and knows where it is; over real DDS."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.duration import Duration
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mimo_embodied_ros import action
from support.robot import FRAME, Robot
from support.tabletop import SCENE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEPTH = 1.5  # metres, of everything seen
K = [500.0, 0.0, 319.5, 0.0, 500.0, 239.5, 0.0, 0.0, 1.0]
# the camera looks ahead from 0.2 m before and 0.5 m above the base; the depth camera beside it
FILE = f"""
- parent: base_link
  child: {FRAME}
  translation: [0.2, 0.0, 0.5]
  rotation: [-0.5, 0.5, -0.5, 0.5]
- parent: {FRAME}
  child: depth_optical_frame
  translation: [0.03, 0.0, 0.0]
  rotation: [0, 0, 0, 1]
"""
LEFT = math.sqrt(0.5)  # z and w of a quarter turn to the left


def flat_depth(header: Header) -> Image:
    """A depth image of one distance."""
    flat = np.full((480, 640), round(DEPTH * 1000), '<u2')
    return Image(header=header, width=640, height=480, step=1280, encoding='16UC1',
                 data=flat.tobytes())


class Seeing(Robot):
    """A robot with depth, and odometry from 50 ms before and after each image."""

    def __init__(
        self, ros: Any, folder: Path, drives: Sequence[float] = (1.0, 3.0), **values: Any
    ) -> None:
        self.drives = drives  # metres along x before and after each image
        file = folder / 'extrinsics.yaml'
        file.write_text(FILE, 'utf-8')
        super().__init__(ros, camera__depth_topic='depth/image', extrinsics_file=str(file),
                         max_image_age=0.0, **values)
        make = self.other.create_publisher
        self.info, self.depth, self.depth_info, self.odometry = (
            make(CameraInfo, 'camera/camera_info', 1), make(Image, 'depth/image', 1),
            make(CameraInfo, 'depth/camera_info', 1), make(Odometry, 'odom', 10))
        self.start()
        ros.wait_for(lambda: all(p.get_subscription_count() for p in (
            self.info, self.depth, self.depth_info, self.odometry)))

    def see_depth(self, frame: str = FRAME, pixels: Any = SCENE.pixels) -> Header:
        """Publish one image with all that belongs to it, and wait until the node has it."""
        header = self.see(pixels)
        stamp = Time.from_msg(header.stamp)
        for x, seconds in zip(self.drives, (-0.05, 0.05), strict=True):
            odometry = Odometry(child_frame_id='base_link')
            odometry.header.frame_id = 'odom'
            odometry.header.stamp = (stamp + Duration(seconds=seconds)).to_msg()
            odometry.pose.pose.position.x = x
            turn = odometry.pose.pose.orientation
            turn.z = turn.w = LEFT
            odometry.twist.twist.linear.x = 20.0
            stream = self.node.session.intake.odometry.stream
            received = stream.received
            self.odometry.publish(odometry)
            self.ros.wait_for(lambda s=stream, n=received: s.received > n)
        for publisher, name in ((self.info, FRAME), (self.depth_info, frame)):
            publisher.publish(CameraInfo(
                header=Header(stamp=header.stamp, frame_id=name), width=640, height=480, k=K))
        self.depth.publish(flat_depth(Header(stamp=header.stamp, frame_id=frame)))

        def ready() -> bool:
            intake = self.node.session.intake
            seen = intake.frame('camera', 0.0, 0.0, lambda: False)
            view = seen.depth_view
            base = intake.odometry.at(seen.stamp_ns)
            return (seen.depth is not None and seen.intrinsics is not None
                    and (frame == FRAME or (view is not None and view.intrinsics is not None))
                    and base is not None and base.stamp_ns == seen.stamp_ns)

        self.ros.wait_for(ready)
        return header

    def find(self, target_frame: str) -> Any:
        return self.ask(action.FindAffordances, 'find_affordances', query='red cube',
                        target_frame=target_frame).result
