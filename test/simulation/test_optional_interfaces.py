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
from mimo_embodied_ros.worlds.world import TICK
from support.simulated_robot import SimulatedRobot

ARM = {'world': 'tabletop', 'seed': 3, 'rate': 0.0, 'renderer': 'rays'}


# why a test skips, by the package that it needs
ABSENT = {
    'control_msgs': 'control_msgs comes with a ROS distribution, and not with pip',
    'nav2_msgs': 'nav2_msgs comes with a ROS distribution, and not with pip',
    'tf2_msgs': 'tf2_msgs comes with a ROS distribution, and not with pip',
    'simulation_interfaces':
        'simulation_interfaces comes with a ROS distribution, and not with pip',
}


def installed(package: str) -> Any:
    return pytest.importorskip(package, reason=ABSENT[package])


def numbers(pose: Pose) -> list[float]:
    at, turn = pose.position, pose.orientation
    return [at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w]


def test_what_is_not_installed_is_said_once(ros: Any, log: Any) -> None:
    SimulatedRobot(ros, '', world='room', renderer='rays')
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

    robot = SimulatedRobot(ros, '', world='room', seed=3, rate=0.0, renderer='rays')
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

    robot = SimulatedRobot(ros, '', world='room', seed=3, renderer='rays')
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


def test_the_standard_services_of_simulators(ros: Any) -> None:
    installed('simulation_interfaces')
    from simulation_interfaces import msg, srv

    ok = msg.Result.RESULT_OK
    robot = SimulatedRobot(ros, '', **ARM)
    features = robot.service(srv.GetSimulatorFeatures, 'get_simulator_features').features.features
    assert {msg.SimulatorFeatures.SIMULATION_RESET, msg.SimulatorFeatures.SPAWNING,
            msg.SimulatorFeatures.ENTITY_STATE_SETTING} <= set(features)
    paused = msg.SimulationState(state=msg.SimulationState.STATE_PAUSED)
    assert robot.service(
        srv.SetSimulationState, 'set_simulation_state', state=paused).result.result == ok
    assert robot.service(srv.GetSimulationState, 'get_simulation_state').state == paused
    before = robot.simulation.runner.time
    assert robot.service(srv.StepSimulation, 'step_simulation', steps=3).result.result == ok
    assert robot.simulation.runner.time == pytest.approx(before + 3 * TICK)

    names = robot.service(srv.GetEntities, 'get_entities').entities
    assert {'red cube', 'blue bowl'} <= set(names)
    first = robot.service(srv.GetEntityState, 'get_entity_state', entity='red cube').state
    assert first.header.frame_id == 'base_link'
    pose = Pose(position=Point(x=0.4, y=-0.2, z=0.002), orientation=Quaternion(w=1.0))
    state = msg.EntityState(pose=pose)
    assert robot.service(srv.SetEntityState, 'set_entity_state', entity='red cube', state=state,
                         set_pose=True).result.result == ok
    now = robot.service(srv.GetEntityState, 'get_entity_state', entity='red cube').state
    assert numbers(now.pose) == pytest.approx(numbers(pose), abs=1e-6)
    absent = robot.service(srv.SetEntityState, 'set_entity_state', entity='moon', state=state,
                           set_pose=True)
    assert absent.result.result == msg.Result.RESULT_NOT_FOUND

    pose.position.y = 0.2
    spawned = robot.service(
        srv.SpawnEntity, 'spawn_entity', entity_resource=msg.Resource(uri='green ball'),
        initial_pose=PoseStamped(pose=pose))
    assert (spawned.result.result, spawned.entity_name) == (ok, 'green ball')
    assert [*names, 'green ball'] == list(robot.service(srv.GetEntities, 'get_entities').entities)
    kept = robot.service(srv.GetEntityState, 'get_entity_state', entity='red cube').state
    assert numbers(kept.pose) == pytest.approx(numbers(now.pose), abs=1e-6)
    again = robot.service(
        srv.SpawnEntity, 'spawn_entity', entity_resource=msg.Resource(uri='green ball'),
        initial_pose=PoseStamped(pose=pose))
    assert again.result.result == srv.SpawnEntity.Response.UNSUPPORTED_FORMAT
    assert 'green ball' in again.result.error_message

    assert robot.service(srv.ResetSimulation, 'reset_simulation').result.result == ok
    assert robot.service(srv.GetEntities, 'get_entities').entities == names
    last = robot.service(srv.GetEntityState, 'get_entity_state', entity='red cube').state
    assert numbers(last.pose) == pytest.approx(numbers(first.pose), abs=1e-3)
