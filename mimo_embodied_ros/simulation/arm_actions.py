"""What drivers of arms and grippers offer, where control_msgs is installed.

``FollowJointTrajectory`` as of joint_trajectory_controller, ``GripperCommand`` and
``ParallelGripperCommand`` as of the gripper controllers of ros2_controllers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sensor_msgs.msg import JointState

from .motion_actions import MotionAction, RefusedError, require_finite

if TYPE_CHECKING:
    from mimo_embodied_ros.worlds.world import Motion

    from .capabilities import HasArm
    from .motion_actions import MotionActions, Outcome
    from .optional_interfaces import OptionalInterfaces

TRAJECTORY = 'joint_trajectory_controller/follow_joint_trajectory'
GRIPPER = 'gripper_controller/gripper_cmd'
PARALLEL_GRIPPER = 'parallel_gripper_controller/gripper_cmd'
_REACHED = 0.005  # metres beside the commanded width


def serve_arm(actions: MotionActions, world: HasArm, interfaces: OptionalInterfaces) -> None:
    """Serve what can be served with the interfaces that are installed."""
    for kind, name, make in (
        ('FollowJointTrajectory', TRAJECTORY, _trajectory_action),
        ('GripperCommand', GRIPPER, _gripper_action),
        ('ParallelGripperCommand', PARALLEL_GRIPPER, _parallel_gripper_action),
    ):
        action = interfaces.find(f'control_msgs/action/{kind}', name)
        if action is not None:
            actions.serve(action, name, make(action, world))


def _trajectory_action(kind: Any, world: HasArm) -> MotionAction:
    codes = kind.Result

    def begin(goal: Any) -> Motion:
        names, joints = list(goal.trajectory.joint_names), world.arm.robot.joints
        if sorted(names) != sorted(joints):
            msg = (f'the trajectory is of {", ".join(names) or "no joints"}; give '
                   f'{", ".join(joints)}')
            raise RefusedError(msg, codes.INVALID_JOINTS)
        order = [names.index(joint) for joint in joints]
        points, before = [], -1.0
        for number, point in enumerate(goal.trajectory.points, 1):
            time = point.time_from_start.sec + point.time_from_start.nanosec / 1e9
            if len(point.positions) != len(names):
                msg = f'point {number} of the trajectory has {len(point.positions)} positions'
                raise RefusedError(msg, codes.INVALID_GOAL)
            if time <= before:
                msg = f'point {number} of the trajectory is not later than the one before'
                raise RefusedError(msg, codes.INVALID_GOAL)
            points.append((time, [point.positions[i] for i in order]))
            before = time
        return world.arm.follow(points)

    def result(outcome: Outcome) -> Any:
        code = outcome.code or (codes.GOAL_TOLERANCE_VIOLATED if outcome.problem
                                and not outcome.cancelled
                                else codes.SUCCESSFUL)
        return kind.Result(error_code=code, error_string=outcome.problem)

    return MotionAction(frozenset({'arm'}), lambda _: 'follow a trajectory', begin, result)


def _gripper_action(kind: Any, world: HasArm) -> MotionAction:
    def begin(goal: Any) -> Motion:
        width, force = goal.command.position, goal.command.max_effort
        require_finite('command', width, force)
        return world.arm.grip(width, force)

    def result(outcome: Outcome) -> Any:
        arm = world.arm
        reached = abs(arm.gripper_width - outcome.request.command.position) < _REACHED
        return kind.Result(position=arm.gripper_width, stalled=arm.stalled, reached_goal=reached)

    return MotionAction(
        frozenset({'gripper'}), lambda _: 'move the gripper', begin, result)


def _parallel_gripper_action(kind: Any, world: HasArm) -> MotionAction:
    """Make the action whose positions are those of the finger's joint, as in joint_states."""

    def width(goal: Any) -> float:
        robot = world.arm.robot
        opened, closed = robot.finger_range
        if list(goal.command.name) != [robot.finger_joint] or len(goal.command.position) != 1:
            msg = f'give one position, of the joint {robot.finger_joint}'
            raise RefusedError(msg)
        return float(robot.stroke * (closed - goal.command.position[0]) / (closed - opened))

    def begin(goal: Any) -> Motion:
        force = goal.command.effort[0] if goal.command.effort else 0.0
        require_finite('command', *goal.command.position, force)
        return world.arm.grip(width(goal), force)

    def result(outcome: Outcome) -> Any:
        arm, joint = world.arm, world.arm.robot.finger_joint
        names, positions, *_ = arm.joint_states()
        out = kind.Result(stalled=arm.stalled, state=JointState(
            name=[joint], position=[float(positions[list(names).index(joint)])]))
        if not outcome.problem:
            out.reached_goal = abs(arm.gripper_width - width(outcome.request)) < _REACHED
        return out

    return MotionAction(frozenset({'gripper'}), lambda _: 'move the gripper', begin, result)
