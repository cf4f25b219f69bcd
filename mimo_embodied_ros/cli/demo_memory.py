"""``demo-memory``: let a mobile base fetch what it has been shown and does not see any more.

`closed_loop` tells how. The base looks around until it sees the thing and has a plan, turns away,
and then does the plan: with a memory, and without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.share import import_extra

from .closed_loop import (
    TARGET,
    add_scene_arguments,
    check_scenes,
    conclude,
    execute_plan,
    fresh_frame,
)
from .demo_base import LOOKS, TASK, THING, look_around, play_rooms
from .processes import keep_apart

if TYPE_CHECKING:
    import argparse

    from py_trees.trees import BehaviourTree

_DOMAIN = '73'  # so that neither a robot nor another demo hears this one
_AWAY = 3  # looks around, after which the thing is behind the base
_LINE = ': {steps} steps, {plans} plans, {seconds} s: '


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'demo-memory', help='fetch what was seen before, with a memory and without',
        description=f'"{TASK}" in random rooms: the base sees the thing and plans, turns away, and '
                    'does the plan where it does not see the thing, with a memory of where that '
                    'was and without. Writes report.json, the pictures of a room as the base sees '
                    'it, scene.png, and from above, overview.png.',
        epilog=f'exit code: 0 when the base came to the thing in at least {TARGET:.0%} of the '
               'rooms with a memory.')
    add_scene_arguments(command, 'demo_memory_out')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do the task in all rooms twice, and report."""
    check_scenes(options)
    keep_apart(_DOMAIN)
    import_extra('mujoco', 'demo-memory needs MuJoCo', 'simulation')
    from mimo_embodied_ros.worlds.physics.base_room import BaseRoom
    from mimo_embodied_ros.worlds.physics.renderers import renderer_called

    world = BaseRoom(options.seed, first=[THING], renderer=renderer_called('auto'))
    options.out.mkdir(parents=True, exist_ok=True)
    memory = options.out / 'memory.db'
    for file in options.out.glob(f'{memory.name}*'):  # of an earlier run
        file.unlink()
    loop, remembered, film = play_rooms(
        options, world, _tree, f'room {{seed}}, with a memory{_LINE}', memory)
    loop.watcher.draw(options.out / 'scene.png')
    film.draw(options.out / 'overview.png')
    _, forgotten, _ = play_rooms(options, world, _tree, f'room {{seed}}, without{_LINE}')
    report = {
        'task': TASK, 'scenes': len(remembered),
        'with_memory': sum(room['done'] for room in remembered),
        'without': sum(room['done'] for room in forgotten),
        'failures': [{key: room[key] for key in ('seed', 'cause')}
                     for room in remembered if not room['done']],
        'each': [{'seed': one['seed'], 'with_memory': one, 'without': other}
                 for one, other in zip(remembered, forgotten)],
    }
    return conclude(
        options.out, report,
        '{scenes} rooms: {with_memory} fetched with a memory, {without} without',
        report['with_memory'] / report['scenes'], 'overview.png')


def _tree(frame: str) -> BehaviourTree:
    """Make the tree: look around until there is a plan, turn away, and do the plan."""
    from py_trees.composites import Selector, Sequence
    from py_trees.trees import BehaviourTree

    from mimo_embodied_ros.trees import Plan

    def plan(number: int) -> Sequence:
        return Sequence(f'try {number}', memory=True, children=[
            *([look_around(number)] if number else []), fresh_frame(),
            Plan(f'plan {number}', TASK, target_frame=frame)])

    return BehaviourTree(Sequence('task', memory=True, children=[
        Selector('see it', memory=True, children=[plan(number) for number in range(LOOKS)]),
        *(look_around(LOOKS + number) for number in range(_AWAY)),
        execute_plan()]))
