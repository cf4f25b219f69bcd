"""Find an object and drive up to it: python approach.py "the red cube" --distance 0.8.

It needs the node with a depth camera and odometry, and the transform from the camera's frame to the
base: from tf2, or from the node's parameter extrinsics_file. The goal is in odometry's frame, so
that it stays in place while the base moves. It is printed, and published on ``approach_pose`` for
RViz. Nothing moves without --go: with it, Nav2 is asked which of the goals around the object it can
reach, and drives to the first one, through nav2_simple_commander.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import rclpy
from asking import find, show
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import Header

from mimo_embodied_ros.geometry.poses import goals_before
from mimo_embodied_ros.ros.messages import pose_message

if TYPE_CHECKING:
    from collections.abc import Sequence


def goals_of(answer: Any, distance: float) -> list[PoseStamped]:
    """Return goals ``distance`` metres from the first point, the nearest to the base first.

    Raises:
        SystemExit: the pose of the base is not known in the frame of the points.

    """
    base, frame = answer.base, answer.position_frame_id
    if not base.valid or base.pose.header.frame_id != frame:
        raise SystemExit(f'odometry does not say where the base is in {frame}; see odometry_topic')
    target, start = answer.points[0].position, base.pose.pose.position
    header = Header(stamp=answer.header.stamp, frame_id=frame)
    return [pose_message(pose, header) for pose in goals_before(
        (target.x, target.y, target.z), (start.x, start.y, start.z), distance)]


def drive(goals: list[PoseStamped]) -> bool:
    """Let Nav2 drive to the first goal that it finds a path to; return whether it arrived."""
    from nav2_simple_commander.robot_navigator import BasicNavigator, TaskResult

    navigator = BasicNavigator()
    navigator.waitUntilNav2Active()
    goal = next((g for g in goals if navigator.getPath(PoseStamped(), g) is not None), None)
    if goal is None:
        return False
    navigator.goToPose(goal)
    while not navigator.isTaskComplete():
        pass  # isTaskComplete waits itself
    return bool(navigator.getResult() == TaskResult.SUCCEEDED)


def main(args: Sequence[str] | None = None) -> None:
    """Find the object, print and publish the goal, and drive with --go."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('query', help='object to drive to, in plain words')
    parser.add_argument('--frame', default='odom', help='frame of odometry')
    parser.add_argument('--distance', type=float, default=0.8,
                        help='metres from the object to the middle of the base')
    parser.add_argument('--go', action='store_true',
                        help='drive to the goal; without it nothing moves')
    options = parser.parse_args(rclpy.utilities.remove_ros_args(args)[args is None:])
    rclpy.init(args=args)
    node = rclpy.create_node('approach')
    goals = goals_of(find(node, options.query, options.frame), options.distance)
    show(node, 'approach_pose', goals[0])
    if options.go and not drive(goals):
        raise SystemExit('Nav2 reaches none of the goals around it')
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
