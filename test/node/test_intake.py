"""Sensors over real DDS: when they are subscribed, what is wrong with them, what is malformed."""

from __future__ import annotations

import io
import json
import logging
import math
import random
import re
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from builtin_interfaces.msg import Time as Stamp
from diagnostic_msgs.msg import DiagnosticStatus
from domains import claimed_domain
from geometry_msgs.msg import Pose, PoseWithCovariance, Quaternion
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from PIL import Image as PILImage
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from ros_side import camera_command, environment_in
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from mimo_embodied_ros.action import AnswerSpatial
from mimo_embodied_ros.cli.processes import running
from mimo_embodied_ros.core.ego_motion import format_past_path
from mimo_embodied_ros.core.errors import (
    BadEncodingError,
    InvalidRequestError,
    MimoError,
    NoCameraInfoError,
    NoImageError,
    StaleImageError,
)
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import TASKS, Task
from mimo_embodied_ros.geometry.camera_model import CameraModel
from mimo_embodied_ros.node import faults, intake
from mimo_embodied_ros.node.camera_streams import intrinsics_for
from mimo_embodied_ros.node.intake import Intake
from mimo_embodied_ros.node.settings import read_settings
from mimo_embodied_ros.ros.images import decode_compressed, decode_image, encode_image
from mimo_embodied_ros.ros.streams import Clip, Message, Stream
from mimo_embodied_ros.ros.streams import read as read_message
from support.programs import run_python
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMITS = PixelLimits(28 * 28, 280 * 280)
FRAME = 'camera_optical_frame'
PIXELS = np.arange(48 * 64 * 3, dtype=np.uint32).astype(np.uint8).reshape(48, 64, 3)
K = [50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
TEXT = st.text(st.characters(exclude_categories=['Cs'], exclude_characters='\0'), max_size=40)


class Eyes:
    """An intake on a node of its own, diagnosed 20 times a second, and a driver of its camera."""

    def __init__(self, ros: Any, max_age_s: float = 0.0, **values: Any) -> None:
        values = {'camera.reliable': True, **values}
        self.ros = ros
        self.node = ros.node('mimo_embodied', LifecycleNode, parameter_overrides=[
            Parameter(name, value=value) for name, value in values.items()])
        self.driver = ros.node('driver')
        self.begin = self.driver.get_clock().now()
        self.warnings: list[str] = []
        self.intake = Intake(self.node, read_settings(self.node), LIMITS)
        # /rosout loses some of the log
        self.intake._fault_log = faults.FaultLog(self.warnings.append)
        self.statuses: dict[str, Any] = {}
        self.diagnoses = 0
        self.node.create_timer(0.05, lambda: self._diagnose(max_age_s),
                               clock=rclpy.clock.Clock())  # also without /clock
        self.publishers: dict[str, Any] = {}

    def _diagnose(self, max_age_s: float) -> None:
        self.statuses = {s.name: s for s in self.intake.diagnoses(max_age_s)}
        self.diagnoses += 1

    def publisher(self, topic: str, kind: Any = Image, qos: Any = 10) -> Any:
        if topic not in self.publishers:
            self.publishers[topic] = self.driver.create_publisher(kind, topic, qos)
        return self.publishers[topic]

    def stamp(self, age_s: float = 0.0) -> Header:
        now = self.driver.get_clock().now() - rclpy.duration.Duration(nanoseconds=int(age_s * 1e9))
        return Header(stamp=now.to_msg(), frame_id=FRAME)

    def at(self, seconds: float) -> Header:
        """Return a header with a stamp so many seconds after the test's beginning."""
        stamp = self.begin + rclpy.duration.Duration(seconds=seconds)
        return Header(stamp=stamp.to_msg(), frame_id=FRAME)

    def send(self, stream: Stream, message: Any) -> None:
        """Publish on a stream's topic, a message or the bytes of one, and wait for it."""
        publisher = self.publisher(stream.topic, stream.kind)
        self.ros.wait_for(publisher.get_subscription_count)
        received = stream.received
        publisher.publish(message)
        self.ros.wait_for(lambda: stream.poll() or stream.received > received)

    def see(self, age_s: float = 0.0) -> Header:
        header = self.stamp(age_s)
        self.send(self.camera.image, encode_image(PIXELS, header))
        return header

    @property
    def camera(self) -> Any:
        return self.intake.cameras['camera']

    def frame(self, wait_s: float = 0.0, **options: Any) -> Any:
        return self.intake.frame('', 0.0, wait_s, lambda: False, **options)

    def values(self, name: str = 'camera camera') -> dict[str, str]:
        status = self.statuses.get(name)
        return {value.key: value.value for value in status.values} if status else {}

    def wait_for_diagnoses(self, number: int = 5) -> None:
        """Wait until the intake has been diagnosed so many more times."""
        enough = self.diagnoses + number
        self.ros.wait_for(lambda: self.diagnoses >= enough)

    def wait_for_fault(self, says: str, name: str = 'camera camera') -> str:
        """Wait until diagnostics and log warn of this; return the warning."""
        self.ros.wait_for(lambda: name in self.statuses and says in self.statuses[name].message)
        assert self.statuses[name].level == DiagnosticStatus.WARN
        warnings = self.ros.wait_for(
            lambda: [warning for warning in self.warnings if says in warning])
        return warnings[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, 'SILENCE_S', 0.5)
    monkeypatch.setattr(intake, '_IDLE_S', 0.5)


# -- on demand


def test_a_camera_on_demand_is_subscribed_while_requests_come(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    eyes = Eyes(ros, **{'camera.on_demand': True})
    publisher = eyes.publisher('camera/image_raw')
    timer = eyes.driver.create_timer(
        0.03, lambda: publisher.publish(encode_image(PIXELS, eyes.stamp())))
    for _ in range(2):
        ros.wait_for(lambda: not publisher.get_subscription_count())
        ros.wait_for(lambda: 'on demand' in eyes.statuses['camera camera'].message)
        assert eyes.statuses['camera camera'].level == DiagnosticStatus.OK
        assert eyes.camera.image.newest is None
        begin = eyes.driver.get_clock().now().nanoseconds
        assert eyes.frame(wait_s=WAIT_S).stamp_ns >= begin
    monkeypatch.setattr(intake, '_IDLE_S', 600.0)
    eyes.frame(wait_s=WAIT_S)
    opened = eyes.camera.image.opened
    eyes.wait_for_diagnoses()
    eyes.frame(wait_s=WAIT_S)
    assert eyes.camera.image.opened == opened
    ros.call(eyes.driver.destroy_timer, timer)
    eyes.camera.wanted = 0.0
    ros.wait_for(lambda: eyes.camera.image.opened is None)
    with pytest.raises(NoImageError, match=r'/camera/image_raw \(1 publishers\)'):
        eyes.frame(wait_s=0.1)
    with pytest.raises(InvalidRequestError, match='this node has camera'):
        eyes.intake.want('left')


def test_depth_and_camera_info_are_waited_for_after_subscribing(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    eyes = Eyes(ros, **{'camera.on_demand': True, 'camera.depth_topic': 'depth'})
    publishers = [eyes.publisher('camera/image_raw'), eyes.publisher('depth'),
                  eyes.publisher('camera/camera_info', CameraInfo)]
    ros.wait_for(lambda: eyes.camera.image.opened is None)
    monkeypatch.setattr(intake, '_IDLE_S', 600.0)
    frames: list[Any] = []
    asker = threading.Thread(target=lambda: frames.append(eyes.frame(wait_s=WAIT_S)))
    asker.start()
    for publisher in publishers:
        ros.wait_for(publisher.get_subscription_count)
    header = eyes.see()
    eyes.send(eyes.camera.info, CameraInfo(header=header, k=K))
    eyes.send(eyes.camera.depth, Image(
        header=header, width=2, height=2, step=4, encoding='16UC1', data=bytes(range(8))))
    asker.join(WAIT_S)
    assert frames[0].depth is not None
    assert frames[0].intrinsics is not None


def test_an_intake_that_was_closed_does_not_open(ros: Any) -> None:
    eyes = Eyes(ros, **{'camera.on_demand': True})
    publisher = eyes.publisher('camera/image_raw')
    ros.wait_for(lambda: not publisher.get_subscription_count())
    ros.call(eyes.intake.close)
    with pytest.raises(NoImageError):
        eyes.frame(wait_s=0.2)
    assert not publisher.get_subscription_count()


# -- in the middleware until a request needs them


class Waiting:
    """A stream that only the test polls, and a publisher of its topic."""

    def __init__(self, ros: Any, kind: Any = Image, **options: Any) -> None:
        self.ros, self.seen = ros, 0
        self.stream = Stream(ros.node('some'), kind, 'topic', '', **options)
        self.stream.open(reliable=True)
        self.driver = ros.node('driver')
        self.publisher = self.driver.create_publisher(kind, 'topic', 10)
        ros.node('other').create_subscription(kind, 'topic', self._see, 10)
        ros.wait_for(lambda: self.publisher.get_subscription_count() == 2)

    def _see(self, _: Any) -> None:
        self.seen += 1

    def publish(self, *seconds: int) -> None:
        """Publish messages with these stamps, until another subscription has seen them."""
        seen = self.seen + len(seconds)
        for second in seconds:
            stamp = rclpy.time.Time(seconds=second).to_msg()
            self.publisher.publish(self.stream.kind(header=Header(stamp=stamp)))
        self.ros.wait_for(lambda: self.seen == seen)

    def poll(self, second: int) -> None:
        """Poll until the message with this stamp has come."""
        def newest() -> Message | None:
            self.stream.poll()
            return self.stream.newest

        self.ros.wait_for(lambda: (message := newest()) and message.stamp_ns == second * 10**9)


def test_images_stay_in_the_middleware_until_a_request_needs_one(ros: Any) -> None:
    waiting = Waiting(ros)
    stream = waiting.stream
    waiting.publish(1)
    waiting.poll(1)
    waiting.publish(*range(2, 10))
    assert stream.newest.stamp_ns == 10**9
    waiting.poll(9)
    assert (stream.received, stream.dropped) == (9, 0)


def test_images_that_no_request_needs_do_not_keep_the_executor_awake(ros: Any) -> None:
    class Counting(SingleThreadedExecutor):
        rounds = 0

        def can_execute(self, entity: Any) -> bool:
            self.rounds += entity is timer
            return super().can_execute(entity)

    waiting = Waiting(ros)
    waiting.publish(1)  # and it stays where it is
    node = waiting.stream._node
    timer = node.create_timer(60.0, lambda: None)
    ros.call(ros.executor.remove_node, node)
    executor = Counting(context=ros.context)
    executor.add_node(node)
    executor.spin_once(timeout_sec=0.0)
    executor.rounds = 0
    executor.spin_once(timeout_sec=0.5)
    assert executor.rounds < 10  # thousands when it does not sleep
    executor.shutdown()
    waiting.poll(1)


def test_the_newest_few_are_taken_in_their_order(ros: Any) -> None:
    waiting = Waiting(ros, CameraInfo, kept=4)
    waiting.publish(*range(1, 10))
    waiting.poll(9)
    stamps = [waiting.stream.nearest(second * 10**9).stamp_ns for second in range(5, 10)]
    assert stamps == [second * 10**9 for second in (6, 6, 7, 8, 9)]


def test_the_time_of_arrival_is_that_of_the_middleware(ros: Any) -> None:
    waiting = Waiting(ros)
    begin, begin_ns = time.monotonic(), waiting.driver.get_clock().now().nanoseconds
    waiting.publish(1)
    time.sleep(2.0)
    taken, taken_ns = time.monotonic(), waiting.driver.get_clock().now().nanoseconds
    waiting.poll(1)
    waiting.stream.tick(taken)
    # with half a second each for two clocks that are not read at the same time
    assert begin - 0.5 < waiting.stream.newest.arrived < taken - 1.0
    assert begin_ns - 5 * 10**8 < waiting.stream.offset_ns + 10**9 < taken_ns - 10**9


def test_streams_are_polled_in_many_threads_while_they_come_and_go(ros: Any) -> None:
    waiting, done = Waiting(ros, CameraInfo, kept=4), threading.Event()
    stream = waiting.stream

    def poll() -> None:
        while not done.is_set():
            before = stream.received
            stream.poll()
            assert stream.received >= before
            time.sleep(0.001)

    with ThreadPoolExecutor(4) as pool:
        polls = [pool.submit(poll) for _ in range(4)]
        try:
            for number in range(10):
                ros.call(stream.close)
                ros.call(lambda: stream.open(reliable=True))
                waiting.publish(*range(10 * number + 1, 10 * number + 6))
        finally:
            done.set()
    for polled in polls:
        polled.result()
    ros.wait_for(lambda: waiting.publisher.get_subscription_count() == 2)
    waiting.publish(1000)
    waiting.poll(1000)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(encoding=TEXT, frame_id=TEXT, data=st.binary(max_size=40),
       numbers=st.lists(st.integers(0, 2**32 - 1), min_size=3, max_size=3))
def test_an_image_is_read_as_rclpy_reads_it(
    encoding: str, frame_id: str, data: bytes, numbers: list[int]
) -> None:
    height, width, step = numbers
    message = Image(header=Header(frame_id=frame_id), height=height, width=width, step=step,
                    encoding=encoding, is_bigendian=step % 2, data=data)
    read = read_message(Message(serialize_message(message), 0, 0.0), Image)
    for name in ('height', 'width', 'step', 'encoding', 'is_bigendian'):
        assert getattr(read, name) == getattr(message, name)
    assert read.header.frame_id == frame_id
    assert bytes(read.data) == data


# -- quality of service and transport


def test_quality_of_service_is_set_by_the_usual_parameters(ros: Any) -> None:
    eyes = Eyes(ros, **{
        'camera.reliable': False,
        'qos_overrides./camera/image_raw.subscription.reliability': 'reliable',
        'qos_overrides./camera/camera_info.subscription.durability': 'transient_local'})

    def profile(topic: str) -> Any:
        return ros.wait_for(lambda: eyes.driver.get_subscriptions_info_by_topic(topic))[
            0].qos_profile

    assert profile('/camera/image_raw').reliability == ReliabilityPolicy.RELIABLE
    assert profile('/camera/camera_info').reliability == ReliabilityPolicy.BEST_EFFORT
    assert profile('/camera/camera_info').durability == DurabilityPolicy.TRANSIENT_LOCAL
    assert profile('/odom').durability == DurabilityPolicy.VOLATILE


@pytest.mark.parametrize(('offered', 'reliable'), [
    (ReliabilityPolicy.RELIABLE, True), (ReliabilityPolicy.RELIABLE, False),
    (ReliabilityPolicy.BEST_EFFORT, False),
])
def test_images_of_any_encoding_arrive(
    ros: Any, offered: ReliabilityPolicy, reliable: bool
) -> None:
    eyes = Eyes(ros, **{'cameras': ['camera', 'other'], 'other.image_transport': 'compressed',
                        'camera.reliable': reliable, 'other.reliable': reliable})
    profile, (camera, other) = QoSProfile(depth=1, reliability=offered), (
        eyes.intake.cameras.values())

    def arrives(stream: Stream, message: Any) -> None:
        publisher = eyes.publisher(stream.topic, stream.kind, profile)
        ros.wait_for(publisher.get_subscription_count)
        received = stream.received
        ros.wait_for(
            lambda: publisher.publish(message) or stream.poll() or stream.received > received)

    for encoding, size in (('rgb8', 3), ('bgra8', 4), ('mono8', 1), ('mono16', 2), ('nv12', 1.5),
                           ('bayer_grbg8', 1), ('yuv422_yuy2', 2), ('16UC1', 2), ('32FC1', 4)):
        message = Image(header=eyes.stamp(), width=64, height=48, step=64 * int(size),
                        encoding=encoding, data=bytes(range(256)) * int(12 * size))
        arrives(camera.image, message)
        np.testing.assert_array_equal(eyes.frame().pixels, decode_image(message))
    for form, data in (('jpeg', JPEG), ('png', png(64, 48))):
        file = CompressedImage(header=eyes.stamp(), format=form, data=data)
        arrives(other.image, file)
        seen = eyes.intake.frame('other', 0.0, 0.0, lambda: False)
        np.testing.assert_array_equal(seen.pixels, decode_compressed(file))


WATCH = """
import sys, time, rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.node.intake import Intake
from mimo_embodied_ros.node.settings import read_settings
rclpy.init()
node, executor = LifecycleNode('watch'), SingleThreadedExecutor()
stream = Intake(node, read_settings(node), PixelLimits(784, 7840)).cameras['camera'].image
executor.add_node(node)
end = time.monotonic() + 120
while stream.received < 30 and time.monotonic() < end:
    executor.spin_once(timeout_sec=0.02)
    stream.poll()
print(stream.received, len(stream.newest.data))
"""


def test_a_best_effort_stream_of_1080p_arrives_with_the_shipped_profile(tmp_path: Path) -> None:
    with claimed_domain() as domain:
        environment = environment_in(domain)
        with running(camera_command(), tmp_path / 'camera.log', environment):
            printed = run_python(WATCH, environment=environment).stdout
    received, size = map(int, printed.split())
    assert received >= 30
    assert size > 1920 * 1080 * 3


# -- camera info and depth


def info(**values: Any) -> Message:
    values = {'width': 640, 'height': 480,
              'k': [500.0, 0.0, 320.0, 0.0, 400.0, 240.0, 0.0, 0.0, 1.0], **values}
    roi = values.pop('roi', {})
    message = CameraInfo(**values)
    for name, value in roi.items():
        setattr(message.roi, name, value)
    return Message(serialize_message(message), 0, 0.0)


@pytest.mark.parametrize(('values', 'size', 'expected'), [
    ({}, (640, 480), (500, 400, 320, 240)),
    ({}, (320, 240), (250, 200, 159.75, 119.75)),  # resized since
    ({'binning_x': 2, 'binning_y': 2}, (320, 240), (250, 200, 159.75, 119.75)),
    ({'binning_x': 2, 'binning_y': 1}, (320, 480), (250, 400, 159.75, 240)),
    ({'roi': {'x_offset': 20, 'y_offset': 40, 'width': 600, 'height': 400}}, (600, 400),
     (500, 400, 300, 200)),
    ({'width': 0, 'height': 0}, (640, 480), (500, 400, 320, 240)),
    ({'k': [0.0] * 9}, (640, 480), None),
])
def test_camera_info_is_scaled_to_the_image(
    values: dict[str, Any], size: tuple[int, int], expected: tuple[float, ...] | None
) -> None:
    lens = intrinsics_for(info(**values), *size)
    if expected is None:
        assert lens is None
    else:
        assert lens is not None
        middle, right, below = CameraModel(lens, *size).pixels([[0, 0, 1], [1, 0, 1], [0, 1, 1]])
        intrinsics = (*(right - middle)[:1], *(below - middle)[1:], *(middle - 0.5))
        assert intrinsics == pytest.approx(expected)


@pytest.mark.parametrize(('values', 'size', 'says'), [
    ({}, (640, 360), 'of an image of 640x480 and the image is 640x360'),
    ({'binning_x': 2}, (640, 480), 'cropped'),
    ({'k': [math.nan] + [0.0] * 8}, (640, 480), 'k is'),
    ({'k': [-500.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]}, (640, 480), 'k is'),
    ({'k': [500.0, 0.0, math.inf, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]}, (640, 480), 'k is'),
    ({'d': [math.nan] * 5}, (640, 480), 'd is'),
])
def test_camera_info_that_does_not_fit_is_refused(
    values: dict[str, Any], size: tuple[int, int], says: str
) -> None:
    with pytest.raises(NoCameraInfoError, match=says):
        intrinsics_for(info(**values), *size)


def test_the_camera_info_and_depth_with_the_stamp_of_the_image_are_taken(ros: Any) -> None:
    eyes = Eyes(ros, **{'camera.depth_topic': 'depth'})
    for number in (1, 2, 3, 4):
        header = eyes.at(0.1 * number)
        eyes.send(eyes.camera.info, CameraInfo(
            header=header, width=64, height=48,
            k=[100.0 * number, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]))
        eyes.send(eyes.camera.depth, Image(
            header=header, width=1, height=1, step=4, encoding='32FC1',
            data=struct.pack('<f', number)))
    eyes.send(eyes.camera.image, encode_image(PIXELS, eyes.at(0.21)))
    frame = eyes.frame()
    assert frame.intrinsics.fx == 200.0
    assert frame.depth.tolist() == [[2.0]]
    assert eyes.frame(spatial=False).depth is None
    # which go on while the image stays the newest
    for number in (5, 6, 7):
        eyes.send(eyes.camera.depth, Image(
            header=eyes.at(0.1 * number), width=1, height=1, step=4, encoding='32FC1',
            data=struct.pack('<f', number)))
    assert eyes.frame().depth.tolist() == [[2.0]]
    eyes.send(eyes.camera.image, encode_image(PIXELS, eyes.at(0.9)))
    assert eyes.frame().depth is None  # too far from any


# -- what goes wrong


def test_a_topic_without_a_publisher_is_a_fault(ros: Any) -> None:
    eyes = Eyes(ros)
    assert 'set camera.image_topic' in eyes.wait_for_fault('nothing publishes /camera/image_raw')
    assert eyes.statuses['odometry'].level == DiagnosticStatus.OK  # need not be
    eyes.wait_for_diagnoses()
    assert len(eyes.warnings) == 1
    eyes.see()
    ros.wait_for(lambda: eyes.statuses['camera camera'].level == DiagnosticStatus.OK)
    assert float(ros.wait_for(lambda: eyes.values().get('age of the newest (s)'))) < 10


def test_a_publisher_from_which_nothing_arrives_is_a_fault(ros: Any) -> None:
    eyes = Eyes(ros)
    eyes.publisher('camera/image_raw')
    warning = eyes.wait_for_fault('publishes /camera/image_raw and nothing arrives')
    assert 'fastdds_large_images.xml' in warning
    with pytest.raises(NoImageError, match='nothing arrives'):
        eyes.frame()


def test_an_incompatible_quality_of_service_is_a_fault(ros: Any) -> None:
    eyes = Eyes(ros)
    eyes.publisher('camera/image_raw', qos=BEST_EFFORT)
    warning = eyes.wait_for_fault('/camera/image_raw cannot be received')
    assert 'qos_overrides./camera/image_raw.subscription.reliability' in warning
    assert 'RELIABLE' in warning.upper()


def test_a_topic_of_another_type_is_a_fault(ros: Any) -> None:
    # one participant has a topic with one type only
    context = Context()
    rclpy.init(args=[], context=context, domain_id=ros.domain_id)
    other = rclpy.create_node('other', context=context)
    try:
        other.create_publisher(CompressedImage, '/camera/image_raw', 1)
        warning = Eyes(ros).wait_for_fault(
            '/camera/image_raw carries sensor_msgs/msg/CompressedImage')
        assert 'set camera.image_transport' in warning
    finally:
        other.destroy_node()
        context.try_shutdown()


def test_a_camera_that_stops_is_a_fault(ros: Any) -> None:
    eyes = Eyes(ros, max_age_s=0.6)
    eyes.see()
    eyes.wait_for_fault('publishes /camera/image_raw and nothing arrives')


@pytest.mark.parametrize(('age_s', 'says'), [
    (-7.0, r'stamped [4-7]\.\d{3} s in the future'),
    (3.0, r'stamped [3-9]\.\d{3} s before they arrive'),
])
def test_clocks_that_disagree_are_a_fault_with_their_offset(
    ros: Any, age_s: float, says: str
) -> None:
    eyes = Eyes(ros)
    eyes.see(age_s)
    warning = eyes.wait_for_fault('images on /camera/image_raw are stamped')
    assert re.search(says, warning)
    assert 'use_sim_time' in warning


def test_images_without_a_stamp_and_a_clock_that_does_not_run_are_faults(ros: Any) -> None:
    eyes = Eyes(ros, use_sim_time=True)
    eyes.see()
    eyes.wait_for_fault('nothing has arrived on /clock')
    clock = eyes.driver.create_publisher(Clock, '/clock', 1)
    ros.wait_for(clock.get_subscription_count)
    clock.publish(Clock(clock=rclpy.time.Time(seconds=5).to_msg()))
    eyes.send(eyes.camera.image, encode_image(PIXELS, Header()))
    eyes.wait_for_fault('have the stamp 0')


def test_lost_large_images_are_a_fault(ros: Any, tmp_path: Path) -> None:
    eyes = Eyes(ros, **{'camera.reliable': False})  # and without the shipped profile
    with running(camera_command(), tmp_path / 'camera.log', ros.environment):
        ros.wait_for(lambda: eyes.camera.image.dropped > 30)
        assert 'fastdds_large_images.xml' in eyes.wait_for_fault('a second get lost')
        ros.wait_for(lambda: int(eyes.values()['dropped']) > 30)


@pytest.mark.parametrize(('size', 'lost', 'is_fault'), [
    (1_000_000, 3, True), (1_000_000, 1, False), (100, 3, False)])
def test_a_loss_is_a_fault_where_it_is_large_and_of_large_images(
    ros: Any, size: int, lost: int, *, is_fault: bool
) -> None:
    stream = Stream(ros.node('some'), Image, 'image', '')
    assert faults.loss(stream) is None
    stream.open()
    stream.tick(0.0)
    stream.store(bytes(size), {'publication_sequence_number': 4})
    stream.lose(SimpleNamespace(total_count_change=lost))
    stream.tick(1.0)
    fault = faults.loss(stream)
    assert (fault is not None) is is_fault
    assert fault is None or (
        '1.0 MB arrive on /image 1.0 times a second, and 3.0 a second get lost' in fault.text)


def test_messages_of_the_future_are_forgotten_when_the_clock_falls_back(ros: Any) -> None:
    eyes = Eyes(ros, use_sim_time=True)
    clock = eyes.driver.create_publisher(Clock, '/clock', 1)
    ros.wait_for(clock.get_subscription_count)

    def set_clock(seconds: int) -> None:
        clock.publish(Clock(clock=rclpy.time.Time(seconds=seconds).to_msg()))
        ros.wait_for(lambda: eyes.node.get_clock().now().nanoseconds == seconds * 10**9)

    def see(seconds: int) -> None:
        header = Header(stamp=rclpy.time.Time(seconds=seconds).to_msg())
        eyes.send(eyes.camera.image, encode_image(PIXELS, header))
        eyes.send(eyes.intake.odometry.stream, Odometry(header=header))

    set_clock(100)
    see(100)
    assert eyes.intake.frame('', 1.0, 0.0, lambda: False).odometry is not None
    set_clock(5)
    with pytest.raises(NoImageError):
        eyes.frame()
    see(5)
    assert eyes.frame().stamp_ns == eyes.frame().odometry.stamp_ns == 5 * 10**9
    set_clock(6)
    assert eyes.frame().stamp_ns == 5 * 10**9


def test_stamps_that_fall_back_begin_anew_and_lost_messages_are_counted(ros: Any) -> None:
    stream = Stream(ros.node('some'), Image, 'image', '', kept=8)
    stream.open()
    # of 3, 4 and 5, which were not taken, two got lost; then another publisher
    for second, number, lost in ((10, 1, 0), (11, 2, 0), (12, 6, 2), (2, 7, 0), (3, 1, 0)):
        header = Header(stamp=rclpy.time.Time(seconds=second).to_msg())
        if lost:
            stream.lose(SimpleNamespace(total_count_change=lost))
        stream.store(serialize_message(Image(header=header)),
                     {'publication_sequence_number': number})
        stream.tick(2.0 * second)
    assert stream.nearest(12 * 10**9).stamp_ns == 3 * 10**9
    assert (stream.received, stream.dropped) == (6, 2)


def test_rates_are_known_where_the_middleware_counts(ros: Any) -> None:
    stream = Stream(ros.node('some'), Image, 'image', '')
    stream.open()
    for now, number, lost in ((0.0, 1, 0), (1.0, 31, 0), (2.0, 61, 20)):
        stream.lose(SimpleNamespace(total_count_change=lost))
        stream.store(bytes(12), {'publication_sequence_number': number})
        stream.tick(now)
    assert (stream.rate, stream.loss) == (20.0, 10.0)
    stream.close()
    assert stream.rate is None
    stream.open()
    for now in (4.0, 5.0):
        stream.store(bytes(12), {'publication_sequence_number': None})
        stream.tick(now)
    assert (stream.rate, stream.received) == (None, 43)


# -- stamps and clocks


def test_a_message_whose_stamp_is_no_time_is_counted_named_and_left_out(ros: Any) -> None:
    eyes = Eyes(ros, **{'camera.depth_topic': 'depth',
                        'qos_overrides./odom.subscription.reliability': 'reliable'})
    camera, odometry = eyes.camera, eyes.intake.odometry.stream
    bad = [Header(stamp=Stamp(sec=-5), frame_id=FRAME),
           Header(stamp=Stamp(sec=2**31 - 1, nanosec=2**32 - 1), frame_id=FRAME),
           Header(stamp=Stamp(sec=-2**31, nanosec=10**9), frame_id=FRAME)]

    def depth(header: Header) -> Image:
        return Image(header=header, width=1, height=1, step=2, encoding='16UC1', data=b'\xe8\x03')

    for header in bad:
        eyes.send(camera.image, encode_image(PIXELS, header))
    with pytest.raises(BadEncodingError, match=r'Image on /camera/image_raw .* stamp is no time'):
        eyes.frame()
    assert 'sec is -2147483648 and nanosec 1000000000' in eyes.wait_for_fault('left out')
    with pytest.raises(BadEncodingError, match='sec is -5'):
        eyes.intake.frames(
            Task.ASK, SimpleNamespace(images=[encode_image(PIXELS, bad[0])], cameras=[],
                                      compressed_images=[]), None, lambda: False)
    good = eyes.stamp()
    eyes.send(camera.image, encode_image(PIXELS, good))
    for header in bad:
        eyes.send(camera.depth, depth(header))
        eyes.send(camera.info, CameraInfo(header=header, width=64, height=48, k=K))
        eyes.send(odometry, Odometry(header=header))
    frame = eyes.frame()
    assert (frame.depth, frame.intrinsics, frame.odometry) == (None, None, None)
    assert isinstance(frame.no_3d, BadEncodingError)
    eyes.send(camera.depth, depth(good))
    eyes.send(camera.info, CameraInfo(header=good, width=64, height=48, k=K))
    eyes.send(odometry, Odometry(header=good, pose=UPRIGHT))
    for header in bad:
        for stream, message in ((camera.image, encode_image(PIXELS, header)),
                                (camera.depth, depth(header)), (odometry, Odometry(header=header))):
            eyes.send(stream, message)
    frame = eyes.frame()  # the good ones, which nothing displaced
    assert frame.stamp_ns == rclpy.time.Time.from_msg(good.stamp).nanoseconds
    assert frame.odometry.stamp_ns == frame.stamp_ns
    assert frame.intrinsics.fx == 50.0
    assert frame.depth.tolist() == [[1.0]]
    assert frame.no_3d is None
    assert camera.malformed == {'bad stamp': 15}
    ros.wait_for(lambda: eyes.values().get('malformed: bad stamp') == '15')
    ros.wait_for(lambda: eyes.values('odometry').get('malformed: bad stamp') == '6')
    for stream, message in (
            (camera.image, encode_image(PIXELS, good)), (camera.depth, depth(good))):
        eyes.send(stream, message)
    ros.wait_for(lambda: eyes.statuses['camera camera'].level == DiagnosticStatus.OK)


def test_an_image_before_the_first_clock_is_not_called_one_of_the_future(ros: Any) -> None:
    eyes = Eyes(ros, use_sim_time=True)
    clock = eyes.driver.create_publisher(Clock, '/clock', 1)
    ros.wait_for(clock.get_subscription_count)
    eyes.send(eyes.camera.image, encode_image(PIXELS, Header(
        stamp=Stamp(sec=1_500_000_000), frame_id=FRAME)))
    eyes.wait_for_fault('nothing has arrived on /clock yet')
    clock.publish(Clock(clock=Stamp(sec=1_500_000_000, nanosec=10**8)))
    ros.wait_for(lambda: eyes.node.get_clock().now().nanoseconds)
    ros.wait_for(lambda: eyes.statuses['camera camera'].level == DiagnosticStatus.OK)
    assert not [warning for warning in eyes.warnings if 'in the future' in warning]
    # and one that stops is named, while images go on
    eyes.send(eyes.camera.image, encode_image(PIXELS, Header(
        stamp=Stamp(sec=1_500_000_003), frame_id=FRAME)))
    eyes.wait_for_fault('/clock has stood still for')


def test_an_unreadable_or_unstamped_message_does_not_begin_time_anew(ros: Any) -> None:
    stream = Stream(ros.node('some'), Image, 'image', '', kept=8)
    stream.open()
    for stamp, stamp_ns in ((Stamp(sec=10), 10**10), (Stamp(), 10**10), (Stamp(sec=-9), 10**10),
                            (Stamp(sec=11), 11 * 10**9), (Stamp(sec=2), 2 * 10**9)):
        stream.store(serialize_message(Image(header=Header(stamp=stamp))),
                     {'publication_sequence_number': None})
        assert stream.nearest(12 * 10**9).stamp_ns == stamp_ns


# -- odometry


UPRIGHT = PoseWithCovariance(pose=Pose(orientation=Quaternion(w=1.0)))


class Driving(Eyes):
    """A base that drives ahead at 2 m/s."""

    def __init__(self, ros: Any, max_age_s: float = 0.0) -> None:
        super().__init__(
            ros, max_age_s, **{'qos_overrides./odom.subscription.reliability': 'reliable'})
        self.odometry = self.intake.odometry

    def drive(self, *seconds: float, frame_id: str = 'odom', speed: float = 2.0) -> None:
        for second in seconds:
            message = Odometry(header=self.at(second), child_frame_id='base')
            message.header.frame_id = frame_id
            message.pose.pose.orientation.w = 1.0
            message.pose.pose.position.x = 2.0 * second
            message.twist.twist.linear.x = speed
            self.send(self.odometry.stream, message)

    def motion(self, second: float, wait_s: float = 0.0, **options: Any) -> Any:
        stamp_ns = rclpy.time.Time.from_msg(self.at(second).stamp).nanoseconds
        return self.odometry.motion(stamp_ns, wait_s, lambda: False, **options)

    def names(self, second: float) -> list[str]:
        return re.findall(r't-[\d.]+(?=:)', format_past_path(self.motion(second)))


def test_odometry_of_another_time_is_not_told_as_the_present_one(ros: Any) -> None:
    eyes = Driving(ros)
    with pytest.raises(InvalidRequestError, match='none has arrived on /odom; set odometry_topic'):
        eyes.motion(60.0)
    eyes.drive(0.0, speed=15.0)
    assert eyes.motion(0.2)[-1].linear[0] == 15.0
    assert eyes.motion(60.0, needed=False) == ()
    with pytest.raises(InvalidRequestError) as caught:
        eyes.motion(60.0)
    assert 'on /odom the nearest odometry is 60.00 s before the image' in str(caught.value)
    eyes.send(eyes.camera.image, encode_image(PIXELS, eyes.at(60.0)))
    assert eyes.frame().odometry is None
    eyes.drive(100.0, speed=math.nan)
    with pytest.raises(InvalidRequestError, match='broken: a number is not finite'):
        eyes.motion(100.0)
    with pytest.raises(InvalidRequestError, match='the image has the stamp 0'):
        eyes.odometry.motion(0, 0.0, lambda: False)


def test_odometry_that_is_behind_the_image_is_waited_for(ros: Any) -> None:
    eyes = Driving(ros)
    eyes.drive(0.0)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(eyes.motion, 0.7, WAIT_S)
        eyes.drive(0.4)
        assert not asked.done()
        eyes.drive(0.6)
        assert asked.result(WAIT_S)[-1].position[0] == pytest.approx(1.2)


def test_the_past_path_has_the_steps_that_are_known_each_at_its_time(ros: Any) -> None:
    eyes = Driving(ros)
    eyes.drive(*(0.3 * n for n in range(8)))  # up to 2.1
    path = eyes.motion(2.05)
    assert [round((path[-1].stamp_ns - p.stamp_ns) / 1e9, 6) for p in path] == [1.5, 1.0, 0.5, 0.0]
    words = ('t-3: (-3.00, 0.00, 0.00), t-2: (-2.00, 0.00, 0.00), t-1: (-1.00, 0.00, 0.00), '
             't-0: (0.00, 0.00, 0.00)')
    assert format_past_path(path) == words
    # where it is a little behind the image, steps are counted from the newest one
    assert format_past_path(eyes.motion(2.25)) == words
    eyes.drive(3.6, 3.7)  # nothing is known between, and nothing is invented
    assert eyes.names(3.7) == ['t-3.2', 't-0']
    eyes.drive(4.2, frame_id='map')
    assert eyes.names(4.2) == ['t-0']


def test_several_publishers_of_odometry_are_a_fault(ros: Any) -> None:
    eyes = Driving(ros)
    eyes.drive(0.0)
    eyes.wait_for_diagnoses(1)
    assert eyes.statuses['odometry'].level == DiagnosticStatus.OK
    ros.node('other').create_publisher(Odometry, 'odom', 1)
    warning = eyes.wait_for_fault('/odom has 2 publishers', 'odometry')
    assert '/driver, /other' in warning


def test_odometry_that_stops_is_a_fault(ros: Any) -> None:
    eyes = Driving(ros, max_age_s=0.6)
    eyes.drive(0.0)
    assert '(1 publishers)' in eyes.wait_for_fault('nothing has arrived on /odom for', 'odometry')


# -- pictures that are shown, and not as they are meant


def grey16(eyes: Eyes, samples: Any, encoding: str = 'mono16') -> Image:
    height, width = samples.shape
    return Image(header=eyes.stamp(), width=width, height=height, step=2 * width,
                 encoding=encoding, data=samples.astype('<u2').tobytes())


RAMP = np.linspace(0, 4000, 64 * 48).reshape(48, 64).astype(np.uint16)  # of 12 bits


@pytest.mark.parametrize('encoding', ['mono16', 'bayer_rggb16'])
def test_a_camera_that_uses_12_of_16_bits_is_named_once_with_the_remedy(
    ros: Any, encoding: str
) -> None:
    eyes = Eyes(ros)
    for _ in range(3):
        eyes.send(eyes.camera.image, grey16(eyes, RAMP, encoding))
        assert eyes.frame().pixels.max() <= 15
        warning = eyes.wait_for_fault('images on /camera/image_raw are nearly black')
        eyes.wait_for_diagnoses()
    assert '12 bits, 0 to 4095; set camera.white_level to 4095' in warning
    assert len([w for w in eyes.warnings if 'nearly black' in w]) == 1
    eyes.see()
    eyes.frame()
    ros.wait_for(lambda: eyes.statuses['camera camera'].level == DiagnosticStatus.OK)


def test_the_range_of_16_bit_values_is_set_for_each_camera(ros: Any) -> None:
    eyes = Eyes(ros, **{
        'cameras': ['camera', 'other'], 'camera.white_level': 4095, 'camera.black_level': 1000,
        'other.white_level': 4095, 'other.image_transport': 'compressed', 'other.reliable': True})
    eyes.send(eyes.camera.image, grey16(eyes, RAMP))
    grey = eyes.frame().pixels[..., 0]
    np.testing.assert_array_equal(
        grey, np.maximum(RAMP.astype(int) - 1000, 0) * 256 // (4095 - 1000 + 1))
    file = io.BytesIO()
    PILImage.fromarray(RAMP).save(file, 'PNG')
    other = eyes.intake.cameras['other']
    eyes.send(other.image, CompressedImage(
        header=eyes.stamp(), format='mono16; png compressed', data=file.getvalue()))
    grey = eyes.intake.frame('other', 0.0, 0.0, lambda: False).pixels[..., 0]
    np.testing.assert_array_equal(grey, RAMP >> 4)
    eyes.wait_for_diagnoses()
    assert not [w for w in eyes.warnings if 'nearly black' in w]


def test_a_range_without_values_is_refused(ros: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r'camera.black_level is 300 .* below the white'):
        Eyes(ros, **{'camera.black_level': 300, 'camera.white_level': 300})


def test_a_picture_that_its_exif_data_turn_has_no_3d_and_is_named(ros: Any) -> None:
    eyes = Eyes(ros, **{'camera.image_transport': 'compressed'})
    exif, file = PILImage.Exif(), io.BytesIO()
    exif[0x0112] = 6
    PILImage.fromarray(PIXELS).save(file, 'JPEG', exif=exif)
    header = eyes.stamp()
    eyes.send(eyes.camera.image, CompressedImage(
        header=header, format='jpeg', data=file.getvalue()))
    eyes.send(eyes.camera.info, CameraInfo(header=header, width=64, height=48, k=K))
    frame = eyes.frame()
    assert (frame.width, frame.height) == (48, 64)
    assert isinstance(frame.no_3d, NoCameraInfoError)
    assert 'upright' in eyes.wait_for_fault('/camera/image_raw/compressed say in their EXIF')


def test_an_old_image_without_a_stamp_is_named_by_its_stamp(ros: Any) -> None:
    eyes = Eyes(ros)
    eyes.send(eyes.camera.image, encode_image(PIXELS, Header(frame_id=FRAME)))
    with pytest.raises(StaleImageError, match='/camera/image_raw have the stamp 0; let the driver'):
        eyes.intake.frame('', 1.0, 0.0, lambda: False)


# -- clips


def test_a_clip_is_kept_at_its_rate_and_within_its_bytes() -> None:
    def stamps(clip: Clip, of: int, period_ms: int, size: int = 10) -> list[int]:
        for number in range(of):
            clip.add(Message(bytes(size), (1000 + number * period_ms) * 10**6, 0.0))
        newest = 1000 + (of - 1) * period_ms
        return [m.stamp_ns // 10**6 - newest for m in clip.before(newest * 10**6)]

    assert stamps(Clip(4, 2.0, 10**6), 100, 100) == [-1500, -1000, -500]
    assert stamps(Clip(4, 10.0, 10**6), 100, 100) == [-300, -200, -100]
    assert stamps(Clip(4, 2.0, 25), 100, 100) == [-500]
    assert stamps(Clip(4, 2.0, 25), 101, 100) == [-600]
    assert stamps(Clip(4, 2.0, 10**6), 1, 100) == []
    assert stamps(Clip(1, 2.0, 10**6), 100, 100) == []
    assert stamps(Clip(0, 2.0, 10**6), 100, 100) == []


def test_a_clip_is_of_images_up_to_the_newest(ros: Any) -> None:
    eyes = Eyes(ros, **{'camera.clip_frames': 4, 'camera.clip_rate': 10.0})
    for number in range(10):
        header = eyes.at(0.1 * number)
        eyes.send(eyes.camera.image, Image(header=header, encoding='nonsense')
                  if number == 7 else encode_image(PIXELS, header))
    clip = eyes.intake.clip('', 0.0, 0.0, lambda: False)
    stamps = [frame.stamp_ns for frame in clip]
    assert [stamp - stamps[-1] for stamp in stamps] == [-300_000_000, -100_000_000, 0]
    assert stamps[-1] == rclpy.time.Time.from_msg(header.stamp).nanoseconds
    assert eyes.camera.malformed == {'unknown encoding': 1}
    again = eyes.intake.clip('', 0.0, 0.0, lambda: False)
    assert all(frame.pixels is same.pixels for frame, same in zip(clip, again))  # decoded once


def test_a_clip_without_stamps_is_kept_by_the_times_of_arrival() -> None:
    clip = Clip(4, 2.0, 10**6)
    for number in range(100):
        clip.add(Message(bytes(10), 0, 7.0 + 0.1 * number))
    kept = clip.before(round(16.9e9))
    assert [round(m.arrived, 3) for m in kept] == [15.4, 15.9, 16.4]


def test_videos_of_several_cameras_are_equally_long(ros: Any) -> None:
    """The model sees the newest pictures of each, as many as the shortest clip has."""
    names = [f'view{number}' for number in range(6)]
    settings: dict[str, Any] = {
        f'{name}.{key}': value for name in names
        for key, value in (('clip_frames', 4), ('clip_rate', 1.0), ('reliable', True))}
    eyes = Eyes(ros, cameras=names, **settings)
    newest = []
    for number, name in enumerate(names):
        for second in range(2 if number == 3 else 5):
            header = eyes.at(second)
            eyes.send(eyes.intake.cameras[name].image, encode_image(PIXELS, header))
        newest.append(rclpy.time.Time.from_msg(header.stamp).nanoseconds)
    request = AnswerSpatial.Goal(cameras=names)
    frames = eyes.intake.frames(
        TASKS['surround_video'], request, read_settings(eyes.node), lambda: False)
    assert [frame.camera for frame in frames] == [name for name in names for _ in range(2)]
    assert [frame.stamp_ns for frame in frames[1::2]] == newest
    videos = build_prompt(Query(TASKS['surround_video'], 'What now?', frames), LIMITS).videos
    assert [(len(v.frames), v.interval) for v in videos] == [(2, 1.0)] * 6


def test_a_clip_needs_a_camera_that_is_kept_warm(ros: Any) -> None:
    with pytest.raises(InvalidRequestError, match='exclude each other'):
        Eyes(ros, **{'camera.on_demand': True, 'camera.clip_frames': 4})


# -- malformed messages


def png(width: int, height: int, mode: str = 'RGB') -> bytes:
    file = io.BytesIO()
    PILImage.new(mode, (width, height)).save(file, 'PNG')
    return file.getvalue()


def jpeg() -> bytes:
    file = io.BytesIO()
    PILImage.fromarray(PIXELS).save(file, 'JPEG')
    return file.getvalue()


BOMB, JPEG, DEPTH = png(9000, 9000, '1'), jpeg(), png(8, 8, 'I;16')
ENCODINGS = ('rgb8', 'bgr8', 'rgba8', 'mono8', 'mono16', 'bayer_rggb8', 'yuv422', '16UC1', '32FC1')
NUMBERS = (math.nan, math.inf, -math.inf, -1.0, 1e308, 0.0)


def broken_image(rng: random.Random, header: Header) -> Image:
    width, height = (rng.choice((0, 1, 7, 64, 2**31, 2**32 - 1)) for _ in 'wh')
    data = rng.randbytes(rng.choice((0, 1, 100, 5000)))
    return Image(header=header, width=width, height=height, data=data,
                 encoding=rng.choice((*ENCODINGS, '', 'nv12', 'h264', '\N{SNOWMAN}' * 40)),
                 step=rng.choice((0, 1, width % 2**30, 3 * width % 2**32, 2**32 - 1)),
                 is_bigendian=rng.randrange(256))


def broken_file(rng: random.Random, header: Header) -> CompressedImage:
    whole = rng.choice((JPEG, JPEG, BOMB, DEPTH))
    data = bytearray(whole[:rng.randrange(len(whole))] if rng.random() < 0.7 else whole)
    if whole is not BOMB and data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return CompressedImage(header=header, data=bytes(data), format=rng.choice((
        'jpeg', 'png', '', 'h264', '16UC1; compressedDepth png', 'bayer_rggb8; png compressed')))


def broken_info(rng: random.Random, header: Header) -> CameraInfo:
    k = [500.0, 0.0, 32.0, 0.0, 500.0, 24.0, 0.0, 0.0, 1.0]
    k[rng.choice((0, 2, 4, 5))] = rng.choice(NUMBERS)
    message = CameraInfo(
        header=header, k=k, width=rng.choice((0, 64, 640, 2**32 - 1)),
        height=rng.choice((0, 48, 1, 2**32 - 1)), binning_x=rng.choice((0, 1, 2**32 - 1)))
    message.d = [rng.choice(NUMBERS) for _ in range(rng.choice((0, 5, 200)))]
    message.roi.width, message.roi.x_offset = rng.choice((0, 9)), rng.choice((0, 2**32 - 1))
    return message


def broken_depth(rng: random.Random, header: Header) -> CompressedImage:
    data = rng.choice((
        b'', bytes(5), bytes(12) + DEPTH[:rng.randrange(len(DEPTH))], bytes(12) + BOMB,
        bytes(12) + JPEG, struct.pack('<iff', 0, math.nan, math.inf) + DEPTH, rng.randbytes(100)))
    return CompressedImage(header=header, data=data, format=rng.choice((
        '16UC1; compressedDepth', '32FC1; compressedDepth png', '16UC1; compressedDepth rvl',
        '32FC1; png', 'nonsense')))


def garbage(rng: random.Random, message: Any) -> bytes:
    """Return the bytes of a message, cut or overwritten, or random bytes."""
    data = bytearray(serialize_message(message))
    way = rng.randrange(4)
    if way == 0:
        return bytes(data[:rng.randrange(len(data))])
    if way == 1:
        return rng.randbytes(rng.choice((0, 1, 3, 11, 12, 60, 1000)))
    for _ in range(rng.choice((1, 4, 40))):
        data[rng.randrange(min(len(data), 200))] = rng.randrange(256)
    return bytes(data)


def test_a_thousand_malformed_messages_are_named_and_counted(ros: Any) -> None:
    eyes = Eyes(ros, **{
        'cameras': ['camera', 'other'], 'camera.depth_topic': 'camera/depth',
        'other.reliable': True, 'other.image_transport': 'compressed',
        'other.depth_topic': 'other/depth', 'other.depth_transport': 'compressedDepth',
        'odometry_topic': 'odom', 'qos_overrides./odom.subscription.reliability': 'reliable'})
    rng = random.Random(5)
    cameras = eyes.intake.cameras
    good = {
        'camera': lambda header: encode_image(PIXELS, header),
        'other': lambda header: CompressedImage(header=header, format='jpeg', data=JPEG)}
    broken: list[tuple[str, str, Callable[..., Any]]] = [
        ('camera', 'image', broken_image), ('other', 'image', broken_file),
        ('camera', 'info', broken_info), ('camera', 'depth', broken_image),
        ('other', 'depth', broken_depth)]
    failed = 0
    for number in range(1000):
        name, part, make = broken[number % len(broken)]
        stream, header = getattr(cameras[name], part), eyes.stamp()
        message: Any = make(rng, header)
        if part != 'image':
            eyes.send(cameras[name].image, good[name](header))
        eyes.send(stream, garbage(rng, message) if rng.random() < 0.3 else message)
        before = sum(sum(camera.malformed.values()) for camera in cameras.values())
        try:
            frame = eyes.intake.frame(name, 0.0, 0.0, lambda: False)
        except MimoError as error:
            assert part == 'image'
            problem: MimoError | None = error
        else:
            assert (frame.width, frame.height) == (64, 48) or part == 'image'
            problem = frame.no_3d
        # the depth has another stamp, or nothing has arrived
        if problem is None or problem.cause in {'NO_DEPTH', 'NO_CAMERA_INFO'}:
            assert before == sum(sum(camera.malformed.values()) for camera in cameras.values())
        else:
            failed += 1
            assert len(str(problem)) > 20
            assert problem.cause in cameras[name].malformed
    counted = {name: dict(camera.malformed) for name, camera in cameras.items()}
    logging.getLogger(__name__).info('malformed messages: %s', json.dumps(counted))
    assert failed > 500
    causes = {cause for camera in counted.values() for cause in camera}
    assert causes >= {
        'unreadable bytes', 'unknown encoding', 'sizes contradict', 'damaged', 'too many pixels',
        'intrinsics', 'intrinsics of another image', 'not depth', 'not a picture'}
    for name, camera in counted.items():
        ros.wait_for(lambda n=name, c=camera: {
            key.removeprefix('malformed: '): int(value)
            for key, value in eyes.values(f'camera {n}').items() if key.startswith('malformed')
        } == c)
        eyes.intake.status(name)
    # and all is well again
    for name, camera in cameras.items():
        header = eyes.stamp()
        eyes.send(camera.info, CameraInfo(header=header, width=64, height=48, k=K))
        eyes.send(camera.depth, Image(
            header=header, width=1, height=1, step=2, encoding='16UC1', data=b'\xe8\x03')
            if name == 'camera' else CompressedImage(
                header=header, format='16UC1; compressedDepth png', data=bytes(12) + DEPTH))
        eyes.send(camera.image, good[name](header))
        frame = eyes.intake.frame(name, 0.0, 0.0, lambda: False)
        assert (frame.width, frame.height, frame.intrinsics.fx) == (64, 48, 50.0)
        assert frame.depth is not None


def test_garbage_odometry_is_counted_and_old_garbage_is_not_called_stale(ros: Any) -> None:
    eyes = Eyes(ros, **{'qos_overrides./odom.subscription.reliability': 'reliable'})
    eyes.send(eyes.camera.image, b'\0\1\0\0' + b'\1' * 30)
    with pytest.raises(MimoError, match='34 bytes, starting with 00 01 00 00') as caught:
        eyes.intake.frame('', 1.0, 0.0, lambda: False)
    assert not isinstance(caught.value, StaleImageError)
    eyes.see()
    eyes.send(eyes.intake.odometry.stream, b'nothing')
    assert eyes.frame().odometry is None
    ros.wait_for(lambda: eyes.values('odometry').get('malformed: unreadable bytes') == '1')
