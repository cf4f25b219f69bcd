"""Measure what ROS adds to an answer, how old its image is then, and how soon cancelled goals end.

A camera runs meanwhile. The node, the camera and the client are processes of their own, as on a
robot.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from domains import claimed_domain
from figures import spread

from mimo_embodied_ros.cli.processes import node_command, running
from mimo_embodied_ros.share import fast_dds_variable, share_folder
from mimo_embodied_ros.worlds import table_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOPIC, BARE = '/camera/image_raw', '/bare/answer_spatial'
_THIS = [sys.executable, str(Path(__file__).resolve())]
WIDTH, HEIGHT, RATE_HZ = 1920, 1080, 30.0
THINGS = (
    table_scene.Thing('red', 'cube', 400, 700, 120),
    table_scene.Thing('blue', 'ball', 1000, 800, 110),
    table_scene.Thing('green', 'bowl', 1500, 400, 130))
YES_NO = 'Is the red cube left of the green bowl?'
LONG = 'put the red cube and the blue ball in the green bowl'  # with thinking, 150 tokens
_NOISY_ROWS = 40
_WAIT_S = 600.0  # only a hang takes so long, on a busy machine too


def environment_in(domain: int) -> dict[str, str]:
    """Return the environment of processes in a domain on this host, with large images."""
    profile = share_folder() / 'config' / 'fastdds_large_images.xml'
    # before rclpy is imported here
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    return {**os.environ, 'ROS_DOMAIN_ID': str(domain),
            fast_dds_variable(): str(profile)}


def camera_command(topic: str = TOPIC) -> list[str]:
    """Return the command that starts a camera on a topic."""
    return [*_THIS, 'camera', '--ros-args', '-r', f'{TOPIC}:={topic}']


def publish_camera() -> None:
    """Publish different pictures of 1080p at 30 Hz until the process ends."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

    from mimo_embodied_ros.ros.images import encode_image

    rng = random.Random(0)
    pictures = [
        bytearray(serialize_message(encode_image(
            table_scene.draw_table(rng, WIDTH, HEIGHT, things=THINGS).pixels,
            Header(frame_id='camera_optical_frame'))))
        for _ in range(4)
    ]
    noise = 3 * WIDTH * _NOISY_ROWS
    rclpy.init()
    node = rclpy.create_node('camera')
    publisher = node.create_publisher(Image, TOPIC, qos_profile_sensor_data)
    due = time.monotonic()
    for picture in itertools.cycle(pictures):
        picture[-noise:] = os.urandom(noise)
        # the stamp is the first field of a serialised Image
        struct.pack_into('<iI', picture, 4, *divmod(node.get_clock().now().nanoseconds, 10**9))
        publisher.publish(bytes(picture))
        due = max(due + 1 / RATE_HZ, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def answer_at_once() -> None:
    """Serve goals with rclpy alone, which is the least time that ROS adds."""
    import rclpy
    from rclpy.action import ActionServer

    from mimo_embodied_ros import action

    def execute(handle: Any) -> Any:
        handle.succeed()
        return action.AnswerSpatial.Result()

    rclpy.init()
    node = rclpy.create_node('bare')
    ActionServer(node, action.AnswerSpatial, BARE, execute)
    rclpy.spin(node)


class Client:
    """Sends goals to the node and waits for their ends.

    Raises:
        RuntimeError: from any method: the node does not answer; with the end of its log.

    """

    def __init__(self, domain: int, log: Path) -> None:
        """Join the domain; ``log`` is where the node writes."""
        import rclpy
        from rclpy.action import ActionClient
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor

        from mimo_embodied_ros import action, srv

        self._log = log
        self._context = Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self._node = rclpy.create_node('asker', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._spatial = ActionClient(
            self._node, action.AnswerSpatial, '/mimo_embodied/answer_spatial')
        self._bare = ActionClient(self._node, action.AnswerSpatial, BARE)
        self._plan = ActionClient(self._node, action.PlanTask, '/mimo_embodied/plan_task')
        self._cameras = self._node.create_client(
            srv.ListCameras, '/mimo_embodied/list_cameras')
        self._standing = self._node.create_client(
            srv.SetStandingQuery, '/mimo_embodied/set_standing_query')
        self._yes_no = action.AnswerSpatial.Goal(question=YES_NO)
        self._long = action.PlanTask.Goal(
            instruction=LONG, thinking=action.PlanTask.Goal.THINK_ON)
        self._list_cameras = srv.ListCameras.Request()

    def close(self) -> None:
        """Leave the domain."""
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    def wait_until_active(self) -> None:
        """Wait until the node has loaded its model and has answered about a picture."""
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            if self._first_result(self._spatial, 'the node').error_code == 0:
                return
        raise self._silence('an answer')

    def wait_for_bare(self) -> None:
        """Wait until the action that does nothing answers."""
        self._first_result(self._bare, 'the bare action')

    def _first_result(self, client: Any, server: str) -> Any:
        """Send goals until one is accepted, and return its result.

        A reply gets lost while discovery is not complete on both sides.
        """
        if not client.wait_for_server(_WAIT_S):
            raise self._silence(server)
        end = time.monotonic() + _WAIT_S
        while time.monotonic() < end:
            accepted = client.send_goal_async(self._yes_no)
            if self._spin_until_done(accepted, 10.0):
                ending = accepted.result().get_result_async()
                if self._spin_until_done(ending, 30.0):
                    return ending.result().result
        raise self._silence(f'a result of {server}')

    def yes_no(self) -> tuple[float, float, Any]:
        """Ask a yes/no question.

        Returns:
            Seconds from the goal to its result, seconds from the image's stamp to the result, and
            the statistics.

        """
        from mimo_embodied_ros.ros.stamps import nanoseconds_of

        begin = time.perf_counter()
        _, ending = self._send(self._spatial, self._yes_no)
        result = self._wait(ending).result
        seconds = time.perf_counter() - begin
        now_ns = self._node.get_clock().now().nanoseconds
        if result.error_code:
            raise RuntimeError(result.error_msg)
        stamp_ns = nanoseconds_of(result.answer.header.stamp)
        return seconds, (now_ns - stamp_ns) / 1e9, result.stats

    def bare(self) -> float:
        """Return the seconds from goal to result of an action that does nothing."""
        begin = time.perf_counter()
        self._wait(self._send(self._bare, self._yes_no)[1])
        return time.perf_counter() - begin

    def long(self, cancel_after: float | None = None) -> tuple[float, bool]:
        """Send a long goal, and cancel it some seconds after it was accepted.

        Returns:
            Seconds from the cancel call, or without one from the acceptance, to the end of the
            goal, and whether it was cancelled before it ended.

        """
        from action_msgs.msg import GoalStatus

        handle, ending = self._send(self._plan, self._long)
        begin = time.perf_counter()
        if cancel_after is not None:
            while not ending.done() and (left := begin + cancel_after - time.perf_counter()) > 0:
                self._executor.spin_once(left)
            begin = time.perf_counter()
            handle.cancel_goal_async()
        status = self._wait(ending).status
        return time.perf_counter() - begin, status == GoalStatus.STATUS_CANCELED

    def pictures(self) -> int:
        """Return how many pictures have reached the node, from all its cameras."""
        cameras = self._wait(self._cameras.call_async(self._list_cameras)).cameras
        return sum(int(camera.images_received) for camera in cameras)

    def ask_at(self, rate: float) -> None:
        """Set a standing yes/no query at a rate in Hz."""
        request = self._standing.srv_type.Request(
            name='bench', enabled=True, rate=rate, text=YES_NO,
            kind=self._standing.srv_type.Request.ANSWER_SPATIAL)
        self._standing.wait_for_service(_WAIT_S)
        response = self._wait(self._standing.call_async(request))
        if response.error_code:
            raise RuntimeError(response.error_msg)

    def _send(self, client: Any, goal: Any) -> tuple[Any, Any]:
        handle = self._wait(client.send_goal_async(goal))
        return handle, handle.get_result_async()

    def _wait(self, future: Any) -> Any:
        if not self._spin_until_done(future, _WAIT_S):
            raise self._silence('a reply')
        return future.result()

    def _spin_until_done(self, future: Any, wait_s: float) -> bool:
        # each round of rclpy's own spin_until_future_complete leaves a task in the executor
        end = time.monotonic() + wait_s
        while not future.done() and time.monotonic() < end:
            self._executor.spin_once(1.0)
        return bool(future.done())

    def _silence(self, awaited: str) -> RuntimeError:
        log = self._log.read_text('utf-8', 'replace')[-2000:]
        return RuntimeError(f'{awaited} did not arrive; the log of the node ends with:\n{log}')


def measure(goals: int, cancels: int, seed: int) -> dict[str, Any]:
    """Measure yes/no goals, one at a time, and cancelled long goals; figures in milliseconds.

    The client runs in a process of its own, since a model's threads and garbage collection would
    delay it.
    """
    command = [*_THIS, 'measure', str(goals), str(cancels), str(seed)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


class Served(NamedTuple):
    """A node that answers about the camera's pictures.

    Attributes:
        client: of the node.
        process: of the node.
        environment: of processes in the same domain.
        folder: for their logs.

    """

    client: Any
    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    folder: Path


@contextlib.contextmanager
def served_beside_camera(make: Callable[[int, Path], Client]) -> Iterator[Served]:
    """Run node and camera in a domain of their own; ``make`` gets it, and the node's log."""
    node = node_command({'device': 'cpu', 'camera.image_topic': TOPIC})
    with contextlib.ExitStack() as stack:
        domain = stack.enter_context(claimed_domain())
        environment = environment_in(domain)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = folder / 'node.log'
        process = stack.enter_context(running(node, log, environment))
        stack.enter_context(running(camera_command(), folder / 'camera.log', environment))
        client = stack.enter_context(contextlib.closing(make(domain, log)))
        client.wait_until_active()
        yield Served(client, process, environment, folder)


def _measure(goals: int, cancels: int, seed: int) -> dict[str, Any]:
    with served_beside_camera(Client) as served:
        client = served.client
        with running([*_THIS, 'bare'], served.folder / 'bare.log', served.environment):
            client.wait_for_bare()
            bare = spread([1e3 * client.bare() for _ in range(goals)])
        begin, before = time.monotonic(), client.pictures()
        added = _added(client, goals)
        cancelled = _cancelled(client, cancels, random.Random(f'cancel {seed}'))
        rate = (client.pictures() - before) / (time.monotonic() - begin)
        return {**added, 'bare_ms': bare, **cancelled, 'camera': f'{WIDTH}x{HEIGHT}',
                'camera_hz': rate}


def _added(client: Client, goals: int) -> dict[str, Any]:
    from mimo_embodied_ros.ros.messages import seconds

    times: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(goals):
        taken, since_stamp, stats = client.yes_no()
        engine, age = seconds(stats.generation_time), seconds(stats.image_age)
        for name, value in (
                ('goal_to_result_ms', taken), ('added_ms', taken - engine),
                ('added_in_node_ms', seconds(stats.total_time) - engine),
                ('stamp_to_answer_ms', since_stamp), ('image_age_ms', age), ('engine_ms', engine),
                ('after_image_ms', since_stamp - age - engine)):
            times[name].append(1e3 * value)
    return {name: spread(values) for name, values in times.items()}


def _cancelled(client: Client, cancels: int, rng: random.Random) -> dict[str, Any]:
    """Cancel goals at random times within their usual length; some end before that."""
    usual = statistics.median(client.long()[0] for _ in range(3))
    times: list[float] = []
    goals = 0
    while len(times) < cancels and goals < 4 * cancels:
        goals += 1
        taken, in_time = client.long(rng.uniform(0, usual))
        if in_time:
            times.append(1e3 * taken)
    if not times:
        msg = f'{goals} goals of {usual:.2f} s had all ended when they were to be cancelled'
        raise RuntimeError(msg)
    times.sort()
    last = len(times) - 1
    return {
        'cancel_p99_ms': times[round(0.99 * last)], 'cancel_median_ms': times[last // 2],
        'cancel_longest_ms': times[-1], 'cancelled': len(times), 'ended_before': goals - len(times),
        'long_goal_ms': 1e3 * usual,
    }


if __name__ == '__main__':
    if sys.argv[1] == 'measure':
        print(json.dumps(_measure(*(int(argument) for argument in sys.argv[2:]))))
    else:
        {'camera': publish_camera, 'bare': answer_at_once}[sys.argv[1]]()
