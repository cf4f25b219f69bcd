"""``demo-drive``: let a mobile base drive to a thing that is pushed aside while the model thinks.

The same drive is made twice, with a model that takes seconds: to where TrackAffordances says that
the thing is now, and to where FindAffordances, asked again and again, says that it was.
"""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.share import import_extra

from .closed_loop import (
    ANSWER_S,
    TARGET,
    Stage,
    add_scene_arguments,
    cause_of,
    check_programs,
    check_scenes,
    conclude,
    run_stage,
    seeing_node,
    set_scene,
    wait_for_frame,
    write_extrinsics,
)
from .demo_base import THING, is_before
from .processes import keep_apart

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.simulation.world_runner import End
    from mimo_embodied_ros.worlds.physics.pushed_room import PushedRoom

    from .drive_pictures import Sight
    from .whereabouts import Whereabouts

    Pixels = NDArray[np.uint8]

NAME = ' '.join(THING)
TASK = f'drive to the {NAME}, which is pushed aside'
_DOMAIN = '74'  # so that neither a robot nor another demo hears this one
_RATE, _CAMERA_RATE = 1.0, 20.0  # seconds of simulated time in a second; images in a simulated one
_POLL_S = 0.05
_SHOTS, _COLUMNS = 6, 3  # pictures of a drive


