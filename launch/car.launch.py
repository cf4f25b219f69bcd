"""A car with six cameras around it and odometry: ``ros2 launch mimo_embodied_ros car.launch.py``.

PlanDriving is asked with all six, in the order of config/car.yaml, in which the model was trained.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription

from launch import LaunchDescription

LAUNCH = Path(__file__).resolve().parent
ROBOT = LAUNCH.parent / 'config' / 'car.yaml'


def generate_launch_description() -> LaunchDescription:
    """The node with this robot's sensors; a file of the user's own may stand in."""
    return LaunchDescription([
        DeclareLaunchArgument('robot_file', default_value=str(ROBOT),
                              description='Cameras and odometry of the robot.'),
        IncludeLaunchDescription(str(LAUNCH / 'mimo_embodied.launch.py')),
    ])
