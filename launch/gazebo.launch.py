"""Two robots in Gazebo: ``ros2 launch mimo_embodied_ros gazebo.launch.py``; needs ros_gz.

An arm's RGB-D camera over a table and a mobile base with odometry and such a camera, each with a
node in its namespace: ``/arm/mimo_embodied`` and ``/base/mimo_embodied``. The base is driven by
``/base/cmd_vel``.
"""

import shlex
from math import pi
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

LAUNCH = Path(__file__).resolve().parent
SHARE = LAUNCH.parent
WORLD = SHARE / 'gazebo' / 'tabletop.sdf'
BRIDGE = SHARE / 'gazebo' / 'bridge.yaml'
# Namespace, parameters, and the pose of the camera in base_link as in the world: x, y, z, pitch;
# metres and radians.
ROBOTS = (
    ('arm', 'manipulator.yaml', (0.05, 0.0, 0.55, 0.85)),
    ('base', 'mobile_base.yaml', (0.1, 0.0, 1.15, 0.25)),
)


def _gazebo(context: LaunchContext) -> list[IncludeLaunchDescription]:
    """The simulator, by the launch file that comes with ros_gz."""
    headless = LaunchConfiguration('headless').perform(context) == 'true'
    options = '-r -s --headless-rendering' if headless else '-r'
    file = PathJoinSubstitution([FindPackageShare('ros_gz_sim'), 'launch', 'gz_sim.launch.py'])
    return [IncludeLaunchDescription(file, launch_arguments={
        'gz_args': f'{options} {shlex.quote(str(WORLD))}', 'on_exit_shutdown': 'true'}.items())]


def _optical_frame(robot: str, x: float, y: float, z: float, pitch: float) -> Node:
    """From base_link, x ahead and z up, to the camera's optical frame, x right and z ahead."""
    pose = {'x': x, 'y': y, 'z': z, 'roll': -pi / 2 - pitch, 'pitch': 0.0, 'yaw': -pi / 2}
    names = {'frame-id': f'{robot}/base_link',
             'child-frame-id': f'{robot}/camera_color_optical_frame'}
    return Node(
        package='tf2_ros', executable='static_transform_publisher', namespace=robot,
        arguments=[word for name, value in {**pose, **names}.items()
                   for word in (f'--{name}', str(value))])


def _robot(name: str, file: str) -> GroupAction:
    """The node of a robot; the arguments of one do not reach the other."""
    return GroupAction([IncludeLaunchDescription(
        str(LAUNCH / 'mimo_embodied.launch.py'),
        launch_arguments={'namespace': name, 'robot_file': str(SHARE / 'config' / file),
                          'use_sim_time': 'true'}.items())])


def generate_launch_description() -> LaunchDescription:
    """Simulator, bridge, frames and nodes."""
    return LaunchDescription([
        DeclareLaunchArgument('headless', default_value='false', choices=('true', 'false'),
                              description='Without the window of Gazebo.'),
        IncludeLaunchDescription(str(LAUNCH / 'large_images.launch.py')),
        OpaqueFunction(function=_gazebo),
        Node(package='ros_gz_bridge', executable='parameter_bridge', output='screen',
             parameters=[{'config_file': str(BRIDGE), 'use_sim_time': True}]),
        *(_optical_frame(name, *pose) for name, _, pose in ROBOTS),
        *(_robot(name, file) for name, file, _ in ROBOTS),
    ])
