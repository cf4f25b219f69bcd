"""The simulated tabletop's node over real DDS: its camera and its gripper."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Point, PointStamped
from rclpy.action import ActionClient
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros.calibration import intrinsics_of
from mimo_embodied_ros.ros.images import decode_depth, decode_image
from mimo_embodied_ros.simulation.simulation_node import FAILED, FRAME, Simulation
from mimo_embodied_ros.worlds.table_camera import OPTICAL_FRAME
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from mimo_embodied_ros.worlds.tabletop import Tabletop


class Robot:
    """A simulation and a client of its gripper."""

    def __init__(self, ros: Any) -> None:
        self.ros = ros
        self.simulation = ros.node('simulation', Simulation, seed=3, drop=0.0)
        self.other = ros.node('other')
        self.client = ros.call(ActionClient, self.other, RunSkill, 'gripper/run_skill')
        assert self.client.wait_for_server(WAIT_S)

    @property
    def table(self) -> Tabletop:
        return self.simulation.table

    def send(self, skill: str, name: str = '', frame: str = FRAME) -> Any:
        point = PointStamped(header=Header(frame_id=frame if name else ''))
        if name:
            thing = next(t for t in self.table.things if t.name == name)
            at = self.table.position(thing)
            if frame == OPTICAL_FRAME:
                at = self.simulation._extrinsics.lookup(OPTICAL_FRAME, FRAME, 0).apply(at)
            point.point = Point(**dict(zip('xyz', map(float, at))))
        field = 'place_at' if skill == 'place' else 'object_at'
        future = self.ros.call(
            self.client.send_goal_async, RunSkill.Goal(skill=skill, **{field: point}))
        self.ros.wait_for(future.done)
        return future.result()

    def result(self, handle: Any) -> Any:
        future = self.ros.call(handle.get_result_async)
        self.ros.wait_for(future.done)
        return future.result()

    def do(self, skill: str, name: str = '', frame: str = FRAME) -> Any:
        return self.result(self.send(skill, name, frame))


@pytest.fixture
def robot(ros: Any) -> Robot:
    return Robot(ros)


def test_picture_depth_and_intrinsics_have_one_stamp_and_show_the_table(robot: Robot) -> None:
    heard: dict[str, list[Any]] = {}
    for kind, topic in ((Image, 'image_raw'), (Image, 'depth/image_rect'),
                        (CameraInfo, 'camera_info')):
        heard[topic] = []
        robot.other.create_subscription(kind, f'camera/{topic}', heard[topic].append, 10)

    def together() -> Any:
        by_stamp = [{(m.header.stamp.sec, m.header.stamp.nanosec): m for m in messages}
                    for messages in heard.values()]
        common = set.intersection(*(set(messages) for messages in by_stamp))
        return [messages[min(common)] for messages in by_stamp] if common else None

    image, depth, info = robot.ros.wait_for(together)
    assert {m.header.frame_id for m in (image, depth, info)} == {OPTICAL_FRAME}
    assert np.array_equal(decode_image(image), robot.table.pixels)
    assert decode_depth(depth) == pytest.approx(robot.table.depth / 1000)
    intrinsics = intrinsics_of(info)
    assert intrinsics is not None
    assert (intrinsics.fx, intrinsics.cx, intrinsics.size) == (525, 320, (640, 480))


def test_the_gripper_puts_the_cube_into_the_bowl(robot: Robot) -> None:
    for skill, name, frame in (('pick', 'red cube', FRAME), ('place', 'blue bowl', OPTICAL_FRAME)):
        reply = robot.do(skill, name, frame)
        assert reply.status == GoalStatus.STATUS_SUCCEEDED, reply.result.error_msg
        assert reply.result.error_code == 0
    assert robot.table.done
    robot.simulation.reset(4)
    assert not robot.table.done


@pytest.mark.parametrize(('goal', 'says'), [
    (('pick', 'blue bowl'), 'closed on nothing'),
    (('pick', ''), 'give a point and its frame'),
    (('place', 'blue bowl', 'moon'), "no transform connects 'base_link' with 'moon'"),
    (('dance', ''), 'the gripper can pick and place'),
])
def test_skills_that_fail_give_the_reason(robot: Robot, goal: tuple[str, ...], says: str) -> None:
    reply = robot.do(*goal)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert reply.result.error_code == FAILED
    assert says in reply.result.error_msg


def test_it_does_one_skill_at_a_time_and_a_cancelled_one_does_nothing(robot: Robot) -> None:
    robot.simulation.motion_s = math.inf
    handle = robot.send('pick', 'red cube')
    busy = robot.do('place', 'blue bowl')
    assert busy.status == GoalStatus.STATUS_ABORTED
    assert 'is doing another skill' in busy.result.error_msg
    robot.ros.call(handle.cancel_goal_async)
    reply = robot.result(handle)
    assert (reply.status, reply.result.error_code) == (
        GoalStatus.STATUS_CANCELED, ResultCode.CANCELLED)
    assert (robot.table.held, robot.table.steps) == (None, 0)
    robot.simulation.motion_s = 0.1
    assert robot.do('pick', 'red cube').status == GoalStatus.STATUS_SUCCEEDED
