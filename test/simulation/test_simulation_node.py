"""The node of a simulated world over real DDS: cameras, clock, control, and skills."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from action_msgs.msg import GoalStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.ros.calibration import intrinsics_of
from mimo_embodied_ros.ros.images import decode_depth, decode_image
from mimo_embodied_ros.ros.stamps import nanoseconds_of
from mimo_embodied_ros.simulation.skill_action import FAILED
from mimo_embodied_ros.simulation.worlds import WorldOptions, make_world
from mimo_embodied_ros.worlds.table_camera import OPTICAL_FRAME
from mimo_embodied_ros.worlds.world import TICK
from support.simulated_robot import SimulatedRobot

if TYPE_CHECKING:
    from mimo_embodied_ros.worlds.tabletop import Tabletop

TOPICS = {'color/image_raw': Image, 'color/camera_info': CameraInfo,
          'aligned_depth_to_color/image_raw': Image}


class Robot(SimulatedRobot):
    """A simulated drawn table, on which nothing drops by chance."""

    def __init__(self, ros: Any) -> None:
        super().__init__(
            ros, 'gripper/run_skill', make_world('drawn', WorldOptions(3, drop=0.0)))

    @property
    def table(self) -> Tabletop:
        return self.world.table

    def at(self, name: str) -> Any:
        """Where a thing is, in base_link."""
        return self.table.position(next(t for t in self.table.things if t.name == name))


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
    assert not robot.step().success  # it is not paused
    assert robot.pause(paused=True).success
    before = robot.simulation.runner.time
    for _ in range(3):
        assert robot.step().success
    assert robot.simulation.runner.time == pytest.approx(before + 3 * TICK)
    pixels = robot.table.pixels
    robot.simulation.reset(4)
    assert not np.array_equal(robot.table.pixels, pixels)
    robot.simulation.reset(3)
    assert np.array_equal(robot.table.pixels, pixels)
    assert robot.reset().success
    assert robot.world.time == 0
    after = robot.simulation.runner.time
    assert after > before
    assert robot.pause(paused=False).success
    robot.ros.wait_for(lambda: nanoseconds_of(images[-1].header.stamp) > after * 1e9)
    for stamps in ([nanoseconds_of(m.clock) for m in clocks],
                   [nanoseconds_of(m.header.stamp) for m in images]):
        assert stamps == sorted(stamps)
        assert stamps[0] > 0


def test_the_gripper_puts_the_cube_into_the_bowl(robot: Robot) -> None:
    bowl = robot.world.cameras['camera'].pose.inverse.apply(robot.at('blue bowl'))
    for skill, at, frame in (('pick', robot.at('red cube'), 'base_link'),
                             ('place', bowl, OPTICAL_FRAME)):
        reply = robot.do(skill, at, frame)
        assert reply.status == GoalStatus.STATUS_SUCCEEDED, reply.result.error_msg
        assert reply.result.error_code == 0
    assert robot.table.done


def test_skills_that_fail_give_the_reason(robot: Robot) -> None:
    bowl = robot.at('blue bowl')
    for goal, says in (
        (('pick', bowl), 'closed on nothing'),
        (('pick',), 'give a point and its frame'),
        (('place', bowl, 'moon'), "no transform connects 'base_link' with 'moon'"),
        (('dance',), 'the robot can pick, place'),
        (('pick', (math.nan, 0.0, 0.5)), 'object_at is nan, 0, 0.5; give finite numbers'),
    ):
        reply = robot.do(*goal)
        assert reply.status == GoalStatus.STATUS_ABORTED
        assert reply.result.error_code == FAILED
        assert says in reply.result.error_msg


def test_it_does_one_skill_at_a_time_and_a_cancelled_one_does_nothing(robot: Robot) -> None:
    robot.world.motion_s = math.inf
    handle = robot.begin('pick', robot.at('red cube'))
    busy = robot.do('place', robot.at('blue bowl'))
    assert busy.status == GoalStatus.STATUS_ABORTED
    assert 'the robot is busy (pick)' in busy.result.error_msg
    robot.pause(paused=True)  # a motion can be cancelled even then
    robot.ros.call(handle.cancel_goal_async)
    reply = robot.result(handle)
    assert (reply.status, reply.result.error_code) == (
        GoalStatus.STATUS_CANCELED, ResultCode.CANCELLED)
    assert (robot.table.held, robot.table.steps) == (None, 0)
    robot.pause(paused=False)
    handle = robot.begin('pick', robot.at('red cube'))
    robot.reset()
    assert 'the world was reset' in robot.result(handle).result.error_msg
    robot.world.motion_s = 0.1
    assert robot.do('pick', robot.at('red cube')).status == GoalStatus.STATUS_SUCCEEDED


@pytest.mark.parametrize(('values', 'says'), [
    ({'world': 'drown'}, r"no world 'drown'; .*drawn.*MJCF file"),
    ({'world': 'tabletop', 'things': ['pink cube']}, "no 'pink cube' in this world; give a colour"),
    ({'world': 'road', 'things': ['red cube']}, 'things are for the tabletop and the room'),
])
def test_a_world_that_cannot_be_made_is_an_error(
    ros: Any, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        SimulatedRobot(ros, '', **values)


def test_without_mujoco_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'mujoco', None)
    with pytest.raises(InvalidRequestError, match=r'need mujoco, .*simulation\.txt'):
        make_world('room', WorldOptions())
    assert make_world('drawn', WorldOptions()).cameras  # which needs none
