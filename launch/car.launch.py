"""A car with six cameras around it and odometry: ``ros2 launch mimo_embodied_ros car.launch.py``.

Send PlanDriving with all six cameras in the order of config/car.yaml, as the model was trained.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription

from launch import LaunchDescription

LAUNCH = Path(__file__).resolve().parent
ROBOT = LAUNCH.parent / 'config' / 'car.yaml'


def generate_launch_description() -> LaunchDescription:
    """Start the node with the sensors in ``robot_file``."""
    return LaunchDescription([
        DeclareLaunchArgument('robot_file', default_value=str(ROBOT),
                              description='YAML file with the cameras and odometry of the robot.'),
        IncludeLaunchDescription(str(LAUNCH / 'mimo_embodied.launch.py')),
    ])
