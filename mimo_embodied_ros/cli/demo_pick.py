"""``demo-pick``: do a whole task on simulated tables with a gripper that drops things.

`closed_loop` tells how: the gripper loses a thing now and then, which only a look shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from mimo_embodied_ros.core.errors import InvalidRequestError

from .closed_loop import (
    TARGET,
    SceneState,
    Watcher,
    add_scene_arguments,
    cause_of,
    check_scenes,
    finish,
    play_scenes,
    run_loop,
    summary,
    task_tree,
)
from .processes import keep_apart

if TYPE_CHECKING:
    import argparse

    from mimo_embodied_ros.worlds.drawn_table import DrawnTable

TASK = 'put the red cube into the blue bowl'
_DOMAIN = '78'  # so that neither a robot nor the other demo hears this one


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'demo-pick', help='do a task on simulated tables, and count how often it is done',
        description=f'"{TASK}" on drawn tables with a gripper that drops things: behaviour tree, '
                    'plan, execution, checks, and planning again. Writes report.json and the '
                    'pictures of a scene in which something was dropped, scene.png.',
        epilog=f'exit code: 0 when the task was done in at least {TARGET:.0%} of the scenes.')
    add_scene_arguments(command, 'demo_pick_out')
    command.add_argument('--drop', type=float, default=0.2, metavar='P',
                         help='probability that the gripper loses a thing in a pick or in a place '
                              '(default: %(default)s)')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do the task in all scenes, and report."""
    check_scenes(options)
    if not 0 <= options.drop <= 1:
        msg = f'--drop {options.drop}: give a probability, 0 to 1'
        raise InvalidRequestError(msg)
    keep_apart(_DOMAIN)
    from mimo_embodied_ros.simulation.worlds import WorldOptions, drawn_camera_file, make_world

    world = cast('DrawnTable', make_world('drawn', WorldOptions(options.seed, drop=options.drop)))
    camera = {'extrinsics_file': str(drawn_camera_file())}
    with run_loop(options, world, 'tabletop.yaml', lambda: _state(world), camera) as loop:
        played = [*play_scenes(
            options, loop, lambda: task_tree(TASK, world.frame),
            lambda problem: _judge(world, loop.watcher, problem),
            'scene {seed}: {steps} steps, {plans} plans, {drops} drops, {seconds} s: ')]
    report = {**summary(TASK, played), 'drop': options.drop,
              'drops': sum(scene['drops'] for scene in played)}
    return finish(options, loop, report, '{scenes} scenes, {success_rate:.0%} done, {steps_mean} '
                  'steps and {plans_mean} plans per scene, {drops} drops')


def _state(world: DrawnTable) -> SceneState:
    table = world.table
    held = table.held.name if table.held else 'nothing'
    return SceneState(table.steps, lambda: table.pixels,
                      f'{table.event or "at first"}; the gripper holds {held}')


def _judge(world: DrawnTable, watcher: Watcher, problem: str) -> dict[str, Any]:
    """Judge a scene; done: the task is done, and the executor says so."""
    table = world.table
    done = table.done and not problem
    watcher.keep(table.drops > 0, done)
    return {'done': done, 'steps': table.steps, 'drops': table.drops,
            'cause': cause_of(problem, table.where('red cube'), done=done)}
