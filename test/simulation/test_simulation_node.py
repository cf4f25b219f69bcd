"""The node of a simulated world over real DDS: cameras, clock, control, and skills."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Point, PointStamped
from rclpy.action import ActionClient
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from mimo_embodied_ros.action import RunSkill
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.ros.calibration import intrinsics_of
from mimo_embodied_ros.ros.images import decode_depth, decode_image
from mimo_embodied_ros.ros.stamps import nanoseconds_of
from mimo_embodied_ros.simulation.simulation_node import Simulation
from mimo_embodied_ros.simulation.skill_action import FAILED
from mimo_embodied_ros.simulation.worlds import WorldOptions, make_world
from mimo_embodied_ros.worlds.table_camera import OPTICAL_FRAME
from mimo_embodied_ros.worlds.world import TICK
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from mimo_embodied_ros.worlds.drawn_table import DrawnTable
    from mimo_embodied_ros.worlds.tabletop import Tabletop

FRAME = 'base_link'
TOPICS = {'color/image_raw': Image, 'color/camera_info': CameraInfo,
          'aligned_depth_to_color/image_raw': Image}


class Robot:
    """A simulated drawn table and a client of its gripper."""

    def __init__(self, ros: Any) -> None:
        self.ros = ros
        self.simulation = ros.node(
            'simulation', Simulation, world=make_world('drawn', WorldOptions(3, drop=0.0)))
        self.other = ros.node('other')
        self.client = ros.call(ActionClient, self.other, RunSkill, 'gripper/run_skill')
        assert self.client.wait_for_server(WAIT_S)

    @property
    def world(self) -> DrawnTable:
        return self.simulation.world

    @property
    def table(self) -> Tabletop:
        return self.world.table

    def listen(self, kind: Any, topic: str) -> list[Any]:
        heard: list[Any] = []
        self.other.create_subscription(kind, topic, heard.append, qos_profile_sensor_data)
        return heard

    def service(self, kind: Any, name: str, **request: Any) -> Any:
        return self.ros.call_service(self.other, kind, f'simulation/{name}', **request)

    def send(self, skill: str, name: str = '', frame: str = FRAME) -> Any:
        point = PointStamped(header=Header(frame_id=frame if name else ''))
        if name:
            thing = next(t for t in self.table.things if t.name == name)
            at = self.table.position(thing)
            if frame == OPTICAL_FRAME:
                at = self.world.cameras['camera'].pose.inverse.apply(at)
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
    heard = {topic: robot.listen(kind, f'camera/{topic}') for topic, kind in TOPICS.items()}

    def together() -> Any:
        by_stamp = [{nanoseconds_of(m.header.stamp): m for m in messages}
                    for messages in heard.values()]
        common = set.intersection(*(set(messages) for messages in by_stamp))
        return [messages[min(common)] for messages in by_stamp] if common else None

    image, info, depth = robot.ros.wait_for(together)
    assert {m.header.frame_id for m in (image, depth, info)} == {OPTICAL_FRAME}
    assert np.array_equal(decode_image(image), robot.table.pixels)
    assert depth.encoding == '16UC1'
    assert decode_depth(depth) == pytest.approx(robot.table.depth / 1000)
    intrinsics = intrinsics_of(info)
    assert intrinsics is not None
    assert (intrinsics.fx, intrinsics.cx, intrinsics.size) == (525, 320, (640, 480))


def test_time_stands_still_steps_and_does_not_fall_back_with_a_reset(robot: Robot) -> None:
    clocks, images = robot.listen(Clock, '/clock'), robot.listen(Image, 'camera/color/image_raw')
    robot.ros.wait_for(lambda: clocks and images)
    assert not robot.service(Trigger, 'step_simulation').success  # it is not paused
    assert robot.service(SetBool, 'set_pause', data=True).success
    before = robot.simulation.runner.time
    for _ in range(3):
        assert robot.service(Trigger, 'step_simulation').success
    assert robot.simulation.runner.time == pytest.approx(before + 3 * TICK)
    pixels = robot.table.pixels
    robot.simulation.reset(4)
    assert not np.array_equal(robot.table.pixels, pixels)
    robot.simulation.reset(3)
    assert np.array_equal(robot.table.pixels, pixels)
    assert robot.service(Trigger, 'reset_world').success
    assert robot.world.time == 0
    after = robot.simulation.runner.time
    assert after > before
    assert robot.service(SetBool, 'set_pause', data=False).success
    robot.ros.wait_for(lambda: nanoseconds_of(images[-1].header.stamp) > after * 1e9)
    for stamps in ([nanoseconds_of(m.clock) for m in clocks],
                   [nanoseconds_of(m.header.stamp) for m in images]):
        assert stamps == sorted(stamps)
        assert stamps[0] > 0


def test_the_gripper_puts_the_cube_into_the_bowl(robot: Robot) -> None:
    for skill, name, frame in (('pick', 'red cube', FRAME), ('place', 'blue bowl', OPTICAL_FRAME)):
        reply = robot.do(skill, name, frame)
        assert reply.status == GoalStatus.STATUS_SUCCEEDED, reply.result.error_msg
        assert reply.result.error_code == 0
    assert robot.table.done


@pytest.mark.parametrize(('goal', 'says'), [
    (('pick', 'blue bowl'), 'closed on nothing'),
    (('pick', ''), 'give a point and its frame'),
    (('place', 'blue bowl', 'moon'), "no transform connects 'base_link' with 'moon'"),
    (('dance', ''), 'the robot can pick, place'),
])
def test_skills_that_fail_give_the_reason(robot: Robot, goal: tuple[str, ...], says: str) -> None:
    reply = robot.do(*goal)
    assert reply.status == GoalStatus.STATUS_ABORTED
    assert reply.result.error_code == FAILED
    assert says in reply.result.error_msg


def test_it_does_one_skill_at_a_time_and_a_cancelled_one_does_nothing(robot: Robot) -> None:
    robot.world.motion_s = math.inf
    handle = robot.send('pick', 'red cube')
    busy = robot.do('place', 'blue bowl')
    assert busy.status == GoalStatus.STATUS_ABORTED
    assert 'the robot is busy (pick)' in busy.result.error_msg
    robot.service(SetBool, 'set_pause', data=True)  # a motion can be cancelled even then
    robot.ros.call(handle.cancel_goal_async)
    reply = robot.result(handle)
    assert (reply.status, reply.result.error_code) == (
        GoalStatus.STATUS_CANCELED, ResultCode.CANCELLED)
    assert (robot.table.held, robot.table.steps) == (None, 0)
    robot.service(SetBool, 'set_pause', data=False)
    handle = robot.send('pick', 'red cube')
    robot.service(Trigger, 'reset_world')
    assert 'the world was reset' in robot.result(handle).result.error_msg
    robot.world.motion_s = 0.1
    assert robot.do('pick', 'red cube').status == GoalStatus.STATUS_SUCCEEDED


def test_a_world_that_does_not_exist_is_an_error(ros: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"no world 'drown'; .*drawn.*MJCF file"):
        ros.node('simulation', Simulation, parameter_overrides=[Parameter('world', value='drown')])
