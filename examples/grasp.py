"""Find an object and reach for it: python grasp.py "the red cube" --frame base_link.

It needs the node with a depth camera, and the transform from the camera's frame to --frame: from
tf2, or from the node's parameter extrinsics_file. The pose is printed, and published on
``grasp_pose`` for RViz. Nothing moves without --group, the planning group of MoveIt: with it,
moveit_py plans and executes, and this program must be started with MoveIt's parameters, as MoveIt's
own Python nodes are.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import rclpy
from asking import find, show
from std_msgs.msg import Header

from mimo_embodied_ros.geometry.poses import tool_pose
from mimo_embodied_ros.ros.messages import pose_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from geometry_msgs.msg import PoseStamped


def grasp_of(answer: Any, distance: float) -> PoseStamped:
    """Return the pose of a tool ``distance`` metres from the first point, its z axis towards it.

    Raises:
        SystemExit: the normal of the surface is not known.

    """
    point = answer.points[0]
    if not point.normal_valid:
        raise SystemExit('the surface there is too small or too rough for a normal; '
                         'move the camera closer')
    at, out = point.position, point.normal
    pose = tool_pose((at.x, at.y, at.z), (out.x, out.y, out.z), distance)
    header = Header(stamp=answer.header.stamp, frame_id=answer.position_frame_id)
    return pose_message(pose, header)


def reach(pose: PoseStamped, group: str, link: str) -> bool:
    """Let MoveIt plan to a pose and execute; return whether it arrived."""
    from moveit.planning import MoveItPy

    robot = MoveItPy(node_name='mimo_grasp')
    arm = robot.get_planning_component(group)
    arm.set_start_state_to_current_state()
    arm.set_goal_state(pose_stamped_msg=pose, pose_link=link)
    plan = arm.plan()
    return bool(plan) and bool(robot.execute(plan.trajectory, controllers=[]))


def main(args: Sequence[str] | None = None) -> None:
    """Find the object, print and publish the pose, and move with --group."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('query', help='object to grasp, in plain words')
    parser.add_argument('--frame', default='base_link', help='frame of the pose, fixed to the arm')
    parser.add_argument('--distance', type=float, default=0.1,
                        help='metres from the surface to the link')
    parser.add_argument('--group', help="MoveIt's planning group; without it nothing moves")
    parser.add_argument('--link', default='tool0', help='link that is to reach the pose')
    options = parser.parse_args(rclpy.utilities.remove_ros_args(args)[args is None:])
    rclpy.init(args=args)
    node = rclpy.create_node('grasp')
    pose = grasp_of(find(node, options.query, options.frame), options.distance)
    show(node, 'grasp_pose', pose)
    if options.group and not reach(pose, options.group, options.link):
        raise SystemExit('MoveIt found no path to the pose')
    rclpy.try_shutdown()


if __name__ == '__main__':
    main()
