"""``play``: play a recorded bag into topics."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .output import path_argument

if TYPE_CHECKING:
    import argparse

    from mimo_embodied_ros.bags import PlaybackProgress


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'play', help='play a recorded bag into ROS 2 topics',
        description='Play a recorded bag into ROS 2 topics with its own timing.',
        epilog='Nodes that compare stamps with the clock need --clock here and the parameter '
               'use_sim_time:=true. example: mimo-embodied play bags/tabletop --clock --loop')
    command.add_argument('bag', type=path_argument, metavar='BAG',
                         help='folder of a bag, or its .mcap or .db3 file')
    command.add_argument('--rate', type=float, default=1.0, help='speed (default: %(default)s)')
    command.add_argument('--loop', action='store_true', help='start again at the end')
    command.add_argument('--clock', action='store_true', help="publish the bag's time on /clock")
    command.add_argument('--topics', nargs='+', metavar='TOPIC', help='play only these topics')
    command.add_argument('--remap', action='append', default=[], metavar='FROM:=TO',
                         help='publish a topic under another name; may be repeated')
    command.add_argument('--quiet', action='store_true', help='show no progress')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Play until the end of the bag or an interrupt."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    from mimo_embodied_ros.bags import BagPlayer
    from mimo_embodied_ros.core.errors import InvalidRequestError
    from mimo_embodied_ros.ros import process
    from mimo_embodied_ros.share import carry_large_images

    remap = {}
    for rule in options.remap:
        old, separator, new = rule.partition(':=')
        if not (old and separator and new):
            msg = f'--remap {rule}: give FROM:=TO'
            raise InvalidRequestError(msg)
        remap[old] = new
    carry_large_images()
    # the interrupt is handled here, so that the progress line stays complete
    process.init([], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('mimo_embodied_play')
    try:
        with BagPlayer(options.bag, node, rate=options.rate, loop=options.loop,
                       clock=options.clock, topics=options.topics, remap=remap,
                       on_progress=None if options.quiet else _show) as player:
            player.wait_for_subscribers(1.0)
            messages = player.play()
        if not options.quiet:
            print(f'\n{messages} messages played', file=sys.stderr)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _show(progress: PlaybackProgress) -> None:
    share = progress.position_s / progress.duration_s if progress.duration_s else 1.0
    bar = ('#' * round(30 * share)).ljust(30, '.')
    print(f'\r[{bar}] {progress.position_s:6.1f} / {progress.duration_s:.1f} s  '
          f'{progress.messages} messages', end='', file=sys.stderr, flush=True)
