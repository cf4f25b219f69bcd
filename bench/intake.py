"""Measure the processor time that cameras cost the node, against a plain node.

One and six cameras of 1080p publish at 30 Hz. Measured are the processor times of the node with its
subscriptions kept, of the node with one question a second, of the node with cameras on demand and
no questions, and of a plain rclpy node whose callback converts each picture. They are measured in
turn, because the load of a machine changes. Run it by ``make bench-intake``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains import claimed_domain
from figures import spread
from ros_side import HEIGHT, RATE_HZ, WIDTH, Client, camera_command, environment_in

from mimo_embodied_ros.cli.processes import node_command, running

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

AT_MOST = {'idle_on_demand': 0.05, 'idle_warm': 0.6, 'busy': 0.8}
QUESTIONS_PER_S = 1.0
_SETTLE_S = 3.0
_UNSUBSCRIBED_S = 13.0  # time without a question after which a camera on demand is unsubscribed
_PLAIN = '--plain'


def topics(cameras: int) -> list[str]:
    return [f'/camera{number}/image_raw' for number in range(cameras)]


def plain_node(names: Sequence[str], counter: Path) -> None:
    """Convert each picture of the topics until the process ends; write their number to a file."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image

    from mimo_embodied_ros.ros.colour_conversion import colour_converter

    convert, converted = colour_converter(), 0

    def on_image(message: Any) -> None:
        nonlocal converted
        convert(message, 'bgr8')
        converted += 1

    rclpy.init(args=[])
    node = rclpy.create_node('plain')
    for name in names:
        node.create_subscription(Image, name, on_image, qos_profile_sensor_data)
    node.create_timer(0.2, lambda: counter.write_text(str(converted)))
    rclpy.spin(node)


def processor_s(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time that a process has used, seconds."""
    fields = Path(f'/proc/{process.pid}/stat').read_text('utf-8').rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def measured(
    process: subprocess.Popen[bytes], pictures: Callable[[], int], seconds: float
) -> dict[str, float]:
    """Measure how many cores a process uses, and how many pictures it gets per second."""
    begin, before, taken = time.monotonic(), pictures(), processor_s(process)
    time.sleep(seconds)
    cores = processor_s(process) - taken
    after, passed = pictures(), time.monotonic() - begin
    return {'cores': cores / passed, 'pictures_hz': (after - before) / passed}


@contextlib.contextmanager
def our_node(
    cameras: int, *, on_demand: bool, folder: Path, environment: Mapping[str, str], domain: int
) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """Run the node; yield it once it has answered a question about the first camera."""
    names = [f'camera{number}' for number in range(cameras)]
    parameters = {'device': 'cpu', 'cameras': f'[{", ".join(names)}]', 'wait_for_image': '10.0',
                  'max_image_age': '10.0'}
    parameters |= {f'{name}.on_demand': str(on_demand).lower() for name in names}
    log = folder / 'node.log'
    with running(node_command(parameters), log, environment) as process, \
            contextlib.closing(Client(domain, log)) as client:
        client.wait_until_active()
        yield process, client


def round_of(
    cameras: int, seconds: float, folder: Path, environment: Mapping[str, str], domain: int
) -> dict[str, dict[str, float]]:
    """Measure each state once, while the cameras publish."""
    out = {}
    counter = folder / 'count'
    counter.write_text('0')
    command = [sys.executable, str(Path(__file__).resolve()), _PLAIN, str(counter)]
    with running([*command, *topics(cameras)], folder / 'plain.log', environment) as process:
        while counter.read_text() in ('', '0'):
            if process.poll() is not None:
                raise RuntimeError((folder / 'plain.log').read_text('utf-8', 'replace'))
            time.sleep(0.1)
        time.sleep(_SETTLE_S)
        out['plain'] = measured(process, lambda: int(counter.read_text() or 0), seconds)
    options: dict[str, Any] = {'folder': folder, 'environment': environment, 'domain': domain}
    with our_node(cameras, on_demand=False, **options) as (process, client):
        time.sleep(_SETTLE_S)
        out['idle_warm'] = measured(process, client.pictures, seconds)
        client.ask_at(QUESTIONS_PER_S)
        time.sleep(_SETTLE_S)
        out['busy'] = measured(process, client.pictures, seconds)
    with our_node(cameras, on_demand=True, **options) as (process, client):
        time.sleep(_UNSUBSCRIBED_S)
        out['idle_on_demand'] = measured(process, client.pictures, seconds)
    return out


def with_cameras(cameras: int, seconds: float, repetitions: int) -> dict[str, Any]:
    """Measure all states with some cameras, and divide by the plain node's processor time."""
    with contextlib.ExitStack() as stack:
        domain = stack.enter_context(claimed_domain())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = environment_in(domain)
        for number, name in enumerate(topics(cameras)):
            stack.enter_context(running(
                camera_command(name), folder / f'camera{number}.log', environment))
        rounds = [round_of(cameras, seconds, folder, environment, domain)
                  for _ in range(repetitions)]
    states = {
        state: {name: spread([figures[state][name] for figures in rounds])
                for name in rounds[0][state]}
        for state in rounds[0]}
    plain = states['plain']['cores']['median']
    return {**{name: states[name]['cores']['median'] / plain for name in AT_MOST},
            'states': states}


def machine() -> dict[str, Any]:
    """Return the machine's properties on which the figures depend."""
    name = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text('utf-8'))
    return {'processor': name[1] if name else platform.machine(), 'cores': os.cpu_count(),
            'load_before': os.getloadavg()[0], 'python': platform.python_version(),
            'ros': os.environ.get('ROS_DISTRO', '')}


def run(*, quick: bool) -> dict[str, Any]:
    """Return the report: each figure is the worst one over the numbers of cameras."""
    about = machine()
    counts, seconds, repetitions = ((1,), 1.0, 1) if quick else ((1, 6), 10.0, 3)
    by_count = {str(count): with_cameras(count, seconds, repetitions) for count in counts}
    return {
        **{name: max(figures[name] for figures in by_count.values()) for name in AT_MOST},
        'targets': {'at_most': AT_MOST},
        'machine': about,
        'camera': f'{WIDTH}x{HEIGHT} at {RATE_HZ:g} Hz',
        'questions_per_s': QUESTIONS_PER_S,
        'cameras': by_count,
    }


def table(report: dict[str, Any]) -> str:
    """Return the text that ``make bench-intake`` prints."""
    lines = ['share of the processor time of a plain node that converts each picture:']
    for name, most in AT_MOST.items():
        each = ', '.join(f'{figures[name]:.3f} with {count}'
                         for count, figures in report['cameras'].items())
        missed = '' if report[name] <= most else '  MISSED'
        lines.append(f'{name:15} <= {most:<5g} {report[name]:.3f}  ({each}){missed}')
    for count, figures in report['cameras'].items():
        for state, spreads in figures['states'].items():
            lines.append(f'{count} camera(s), {state:15} '
                         f'{spreads["cores"]["median"]:.3f} cores, '
                         f'{spreads["pictures_hz"]["median"]:.1f} pictures a second')
    return '\n'.join(lines)


def main() -> int:
    if sys.argv[1:2] == [_PLAIN]:
        plain_node(sys.argv[3:], Path(sys.argv[2]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--out', type=Path, default=Path('bench_out/intake.json'))
    parser.add_argument('--quick', action='store_true',
                        help='one camera, each state for a second; the figures are not reliable')
    options = parser.parse_args()
    begin = time.monotonic()
    report = run(quick=options.quick)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    print(table(report))
    print(f'{time.monotonic() - begin:.0f} s; {options.out}')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
