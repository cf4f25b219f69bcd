"""Measure what following a point costs the node, and how late it is told, at 1080p and 30 Hz.

The node, the camera and a plain node that converts each image are processes of their own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from ros_side import RATE_HZ, THINGS, TOPIC, Client, served_beside_camera

_THIS = [sys.executable, str(Path(__file__).resolve())]
_SETTLE_S = 2.0


def convert(seconds: float) -> None:
    """Convert each image to RGB for some seconds; print the CPU's share, and how late it was."""
    import cv2
    import numpy as np
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from mimo_embodied_ros.ros.stamps import nanoseconds_of

    rclpy.init()
    node = rclpy.create_node('plain')
    delays: list[float] = []

    def on_image(image: Any) -> None:
        pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        now_ns = node.get_clock().now().nanoseconds
        delays.append((now_ns - nanoseconds_of(image.header.stamp)) / 1e6)

    node.create_subscription(Image, TOPIC, on_image, qos_profile_sensor_data)
    end = time.monotonic() + _SETTLE_S
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    delays.clear()
    process, begin = psutil.Process(), time.monotonic()
    before = sum(process.cpu_times()[:2])
    while time.monotonic() < begin + seconds:
        rclpy.spin_once(node, timeout_sec=0.1)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begin)
    print(json.dumps({'core_share': share, 'delay_ms': statistics.median(delays)}))


class Tracker(Client):
    """A client that has a point followed.

    Attributes:
        delays: of the newest images' points, milliseconds since the image's stamp.
        states: of the points.

    """

    def __init__(self, domain: int, log: Path) -> None:
        """Join the domain."""
        super().__init__(domain, log)
        from rclpy.action import ActionClient

        from mimo_embodied_ros import action

        self.delays: list[float] = []
        self.states: list[int] = []
        self._track = ActionClient(
            self._node, action.TrackAffordances, '/mimo_embodied/track_affordances')
        self._goal = action.TrackAffordances.Goal(query=THINGS[0].name)

    def track(self) -> Any:
        """Send a goal; return its handle."""
        return self._wait(self._track.send_goal_async(self._goal, self._on_feedback))

    def _on_feedback(self, message: Any) -> None:
        from mimo_embodied_ros.ros.stamps import nanoseconds_of

        tracked, now_ns = message.feedback.affordances, self._node.get_clock().now().nanoseconds
        self.delays.append((now_ns - nanoseconds_of(tracked.header.stamp)) / 1e6)
        self.states += [point.state for point in tracked.points]

    def spin(self, seconds: float) -> None:
        """Hear what comes for some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(0.1)

    def end(self, handle: Any) -> None:
        """Cancel the goal."""
        self._wait(handle.cancel_goal_async())


def measure(seconds: float) -> dict[str, Any]:
    """Return shares of a core and delays, with no point that is followed and with one."""
    command = [*_THIS, 'measure', str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _measure(seconds: float) -> dict[str, Any]:
    with served_beside_camera(Tracker) as served:
        client, process = served.client, psutil.Process(served.process.pid)

        def share() -> float:
            before, begin = sum(process.cpu_times()[:2]), time.monotonic()
            client.spin(seconds)
            return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - begin)

        client.spin(_SETTLE_S)
        idle = share()
        handle = client.track()
        client.spin(_SETTLE_S)
        client.delays.clear()
        client.states.clear()
        tracking = share()
        delay, images = statistics.median(client.delays), len(client.delays)
        tracked = client.states.count(0) / max(1, len(client.states))
        client.end(handle)
        plain = json.loads(subprocess.run(
            [*_THIS, 'convert', str(seconds)], check=True, stdout=subprocess.PIPE,
            env=served.environment).stdout)
        return {
            'node_images_hz': images / seconds,
            'node_tracked_share': tracked, 'node_idle_core_share': idle,
            'node_core_share': tracking, 'plain_core_share': plain['core_share'],
            'node_cpu_ratio': (tracking - idle) / plain['core_share'],
            'node_delay_ms': delay, 'plain_delay_ms': plain['delay_ms'],
            'node_delay_frames': (delay - plain['delay_ms']) * RATE_HZ / 1e3}


if __name__ == '__main__':
    if sys.argv[1] == 'convert':
        convert(float(sys.argv[2]))
    else:
        print(json.dumps(_measure(float(sys.argv[2]))))
