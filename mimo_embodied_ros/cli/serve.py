"""``serve``: the node, the same as ``ros2 run mimo_embodied_ros mimo_embodied``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'serve', help='run the ROS 2 node',
        description='Run the ROS 2 node mimo_embodied: load the model, subscribe and serve.',
        epilog='example: mimo-embodied serve -p model:=/models/MiMo-Embodied-7B '
               '-p camera.image_topic:=/camera/color/image_raw')
    command.add_argument('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
                         help='set a parameter; may be repeated')
    command.add_argument('--params-file', metavar='YAML', help='a ROS parameters file')
    command.add_argument('-r', '--remap', action='append', default=[], metavar='FROM:=TO',
                         help='remap a name, such as __ns:=/robot1; may be repeated')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Hand everything to rclpy, as ``--ros-args``."""
    from mimo_embodied_ros.nodes.node import main

    arguments = ['--ros-args']
    if options.params_file:
        arguments += ['--params-file', options.params_file]
    for flag, values in (('-p', options.param), ('-r', options.remap)):
        for value in values:
            arguments += [flag, value]
    return main(arguments)
