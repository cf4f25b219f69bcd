"""Start the node, with one camera: ``ros2 launch mimo_embodied_ros mimo_embodied.launch.py``.

``--show-args`` lists the arguments. The launch files of robots declare ``robot_file`` and include
this file.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.logging import get_logger
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from launch import LaunchContext, LaunchDescription
from mimo_embodied_ros.launching import end_failed_launch, existing_file, follow_image, misspelt

LAUNCH = Path(__file__).resolve().parent
CONFIG = LAUNCH.parent / 'config'

# Arguments of this launch file: name, default, description, choices.
ARGUMENTS = (
    ('namespace', '', 'Namespace of the node, such as robot1.', None),
    ('params_file', str(CONFIG / 'mimo_tiny.yaml'),
     'YAML file with parameters of the node; config/mimo_7b.yaml is for the real model.', None),
    ('robot_file', '', 'YAML file with cameras and odometry of a robot; overrides params_file.',
     None),
    ('respawn', 'false', 'Start the node again when it ends: no server answers, or its GPU failed.',
     ('true', 'false')),
)
# Parameters of the node: argument, parameter, description, choices. Without a value the files
# decide. The arguments for a camera are for the one with the name camera.
PARAMETERS = (
    ('model', 'model', 'Folder or hub name of the model.', None),
    ('device', 'device', 'Where the model runs: auto, cpu, cuda or cuda:N.', None),
    ('image_topic', 'camera.image_topic', 'Topic with Image or CompressedImage.', None),
    ('image_transport', 'camera.image_transport', 'Type of image_topic.',
     ('', 'raw', 'compressed')),
    ('camera_info_topic', 'camera.camera_info_topic',
     'Topic with CameraInfo of the camera; with image_topic: the one beside the image.', None),
    ('depth_topic', 'camera.depth_topic',
     'Topic with depth registered to the image; of RealSense it follows image_topic.', None),
    ('odometry_topic', 'odometry_topic', 'Topic with Odometry of the base.', None),
    ('skills_file', 'skills_file', 'YAML file with the skills of the robot, for its plans.', None),
    ('use_sim_time', 'use_sim_time', 'Take the time from /clock, with a bag or a simulator.',
     ('', 'true', 'false')),
    ('autostart', 'autostart', 'Configure and activate the node when it starts.',
     ('', 'true', 'false')),
)


def _start(context: LaunchContext) -> list[LifecycleNode]:
    """Start the node; arguments with a value override the files.

    A node that cannot start, for instance since a parameter is wrong, ends the launch.
    """
    arguments = [name for name, *_ in (*ARGUMENTS, *PARAMETERS)]
    for sentence in misspelt(context.argv, arguments):
        get_logger('mimo_embodied').warning(sentence)
    overrides = {}
    for argument, parameter, _, _ in PARAMETERS:
        value = LaunchConfiguration(argument).perform(context)
        if value:
            overrides[parameter] = value == 'true' if value in {'true', 'false'} else value
    given = ((name, LaunchConfiguration(name).perform(context))
             for name in ('params_file', 'robot_file'))
    files = [existing_file(argument, name) for argument, name in given if name]
    follow_image(overrides, files)
    respawn = LaunchConfiguration('respawn').perform(context) == 'true'
    return [LifecycleNode(
        package='mimo_embodied_ros', executable='mimo_embodied', name='mimo_embodied',
        namespace=LaunchConfiguration('namespace'), output='screen',
        respawn=respawn, respawn_delay=5.0, on_exit=None if respawn else end_failed_launch,
        parameters=[*files, overrides])]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, set up the transport for large images, and start the node."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in (
            *ARGUMENTS, *((a, '', text, choices) for a, _, text, choices in PARAMETERS))
    ]
    return LaunchDescription([
        *arguments,
        IncludeLaunchDescription(str(LAUNCH / 'large_images.launch.py')),
        OpaqueFunction(function=_start),
    ])
