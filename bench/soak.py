"""Thousands of goals of random kind, cancel time, deadline, priority and caller, and their ends.

The real node with the embedded model runs in a process of its own; this one is its camera and its
clients. Standing queries are on meanwhile. Fails when a goal gets no result or two, when a goal
ends otherwise than the answer to its cancel request said, or when the node's memory grows.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import os
import random
import statistics
import subprocess
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from domains import claimed_domain

from mimo_embodied_ros.cli.processes import node_command
from mimo_embodied_ros.core.errors import ResultCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_FLIGHT, BURST = 12, 10  # fewer than run and wait together; now and then more, to be refused
REFUSED_S = 0.1  # who is refused asks again later
WAIT_S = 600.0  # only a hang takes so long, on a busy machine too
LOST_S = 300.0  # a goal without a result by then is lost; the longest deadline is 20 s
CAMERA_S = 0.2
SPIN_S = 0.01
WARM_UP = 0.2  # share of the goals
NAME = '/mimo_embodied'
PARAMETERS = {
    'max_queue': 8, 'max_image_age': 10.0, 'timeout': 20.0, 'camera.reliable': 'true'}
TEXTS = {
    'plan_task': ('put the red cube in the blue bowl', 'pick up the green ball',
                  'put the red cube and the green ball in the blue bowl'),
    'find_affordances': ('red cube', 'the handle of the cup', 'free space', 'blue bowl'),
    'answer_spatial': ('Is the red cube left of the blue bowl?', 'How many objects are there?',
                       'What is left of the green ball?'),
    'ask': ('What do you see?', 'What is on the table?'),
    'plan_driving': ('turn left at the junction', ''),
}
CANCELS = ('never', 'before the acknowledgement', 'when accepted', 'while running', 'twice')


@dataclass
class Asked:
    """One goal and all that was heard of it."""

    name: str
    cancel: str
    sent: float
    cancelled: float = 0.0  # when cancel was called first; 0 is never
    cancel_taken: bool = False
    results: list[Any] = field(default_factory=list)
    received: float = 0.0
    handle: Any = None


class Soak:
    """The camera and the clients; all of it happens in the thread that spins."""

    def __init__(self, context: Any, pid: int, goals: int, seed: int) -> None:
        import rclpy
        from action_msgs.msg import GoalStatus, GoalStatusArray
        from action_msgs.srv import CancelGoal
        from nav_msgs.msg import Odometry
        from rclpy.action import ActionClient
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import qos_profile_action_status_default
        from sensor_msgs.msg import Image

        from mimo_embodied_ros import action, msg
        from mimo_embodied_ros.ros.images import encode_image
        from mimo_embodied_ros.ros.request_kinds import ACTION_QOS
        from mimo_embodied_ros.worlds import scenes

        self.random = random.Random(seed)
        self.pid, self.goals = pid, goals
        self.executor = SingleThreadedExecutor(context=context)
        self.nodes = [rclpy.create_node(f'caller_{n}', context=context) for n in range(2)]
        for node in self.nodes:
            self.executor.add_node(node)
        kinds = {'plan_task': action.PlanTask, 'find_affordances': action.FindAffordances,
                 'answer_spatial': action.AnswerSpatial, 'ask': action.Ask,
                 'plan_driving': action.PlanDriving}
        self.kinds = kinds
        self.clients = [{name: ActionClient(node, kind, f'{NAME}/{name}', **ACTION_QOS)
                         for name, kind in kinds.items()} for node in self.nodes]
        self.cancels = {name: self.nodes[0].create_client(
            CancelGoal, f'{NAME}/{name}/_action/cancel_goal') for name in kinds}
        self.ends: defaultdict[bytes, set[int]] = defaultdict(set)
        over = {GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_CANCELED, GoalStatus.STATUS_ABORTED}
        for name in kinds:
            self.nodes[0].create_subscription(
                GoalStatusArray, f'{NAME}/{name}/_action/status',
                lambda array: [self.ends[bytes(s.goal_info.goal_id.uuid)].add(s.status)
                               for s in array.status_list if s.status in over],
                qos_profile_action_status_default)
        self.standing_answers = 0
        self.nodes[0].create_subscription(
            msg.TextAnswer, f'{NAME}/text_answer', self._on_text, 10)
        self.odometry = self.nodes[0].create_publisher(Odometry, 'odom', 10)
        self.moving = Odometry(child_frame_id='base_link')
        self.camera = self.nodes[0].create_publisher(Image, 'camera/image_raw', 1)
        pictures = [scenes.draw_table(random.Random(n), 640, 480).pixels for n in range(16)]
        self.images = itertools.cycle([encode_image(pixels) for pixels in pictures])
        self.carried = [encode_image(pixels) for pixels in pictures[:2]]
        self.asked: dict[bytes, Asked] = {}
        self.open: dict[bytes, Asked] = {}
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.turn = itertools.count()
        self.memory: list[tuple[int, float]] = []  # goals asked so far, MB
        self.refused = 0.0  # when the last goal was refused

    # -- what happens by the clock

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function then."""
        heapq.heappush(self.due, (time.monotonic() + seconds, next(self.turn), function))

    def every(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function now and again and again."""

        def again() -> None:
            function()
            self.later(seconds, again)

        again()

    def spin(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Let everything happen until it is done, or not in time."""
        end = time.monotonic() + timeout_s
        while not done() and time.monotonic() < end:
            while self.due and self.due[0][0] <= time.monotonic():
                heapq.heappop(self.due)[2]()
            # always as long: with another timeout it begins anew, and who is last is never served
            self.executor.spin_once(SPIN_S)
        return done()

    def publish(self) -> None:
        """Show the node another picture, with odometry."""
        image = next(self.images)
        image.header.stamp = self.nodes[0].get_clock().now().to_msg()
        image.header.frame_id = 'camera_optical_frame'
        self.camera.publish(image)
        self.moving.header = image.header
        self.odometry.publish(self.moving)

    def measure(self) -> None:
        """Note how much memory the node has."""
        pages = int(Path(f'/proc/{self.pid}/statm').read_text().split()[1])
        self.memory.append((len(self.asked), pages * os.sysconf('SC_PAGE_SIZE') / 1e6))

    def _on_text(self, answer: Any) -> None:
        self.standing_answers += answer.question.startswith('standing')

    # -- goals

    def send(self) -> None:
        """Send a goal of some kind, and arrange its cancelling."""
        from unique_identifier_msgs.msg import UUID

        name = self.random.choices(list(TEXTS), (3, 3, 4, 2, 1))[0]
        key = uuid.UUID(int=self.random.getrandbits(128), version=4).bytes
        cancel = self.random.choices(CANCELS, (4, 1, 2, 2, 1))[0]
        asked = Asked(name, cancel, time.monotonic())
        self.asked[key] = self.open[key] = asked
        future = self.random.choice(self.clients)[name].send_goal_async(
            self._goal(name), lambda message: self._on_feedback(asked, message.feedback),
            UUID(uuid=list(key)))
        future.add_done_callback(lambda done: self._on_accepted(key, asked, done.result()))
        if asked.cancel == 'before the acknowledgement':
            self._cancel_unacknowledged(name, key, asked)
        elif asked.cancel == 'twice':
            self.later(self.random.uniform(0, 0.5), lambda: self._cancel(asked))

    def _goal(self, name: str) -> Any:
        goal = self.kinds[name].Goal(priority=self.random.choice((0, 0, 0, 1, 2, 255)),
                                     caller=self.random.choice(('', 'tree', 'planner', 'person')))
        text = self.random.choice(TEXTS[name])
        field_ = {'plan_task': 'instruction', 'plan_driving': 'instruction',
                  'find_affordances': 'query'}.get(name, 'question')
        setattr(goal, field_, text)
        if self.random.random() < 0.4:
            goal.timeout.nanosec = int(1e9 * min(0.999, self.random.expovariate(3)))
        if self.random.random() < 0.05:
            goal.images = [self.random.choice(self.carried)]
        if self.random.random() < 0.1:
            goal.max_new_tokens = self.random.randint(1, 60)
        if hasattr(goal, 'target_frame') and self.random.random() < 0.3:
            goal.target_frame = 'camera_optical_frame'
        return goal

    def _cancel_unacknowledged(self, name: str, key: bytes, asked: Asked) -> None:
        from action_msgs.msg import GoalInfo
        from action_msgs.srv import CancelGoal
        from unique_identifier_msgs.msg import UUID

        info = GoalInfo(goal_id=UUID(uuid=list(key)))
        asked.cancelled = time.monotonic()
        self.cancels[name].call_async(CancelGoal.Request(goal_info=info)).add_done_callback(
            lambda done: self._on_cancel(asked, done.result()))

    def _cancel(self, asked: Asked) -> None:
        if asked.handle is None or asked.results:
            return
        asked.cancelled = asked.cancelled or time.monotonic()
        for _ in range(1 + (asked.cancel == 'twice')):
            asked.handle.cancel_goal_async().add_done_callback(
                lambda done: self._on_cancel(asked, done.result()))

    @staticmethod
    def _on_cancel(asked: Asked, response: Any) -> None:
        asked.cancel_taken |= bool(response.goals_canceling)

    def _on_accepted(self, key: bytes, asked: Asked, handle: Any) -> None:
        if not handle.accepted:  # which this node never does
            asked.results.append(None)
            return
        asked.handle = handle
        handle.get_result_async().add_done_callback(
            lambda done: self._on_result(key, asked, done.result()))
        if asked.cancel == 'when accepted':
            self._cancel(asked)

    def _on_feedback(self, asked: Asked, feedback: Any) -> None:
        if asked.cancel == 'while running' and feedback.state > feedback.QUEUED and (
                not asked.cancelled and self.random.random() < 0.2):
            self._cancel(asked)

    def _on_result(self, key: bytes, asked: Asked, response: Any) -> None:
        asked.results.append(response)
        asked.received = time.monotonic()
        self.open.pop(key, None)
        if response.result.error_code == ResultCode.QUEUE_FULL:
            self.refused = asked.received

    # -- the whole

    def run(self) -> None:
        """Ask everything and wait for the ends."""
        from mimo_embodied_ros.srv import SetStandingQuery

        assert self.spin(lambda: all(
            client.server_is_ready() for clients in self.clients for client in clients.values()),
            WAIT_S), 'the node did not start'
        stand = self.nodes[0].create_client(SetStandingQuery, f'{NAME}/set_standing_query')
        assert self.spin(stand.service_is_ready, WAIT_S)
        for number in range(2):
            request = SetStandingQuery.Request(
                name=str(number), enabled=True, rate=5.0, kind=SetStandingQuery.Request.ASK,
                text=f'standing {number}: What do you see?')
            assert self.spin(stand.call_async(request).done, WAIT_S), 'the model did not load'
        self.every(CAMERA_S, self.publish)
        self.every(0.5, self.measure)
        begin = told = time.monotonic()
        while len(self.asked) < self.goals or self.open:
            limit = IN_FLIGHT + BURST * (self.random.random() < 0.02)
            while len(self.asked) < self.goals and len(self.open) < limit:
                self.send()
            before = len(self.open)
            if not self.spin(lambda n=before: len(self.open) < n, LOST_S):
                break  # the rest is lost
            self.spin(lambda: time.monotonic() >= self.refused + REFUSED_S, REFUSED_S)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f'{len(self.asked)} goals in {told - begin:.0f} s, '
                      f'{self.memory[-1][1]:.0f} MB', flush=True)
        self.seconds = time.monotonic() - begin
        self.spin(lambda: all(self.ends[key] for key in list(self.asked)[-100:]), 60)
        self.spin(lambda: False, 1)  # what would end twice may do so now

    def _lost(self, key: bytes, asked: Asked) -> str:
        """What is known of a goal without a result."""
        accepted = 'accepted' if asked.handle else 'not acknowledged'
        cancelled = asked.cancelled and (
            f', cancelled after {asked.cancelled - asked.sent:.3f} s ({asked.cancel}), cancel '
            f'{"taken" if asked.cancel_taken else "not taken"}')
        said = sorted(self.ends[key]) or 'none'
        return (f'goal {list(self.asked).index(key)}, {asked.name}: {accepted}{cancelled or ""}, '
                f'its last states: {said}')

    def report(self) -> dict[str, Any]:
        """What was asked and what came of it."""
        from action_msgs.msg import GoalStatus

        names = {GoalStatus.STATUS_SUCCEEDED: 'succeeded', GoalStatus.STATUS_CANCELED: 'canceled',
                 GoalStatus.STATUS_ABORTED: 'aborted'}
        ended = {key: asked for key, asked in self.asked.items() if asked.results}
        statuses = {key: asked.results[0].status for key, asked in ended.items()}
        codes = Counter(ResultCode(a.results[0].result.error_code).name for a in ended.values())
        waits = sorted((a.received - a.cancelled) * 1000 for key, a in ended.items()
                       if a.cancel_taken and statuses[key] == GoalStatus.STATUS_CANCELED)
        steady = [mb for asked, mb in self.memory if asked >= WARM_UP * self.goals]
        halves = steady[: len(steady) // 2], steady[len(steady) // 2 :]
        first, second = (statistics.median(half or [0.0]) for half in halves)
        return {
            'goals': len(self.asked), 'seconds': round(self.seconds, 1),
            'goals_per_s': round(len(self.asked) / self.seconds, 2),
            'ends': dict(Counter(names.get(s, str(s)) for s in statuses.values())),
            'codes': dict(codes.most_common()),
            'cancelled_at': dict(Counter(a.cancel for a in self.asked.values() if a.cancelled)),
            'lost': [self._lost(key, asked) for key, asked in self.open.items()],
            'results_twice': sum(len(a.results) > 1 for a in ended.values()),
            'ended_twice': sum(len(self.ends[key] | {statuses[key]}) > 1 for key in ended),
            'cancel_answer_wrong': sum(
                a.cancel_taken is not (statuses[key] == GoalStatus.STATUS_CANCELED)
                for key, a in ended.items()),
            'cancel_ms': {'count': len(waits), **{
                f'p{p}': round(waits[min(len(waits) - 1, len(waits) * p // 100)], 1)
                for p in (50, 99) if waits}},
            'memory_mb': {'first_half': round(first, 1), 'second_half': round(second, 1),
                          'growth': round(second - first, 1)},
            'standing_answers': self.standing_answers,
        }


@contextlib.contextmanager
def server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The node in a process of its own."""
    command = node_command({name: str(value) for name, value in PARAMETERS.items()})
    with (folder / 'node.log').open('wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(WAIT_S)


def faults(report: dict[str, Any], growth_mb: float) -> list[str]:
    """What a report says that must not be."""
    names = ('lost', 'results_twice', 'ended_twice', 'cancel_answer_wrong')
    found = [f'{name}: {report[name]}' for name in names if report[name]]
    growth = report['memory_mb']['growth']
    if growth > growth_mb:
        found.append(f'memory grew by {growth} MB')
    if not report['standing_answers']:
        found.append('no standing query was answered')
    return found


def table(report: dict[str, Any]) -> None:
    for name, value in report.items():
        said = value if not isinstance(value, dict) else ', '.join(
            f'{k} {v}' for k, v in value.items())
        print(f'{name.replace("_", " "):<20} {said}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--goals', type=int, default=10_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--growth-mb', type=float, default=32.0,
                        help='memory that the node may need more in the second half than in the '
                             'first (default: %(default)s); caches fill with the first 1000 goals')
    parser.add_argument('--out', type=Path, default=Path('bench_out/soak.json'))
    options = parser.parse_args()
    import rclpy
    from rclpy.context import Context

    with claimed_domain() as domain, tempfile.TemporaryDirectory() as folder:
        os.environ['ROS_DOMAIN_ID'] = str(domain)
        os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
        context = Context()
        with server(Path(folder)) as process:
            rclpy.init(args=[], context=context, domain_id=domain)
            soak = Soak(context, process.pid, options.goals, options.seed)
            try:
                soak.run()
                alive = process.poll() is None
            finally:
                for node in soak.nodes:
                    node.destroy_node()
                context.try_shutdown()
        log = Path(folder, 'node.log').read_text('utf-8', 'replace')
    report = soak.report()
    wrong = (faults(report, options.growth_mb) + ['the node died'] * (not alive)
             + ['the node raised'] * ('Traceback' in log))
    report['faults'] = wrong
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    table(report)
    if wrong:
        print(f'FAILED: {", ".join(wrong)}; the node said last:\n{log[-3000:]}')
    return bool(wrong)


if __name__ == '__main__':
    raise SystemExit(main())
