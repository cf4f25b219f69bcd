"""Start the node: ``ros2 launch mimo_embodied_ros mimo_embodied.launch.py --show-args``."""

import os
from pathlib import Path

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from launch import LaunchContext, LaunchDescription

SHARE = Path(__file__).resolve().parents[1]
# Fast DDS' default transports lose large pictures; a profile of the user's own is kept.
PROFILE_VARIABLES = ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE')

# Of the launch file itself: name, default, description, choices.
ARGUMENTS = (
    ('namespace', '', 'Namespace of the node, such as robot1.', None),
    ('params_file', str(SHARE / 'config' / 'mimo_tiny.yaml'),
     'Parameters of the node; config/mimo_7b.yaml is for the real model.', None),
    ('respawn', 'false', 'Start the node again when it ends, as it does where no server answers.',
     ('true', 'false')),
)
# Parameters of the node: argument, parameter, description, choices. Without a value the
# parameters file decides.
PARAMETERS = (
    ('model', 'model', 'Folder or hub name of the model.', None),
    ('device', 'device', 'Where the model runs: auto, cpu, cuda or cuda:N.', None),
    ('image_topic', 'camera.image_topic', 'Image or CompressedImage of the camera.', None),
    ('image_transport', 'camera.image_transport', 'What image_topic carries.',
     ('', 'raw', 'compressed')),
    ('camera_info_topic', 'camera.camera_info_topic', 'CameraInfo of the camera.', None),
    ('depth_topic', 'camera.depth_topic', 'Depth image registered to the camera.', None),
    ('odometry_topic', 'odometry_topic', 'Odometry of the base.', None),
    ('use_sim_time', 'use_sim_time', 'Take the time from /clock: with a bag or a simulator.',
     ('', 'true', 'false')),
    ('autostart', 'autostart', 'Configure and activate at once.', ('', 'true', 'false')),
)


def _start(context: LaunchContext) -> list[LifecycleNode]:
    """The node, with the arguments that were given over the parameters file."""
    given = {}
    for argument, parameter, _, _ in PARAMETERS:
        value = LaunchConfiguration(argument).perform(context)
        if value:
            given[parameter] = value == 'true' if value in {'true', 'false'} else value
    return [LifecycleNode(
        package='mimo_embodied_ros', executable='mimo_embodied', name='mimo_embodied',
        namespace=LaunchConfiguration('namespace'), output='screen',
        respawn=LaunchConfiguration('respawn').perform(context) == 'true', respawn_delay=5.0,
        parameters=[LaunchConfiguration('params_file').perform(context), given])]


def generate_launch_description() -> LaunchDescription:
    """Arguments, a transport that carries large pictures, and the node."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in (
            *ARGUMENTS, *((a, '', text, choices) for a, _, text, choices in PARAMETERS))
    ]
    profile = str(SHARE / 'config' / 'fastdds_large_images.xml')
    environment = [
        SetEnvironmentVariable(name, profile)
        for name in PROFILE_VARIABLES if name not in os.environ
    ]
    return LaunchDescription([*arguments, *environment, OpaqueFunction(function=_start)])
