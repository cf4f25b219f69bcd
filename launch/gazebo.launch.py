"""Two robots in Gazebo: ``ros2 launch mimo_embodied_ros gazebo.launch.py``; needs ros_gz.

One robot is an arm's RGB-D camera over a table; the other is a mobile base with odometry and an
RGB-D camera. Each has a node in its namespace: ``/arm/mimo_embodied`` and ``/base/mimo_embodied``.
``/base/cmd_vel`` drives the base.
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
# Namespace, file with parameters, and the camera's pose in base_link, as in the world file: x, y, z
# in metres, pitch in radians.
ROBOTS = (
    ('arm', 'manipulator.yaml', (0.05, 0.0, 0.55, 0.85)),
    ('base', 'mobile_base.yaml', (0.1, 0.0, 1.15, 0.25)),
)


def _gazebo(context: LaunchContext) -> list[IncludeLaunchDescription]:
    """Start the simulator with the launch file of ros_gz."""
    headless = LaunchConfiguration('headless').perform(context) == 'true'
    options = '-r -s --headless-rendering' if headless else '-r'
    file = PathJoinSubstitution([FindPackageShare('ros_gz_sim'), 'launch', 'gz_sim.launch.py'])
    return [IncludeLaunchDescription(file, launch_arguments={
        'gz_args': f'{options} {shlex.quote(str(WORLD))}', 'on_exit_shutdown': 'true'}.items())]


def _optical_frame(robot: str, x: float, y: float, z: float, pitch: float) -> Node:
    """Publish the camera's optical frame (x right, z forwards) in base_link (x forwards, z up)."""
    pose = {'x': x, 'y': y, 'z': z, 'roll': -pi / 2 - pitch, 'pitch': 0.0, 'yaw': -pi / 2}
    names = {'frame-id': f'{robot}/base_link',
             'child-frame-id': f'{robot}/camera_color_optical_frame'}
    return Node(
        package='tf2_ros', executable='static_transform_publisher', namespace=robot,
        arguments=[word for name, value in {**pose, **names}.items()
                   for word in (f'--{name}', str(value))])


def _robot(name: str, file: str) -> GroupAction:
    """Start the node of a robot, in a group so that its arguments do not reach the other's."""
    return GroupAction([IncludeLaunchDescription(
        str(LAUNCH / 'mimo_embodied.launch.py'),
        launch_arguments={'namespace': name, 'robot_file': str(SHARE / 'config' / file),
                          'use_sim_time': 'true'}.items())])


def generate_launch_description() -> LaunchDescription:
    """Start the simulator, the bridge, the static frames and the nodes."""
    return LaunchDescription([
        DeclareLaunchArgument('headless', default_value='false', choices=('true', 'false'),
                              description='Run Gazebo without its window.'),
        IncludeLaunchDescription(str(LAUNCH / 'large_images.launch.py')),
        OpaqueFunction(function=_gazebo),
        Node(package='ros_gz_bridge', executable='parameter_bridge', output='screen',
             parameters=[{'config_file': str(BRIDGE), 'use_sim_time': True}]),
        *(_optical_frame(name, *pose) for name, _, pose in ROBOTS),
        *(_robot(name, file) for name, file, _ in ROBOTS),
    ])
