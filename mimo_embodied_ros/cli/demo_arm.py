"""``demo-arm``: do tasks with an arm at simulated tables, by physics.

`closed_loop` tells how. Things are held by friction alone: they slip, and are knocked, by chance.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.share import import_extra

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
    write_extrinsics,
)
from .processes import keep_apart

if TYPE_CHECKING:
    import argparse

    from mimo_embodied_ros.worlds.physics.film import Film
    from mimo_embodied_ros.worlds.physics.task_table import TaskTable

_DOMAIN = '76'  # so that neither a robot nor another demo hears this one
_RATE = 3.0  # seconds of simulated time in a second
_SLIPPERY, _KNOCKS = 0.1, 0.5  # share of heavy, slippery things; pushes a minute
_PLAYED_S = 0.1  # seconds that each picture of the film is shown
_FILM_SIZE, _MOST = (320, 240), 100  # of a camera's picture; pictures


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
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do a task in each scene, and report."""
    check_scenes(options)
    keep_apart(_DOMAIN)
    import_extra('mujoco', 'demo-arm needs MuJoCo', 'simulation')
    from mimo_embodied_ros.pictures import write_animation
    from mimo_embodied_ros.worlds.physics.arm_table import CAMERA, OVERVIEW
    from mimo_embodied_ros.worlds.physics.renderers import renderer_called
    from mimo_embodied_ros.worlds.physics.task_table import TaskTable

    world = TaskTable(options.seed, options.only or '', slippery=_SLIPPERY, knocks=_KNOCKS,
                      renderer=renderer_called('auto'))
    camera = write_extrinsics(world.cameras[CAMERA], options.out / 'extrinsics.yaml')
    played: list[dict[str, Any]] = []
    best: tuple[tuple[bool, int], Film] | None = None
    with run_loop(options, world, 'simulated_arm.yaml', lambda: _state(world), camera,
                  rate=_RATE) as loop:
        for scene in play_scenes(
                options, loop, lambda: task_tree(world.task.instruction, world.frame,
                                                 open_ended=world.task.open_ended),
                lambda problem: _judge(world, loop.watcher, problem),
                'scene {seed}: {instruction}: {steps} steps, {plans} plans, {seconds} s: '):
            played.append(scene)
            shows = scene['done'], len(world.film.states)
            if best is None or shows > best[0]:
                best = shows, world.film
    if best:
        write_animation(options.out / 'scene.gif',
                        best[1].pictures((OVERVIEW, CAMERA), *_FILM_SIZE, _MOST), _PLAYED_S)
    return finish(options, loop, _report(played), '{scenes} scenes, {success_rate:.0%} done, '
                  '{steps_mean} steps and {plans_mean} plans per scene', 'scene.gif')


def _state(world: TaskTable) -> SceneState:
    from mimo_embodied_ros.worlds.physics.arm_table import CAMERA

    held = [thing.name for thing in world.things() if thing.place == 'held']
    return SceneState(world.motions, lambda: world.look(CAMERA).pixels,
                      f'the gripper holds the {held[0]}' if held else 'the gripper holds nothing')


def _judge(world: TaskTable, watcher: Watcher, problem: str) -> dict[str, Any]:
    """Judge a scene; done: the task is done, and the executor says so."""
    missing = world.task.missing(world.things())
    done = not missing and not problem
    watcher.keep(done, watcher.plans > 1)
    return {'kind': world.task.kind, 'instruction': world.task.instruction, 'done': done,
            'steps': world.motions,
            'cause': cause_of(problem, ', '.join(missing) or 'it is done', done=done)}


def _report(played: list[dict[str, Any]]) -> dict[str, Any]:
    report = summary('tasks of several kinds', played)
    kinds = Counter(scene['kind'] for scene in played)
    report['by_kind'] = {
        kind: {'scenes': number, 'success_rate': sum(
            scene['done'] for scene in played if scene['kind'] == kind) / number}
        for kind, number in kinds.items()}
    return report
