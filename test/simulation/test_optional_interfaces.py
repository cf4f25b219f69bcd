"""What is served by the types of other packages, where these are installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')
pytest.importorskip('mujoco', reason='an extra: requirements/simulation.txt')

from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from mimo_embodied_ros.simulation.arm_actions import GRIPPER, PARALLEL_GRIPPER, TRAJECTORY
from support.simulated_robot import SimulatedRobot

ARM = {'world': 'tabletop', 'seed': 3, 'rate': 0.0}


def installed(package: str) -> Any:
    return pytest.importorskip(
        package, reason=f'{package} comes with a ROS distribution, and not with pip')


def test_what_is_not_installed_is_said_once(ros: Any, log: Any) -> None:
    SimulatedRobot(ros, '', world='room')
    (line,) = [line for line in log() if 'not served' in line] or ['']
    for package, serves in (('tf2_msgs', '/tf'), ('nav2_msgs', 'navigate_to_pose')):
        assert (f'{package}: {serves}' in line) is (find_spec(package) is None)


def test_the_arm_follows_trajectories(ros: Any) -> None:
    installed('control_msgs')
    from control_msgs.action import FollowJointTrajectory

    robot = SimulatedRobot(ros, '', **ARM)
    joints = robot.listen(JointState, 'joint_states')
    ros.wait_for(lambda: joints)
    arm = robot.world.arm
    goals = np.array([[0.2, 0, 0, 0, 0, 0], [0.2, 0.1, 0, 0, 0, 0.3]]) + arm.robot.home
    names = list(reversed(arm.robot.joints))  # in any order
    trajectory = JointTrajectory(joint_names=names, points=[
        JointTrajectoryPoint(positions=goal[::-1].tolist(), time_from_start=Duration(sec=sec))
        for sec, goal in enumerate(goals, 1)])

    def follow(trajectory: JointTrajectory) -> Any:
        goal = FollowJointTrajectory.Goal(trajectory=trajectory)
        return robot.result(robot.send(FollowJointTrajectory, TRAJECTORY, goal))

    reply = follow(trajectory)
    assert (reply.status, reply.result.error_code) == (
        GoalStatus.STATUS_SUCCEEDED, FollowJointTrajectory.Result.SUCCESSFUL)
    positions = dict(zip(joints[-1].name, joints[-1].position))
    assert [positions[name] for name in arm.robot.joints] == pytest.approx(goals[1], abs=0.03)
    trajectory.points.reverse()
    reply = follow(trajectory)
    assert reply.result.error_code == FollowJointTrajectory.Result.INVALID_GOAL
    trajectory.joint_names[0] = 'tail_joint'
    reply = follow(trajectory)
    assert reply.result.error_code == FollowJointTrajectory.Result.INVALID_JOINTS
    assert 'give shoulder_pan_joint' in reply.result.error_string


def test_the_gripper_says_whether_it_holds_something(ros: Any) -> None:
    installed('control_msgs')
    from control_msgs.action import GripperCommand, ParallelGripperCommand
    from control_msgs.msg import GripperCommand as Command

    robot = SimulatedRobot(ros, 'gripper/run_skill', **ARM)
    cube = next(t for t in robot.world.things() if t.name == 'red cube')

    def grip(width: float) -> Any:
        goal = GripperCommand.Goal(command=Command(position=width, max_effort=20.0))
        return robot.result(robot.send(GripperCommand, GRIPPER, goal)).result

    empty = grip(0.0)
    assert (empty.stalled, empty.reached_goal) == (False, True)
    assert grip(0.08).position == pytest.approx(0.08, abs=0.005)
    assert robot.do('pick', cube.position).result.error_msg == ''
    full = grip(0.0)
    assert (full.stalled, full.reached_goal) == (True, False)
    assert full.position > 0.04

    finger = robot.world.arm.robot.finger_joint
    command = JointState(name=[finger], position=[0.1])
    reply = robot.result(robot.send(
        ParallelGripperCommand, PARALLEL_GRIPPER, ParallelGripperCommand.Goal(command=command)))
    assert reply.result.reached_goal
    assert reply.result.state.position == pytest.approx([0.1], abs=0.05)


def test_the_base_navigates_to_a_pose(ros: Any) -> None:
    installed('nav2_msgs')
    from nav2_msgs.action import NavigateToPose

    robot = SimulatedRobot(ros, '', world='room', seed=3, rate=0.0)
    turn = Quaternion(z=np.sin(0.5), w=np.cos(0.5))
    pose = PoseStamped(header=Header(frame_id='base_link'),
                       pose=Pose(position=Point(x=0.5, y=0.1), orientation=turn))
    reply = robot.result(robot.send(
        NavigateToPose, 'navigate_to_pose', NavigateToPose.Goal(pose=pose)))
    assert (reply.status, reply.result.error_code) == (GoalStatus.STATUS_SUCCEEDED, 0)
    assert robot.world.pose == pytest.approx([0.5, 0.1, 1.0], abs=0.08)
    pose.header.frame_id = 'moon'
    reply = robot.result(robot.send(
        NavigateToPose, 'navigate_to_pose', NavigateToPose.Goal(pose=pose)))
    assert reply.status == GoalStatus.STATUS_ABORTED


def test_transforms_connect_cameras_base_and_odometry(ros: Any) -> None:
    installed('tf2_msgs')
    from tf2_msgs.msg import TFMessage

    robot = SimulatedRobot(ros, '', world='room', seed=3)
    moving = robot.listen(TFMessage, '/tf')
    static: list[Any] = []
    robot.other.create_subscription(
        TFMessage, '/tf_static', static.append,
        QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    ros.wait_for(lambda: moving and static)
    (odom,) = moving[-1].transforms
    assert (odom.header.frame_id, odom.child_frame_id) == ('odom', 'base_link')
    frames = {t.child_frame_id: t.header.frame_id for t in static[-1].transforms}
    assert frames['camera_color_optical_frame'] == 'base_link'
