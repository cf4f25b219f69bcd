"""Transforms at the time of an image, over real DDS: tf2, by what stands in for it, and others."""

from __future__ import annotations

import math
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from builtin_interfaces.msg import Time as Stamp
from rclpy.parameter import Parameter
from rclpy.time import Time
from rosgraph_msgs.msg import Clock

from mimo_embodied_ros.core.errors import TransformError
from mimo_embodied_ros.core.frames import Odometry
from mimo_embodied_ros.geometry.extrinsics import Extrinsics, Transform
from mimo_embodied_ros.ros import transforms
from support import tf2
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

S = 10**9
FIXED = Extrinsics({'camera': ('base', Transform.of((1, 0, 0), (0, 0, 0, 1)))})


def at(seconds: float) -> Stamp:
    return Time(nanoseconds=round(seconds * S)).to_msg()


def odometry(stamp_ns: int, frame_id: str = 'odom') -> Odometry:
    return Odometry(stamp_ns, frame_id, 'base', (5, 0, 0), (0, 0, 0, 1), (0, 0, 0), (0, 0, 0))


class Robot:
    """A base that drives ahead in odom, a camera on it, and a node that listens."""

    def __init__(self, ros: Any, buffer_s: float = 30.0, *, use_sim_time: bool = False) -> None:
        self.ros = ros
        self.node = ros.node('some', parameter_overrides=[
            Parameter('use_sim_time', value=use_sim_time)])
        self.transforms = transforms.Transforms(self.node, Extrinsics(), buffer_s)
        other = ros.node('other')
        self.clock = other.create_publisher(Clock, '/clock', 10)
        self.broadcaster = tf2.Broadcaster(ros, other)
        if use_sim_time:
            ros.wait_for(self.clock.get_subscription_count)
        self.broadcaster.send('base', 'camera', 1.0)

    def set_clock(self, seconds: float) -> None:
        self.clock.publish(Clock(clock=at(seconds)))
        self.ros.wait_for(
            lambda: self.node.get_clock().now().nanoseconds == round(seconds * S))

    def drive(self, *places: tuple[float, float]) -> None:
        """Publish where the base is at each time, in order."""
        for seconds, x in places:
            self.broadcaster.send('odom', 'base', x, at(seconds))

    def wait_for_stamp(self, seconds: float) -> None:
        """Wait until this is the stamp of the newest transform of the base."""
        newest: Any = self.transforms._tf2._newest_ns
        self.ros.wait_for(lambda: newest.get('base') == round(seconds * S))

    def x_at(self, seconds: float, **options: Any) -> float:
        """The place of the camera; what has been published is there within the wait."""
        options = {'until': time.monotonic() + WAIT_S, **options}
        found = self.transforms.lookup(
            'odom', 'camera', round(seconds * S), lambda: None, **options)
        return float(found.translation[0])


@pytest.fixture(autouse=True)
def _tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, 'tf2_ros', tf2)


@pytest.fixture
def robot(ros: Any) -> Iterator[Robot]:
    made = Robot(ros)
    yield made
    ros.call(made.transforms.close)


@pytest.mark.parametrize('use_sim_time', [True, False])
def test_a_second_pass_of_a_bag_is_not_mixed_with_the_first(
    ros: Any, capfd: pytest.CaptureFixture[str], *, use_sim_time: bool
) -> None:
    """A bag longer than the buffer, and one that is shorter; with /clock, and without."""
    for buffer_s, end in ((30.0, 100.0), (200.0, 7.0)):
        robot = Robot(ros, buffer_s, use_sim_time=use_sim_time)
        if use_sim_time:
            robot.set_clock(end)
        robot.drive((4.0, 4.0), (5.0, 5.0), (end, end))
        assert robot.x_at(end) == pytest.approx(end + 1)
        if use_sim_time:
            # the clock falls back before the transforms, and some of the first pass come after it
            robot.set_clock(4.5)
            robot.drive((end - 0.1, end - 0.1))
        robot.drive((4.1, -1.0), (4.9, -1.0), (5.2, -1.0))
        robot.wait_for_stamp(5.2)
        assert robot.x_at(5.1) == pytest.approx(0.0)
        assert robot.x_at(4.5) == pytest.approx(0.0)  # not of the first pass, 5 m from there
        ros.call(robot.transforms.close)
    assert 'TF_OLD_DATA' not in capfd.readouterr().err


def test_what_came_before_the_clock_fell_back_stays_if_it_is_of_the_new_time(ros: Any) -> None:
    robot = Robot(ros, use_sim_time=True)
    robot.set_clock(100.0)
    robot.drive((99.0, 99.0), (100.0, 100.0))
    assert robot.x_at(100.0) == pytest.approx(101)
    robot.drive((4.0, -1.0), (5.0, -1.0))  # as it happens when /tf is faster than /clock
    robot.wait_for_stamp(5.0)
    robot.set_clock(5.0)
    assert robot.x_at(4.5, until=0.0) == pytest.approx(0.0)
    ros.call(robot.transforms.close)


