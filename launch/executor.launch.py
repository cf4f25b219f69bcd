"""Execute plans with the robot's actions: ``ros2 launch mimo_embodied_ros executor.launch.py``.

It runs beside the node that plans; both need the same skills file:

    ros2 launch mimo_embodied_ros executor.launch.py skills_file:=$PWD/my_skills.yaml
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from mimo_embodied_ros.launching import end_failed_launch

SHARE = Path(__file__).resolve().parent.parent
STATE = Path.home() / '.ros' / 'mimo_executor' / 'plan.json'
# Parameters of the executor: name, default, description.
ARGUMENTS = (
    ('skills_file', str(SHARE / 'config' / 'skills' / 'manipulator.yaml'),
     'YAML file with the skills of the robot, the same as the planning node has.'),
    ('policy_file', '',
     'YAML file: what to do when a step fails; empty: try once more, then plan again.'),
    ('target_frame', 'base_link',
     "Frame of the positions that calls get, with the robot's base as its origin."),
    ('state_file', str(STATE),
     "File that keeps the state of a plan, its node's full name before the ending; empty: none."),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start the executor."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, text in ARGUMENTS),
        DeclareLaunchArgument('namespace', default_value='',
                              description='Namespace of the node.'),
        DeclareLaunchArgument('use_sim_time', default_value='false', choices=['true', 'false'],
                              description='Take the time from /clock.'),
        Node(
            package='mimo_embodied_ros', executable='mimo_executor', name='mimo_executor',
            namespace=LaunchConfiguration('namespace'), output='screen',
            on_exit=end_failed_launch,
            parameters=[{name: ParameterValue(LaunchConfiguration(name), value_type=str)
                         for name, *_ in ARGUMENTS},
                        {'use_sim_time': ParameterValue(
                            LaunchConfiguration('use_sim_time'), value_type=bool)}]),
    ])
