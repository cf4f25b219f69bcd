"""``simulate``: a world with cameras and a robot as a ROS node, as ``ros2 run`` starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.share import carry_large_images

from .serve import add_ros_arguments, ros_arguments

if TYPE_CHECKING:
    import argparse

_GIVEN = ('world', 'seed', 'renderer', 'rate', 'things', 'robot')


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'simulate', help='run a simulated world with cameras and a robot as a ROS 2 node',
        description='Run the ROS 2 node simulation: cameras, joints, odometry and skills of a '
                    'world, with the names that real robots have (docs/simulation.md), and '
                    '/clock: give the other nodes use_sim_time:=true.',
        epilog='example: mimo-embodied simulate tabletop --seed 3')
    command.add_argument('world', metavar='WORLD', help='tabletop (an arm), drawn (a drawn '
                         'tabletop), room (a base), road (a car), or an MJCF file (.xml)')
    command.add_argument('--seed', metavar='S', help='decides all that is random')
    command.add_argument('--things', metavar='NAMES', help='things that are there in any case, as '
                         'in "red cube, blue bowl"')
    command.add_argument('--renderer', choices=('auto', 'gl', 'rays'),
                         help='what makes the pictures (default: OpenGL where it works)')
    command.add_argument('--rate', metavar='R', help='seconds of simulated time in a second '
                         '(default: 1; 0: as many as can be)')
    command.add_argument('--robot', metavar='FILE.yaml', help='another arm at the tabletop '
                         '(docs/worlds.md)')
    add_ros_arguments(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Start the node with all options as ``--ros-args``."""
    carry_large_images()
    from mimo_embodied_ros.simulation.simulation_node import main

    return main(ros_arguments(options, parameters_of(options)))


def parameters_of(options: argparse.Namespace) -> list[str]:
    """Return the node's parameters that are arguments of the command, ``NAME:=VALUE``."""
    given = {name: getattr(options, name) for name in _GIVEN}
    if given['things'] is not None:
        given['things'] = f'[{given["things"]}]'
    return [f'{name}:={value}' for name, value in given.items() if value is not None]
