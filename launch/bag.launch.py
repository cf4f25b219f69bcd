"""Play a bag to the node: ``ros2 launch mimo_embodied_ros bag.launch.py bag:=FOLDER``.

The node uses the bag's time, and the bag starts to play when the node is active. Without ``bag``
the demo's tabletop is played. For another bag name its topics, such as
``image_topic:=/camera/image_raw image_transport:=raw``.
"""

from pathlib import Path

from ament_index_python import get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.event_handlers import OnStateTransition

from launch import LaunchContext, LaunchDescription
from mimo_embodied_ros.launching import end_failed_launch

LAUNCH = Path(__file__).resolve().parent
SHARE = LAUNCH.parent
# Name, default, description, choices.
ARGUMENTS = (
    ('bag', str(SHARE / 'bags' / 'tabletop'), 'Folder of a bag, or its .mcap or .db3 file.', None),
    ('rate', '1.0', 'Speed; 2.0 is twice as fast as recorded.', None),
    ('loop', 'true', 'Start again at the end.', ('true', 'false')),
    ('robot_file', str(SHARE / 'config' / 'tabletop_bag.yaml'),
     'YAML file with the topics of the bag.', None),
    ('use_sim_time', 'true', 'Take the time from /clock, which the player publishes.',
     ('true', 'false')),
)


def _play(context: LaunchContext) -> list[RegisterEventHandler]:
    """Start ``ros2 bag play``, or else ``mimo-embodied play``, when the node becomes active."""
    bag, rate, loop = (LaunchConfiguration(name).perform(context)
                       for name in ('bag', 'rate', 'loop'))
    try:
        get_package_prefix('ros2bag')
        command = ['ros2', 'bag', 'play', '--disable-keyboard-controls']
    except (LookupError, OSError):  # not in the ament index, or no index
        command = ['mimo-embodied', 'play', '--quiet']
    command += [bag, '--rate', rate, *['--loop'] * (loop == 'true'), '--clock']
    player = ExecuteProcess(cmd=command, output='screen', on_exit=end_failed_launch)
    return [RegisterEventHandler(
        OnStateTransition(goal_state='active', entities=[player], handle_once=True))]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start the player and the node."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
          for name, default, text, choices in ARGUMENTS),
        OpaqueFunction(function=_play),
        IncludeLaunchDescription(str(LAUNCH / 'mimo_embodied.launch.py')),
    ])
