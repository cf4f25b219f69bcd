"""Let a base in simulated rooms look for things for an hour, with tracking and a memory.

Simulation and clients are in this process; the node and the memory have processes of their own.
In turn the base looks around, a thing is asked for, what is remembered of it is recalled, and its
point is followed while the base turns on. It fails when a request does not end as it should, when
an answer is not remembered, or when the memory of a process grows. The newest image wins: how many
were followed is told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import time
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains import claimed_domain

from mimo_embodied_ros.cli import closed_loop
from mimo_embodied_ros.cli.processes import keep_apart, module_command
from mimo_embodied_ros.core.errors import MimoError, NoDepthError

if TYPE_CHECKING:
    from mimo_embodied_ros.cli.closed_loop import Stage
    from mimo_embodied_ros.worlds.physics.base_room import BaseRoom

RATE, CAMERA_RATE = 3.0, 4.0  # seconds of simulated time in a second; images in a simulated one
ROOM_S = 600.0  # of simulated time, after which the room is another one
FOLLOWED_S = 5.0
WAIT_S = 300.0
CACHE_MB = 32  # of the model, so that it fills up soon
REMEMBERED_S = 5.0  # after its answer
WARM_UP = 0.3  # share of the time
SHAPES = 'box', 'ball', 'cone', 'cube'


class Soak:
    """Asks, and keeps account of what comes of it."""

    def __init__(self, stage: Stage, world: BaseRoom, seed: int) -> None:
        from sensor_msgs.msg import CameraInfo

        from mimo_embodied_ros.action import RunSkill
        from mimo_embodied_ros.msg import TrackedAffordances
        from mimo_embodied_ros.ros.stamps import nanoseconds_of

        self.stage, self.world, self.skill = stage, world, RunSkill
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.memory: defaultdict[str, list[float]] = defaultdict(list)  # MB of each program
        # stamps, nanoseconds
        self.followed: set[int] = set()
        self.published: deque[int] = deque(maxlen=round(100 * RATE * CAMERA_RATE))
        for kind, topic, stamps in (
                (TrackedAffordances, 'mimo_embodied/tracked_affordances', self.followed.add),
                (CameraInfo, 'camera/color/camera_info', self.published.append)):
            stage.mimo.node.create_subscription(
                kind, topic, lambda message, take=stamps: take(
                    nanoseconds_of(message.header.stamp)), 100)

    @property
    def time(self) -> float:
        """Seconds of simulated time."""
        return self.stage.simulation.runner.time

    def turn(self) -> None:
        """Look around, and at something that is there; see what is remembered of it."""
        result = self._result('look around', self.stage.mimo.send(
            self.skill, 'base/run_skill', self.skill.Goal(skill='look_around')))
        if result is None:
            return
        names = [thing.name for thing in self.world.room.things]
        name = self.random.choice([*names, f'purple {self.random.choice(SHAPES)}'])
        found = self._result('find', self.stage.mimo.find(
            name, target_frame=self.world.frame, max_image_age=1.0, timeout=WAIT_S))
        if found is None:
            return
        affordances = found.affordances
        placed = [p for p in affordances.points if p.position_status == p.OK]
        self.counts['found' if placed else 'without a place' if affordances.points else
                    'not there'] += 1
        if placed or not affordances.points:
            self._recall(name, affordances, bool(placed))
        if placed:
            self._follow(name)

    def _recall(self, name: str, affordances: Any, placed: bool) -> None:
        """Check that the answer is remembered."""
        end = time.monotonic() + REMEMBERED_S
        while time.monotonic() < end:
            recalled = self._result('recall', self.stage.mimo.recall(name))
            if recalled is None:
                return
            remembered = recalled.things if placed else recalled.searches
            if any(one.header.stamp == affordances.header.stamp for one in remembered):
                self.counts['remembered'] += 1
                return
            time.sleep(0.1)
        self.problems.append(f'{name} at {self.time:.0f} s is not remembered')

    def _follow(self, name: str) -> None:
        """Follow a point while the base turns; count the images."""
        self.followed.clear()
        goal = self.stage.mimo.track(
            name, target_frame=self.world.frame, duration=FOLLOWED_S, timeout=WAIT_S)
        self._result('look around', self.stage.mimo.send(
            self.skill, 'base/run_skill', self.skill.Goal(skill='look_around')))
        result = self._result('track', goal)
        if result is None:
            return
        if not (followed := {*self.followed}):
            self.problems.append(f'no image of {name} at {self.time:.0f} s')
            return
        first, last = min(followed), max(followed)
        self.counts['images due'] += sum(first <= stamp <= last for stamp in [*self.published])
        self.counts['images followed'] += len(followed)

    def _result(self, what: str, request: Any) -> Any:
        try:
            result = request.result(WAIT_S)
        except NoDepthError:  # it comes by itself, and may be late
            self.counts['without depth'] += 1
            return None
        except MimoError as error:
            self.problems.append(f'{what} at {self.time:.0f} s: {error.code.name}: {error}')
            return None
        self.counts[what] += 1
        return result

    def measure(self) -> None:
        """Note the memory of the programs, MB."""
        for log, program in self.stage.programs.items():
            pages = int(Path(f'/proc/{program.pid}/statm').read_text().split()[1])
            self.memory[log.stem].append(pages * os.sysconf('SC_PAGE_SIZE') / 1e6)

    def report(self, seconds: float, bytes_: int) -> dict[str, Any]:
        """Return the counts, the growth of memory, and what went wrong."""
        growth = {}
        for name, values in self.memory.items():
            steady = values[int(len(values) * WARM_UP):]
            half = len(steady) // 2
            growth[name] = round(
                statistics.median(steady[half:]) - statistics.median(steady[:half]), 1)
        share = self.counts['images followed'] / max(1, self.counts['images due'])
        return {
            'simulated_s': round(self.time), 'seconds': round(seconds),
            'counts': dict(sorted(self.counts.items())), 'images_share': round(share, 3),
            'memory_mb': {name: round(values[-1], 1) for name, values in self.memory.items()},
            'growth_mb': growth, 'file_bytes': bytes_, 'problems': self.problems}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--simulated-s', type=float, default=3600.0)
    parser.add_argument('--growth-mb', type=float, default=20.0,
                        help='memory that a program may need more in the second half than in the '
                             'first (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('bench_out/soak_memory'))
    options = parser.parse_args()
    options.model = ''
    with claimed_domain() as domain:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        keep_apart(str(domain))
        report = _run(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / 'soak_memory.json').write_text(json.dumps(report, indent=2) + '\n')
    print(json.dumps(report, indent=2))
    problems = [*report['problems']]
    problems += [f'memory of {name} grew by {mb} MB' for name, mb in report['growth_mb'].items()
                 if mb > options.growth_mb]
    for problem in problems:
        print(f'FAILED: {problem}')
    return int(bool(problems))


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from mimo_embodied_ros.srv import ListMemory
    from mimo_embodied_ros.worlds.physics.base_room import BaseRoom
    from mimo_embodied_ros.worlds.physics.renderers import renderer_called

    world = BaseRoom(options.seed, renderer=renderer_called('auto'))
    options.out.mkdir(parents=True, exist_ok=True)
    file = (options.out / 'memory.db').resolve()
    for part in ('', '-wal', '-shm'):
        Path(f'{file}{part}').unlink(missing_ok=True)
    programs = {
        'node': closed_loop.seeing_node(options, {
            **closed_loop.write_extrinsics(
                world.cameras['camera'], options.out / 'extrinsics.yaml'),
            'odometry_topic': 'odom', 'camera.reliable': 'false', 'cache_mb': str(CACHE_MB)}),
        'memory': module_command('memory_node.memory_node', {
            'file': str(file), 'use_sim_time': 'true', 'tf_buffer': '0.0'}),
    }
    begin = time.monotonic()
    with closed_loop.run_stage(options, world, programs, rate=RATE,
                               camera_rate=CAMERA_RATE) as stage:
        soak = Soak(stage, world, options.seed)
        measured, room = 0.0, 0
        closed_loop.set_scene(stage, options.seed)
        closed_loop.wait_for_frame(stage)
        began = soak.time
        while (passed := soak.time - began) < options.simulated_s and len(soak.problems) < 20:
            if passed >= (room + 1) * ROOM_S:
                room += 1
                closed_loop.set_scene(stage, options.seed + room)
                closed_loop.wait_for_frame(stage)
            soak.turn()
            if passed >= measured:
                measured = passed + 20.0
                soak.measure()
                print(f'{passed:.0f} s: {dict(soak.counts)}, '
                      f'{[round(v[-1]) for v in soak.memory.values()]} MB', flush=True)
        listed = stage.mimo.call(
            ListMemory, 'mimo_memory/list_memory', ListMemory.Request()).result(WAIT_S)
        return soak.report(time.monotonic() - begin, listed.bytes)


if __name__ == '__main__':
    raise SystemExit(main())
