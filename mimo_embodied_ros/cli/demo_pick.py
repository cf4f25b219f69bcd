"""``demo-pick``: do a whole task on simulated tables with a gripper that drops things.

`closed_loop` tells how: the gripper loses a thing now and then, which only a look shows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError

from .closed_loop import (
    TARGET,
    SceneState,
    Watcher,
    add_scene_arguments,
    check_scenes,
    run_loop,
    summary,
    task_tree,
    tick_to_end,
)
from .output import write_json
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
    from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
    from mimo_embodied_ros.simulation.worlds import drawn_camera_file
    from mimo_embodied_ros.worlds.drawn_table import DrawnTable
    from mimo_embodied_ros.worlds.table_camera import OPTICAL_FRAME

    file = drawn_camera_file()
    pose = load_extrinsics(file).lookup(DrawnTable.frame, OPTICAL_FRAME, 0)
    world = DrawnTable(options.seed, pose, options.drop)
    tree = task_tree(TASK, world.frame)
    camera = {'extrinsics_file': str(file)}
    played: list[dict[str, Any]] = []
    with run_loop(options, world, 'tabletop.yaml', lambda: _state(world), camera) as loop:
        tree.setup(client=loop.mimo)
        for seed in range(options.seed, options.seed + options.scenes):
            loop.simulation.reset(seed)
            loop.watcher.begin()
            begin = time.monotonic()
            problem = tick_to_end(tree, loop.programs)
            played.append(_judge(seed, world, loop.watcher, problem, time.monotonic() - begin))
            print(_line(played[-1]), flush=True)
        tree.shutdown()
    report = {**summary(TASK, played), 'drop': options.drop,
              'drops': sum(scene['drops'] for scene in played)}
    write_json(options.out / 'report.json', report)
    loop.watcher.draw(options.out / 'scene.png')
    print('{scenes} scenes, {success_rate:.0%} done, {steps_mean} steps and {plans_mean} plans per '
          'scene, {drops} drops'.format(**report))
    print(f'written: {options.out}/report.json, {options.out}/scene.png')
    return 0 if report['success_rate'] >= TARGET else 1


def _state(world: DrawnTable) -> SceneState:
    table = world.table
    held = table.held.name if table.held else 'nothing'
    return SceneState(table.steps, lambda: table.pixels,
                      f'{table.event or "at first"}; the gripper holds {held}')


def _judge(
    seed: int, world: DrawnTable, watcher: Watcher, problem: str, seconds: float
) -> dict[str, Any]:
    """A scene's entry of the report; done: the task is done, and the executor says so."""
    table = world.table
    truth = table.where('red cube')
    done = table.done and not problem
    watcher.keep(table.drops > 0, done)
    cause = '' if done else f'{problem or "the executor says that it is done"}; in fact {truth}'
    return {'seed': seed, 'done': done, 'steps': table.steps, 'plans': watcher.plans,
            'drops': table.drops, 'seconds': round(seconds, 1), 'cause': cause}


def _line(scene: dict[str, Any]) -> str:
    line = 'scene {seed}: {steps} steps, {plans} plans, {drops} drops, {seconds} s: '
    return line.format(**scene) + (scene['cause'] or 'done')
