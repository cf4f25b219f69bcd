"""A manipulator with an RGB-D camera: ``ros2 launch mimo_embodied_ros manipulator.launch.py``.

Topics are those of realsense2_camera; ``image_topic``, ``depth_topic`` and ``camera_info_topic``
name others.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription

from launch import LaunchDescription

LAUNCH = Path(__file__).resolve().parent
ROBOT = LAUNCH.parent / 'config' / 'manipulator.yaml'


def generate_launch_description() -> LaunchDescription:
    """The node with this robot's sensors; a file of the user's own may stand in."""
    return LaunchDescription([
        DeclareLaunchArgument('robot_file', default_value=str(ROBOT),
                              description='Cameras and odometry of the robot.'),
        IncludeLaunchDescription(str(LAUNCH / 'mimo_embodied.launch.py')),
    ])
