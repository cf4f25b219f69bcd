"""``demo-base``: let a mobile base go to things in simulated rooms, by physics.

`closed_loop` tells how. The base looks around where the thing is not in view, and knows where it is
from its wheels alone.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from .closed_loop import (
    TARGET,
    SceneState,
    Watcher,
    add_scene_arguments,
    attempt,
    check_scenes,
    run_loop,
    summary,
    tick_to_end,
    write_extrinsics,
)
from .output import write_json
from .processes import keep_apart

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from py_trees.behaviour import Behaviour
    from py_trees.trees import BehaviourTree

    from mimo_embodied_ros.worlds.physics.base_room import BaseRoom

THING = 'yellow', 'box'
TASK = f'go to the {" ".join(THING)}'
_DOMAIN = '75'  # so that neither a robot nor another demo hears this one
_RATE, _CAMERA_RATE = 3.0, 2.0  # seconds of simulated time in a second; images in a simulated one
_LOOKS = 8  # a little more than once around
_BEFORE, _FACING = (0.5, 0.9), math.radians(20)  # metres from the base's front to the thing; angle
_ACTION = 'base/run_skill'


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'demo-base', help='go to things in simulated rooms, and count how often that is done',
        description=f'"{TASK}" in random rooms with a base that has a camera and odometry from its '
                    'wheels: behaviour tree, plan, driving by physics, checks, and planning again. '
                    'Writes report.json, the pictures of a room as the base sees it, scene.png, '
                    'and from above, overview.png.',
        epilog=f'exit code: 0 when the base came to the thing in at least {TARGET:.0%} of the '
               'rooms.')
    add_scene_arguments(command, 'demo_base_out')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do the task in all rooms, and report."""
    check_scenes(options)
    keep_apart(_DOMAIN)
    from mimo_embodied_ros.share import import_extra

    import_extra('mujoco', 'demo-base needs MuJoCo', 'simulation')
    from mimo_embodied_ros.worlds.physics.base_room import BaseRoom
    from mimo_embodied_ros.worlds.physics.renderers import renderer_called

    world = BaseRoom(options.seed, first=[THING], renderer=renderer_called('auto'))
    tree = _tree(world.frame)
    node = {**write_extrinsics(world.cameras['camera'], options.out / 'extrinsics.yaml'),
            'odometry_topic': 'odom'}
    played: list[dict[str, Any]] = []
    best = _Film(False, 0, [])
    with run_loop(options, world, 'room.yaml', lambda: _state(world), node, rate=_RATE,
                  camera_rate=_CAMERA_RATE) as loop:
        tree.setup(client=loop.mimo)
        for seed in range(options.seed, options.seed + options.scenes):
            loop.simulation.reset(seed)
            loop.watcher.begin()
            above = [world.look('overview').pixels]
            begin = time.monotonic()
            problem = tick_to_end(tree, loop.programs)
            played.append(_judge(seed, world, loop.watcher, problem, time.monotonic() - begin))
            print(_line(played[-1]), flush=True)
            above.append(world.look('overview').pixels)
            best = max(best, _Film(played[-1]['done'], played[-1]['steps'], above),
                       key=lambda film: film[:2])
        tree.shutdown()
    report = summary(TASK, played)
    write_json(options.out / 'report.json', report)
    loop.watcher.draw(options.out / 'scene.png')
    _draw(best, options.out / 'overview.png')
    print('{scenes} rooms, {success_rate:.0%} done, {steps_mean} steps and {plans_mean} plans per '
          'room'.format(**report))
    print(f'written: {options.out}/report.json, scene.png and overview.png')
    return 0 if report['success_rate'] >= TARGET else 1


class _Film(NamedTuple):
    """A room from above, before and after, and what is good about it."""

    done: bool
    steps: int
    pictures: list[NDArray[np.uint8]]


def _draw(film: _Film, path: Path) -> None:
    from mimo_embodied_ros.annotate import Canvas, tile
    from mimo_embodied_ros.pictures import write_picture

    canvases = [Canvas(pixels) for pixels in film.pictures]
    for canvas, caption in zip(canvases, ('before', 'after')):
        canvas.note(f'{TASK}: {caption}')
    write_picture(path, tile([canvas.picture() for canvas in canvases], len(canvases)))


def _tree(frame: str) -> BehaviourTree:
    """Make the tree: plan and execute, or look around and try again."""
    from py_trees.composites import Selector, Sequence
    from py_trees.trees import BehaviourTree

    from mimo_embodied_ros.action import RunSkill
    from mimo_embodied_ros.trees import Execute

    def look_around(number: int) -> Behaviour:
        return Execute(f'look around {number}', RunSkill, _ACTION,
                       lambda _: RunSkill.Goal(skill='look_around'), reads=())

    tries = [attempt(TASK, frame)]
    tries += [Sequence(f'try {number}', memory=True, children=[
        look_around(number), attempt(TASK, frame)]) for number in range(1, _LOOKS)]
    return BehaviourTree(Selector('task', memory=True, children=tries))


def _state(world: BaseRoom) -> SceneState:
    x, y, yaw = world.pose
    return SceneState(world.motions.count, lambda: world.look('camera').pixels,
                      f'odometry: {x:.2f}, {y:.2f} m, {math.degrees(yaw):.0f} degrees')


def _judge(
    seed: int, world: BaseRoom, watcher: Watcher, problem: str, seconds: float
) -> dict[str, Any]:
    """A room's entry of the report; done: the base is there, and the executor says so."""
    name = ' '.join(THING)
    gap, angle = world.gap(name)
    drift = math.dist(world.pose[:2], world.true_pose()[:2])
    done = not problem and _BEFORE[0] <= gap <= _BEFORE[1] and abs(angle) <= _FACING
    watcher.keep(done, world.motions.count > 1)
    truth = (f'the {name} is {gap:.2f} m before the base, {math.degrees(angle):.0f} degrees to the '
             'left')
    cause = '' if done else f'{problem or "the executor says that it is done"}; in fact {truth}'
    return {'seed': seed, 'done': done, 'steps': world.motions.count, 'plans': watcher.plans,
            'gap': round(gap, 2), 'drift': round(drift, 3), 'seconds': round(seconds, 1),
            'cause': cause}


def _line(scene: dict[str, Any]) -> str:
    line = 'room {seed}: {steps} steps, {plans} plans, drift {drift} m, {seconds} s: '
    return line.format(**scene) + (scene['cause'] or 'done')
