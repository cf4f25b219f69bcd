"""The worlds with physics as robots over real DDS: an arm, a base, and what they offer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('mujoco', reason='an extra: requirements/simulation.txt')

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Twist, TwistStamped, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray

from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros.images import decode_depth
from mimo_embodied_ros.worlds.physics.base_room import BaseRoom
from support.paths import TEST_DATA
from support.simulated_robot import SimulatedRobot

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.worlds.world import ThingState

ARM = {'world': 'tabletop', 'seed': 3, 'rate': 0.0, 'renderer': 'rays'}


def thing(robot: SimulatedRobot, name: str) -> ThingState:
    return next(t for t in robot.world.things() if t.name == name)


def test_another_arm_stands_at_the_table(ros: Any) -> None:
    robot = SimulatedRobot(
        ros, 'gripper/run_skill', **ARM, robot=str(TEST_DATA / 'gantry' / 'gantry.yaml'))
    joints = robot.listen(JointState, 'joint_states')
    ros.wait_for(lambda: joints)
    assert joints[-1].name == ['x', 'y', 'z', 'yaw', 'left']


def test_the_arm_puts_a_cube_into_a_bowl_and_stops_when_it_is_cancelled(ros: Any) -> None:
    robot = SimulatedRobot(ros, 'gripper/run_skill', **ARM)
    joints = robot.listen(JointState, 'joint_states')
    camera = robot.world.cameras['camera']
    for skill, name in (('pick', 'red cube'), ('place', 'blue bowl')):
        x, y, z = thing(robot, name).position
        reply = robot.do(skill, camera.pose.inverse.apply([x, y, z + 0.03]), camera.frame)
        assert reply.status == GoalStatus.STATUS_SUCCEEDED, reply.result.error_msg
    assert thing(robot, 'red cube').place == 'in the blue bowl'
    assert {'shoulder_pan_joint', 'wrist_3_joint'} < set(joints[-1].name)
    assert len(joints[-1].position) == len(joints[-1].effort) == len(joints[-1].name)

    robot.simulation.reset(4)
    handle = robot.begin('pick', thing(robot, 'red cube').position)
    ros.wait_for(lambda: np.abs(joints[-1].velocity).max() > 0.2)
    ros.call(handle.cancel_goal_async)
    reply = robot.result(handle)
    assert (reply.status, reply.result.error_code) == (
        GoalStatus.STATUS_CANCELED, ResultCode.CANCELLED)
    ros.wait_for(lambda: np.abs(joints[-1].velocity).max() < 0.01)
    assert not thing(robot, 'red cube').place


def test_the_base_drives_as_it_is_told_and_odometry_follows(ros: Any) -> None:
    room = BaseRoom(3, size=(64, 48))
    robot = SimulatedRobot(ros, 'base/run_skill', room, rate=8.0)
    odometry = robot.listen(Odometry, 'odom')
    depth = robot.listen(Image, 'camera/aligned_depth_to_color/image_raw')
    speed = robot.other.create_publisher(TwistStamped, 'cmd_vel', 1)
    command = TwistStamped()
    command.twist.linear.x = 0.3
    timer = robot.other.create_timer(0.02, lambda: speed.publish(command))
    ros.wait_for(lambda: odometry and odometry[-1].pose.pose.position.x > 0.2)
    timer.cancel()
    ros.wait_for(lambda: abs(odometry[-1].twist.twist.linear.x) < 0.01)
    assert (odometry[-1].header.frame_id, odometry[-1].child_frame_id) == ('odom', 'base_link')
    assert np.linalg.norm(robot.world.true_pose()[:2]) == pytest.approx(
        odometry[-1].pose.pose.position.x, abs=0.1)
    ros.wait_for(lambda: depth)
    assert depth[-1].header.frame_id == 'camera_color_optical_frame'
    assert np.median(decode_depth(depth[-1])) > 0.5
    # a point in the camera's frame, which is elsewhere by now, is turned to
    camera = robot.world.cameras['camera']
    reply = robot.do('look_at', (1.0, 0.0, 2.0), camera.frame)
    assert reply.status == GoalStatus.STATUS_SUCCEEDED, reply.result.error_msg
    assert robot.world.true_pose()[2] < -0.2


def test_cmd_vel_may_be_a_twist_and_must_be_finite(ros: Any, log: Any) -> None:
    robot = SimulatedRobot(
        ros, '', world='road', seed=3, rate=4.0, renderer='rays', enable_stamped_cmd_vel=False)
    odometry = robot.listen(Odometry, 'odom')
    speed = robot.other.create_publisher(Twist, 'cmd_vel', 1)
    ros.wait_for(speed.get_subscription_count)
    speed.publish(Twist(linear=Vector3(x=math.nan)))
    speed.publish(Twist())
    ros.wait_for(lambda: odometry and odometry[-1].twist.twist.linear.x == 0)
    (line,) = [line for line in log() if 'cmd_vel' in line]
    assert 'cmd_vel is nan m/s and 0 rad/s; give finite numbers' in line
    assert set(robot.world.cameras) == {
        name.split('/')[1] for name, _ in robot.other.get_topic_names_and_types()
        if name.endswith('/color/image_raw')}


EYES = """<mujoco><option timestep="0.005"/><worldbody>
  <light pos="0 0 3"/><geom type="plane" size="2 2 0.1"/>
  <body name="head" pos="0 0 0.5">
    <joint name="neck" axis="0 0 1" damping="0.1"/>
    <geom type="sphere" size="0.08" mass="1"/><site name="ear"/>
    <camera name="eye_left" pos="0.1 0.03 0" xyaxes="0 -1 0 0 0 1" fovy="60" resolution="32 24"/>
    <camera name="eye_right" pos="0.1 -0.03 0" xyaxes="0 -1 0 0 0 1" fovy="60" resolution="32 24"/>
  </body>
  <body name="red ball" pos="1 0 0.1"><freejoint/>
    <geom type="sphere" size="0.1" rgba="1 0 0 1"/></body>
</worldbody>
<actuator><position name="act:neck" joint="neck" kp="5"/></actuator>
<sensor><gyro name="vestibular" site="ear"/></sensor></mujoco>"""


def test_cameras_joints_sensors_and_actuators_of_an_mjcf_file_are_topics(
    ros: Any, tmp_path: Path
) -> None:
    file = tmp_path / 'eyes.xml'
    file.write_text(EYES)
    robot = SimulatedRobot(ros, '', world=str(file), rate=4.0, renderer='rays')
    joints = robot.listen(JointState, 'joint_states')
    sensor = robot.listen(Float64MultiArray, 'sensors/vestibular')
    infos = robot.listen(CameraInfo, 'eye_right/color/camera_info')
    images = robot.listen(Image, 'eye_left/color/image_raw')
    ros.wait_for(lambda: joints and sensor and infos and images)
    assert (infos[0].width, infos[0].height) == (32, 24)
    assert infos[0].k[0] == pytest.approx(12 / np.tan(np.radians(30)))
    assert images[0].header.frame_id == 'eye_left_color_optical_frame'
    assert (sensor[0].layout.dim[0].label, len(sensor[0].data)) == ('gyro', 3)
    commands = robot.other.create_publisher(JointState, 'joint_commands', 1)
    ros.wait_for(commands.get_subscription_count)
    commands.publish(JointState(name=['act:neck'], position=[0.5]))
    ros.wait_for(lambda: joints[-1].position[0] > 0.4)
    assert list(joints[-1].name) == ['neck']
