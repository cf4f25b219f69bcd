"""Measure worlds with physics: ``python bench/worlds.py`` writes bench_out/worlds.json.

Pictures by ray casts are compared with those by OpenGL, the baseline, where EGL or OSMesa renders
on this machine: the ratios are of processor time. One picture has pixels, depth and labels. A scene
is made, and two things are picked and placed in it.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from mimo_embodied_ros.worlds.physics import opengl, scenery, table
from mimo_embodied_ros.worlds.physics.arm_table import ArmTable
from mimo_embodied_ros.worlds.physics.rays import RayRenderer
from mimo_embodied_ros.worlds.world import SkillGoal, complete

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.worlds.physics.physical_world import Renderer

SIZES = {'model': (196, 140), 'camera': (640, 480)}
"""Columns and rows: what the embedded model sees, and what a camera streams."""
_EYE = (1.02, 0.0, 0.58)


def still_table(seed: int) -> mujoco.MjModel:
    """Return a table with things and no arm."""
    rng, spec = random.Random(seed), mujoco.MjSpec()
    table.add_table(spec, rng, table.random_things(rng, 5), fixed=True)
    spec.worldbody.add_camera(
        name='camera', pos=_EYE, fovy=49.1,
        quat=scenery.quaternion_of(scenery.looking_at(_EYE, table.MIDDLE)))
    return scenery.compiled(spec)


def seconds(action: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Return the median time of an action, of the processor and of the clock."""
    times = []
    for _ in range(repeats):
        begin = time.process_time(), time.perf_counter()
        action()
        times.append((time.process_time() - begin[0], time.perf_counter() - begin[1]))
    processor, clock = (statistics.median(column) for column in zip(*times, strict=True))
    return {'processor_s': processor, 'clock_s': clock}


def measure_pictures(repeats: int) -> dict[str, Any]:
    """Measure each renderer at each size, with the arm in view and without an arm."""
    world = ArmTable(7)
    complete(world, world.arm.move((0.4, 0.0, 0.2), 0.0))
    alone = still_table(7)
    scenes = {'with_arm': (world.model, world.data), 'without_arm': (alone, mujoco.MjData(alone))}
    kinds: dict[str, Callable[[mujoco.MjModel], Renderer]] = {'rays': RayRenderer}
    if opengl.platform():
        kinds['opengl'] = opengl.OpenGLRenderer
    out: dict[str, Any] = {}
    for scene, (model, data) in scenes.items():
        mujoco.mj_forward(model, data)
        for size, (width, height) in SIZES.items():
            part = out.setdefault(scene, {})[size] = {}
            for kind, make in kinds.items():
                renderer = make(model)
                renderer.render(data, 'camera', width, height)  # the first one warms up
                part[kind] = seconds(
                    lambda: renderer.render(data, 'camera', width, height), repeats)  # noqa: B023
                renderer.close()
            if 'opengl' in part:
                part['rays_to_opengl'] = (
                    part['rays']['processor_s'] / part['opengl']['processor_s'])
    return out


def measure_scenes(count: int) -> dict[str, float]:
    """Measure scenes in which the red cube goes into the blue bowl and then onto the table."""
    done = 0

    def play(seed: int) -> None:
        nonlocal done
        world = ArmTable(seed)
        for goal in ('blue bowl', ''):
            at = {state.name: np.array(state.position) for state in world.things()}
            complete(world, world.skills['pick'](SkillGoal('pick', object_at=at['red cube'])))
            place = at[goal] if goal else np.array([0.36, -0.2, 0.0])
            complete(world, world.skills['place'](SkillGoal('place', place_at=place)))
            where = {state.name: state.place for state in world.things()}['red cube']
            done += where == (f'in the {goal}' if goal else '')

    begin = seconds(lambda: ArmTable(0), 1)['processor_s']
    seeds = iter(range(count))
    return {'first_world_s': begin, **seconds(lambda: play(next(seeds)), count),
            'picks_and_places': 2 * count, 'done': done}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--repeats', type=int, default=5, help='of each picture')
    parser.add_argument('--scenes', type=int, default=5)
    parser.add_argument('--out', type=Path, default=Path('bench_out/worlds.json'))
    options = parser.parse_args()
    report = {'opengl': opengl.platform(), 'scenes': measure_scenes(options.scenes),
              'pictures': measure_pictures(options.repeats)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    print(json.dumps(report, indent=2))


if __name__ == '__main__':
    main()
