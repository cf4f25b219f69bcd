"""Remember what was seen where: ``ros2 launch mimo_embodied_ros memory.launch.py``.

It runs beside the node that answers. Places in a map hold after a restart if the map has a name:

    ros2 launch mimo_embodied_ros memory.launch.py map_id:=ground_floor
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from mimo_embodied_ros.launching import end_failed_launch

FILE = Path.home() / '.ros' / 'mimo_memory.db'
# Parameters of the memory: name, default, description.
ARGUMENTS = (
    ('file', str(FILE), 'File of the memory, for one robot; empty: none.'),
    ('odometry_topic', 'odom', 'Topic of odometry; empty: there is none.'),
    ('map_id', '', 'Name of the map; empty: places in it hold until the node ends.'),
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start the memory."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, text in ARGUMENTS),
        DeclareLaunchArgument('fixed_frames', default_value="['map']",
                              description='Frames that do not move, besides that of odometry.'),
        DeclareLaunchArgument('namespace', default_value='',
                              description='Namespace of the node.'),
        DeclareLaunchArgument('use_sim_time', default_value='false', choices=['true', 'false'],
                              description='Take the time from /clock.'),
        Node(
            package='mimo_embodied_ros', executable='mimo_memory', name='mimo_memory',
            namespace=LaunchConfiguration('namespace'), output='screen',
            on_exit=end_failed_launch,
            parameters=[{name: ParameterValue(LaunchConfiguration(name), value_type=str)
                         for name, *_ in ARGUMENTS},
                        {'fixed_frames': ParameterValue(LaunchConfiguration('fixed_frames')),
                         'use_sim_time': ParameterValue(
                            LaunchConfiguration('use_sim_time'), value_type=bool)}]),
    ])
