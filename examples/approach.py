"""Find a thing and let a base drive before it: python approach.py "the red cube" --distance 0.8.

Needs the node with a depth camera and odometry, and a way from the camera's frame to the base: tf2,
or the node's parameter extrinsics_file. The goal is given in odometry's frame, in which it stays
where it is while the base moves on; it is printed and published on ``approach_pose``, for RViz.
Nothing moves without --go: then Nav2 is asked which of the goals around the thing it can reach, and
drives to the first, by nav2_simple_commander.
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
    """Goals ``distance`` metres before the first point found, those of the shortest way first.

    Raises:
        SystemExit: the base's place is not known in the frame of the points.

    """
    base, frame = answer.base, answer.position_frame_id
    if not base.valid or base.pose.header.frame_id != frame:
        raise SystemExit(f'odometry does not say where the base is in {frame}; see odometry_topic')
    there, here = answer.points[0].position, base.pose.pose.position
    header = Header(stamp=answer.header.stamp, frame_id=frame)
    return [pose_message(pose, header) for pose in goals_before(
        (there.x, there.y, there.z), (here.x, here.y, here.z), distance)]


def drive(goals: list[PoseStamped]) -> bool:
    """Let Nav2 drive to the first goal that it finds a path to."""
    from nav2_simple_commander.robot_navigator import BasicNavigator, TaskResult

    navigator = BasicNavigator()
    navigator.waitUntilNav2Active()
    goal = next((g for g in goals if navigator.getPath(PoseStamped(), g) is not None), None)
    if goal is None:
        return False
    navigator.goToPose(goal)
    while not navigator.isTaskComplete():
        pass  # which waits itself
    return bool(navigator.getResult() == TaskResult.SUCCEEDED)


def main(args: Sequence[str] | None = None) -> None:
    """Ask, print, publish, and drive if told to."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('query', help='what to drive to, in plain words')
    parser.add_argument('--frame', default='odom', help='of odometry')
    parser.add_argument('--distance', type=float, default=0.8,
                        help='metres from the thing to the middle of the base')
    parser.add_argument('--go', action='store_true', help='drive; without it nothing moves')
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
