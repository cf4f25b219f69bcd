"""A simulated world, and the node that sees in it.

``ros2 launch mimo_embodied_ros simulate.launch.py`` shows the tabletop; ``world:=room`` is another
world, and ``world:=FILE.xml`` any MJCF file, whose cameras are topics:
``image_topic:=eye_left/color/image_raw``. ``node:=false`` starts the simulation alone.
"""

from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from mimo_embodied_ros.launching import end_failed_launch

LAUNCH = Path(__file__).resolve().parent
CONFIG = LAUNCH.parent / 'config'
# Parameters of the simulation: name, default, description.
PARAMETERS = (
    ('world', 'tabletop',
     'tabletop (an arm), drawn (a table without physics), room (a base), road, or an MJCF file.'),
    ('seed', '0', 'Decides all that is random.'),
    ('things', '[]', 'Things that are there in any case: [red cube, blue bowl].'),
    ('renderer', 'auto', 'What makes the pictures: auto, gl or rays.'),
    ('rate', '1.0', 'Seconds of simulated time in a second; 0: as many as can be.'),
    ('camera_rate', '5.0', 'Images of each camera in a second of simulated time.'),
)
# Files of parameters for the node that sees, by the world; of others: that of the arm.
ROBOT_FILES = {'room': 'mobile_base.yaml', 'road': 'simulated_road.yaml'}
ARM_FILE = 'manipulator.yaml'


def _start(context: LaunchContext) -> list[Any]:
    """Start the simulation and, where they are wanted, the node and the viewer."""
    given = {name: LaunchConfiguration(name).perform(context) for name in (
        'namespace', 'node', 'viewer', 'image_topic', *(name for name, *_ in PARAMETERS))}
    common = {'namespace': given['namespace'], 'output': 'screen', 'on_exit': end_failed_launch}
    out = [Node(
        package='mimo_embodied_ros', executable='mimo_simulation', name='simulation',
        ros_arguments=[word for name, *_ in PARAMETERS
                       for word in ('-p', f'{name}:={given[name]}')], **common)]
    if given['node'] == 'true':
        world = given['world']
        arguments = {'robot_file': str(CONFIG / ROBOT_FILES.get(world, ARM_FILE)),
                     'namespace': given['namespace'], 'use_sim_time': 'true'}
        if world != 'road':
            arguments['image_topic'] = given['image_topic']
        out.append(IncludeLaunchDescription(
            str(LAUNCH / 'mimo_embodied.launch.py'), launch_arguments=arguments.items()))
    if given['viewer'] == 'true':
        out.append(Node(
            package='mimo_embodied_ros', executable='mimo_viewer', name='mimo_viewer',
            parameters=[{'use_sim_time': True}], **common))
    return out


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, set up the transport for large images, and start the programs."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, default, text in PARAMETERS),
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of all.'),
        DeclareLaunchArgument('node', default_value='true', choices=('true', 'false'),
                              description='Start the node mimo_embodied as well.'),
        DeclareLaunchArgument('viewer', default_value='false', choices=('true', 'false'),
                              description='Start mimo_viewer, which draws the answers.'),
        DeclareLaunchArgument('image_topic', default_value='camera/color/image_raw',
                              description='Images for the node; depth and calibration follow.'),
        IncludeLaunchDescription(str(LAUNCH / 'large_images.launch.py')),
        OpaqueFunction(function=_start),
    ])
