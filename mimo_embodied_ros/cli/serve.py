"""``serve``, ``view``, ``remember`` and ``execute``: the nodes, as ``ros2 run`` starts them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.share import carry_large_images

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_WITH_IMAGES = ('node.lifecycle_node', 'viewer.viewer_node')


def add_commands(commands: Any) -> None:
    """Add the commands."""
    for name, module, summary, description, example in (
        ('serve', 'node.lifecycle_node', 'run the ROS 2 node',
         'Run the ROS 2 node mimo_embodied: load the model, subscribe and serve.',
         'mimo-embodied serve -p camera.image_topic:=/camera/camera/color/image_raw'),
        ('view', 'viewer.viewer_node', 'draw the answers of the node, for RViz and Foxglove',
         'Run the ROS 2 node mimo_viewer: draw the answers of mimo_embodied for subscribers.',
         'mimo-embodied view -p node:=mimo_embodied -r __ns:=/robot1'),
        ('remember', 'memory_node.memory_node', 'remember what answers have shown where',
         'Run the ROS 2 node mimo_memory: remember the places of what mimo_embodied has found.',
         'mimo-embodied remember -p file:=robot1.db -p odometry_topic:=/odom'),
        ('execute', 'execution.executor_node', "execute plans with the robot's own actions",
         'Run the ROS 2 node mimo_executor: execute plans of skills, checked by mimo_embodied.',
         'mimo-embodied execute -p skills_file:=skills.yaml -p target_frame:=base_link'),
    ):
        command = commands.add_parser(
            name, help=summary, description=description, epilog=f'example: {example}')
        add_ros_arguments(command)
        command.set_defaults(run=run, module=module)


def run(options: argparse.Namespace) -> int:
    """Start the node with all options as ``--ros-args``."""
    if options.module in _WITH_IMAGES:
        carry_large_images()
    main = import_module(f'mimo_embodied_ros.{options.module}').main
    return int(main(ros_arguments(options)))


def add_ros_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments that every node takes."""
    command.add_argument('-p', '--param', action='append', default=[], metavar='NAME:=VALUE',
                         help='set a parameter; may be repeated')
    command.add_argument('--params-file', metavar='YAML', help='a ROS parameters file')
    command.add_argument('-r', '--remap', action='append', default=[], metavar='FROM:=TO',
                         help='remap a name, such as __ns:=/robot1; may be repeated')


def ros_arguments(options: argparse.Namespace, parameters: Sequence[str] = ()) -> list[str]:
    """Return the options as ``--ros-args``; the parameters come before those of the options."""
    arguments = ['--ros-args']
    if options.params_file:
        arguments += ['--params-file', options.params_file]
    for flag, values in (('-p', [*parameters, *options.param]), ('-r', options.remap)):
        for value in values:
            arguments += [flag, value]
    return arguments
