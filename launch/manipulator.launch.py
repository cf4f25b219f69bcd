"""A manipulator with an RGB-D camera: ``ros2 launch mimo_embodied_ros manipulator.launch.py``.

The default topics are those of realsense2_camera with ``align_depth.enable:=true``;
``image_topic``, ``depth_topic`` and ``camera_info_topic`` set others.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription

from launch import LaunchDescription

LAUNCH = Path(__file__).resolve().parent
ROBOT = LAUNCH.parent / 'config' / 'manipulator.yaml'


def generate_launch_description() -> LaunchDescription:
    """Start the node with the sensors in ``robot_file``."""
    return LaunchDescription([
        DeclareLaunchArgument('robot_file', default_value=str(ROBOT),
                              description='YAML file with the cameras and odometry of the robot.'),
        IncludeLaunchDescription(str(LAUNCH / 'mimo_embodied.launch.py')),
    ])