def add_commands(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        'demo-drive', help='drive to a thing that is pushed aside, with tracking and without',
        description=f'Drive to the {NAME} in random rooms, while it is pushed aside and the model '
                    'takes seconds for an answer: to its tracked point, and to that of the last '
                    'answer. Writes report.json, pictures of a drive as the base sees it, '
                    'scene.png, and of both from above, overview.png.',
        epilog=f'exit code: 0 when the base came to the thing in at least {TARGET:.0%} of the '
               'rooms with tracking.')
    add_scene_arguments(command, 'demo_drive_out')
    command.add_argument('--answer-time', type=float, default=3.0, metavar='S',
                         help='simulated seconds that the model takes for an answer at least '
                              '(default: %(default)s)')
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make both drives in all rooms, and report."""
    check_scenes(options)
    if not 0 <= options.answer_time < ANSWER_S:
        msg = f'--answer-time {options.answer_time:g}: give 0 or more, less than {ANSWER_S:g}'
        raise InvalidRequestError(msg)
    keep_apart(_DOMAIN)
    import_extra('mujoco', 'demo-drive needs MuJoCo', 'simulation')
    from mimo_embodied_ros.worlds.physics.pushed_room import PushedRoom
    from mimo_embodied_ros.worlds.physics.renderers import renderer_called

    from .drive_pictures import Sight
    from .whereabouts import Asked, Tracked

    world = PushedRoom(options.seed, first=[THING], renderer=renderer_called('auto'))
    node = seeing_node(options, {
        **write_extrinsics(world.cameras['camera'], options.out / 'extrinsics.yaml'),
        'odometry_topic': 'odom', 'answer_time': str(float(options.answer_time)),
    }, 'cli.slow_node')
    rooms: list[dict[str, Any]] = []
    best: tuple[tuple[bool, float], list[Drive]] | None = None
    with run_stage(options, world, {'node': node}, rate=_RATE, camera_rate=_CAMERA_RATE) as stage:
        sight = Sight(stage.mimo.node)
        for seed in range(options.seed, options.seed + options.scenes):
            drives = [_drive(stage, world, seed, kind, sight) for kind in (Tracked, Asked)]
            tracked, asked = (drive.report for drive in drives)
            rooms.append({'seed': seed, 'with_tracking': tracked, 'without': asked})
            print(f'room {seed}: with tracking {_line(tracked)}; without {_line(asked)}',
                  flush=True)
            shows = tracked['reached'] and not asked['reached'], asked['pushed']
            if best is None or shows > best[0]:
                best = shows, drives
                _draw(world, drives, options.out)
    report = _report(rooms, options.answer_time)
    return conclude(
        options.out, report,
        '{scenes} rooms: {with_tracking} reached with tracking, {without} without',
        report['with_tracking'] / report['scenes'], 'overview.png')


def _line(drive: dict[str, Any]) -> str:
    return f'{drive["seconds"]} s, {drive["cause"] or "reached"}'


def _report(rooms: list[dict[str, Any]], answer_time: float) -> dict[str, Any]:
    return {
        'task': TASK, 'answer_time_s': answer_time, 'camera_rate_hz': _CAMERA_RATE,
        'scenes': len(rooms),
        **{kind: sum(room[kind]['reached'] for room in rooms)
           for kind in ('with_tracking', 'without')},
        'failures': [{'seed': room['seed'], 'cause': room['with_tracking']['cause']}
                     for room in rooms if not room['with_tracking']['reached']],
        'each': rooms,
    }


class Drive(NamedTuple):
    """What came of a drive.

    Attributes:
        report: its entry in the report.
        above: the room from above, before and after.
        ways: where base and thing have been, (x, y) metres.
        shots: what the base saw, with the tracked point.

    """

    report: dict[str, Any]
    above: tuple[Pixels, Pixels]
    ways: tuple[list[Any], list[Any]]
    shots: list[Pixels]


def _drive(
    stage: Stage, world: PushedRoom, seed: int, kind: Callable[..., Whereabouts], sight: Sight
) -> Drive:
    """Drive in a room, and judge it."""
    from mimo_embodied_ros.simulation.motion_actions import ROBOT

    set_scene(stage, seed)
    wait_for_frame(stage)
    sight.begin()
    before, runner = world.look('overview').pixels, stage.simulation.runner
    base: list[Any] = []
    pushed: list[Any] = []
    since = runner.time
    ended: Future[End] = Future()
    thing = kind(stage.mimo, NAME, world.frame)
    try:
        if busy := runner.run(
                world.motions.follow(thing.where), 'drive', ROBOT, ended.set_result):
            raise InvalidRequestError(busy)
        while not ended.done():
            check_programs(stage.programs)
            base.append(world.true_pose()[:2])
            pushed.append(world.things()[0].position[:2])
            sight.take(thing)
            time.sleep(_POLL_S)
    finally:
        thing.close()
    end = ended.result()
    problem = end.problem and f'{end.problem}: {thing.words()}'
    return Drive(_judge(world, problem, end.time - since),
                 (before, world.look('overview').pixels), (base, pushed), sight.shots)


def _judge(world: PushedRoom, problem: str, seconds: float) -> dict[str, Any]:
    """Judge a drive; reached: the thing is before the base, and the base says so."""
    there, gap, truth = is_before(world, NAME)
    reached = not problem and there
    return {'reached': reached, 'seconds': round(seconds, 1), 'gap': round(gap, 2),
            'pushed': round(world.pushed, 2), 'cause': cause_of(
                problem or 'the base believes that it is there', truth, done=reached)}


def _draw(world: PushedRoom, drives: list[Drive], folder: Path) -> None:
    """Draw both drives of a room."""
    from mimo_embodied_ros.annotate import tile
    from mimo_embodied_ros.pictures import write_picture

    from .drive_pictures import draw_ways

    tracked, asked = drives
    camera = world.cameras['overview']
    write_picture(folder / 'overview.png', tile([
        draw_ways(tracked.above[0], camera, [], [], 'before'),
        *(draw_ways(drive.above[1], camera, *drive.ways,
                    f'{how}: {"reached" if drive.report["reached"] else "missed"}')
          for how, drive in (('with tracking', tracked), ('without', asked)))], _COLUMNS))
    shots = tracked.shots
    shown = [shots[len(shots) * number // _SHOTS] for number in range(min(_SHOTS, len(shots)))]
    if shown:
        write_picture(folder / 'scene.png', tile(shown, _COLUMNS))