def test_a_transform_that_is_late_is_waited_for_and_nothing_else(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.drive((8.0, 8.0), (9.0, 9.0))
    assert robot.x_at(9.0) == pytest.approx(10.0)
    with pytest.raises(TransformError) as caught:
        robot.x_at(9.5, until=0.0)
    assert str(caught.value).startswith('tf2: Lookup would require extrapolation into the future')
    assert 'no transform connects' not in str(caught.value)
    asked = threading.Event()

    def go_on() -> bool:
        asked.set()
        return False

    def send() -> None:
        assert asked.wait(WAIT_S)
        robot.drive((10.0, 10.0))

    sender = threading.Thread(target=send)
    sender.start()
    assert robot.x_at(9.5, stopped=go_on) == pytest.approx(10.5)
    sender.join()
    # the wait ends with the request, and at its limit
    with pytest.raises(TransformError, match='into the future'):
        robot.x_at(11.0, stopped=lambda: True)
    with pytest.raises(TransformError, match=r'; waited for \d+\.\d s$'):
        robot.x_at(11.0, until=time.monotonic() + 0.3)
    # and nothing is waited for that will not come
    with pytest.raises(TransformError, match='raise tf_buffer') as caught:
        robot.x_at(7.0)
    assert 'waited' not in str(caught.value)
    with pytest.raises(TransformError, match='the image has no stamp'):
        robot.x_at(0.0)
    # frames that nobody publishes, once they would be known
    monkeypatch.setattr(transforms, '_DISCOVERY_S', 0.0)
    for frame, says in (('map', '"map" passed to lookupTransform argument target_frame'),
                        ('/odom', "'/odom' begins with a slash"), ('', 'a frame_id is empty')):
        with pytest.raises(TransformError) as caught:
            robot.transforms.lookup(frame, 'camera', 9 * S, lambda: None, time.monotonic() + 60)
        assert says in str(caught.value)


def test_a_transform_that_is_none_is_left_out_and_named(
    robot: Robot, capfd: pytest.CaptureFixture[str]
) -> None:
    robot.drive((8.0, 8.0), (9.0, 9.0))
    refused: Any = robot.transforms._tf2._refused
    log: list[str] = []

    def heard(words: str) -> bool:
        log.append(capfd.readouterr().err)
        return words in ''.join(log)

    for number, (values, says) in enumerate((
            ({'x': math.nan}, 'its numbers are not finite'),
            ({'turn': (0.0, 0.0, math.inf, 1.0)}, 'its numbers are not finite'),
            ({'turn': (0.0, 0.0, 0.0, 0.5)}, 'its rotation has the length 0.500, and a quatern'),
            ({'turn': (0.0, 0.0, 0.0, 0.0)}, 'its rotation has the length 0.000'),
            ({'stamp': Stamp(sec=-5)}, 'the stamp is no time: sec is -5'),
            ({'stamp': Stamp(sec=9, nanosec=2 * S)}, 'the stamp is no time: sec is 9 and'))):
        last = 9.0 + number
        assert robot.x_at(last) == pytest.approx(last + 1)
        assert not refused
        usual: dict[str, Any] = {'x': 3.0, 'stamp': at(last + 0.5)}
        robot.broadcaster.send('odom', 'base', **(usual | values))
        robot.ros.wait_for(lambda: refused)
        with pytest.raises(TransformError) as caught:
            robot.x_at(last + 0.5, until=0.0)
        assert f"a transform from 'base' to 'odom' was left out: {says}" in str(caught.value)
        assert robot.x_at(8.5) == pytest.approx(9.5)  # what came before is kept
        robot.drive((last + 1, last + 1))
        robot.ros.wait_for(partial(heard, says))
    # one without a stamp shows nothing either
    robot.broadcaster.send('odom', 'base', 0.0, Stamp())
    robot.drive((20.0, 20.0))
    assert robot.x_at(20.0) == pytest.approx(21.0)
    assert robot.x_at(8.5) == pytest.approx(9.5)


def test_tf2_is_asked_first_and_extrinsics_where_it_does_not_know(ros: Any) -> None:
    robot = Robot(ros)
    frames = transforms.Transforms(robot.node, FIXED, 30.0)
    robot.broadcaster.send('map', 'camera', 7.0)

    def x(target: str, now: Odometry | None = None) -> float:
        found = frames.lookup(target, 'camera', 5, lambda: now, time.monotonic() + WAIT_S)
        return float(found.translation[0])

    assert x('map') == pytest.approx(7)
    assert x('odom', odometry(5)) == pytest.approx(6)
    ros.call(frames.close)
    ros.call(frames.close)
    without = transforms.Transforms(robot.node, FIXED, 0.0)
    with pytest.raises(TransformError, match=r"connects 'map'.*tf_buffer is 0"):
        without.lookup('map', 'camera', 5, lambda: None)
    with pytest.raises(TransformError, match=r'tf_buffer is 0.*; the image has no stamp'):
        without.lookup('map', 'camera', 0, lambda: None)
    slashed = odometry(5, '/odom')
    with pytest.raises(TransformError, match="'/odom' begins with a slash"):
        without.lookup('odom', 'camera', 5, lambda: slashed)


def test_odometry_that_is_late_is_waited_for_too(ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, 'tf2_ros', None)
    frames = transforms.Transforms(ros.node('some'), FIXED, 30.0)
    arrived = iter([odometry(3 * S), odometry(3 * S), odometry(5 * S)])
    found = frames.lookup('odom', 'camera', 5 * S, lambda: next(arrived), time.monotonic() + WAIT_S)
    assert found.translation[0] == pytest.approx(6)
    with pytest.raises(TransformError) as caught:
        frames.lookup('odom', 'camera', 5 * S, lambda: odometry(3 * S))
    assert str(caught.value).startswith("'odom' and 'camera' are connected by odometry")
    assert 'the nearest odometry is 2.00 s before the image' in str(caught.value)
    assert 'tf2 is not installed' in str(caught.value)
