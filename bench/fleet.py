"""Ask a fleet from several robots at once while a server is killed and comes back.

Every answer is compared with that of the engine in this process. Three set-ups: ``servers`` (each
robot knows all of them), ``router`` (two of vllm-router before them) and ``ray`` (Ray Serve), the
latter two from the environment that ``make test-fleet`` makes. Writes how many answers were lost,
wrong or streamed twice, and how answers a second grow from one replica to two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from replica import Process, Replica, answers, free_port
from workload import about_one_frame

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.share import embedded_model, share_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.core.resize import PixelLimits

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / '.venv-fleet' / 'bin'
MODEL = 'mimo_tiny'
DEADLINE_S = 600.0  # of an answer; a longer wait is a hang, on a busy machine, too
PER_FRAME = 4  # questions about each frame


@dataclass
class Question:
    """A prompt, and what the engine in this process answers: text, finish reason, tokens."""

    prompt: Prompt
    expected: tuple[str, str, int]


@dataclass
class Tally:
    """What has come of the questions.

    Attributes:
        errors: of the questions that got no answer.
        wrong: answers that differ from the expected ones.
        twice: answers whose pieces do not add up to their text.
        came_back: whether the server that was killed has come back.

    """

    answered: int = 0
    errors: list[str] = field(default_factory=list)
    wrong: int = 0
    twice: int = 0
    came_back: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


def draw_questions(robots: int, count: int, seed: int = 5) -> tuple[list[list[Question]], Any]:
    """Draw the questions of each robot about its own frames; also return the image areas."""
    engine = load_engine(EngineConfig(embedded_model(), device='cpu'))
    rng = random.Random(seed)
    drawn = []
    for _ in range(robots):
        queries = [query for _ in range(-(-count // PER_FRAME))
                   for query in about_one_frame(rng, PER_FRAME)][:count]
        questions = []
        for query in queries:
            prompt = build_prompt(query, engine.limits, engine.profile)
            reply = engine.generate(prompt, max_new_tokens=prompt.max_new_tokens)
            questions.append(Question(
                prompt, (reply.text, reply.finish_reason, reply.stats.completion_tokens)))
        drawn.append(questions)
    limits = engine.limits
    engine.close()
    return drawn, limits


class Fleet:
    """A fleet that robots can ask; its processes end with the context.

    Attributes:
        name: of the set-up.

    """

    name = 'servers'

    def __init__(self, replicas: int, folder: Path) -> None:
        """Take the number of replicas, and a folder for what they write."""
        self.folder = folder
        self._replicas = self._make(replicas)

    def _make(self, replicas: int) -> list[Replica]:
        return [Replica(self.folder / f'replica{n}.log') for n in range(replicas)]

    def __enter__(self) -> Fleet:  # noqa: PYI034 (Self came with Python 3.11)
        """Start it, and wait until it is ready."""
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        for replica in self._replicas:
            replica.start(wait=False)
        for replica in self._replicas:
            replica.wait()

    def close(self) -> None:
        """End all of its processes."""
        for replica in self._replicas:
            replica.end()

    def urls(self, robot: int) -> tuple[str, ...]:
        """Return the servers of a robot, its preferred one first."""
        urls = [replica.url for replica in self._replicas]
        first = robot % len(urls)
        return *urls[first:], *urls[:first]

    def kill_one(self) -> None:
        """Kill one replica, as the system does when memory is short."""
        self._replicas[0].kill()

    def bring_back(self) -> None:
        """Let it come back, and wait for it."""
        self._replicas[0].start()


class Routers(Fleet):
    """Two routers before the servers; the first one is killed later, too."""

    name = 'router'

    def start(self) -> None:
        """Start the servers, and then the routers."""
        super().start()
        urls = [replica.url.removesuffix('/v1') for replica in self._replicas]
        self._routers = [
            Process(lambda port: router_command(port, urls), self.folder / f'router{n}.log',
                    '/v1/models') for n in range(2)]
        for router in self._routers:
            router.start()

    def close(self) -> None:
        """End the routers, and then the servers."""
        for router in getattr(self, '_routers', ()):
            router.end()
        super().close()

    def urls(self, robot: int) -> tuple[str, ...]:
        """Return both routers, each first for half of the robots."""
        first, second = (router.url for router in self._routers)
        return (first, second) if robot % 2 == 0 else (second, first)

    def kill_one(self) -> None:
        """Kill a replica and a router."""
        super().kill_one()
        self._routers[0].kill()

    def bring_back(self) -> None:
        """Let both come back."""
        super().bring_back()
        self._routers[0].start()


def router_command(port: int, urls: Sequence[str]) -> list[str]:
    """Return the command that docs/fleet.md names."""
    return [
        str(TOOLS / 'vllm-router'), '--host', '127.0.0.1', '--port', str(port),
        '--worker-urls', *urls, '--policy', 'consistent_hash',
        '--health-check-interval-secs', '1', '--health-failure-threshold', '2',
        '--health-success-threshold', '1', '--retry-max-retries', '5',
        '--prometheus-host', '127.0.0.1', '--prometheus-port', str(free_port())]


def ray_command(port: int) -> list[str]:
    """Return the command that starts Ray on this host alone."""
    return [
        str(TOOLS / 'ray'), 'start', '--head', '--block', '--node-ip-address=127.0.0.1',
        f'--port={port}', '--num-cpus=2', '--object-store-memory=200000000',
        '--include-dashboard=false', '--disable-usage-stats']


class Ray(Fleet):
    """Ray Serve with config/ray_serve.yaml; it starts a replica that was killed by itself."""

    name = 'ray'

    def _make(self, replicas: int) -> list[Replica]:
        self._count = replicas
        config = yaml.safe_load((share_folder() / 'config' / 'ray_serve.yaml').read_text())
        self._head = Process(ray_command, self.folder / 'head.log')
        self._served = Process(self._command, self.folder / 'serve.log', '/v1/models')
        config['http_options']['port'] = self._served.port
        (application,) = config['applications']
        application['args']['device'] = 'cpu'
        (deployment,) = application['deployments']
        deployment['num_replicas'] = replicas
        deployment['ray_actor_options'] = {'num_cpus': 0.5}
        (self.folder / 'ray_serve.yaml').write_text(yaml.safe_dump(config))
        return []

    def _command(self, _: int) -> list[str]:
        return [str(TOOLS / 'serve'), 'run', f'--address=127.0.0.1:{self._head.port}',
                str(self.folder / 'ray_serve.yaml')]

    def start(self) -> None:
        """Start Ray with the replicas."""
        # Ray's environment has this package from the one that runs here
        os.environ.setdefault('AMENT_PREFIX_PATH', sys.prefix)
        self._head.start()
        self._served.start()
        wait_until(lambda: len(self._workers()) >= self._count)

    def close(self) -> None:
        """End Ray with all its processes."""
        self._served.end()
        self._head.end()

    def urls(self, robot: int) -> tuple[str, ...]:
        """Return the one address of the proxy."""
        del robot
        return (self._served.url,)

    def _workers(self) -> list[psutil.Process]:
        found = []
        for process in self._head.descendants():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                if 'ServeReplica' in ' '.join(process.cmdline()):
                    found.append(process)
        return found

    def kill_one(self) -> None:
        """Kill a replica."""
        self._before = {process.pid for process in self._workers()}
        self._workers()[0].kill()

    def bring_back(self) -> None:
        """Wait for the replica that Ray starts in its place."""
        wait_until(lambda: {process.pid for process in self._workers()} - self._before)
        wait_until(lambda: answers(f'{self._served.url}/models'))


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds; raises TimeoutError."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.1)


FLEETS: dict[str, type[Fleet]] = {kind.name: kind for kind in (Fleet, Routers, Ray)}


def ask(
    fleet: Fleet, robots: Sequence[Sequence[Question]], limits: PixelLimits, *,
    kill: bool = False, rounds: int = 1,
) -> dict[str, Any]:
    """Let all robots ask at once, and perhaps kill a server meanwhile; return what has come of it.

    Args:
        fleet: that is ready.
        robots: the questions of each.
        limits: image areas of the model.
        kill: kill a server when a quarter of the answers has come, and let it come back.
        rounds: how often each robot asks its questions.

    """
    tally, total = Tally(), rounds * sum(map(len, robots))
    back = threading.Event()

    def kill_and_bring_back() -> None:
        try:
            wait_until(lambda: tally.answered >= total // 4)
            fleet.kill_one()
            fleet.bring_back()
            tally.came_back = True
        finally:
            back.set()

    def questions(robot: int) -> Iterator[Question]:
        """All of a robot; while a server is away, more of them."""
        for _ in range(rounds):
            yield from robots[robot]
        while kill and not back.is_set():
            yield robots[robot][0]

    def work(robot: int) -> None:
        engine = load_engine(EngineConfig(
            MODEL, backend='openai', servers=fleet.urls(robot), session=f'/robot{robot}',
            min_pixels=limits.min_pixels, max_pixels=limits.max_pixels, connect_timeout=30.0,
            first_token_timeout=DEADLINE_S, token_timeout=DEADLINE_S))
        for question in questions(robot):
            pieces: list[str] = []
            try:
                reply = engine.generate(
                    question.prompt, max_new_tokens=question.prompt.max_new_tokens,
                    on_text=lambda text, _, pieces=pieces: pieces.append(text),
                    deadline=time.monotonic() + DEADLINE_S)
            except MimoError as error:
                with tally.lock:
                    tally.errors.append(f'{error.code.name}: {error}')
                continue
            got = reply.text, reply.finish_reason, reply.stats.completion_tokens
            with tally.lock:
                tally.answered += 1
                tally.wrong += got != question.expected
                tally.twice += ''.join(pieces) != reply.text

    threads = [threading.Thread(target=work, args=(robot,), daemon=True)
               for robot in range(len(robots))]
    if kill:
        threads.append(threading.Thread(target=kill_and_bring_back, daemon=True))
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - start
    return {
        'answers': tally.answered, 'lost': len(tally.errors), 'wrong': tally.wrong,
        'twice': tally.twice, 'errors': sorted(set(tally.errors))[:5], 'seconds': seconds,
        'answers_per_s': tally.answered / seconds, 'came_back': tally.came_back,
    }


def measure(
    name: str, robots: Sequence[Sequence[Question]], limits: PixelLimits, rounds: int = 1
) -> dict[str, Any]:
    """Measure one set-up: with one replica and with two, and while one of the two is killed."""
    with tempfile.TemporaryDirectory() as folder:
        with FLEETS[name](1, Path(folder)) as fleet:
            one = ask(fleet, robots, limits, rounds=rounds)
        with FLEETS[name](2, Path(folder)) as fleet:
            two = ask(fleet, robots, limits, rounds=rounds)
            killed = ask(fleet, robots, limits, rounds=rounds, kill=True)
    return {'one': one, 'two': two, 'killed': killed,
            'growth': two['answers_per_s'] / one['answers_per_s']}


def is_right(result: dict[str, Any]) -> bool:
    """Whether nothing was lost, wrong or streamed twice."""
    return not (result['lost'] or result['wrong'] or result['twice'])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('setups', nargs='*', metavar='SETUP', help=f'{", ".join(FLEETS)}; all')
    parser.add_argument('--robots', type=int, default=8)
    parser.add_argument('--questions', type=int, default=12, help='of each robot')
    parser.add_argument('--rounds', type=int, default=4)
    parser.add_argument('--out', type=Path, default=ROOT / 'bench_out' / 'fleet.json')
    options = parser.parse_args()
    if unknown := set(options.setups) - FLEETS.keys():
        parser.error(f'no set-up {", ".join(unknown)}; there are {", ".join(FLEETS)}')
    robots, limits = draw_questions(options.robots, options.questions)
    results = {'load': os.getloadavg()[0], 'cpus': os.cpu_count(), 'robots': options.robots}
    right = True
    for name in options.setups or FLEETS:
        results[name] = result = measure(name, robots, limits, options.rounds)
        for run in 'one', 'two', 'killed':
            right = right and is_right(result[run])
            print(f'{name}, {run}: {result[run]["answers"]} answers, '
                  f'{result[run]["answers_per_s"]:.1f} a second, {result[run]["lost"]} lost, '
                  f'{result[run]["wrong"]} wrong, {result[run]["twice"]} streamed twice')
        print(f'{name}: {result["growth"]:.2f} times the answers a second with two replicas')
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + '\n')
    return 0 if right else 1


if __name__ == '__main__':
    sys.exit(main())
