"""``demo-arm``: do tasks with an arm at simulated tables, by physics.

`closed_loop` tells how. Things are held by friction alone: they slip, and are knocked, by chance.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError

from .closed_loop import (
    START_S,
    TARGET,
    SceneState,
    Watcher,
    add_scene_arguments,
    node_and_executor,
    spun,
    summary,
    task_tree,
    tick_to_end,
)
from .output import write_json
from .processes import keep_apart

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.simulation.simulation_node import Simulation
    from mimo_embodied_ros.worlds.physics.task_table import TaskTable

_DOMAIN = '76'  # so that neither a robot nor another demo hears this one
_RATE = 2.0  # seconds of simulated time in a second
_SLIPPERY, _KNOCKS = 0.1, 0.5  # share of heavy, slippery things; pushes a minute
_FRAME_S = 0.4  # simulated seconds between two pictures of the film
_PLAYED_S = 0.1  # seconds that each of them is shown
_MOST = 150  # pictures of a film


def add_commands(commands: Any) -> None:
    """Add the command."""
    from mimo_embodied_ros.worlds.table_tasks import TASKS

    command = commands.add_parser(
        'demo-arm', help='do tasks with a simulated arm, and count how often they are done',
        description=f'Tasks of {len(TASKS)} kinds ({", ".join(TASKS)}) on random tables with an '
                    'arm that holds things by friction: behaviour tree, plan, execution by '
                    'physics, checks, and planning again. Writes report.json, the pictures of a '
                    'scene, scene.png, and a film of one, scene.gif.',
        epilog=f'exit code: 0 when the task was done in at least {TARGET:.0%} of the scenes.')
    add_scene_arguments(command, 'demo_arm_out')
    command.add_argument('--only', choices=[*TASKS], metavar='KIND',
                         help=f'only tasks of this kind: {", ".join(TASKS)}')
    command.add_argument('--renderer', choices=('auto', 'gl', 'rays'), default='auto',
                         help='what makes the pictures (default: %(default)s: OpenGL where it works)')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do a task in each scene, and report."""
    if options.scenes < 1:
        msg = f'--scenes {options.scenes}: give at least 1'
        raise InvalidRequestError(msg)
    keep_apart(_DOMAIN)
    import rclpy

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.ros import process
    from mimo_embodied_ros.share import import_extra, share_folder
    from mimo_embodied_ros.simulation.simulation_node import Simulation

    import_extra('mujoco', 'demo-arm needs MuJoCo', 'simulation')
    from mimo_embodied_ros.worlds.physics.renderers import make_renderer
    from mimo_embodied_ros.worlds.physics.task_table import TaskTable

    options.out.mkdir(parents=True, exist_ok=True)
    world = TaskTable(options.seed, options.only or '', slippery=_SLIPPERY, knocks=_KNOCKS,
                      renderer=make_renderer(options.renderer))
    extrinsics = options.out / 'extrinsics.yaml'
    write_extrinsics(world, extrinsics)
    camera = {'extrinsics_file': str(extrinsics), 'camera.reliable': 'true',
              'camera.image_topic': 'camera/color/image_raw',
              'camera.depth_topic': 'camera/aligned_depth_to_color/image_raw'}
    skills = share_folder() / 'config' / 'skills' / 'tabletop.yaml'
    process.init([])
    simulation = Simulation(world=world, parameter_overrides=[rclpy.Parameter('rate', value=_RATE)])
    node = rclpy.create_node('mimo_embodied_demo_arm', parameter_overrides=[
        rclpy.Parameter('use_sim_time', value=True)])
    try:
        watcher, played = Watcher(node, lambda: _state(world)), []
        with (node_and_executor(
                options.out, options.model, skills, world.frame, camera) as programs,
              spun(simulation, node), MimoClient(node, wait_s=START_S) as mimo):
            for seed in range(options.seed, options.seed + options.scenes):
                simulation.reset(seed)
                watcher.begin()
                tree = task_tree(world.task.instruction, world.frame,
                                 open_ended=world.task.open_ended)
                tree.setup(client=mimo)
                begin = time.monotonic()
                problem = tick_to_end(tree, programs)
                tree.shutdown()
                played.append(_judge(seed, world, watcher, problem, time.monotonic() - begin))
                print(_line(played[-1]), flush=True)
    finally:
        simulation.destroy_node()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
