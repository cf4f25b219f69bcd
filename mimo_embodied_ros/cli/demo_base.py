"""``demo-base``: let a mobile base go to things in simulated rooms, by physics.

`closed_loop` tells how. The base looks around where the thing is not in view, and knows where it is
from its wheels alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from mimo_embodied_ros.share import import_extra

from .closed_loop import (
    TARGET,
    SceneState,
    Watcher,
    add_scene_arguments,
    attempt,
    cause_of,
    check_scenes,
    finish,
    play_scenes,
    run_loop,
    summary,
    write_extrinsics,
)
from .processes import keep_apart

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from py_trees.behaviour import Behaviour
    from py_trees.trees import BehaviourTree

    from mimo_embodied_ros.worlds.physics.base_room import BaseRoom

    from .closed_loop import Loop

THING = 'yellow', 'box'
TASK = f'go to the {" ".join(THING)}'
_DOMAIN = '75'  # so that neither a robot nor another demo hears this one
_RATE, _CAMERA_RATE = 3.0, 2.0  # seconds of simulated time in a second; images in a simulated one
LOOKS = 8
"""Looks around, a little more than once."""
_BEFORE, _FACING = (0.5, 0.9), math.radians(20)  # metres from the base's front to the thing; angle


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
    import_extra('mujoco', 'demo-base needs MuJoCo', 'simulation')
    from mimo_embodied_ros.worlds.physics.base_room import BaseRoom
    from mimo_embodied_ros.worlds.physics.renderers import renderer_called

    world = BaseRoom(options.seed, first=[THING], renderer=renderer_called('auto'))
    loop, played, film = play_rooms(
        options, world, _tree,
        'room {seed}: {steps} steps, {plans} plans, drift {drift} m, {seconds} s: ')
    film.draw(options.out / 'overview.png')
    return finish(options, loop, summary(TASK, played), '{scenes} rooms, {success_rate:.0%} done, '
                  '{steps_mean} steps and {plans_mean} plans per room', 'overview.png')


def play_rooms(
    options: argparse.Namespace, world: BaseRoom, tree: Callable[[str], BehaviourTree], line: str,
    memory: Path | None = None,
) -> tuple[Loop, list[dict[str, Any]], Film]:
    """Do the task in all rooms.

    Args:
        options: of the command, see `add_scene_arguments`.
        world: with the rooms.
        tree: makes the tree of a room from the frame of its places.
        line: see `play_scenes`.
        memory: see `run_loop`.

    Returns:
        What ran and has ended, the rooms' entries in the report, and the best room from above.

    """
    node = {**write_extrinsics(world.cameras['camera'], options.out / 'extrinsics.yaml'),
            'odometry_topic': 'odom'}
    above: list[NDArray[np.uint8]] = []

    def begin() -> BehaviourTree:
        above[:] = [world.look('overview').pixels]
        return tree(world.frame)

    played: list[dict[str, Any]] = []
    best = Film(False, 0, [])
    with run_loop(options, world, 'room.yaml', lambda: _state(world), node, memory, rate=_RATE,
                  camera_rate=_CAMERA_RATE) as loop:
        for room in play_scenes(
                options, loop, begin, lambda problem: _judge(world, loop.watcher, problem), line):
            played.append(room)
            best = max(best, Film(room['done'], room['steps'],
                                  [*above, world.look('overview').pixels]),
                       key=lambda film: film[:2])
    return loop, played, best


class Film(NamedTuple):
    """A room from above, before and after, and what is good about it."""

    done: bool
    steps: int
    pictures: list[NDArray[np.uint8]]

    def draw(self, path: Path) -> None:
        """Write both pictures side by side."""
        from mimo_embodied_ros.annotate import Canvas, tile
        from mimo_embodied_ros.pictures import write_picture

        canvases = [Canvas(pixels) for pixels in self.pictures]
        for canvas, caption in zip(canvases, ('before', 'after')):
            canvas.note(f'{TASK}: {caption}')
        write_picture(path, tile([canvas.picture() for canvas in canvases], len(canvases)))


def _tree(frame: str) -> BehaviourTree:
    """Make the tree: plan and execute, or look around and try again."""
    from py_trees.composites import Selector, Sequence
    from py_trees.trees import BehaviourTree

    tries = [attempt(TASK, frame)]
    tries += [Sequence(f'try {number}', memory=True, children=[
        look_around(number), attempt(TASK, frame)]) for number in range(1, LOOKS)]
    return BehaviourTree(Selector('task', memory=True, children=tries))


def look_around(number: int) -> Behaviour:
    """Make the behaviour that turns the base to the left, for the name's sake with a number."""
    from mimo_embodied_ros.action import RunSkill
    from mimo_embodied_ros.trees import Execute

    return Execute(f'look around {number}', RunSkill, 'base/run_skill',
                   lambda _: RunSkill.Goal(skill='look_around'), reads=())


def _state(world: BaseRoom) -> SceneState:
    x, y, yaw = world.pose
    return SceneState(world.motions.count, lambda: world.look('camera').pixels,
                      f'odometry: {x:.2f}, {y:.2f} m, {math.degrees(yaw):.0f} degrees')


def is_before(world: BaseRoom, thing: str) -> tuple[bool, float, str]:
    """Whether the base is right before a thing and faces it, its distance, and both in words."""
    gap, angle = world.gap(thing)
    there = _BEFORE[0] <= gap <= _BEFORE[1] and abs(angle) <= _FACING
    return there, gap, (f'the {thing} is {gap:.2f} m before the base, {math.degrees(angle):.0f} '
                        'degrees to the left')


def _judge(world: BaseRoom, watcher: Watcher, problem: str) -> dict[str, Any]:
    """Judge a room; done: the base is there, and the executor says so."""
    there, gap, truth = is_before(world, ' '.join(THING))
    drift = math.dist(world.pose[:2], world.true_pose()[:2])
    done = not problem and there
    watcher.keep(done, world.motions.count > 1)
    return {'done': done, 'steps': world.motions.count, 'gap': round(gap, 2),
            'drift': round(drift, 3), 'cause': cause_of(problem, truth, done=done)}
