"""Send thousands of goals of random kind, cancel time, deadline, priority and caller to a node.

The node with the embedded model runs in a process of its own; this process has its camera and its
clients. Standing queries run meanwhile, and a robot whose servers die is asked (`dying_robot`). It
fails when a goal gets no result or two, when a goal ends in another way than the answer to its
cancel request said, or when the node's memory grows.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import math
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

import dying_robot
from domains import claimed_domain

from mimo_embodied_ros.cli.processes import node_command
from mimo_embodied_ros.core.errors import ResultCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_FLIGHT, BURST = 12, 10  # goals that the queue has room for; now and then more are refused
REFUSED_S = 0.1  # after how long a refused client sends again
WAIT_S = 600.0  # a longer wait is a hang, on a busy machine, too
ASK_AGAIN_S = 2.0  # where the node does not say whether it is active
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
class SentGoal:
    """One goal and what has been received about it."""

    name: str
    cancel: str
    sent: float
    cancelled: float = 0.0  # when cancel was called first; 0 is never
    cancel_taken: bool = False
    results: list[Any] = field(default_factory=list)
    received: float = 0.0
    handle: Any = None


class Soak:
    """The camera and the clients; everything runs in the thread that spins."""

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
        from mimo_embodied_ros.worlds import table_scene

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
        pictures = [table_scene.draw_table(random.Random(n), 640, 480).pixels for n in range(16)]
        self.images = itertools.cycle([encode_image(pixels) for pixels in pictures])
        self.carried = [encode_image(pixels) for pixels in pictures[:2]]
        self.sent_goals: dict[bytes, SentGoal] = {}
        self.open: dict[bytes, SentGoal] = {}
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.turn = itertools.count()
        self.memory: list[tuple[int, float]] = []  # goals asked so far, MB
        self.refused = 0.0  # when the last goal was refused

    # -- timers

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function after some seconds."""
        heapq.heappush(self.due, (time.monotonic() + seconds, next(self.turn), function))

    def every(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function now and then periodically."""

        def again() -> None:
            function()
            self.later(seconds, again)

        again()

    def spin(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Run timers and callbacks until done or until the timeout; return whether it is done."""
        end = time.monotonic() + timeout_s
        while not done() and time.monotonic() < end:
            while self.due and self.due[0][0] <= time.monotonic():
                heapq.heappop(self.due)[2]()
            # always the same timeout: with another one the executor starts over, and the last
            # entities are never served
            self.executor.spin_once(SPIN_S)
        return done()

    def publish(self) -> None:
        """Publish another picture, with odometry."""
        image = next(self.images)
        image.header.stamp = self.nodes[0].get_clock().now().to_msg()
        image.header.frame_id = 'camera_optical_frame'
        self.camera.publish(image)
        self.moving.header = image.header
        self.odometry.publish(self.moving)

    def measure(self) -> None:
        """Record the memory of the node."""
        pages = int(Path(f'/proc/{self.pid}/statm').read_text().split()[1])
        self.memory.append((len(self.sent_goals), pages * os.sysconf('SC_PAGE_SIZE') / 1e6))

    def _on_text(self, answer: Any) -> None:
        self.standing_answers += answer.question.startswith('standing')

    # -- goals

    def send(self) -> None:
        """Send a goal of random kind, and plan its cancellation."""
        from unique_identifier_msgs.msg import UUID

        name = self.random.choices(list(TEXTS), (3, 3, 4, 2, 1))[0]
        key = uuid.UUID(int=self.random.getrandbits(128), version=4).bytes
        cancel = self.random.choices(CANCELS, (4, 1, 2, 2, 1))[0]
        goal = SentGoal(name, cancel, time.monotonic())
        self.sent_goals[key] = self.open[key] = goal
        future = self.random.choice(self.clients)[name].send_goal_async(
            self._goal(name), lambda message: self._on_feedback(goal, message.feedback),
            UUID(uuid=list(key)))
        future.add_done_callback(lambda done: self._on_accepted(key, goal, done.result()))
        if goal.cancel == 'before the acknowledgement':
            self._cancel_unacknowledged(name, key, goal)
        elif goal.cancel == 'twice':
            self.later(self.random.uniform(0, 0.5), lambda: self._cancel(goal))

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
            image = self.random.choice(self.carried)
            image.header.stamp = self.nodes[0].get_clock().now().to_msg()
            goal.images = [image]
        if self.random.random() < 0.1:
            goal.max_new_tokens = self.random.randint(1, 60)
        if hasattr(goal, 'target_frame') and self.random.random() < 0.3:
            goal.target_frame = 'camera_optical_frame'
        return goal

    def _cancel_unacknowledged(self, name: str, key: bytes, goal: SentGoal) -> None:
        from action_msgs.msg import GoalInfo
        from action_msgs.srv import CancelGoal
        from unique_identifier_msgs.msg import UUID

        info = GoalInfo(goal_id=UUID(uuid=list(key)))
        goal.cancelled = time.monotonic()
        self.cancels[name].call_async(CancelGoal.Request(goal_info=info)).add_done_callback(
            lambda done: self._on_cancel(goal, done.result()))

    def _cancel(self, goal: SentGoal) -> None:
        if goal.handle is None or goal.results:
            return
        goal.cancelled = goal.cancelled or time.monotonic()
        for _ in range(1 + (goal.cancel == 'twice')):
            goal.handle.cancel_goal_async().add_done_callback(
                lambda done: self._on_cancel(goal, done.result()))

    @staticmethod
    def _on_cancel(goal: SentGoal, response: Any) -> None:
        goal.cancel_taken |= bool(response.goals_canceling)

    def _on_accepted(self, key: bytes, goal: SentGoal, handle: Any) -> None:
        if not handle.accepted:  # this node accepts all goals
            goal.results.append(None)
            return
        goal.handle = handle
        handle.get_result_async().add_done_callback(
            lambda done: self._on_result(key, goal, done.result()))
        if goal.cancel == 'when accepted':
            self._cancel(goal)

    def _on_feedback(self, goal: SentGoal, feedback: Any) -> None:
        if goal.cancel == 'while running' and feedback.state > feedback.QUEUED and (
                not goal.cancelled and self.random.random() < 0.2):
            self._cancel(goal)

    def _on_result(self, key: bytes, goal: SentGoal, response: Any) -> None:
        goal.results.append(response)
        goal.received = time.monotonic()
        self.open.pop(key, None)
        if response.result.error_code == ResultCode.QUEUE_FULL:
            self.refused = goal.received

    # -- the run

    def run(self) -> None:
        """Send all goals and wait for their ends."""
        from mimo_embodied_ros.srv import SetStandingQuery

        assert self.spin(lambda: all(
            client.server_is_ready() for clients in self.clients for client in clients.values()),
            WAIT_S), 'the node did not start'
        stand = self.nodes[0].create_client(SetStandingQuery, f'{NAME}/set_standing_query')
        assert self.spin(stand.service_is_ready, WAIT_S)
        assert self.spin(self._active(), WAIT_S), 'the model did not load'
        for number in range(2):
            request = SetStandingQuery.Request(
                name=str(number), enabled=True, rate=5.0, kind=SetStandingQuery.Request.ASK,
                text=f'standing {number}: What do you see?')
            assert self.spin(stand.call_async(request).done, WAIT_S)
        self.every(CAMERA_S, self.publish)
        self.every(0.5, self.measure)
        begin = reported = time.monotonic()
        while len(self.sent_goals) < self.goals or self.open:
            limit = IN_FLIGHT + BURST * (self.random.random() < 0.02)
            while len(self.sent_goals) < self.goals and len(self.open) < limit:
                self.send()
            before = len(self.open)
            if not self.spin(lambda n=before: len(self.open) < n, LOST_S):
                break  # the rest is lost
            self.spin(lambda: time.monotonic() >= self.refused + REFUSED_S, REFUSED_S)
            if time.monotonic() - reported > 30:
                reported = time.monotonic()
                print(f'{len(self.sent_goals)} goals in {reported - begin:.0f} s, '
                      f'{self.memory[-1][1]:.0f} MB', flush=True)
        self.seconds = time.monotonic() - begin
        self.spin(lambda: all(self.ends[key] for key in list(self.sent_goals)[-100:]), 60)
        self.spin(lambda: False, 1)  # time for a goal to end a second time

    def _active(self) -> Callable[[], bool]:
        """Return what asks the node again whether it is active; goals fail while it loads."""
        from lifecycle_msgs.msg import State
        from lifecycle_msgs.srv import GetState

        client = self.nodes[0].create_client(GetState, f'{NAME}/get_state')
        futures: list[Any] = []
        asked = -math.inf

        def active() -> bool:
            nonlocal asked
            # a reply gets lost while discovery is not complete on both sides
            is_due = not futures or futures[-1].done() or time.monotonic() > asked + ASK_AGAIN_S
            if is_due and client.service_is_ready():
                futures.append(client.call_async(GetState.Request()))
                asked = time.monotonic()
            return any(f.done() and f.result().current_state.id == State.PRIMARY_STATE_ACTIVE
                       for f in futures[-2:])

        return active

    def _lost(self, key: bytes, goal: SentGoal) -> str:
        """Describe a goal without a result."""
        accepted = 'accepted' if goal.handle else 'not acknowledged'
        cancelled = goal.cancelled and (
            f', cancelled after {goal.cancelled - goal.sent:.3f} s ({goal.cancel}), cancel '
            f'{"taken" if goal.cancel_taken else "not taken"}')
        states = sorted(self.ends[key]) or 'none'
        number = list(self.sent_goals).index(key)
        return (f'goal {number}, {goal.name}: {accepted}{cancelled or ""}, its last states: '
                f'{states}')

    def report(self) -> dict[str, Any]:
        """Return the numbers of goals, ends and codes, and the node's memory."""
        from action_msgs.msg import GoalStatus

        names = {GoalStatus.STATUS_SUCCEEDED: 'succeeded', GoalStatus.STATUS_CANCELED: 'canceled',
                 GoalStatus.STATUS_ABORTED: 'aborted'}
        ended = {key: goal for key, goal in self.sent_goals.items() if goal.results}
        statuses = {key: goal.results[0].status for key, goal in ended.items()}
        codes = Counter(ResultCode(a.results[0].result.error_code).name for a in ended.values())
        waits = sorted((a.received - a.cancelled) * 1000 for key, a in ended.items()
                       if a.cancel_taken and statuses[key] == GoalStatus.STATUS_CANCELED)
        steady = [mb for sent, mb in self.memory if sent >= WARM_UP * self.goals]
        halves = steady[: len(steady) // 2], steady[len(steady) // 2 :]
        first, second = (statistics.median(half or [0.0]) for half in halves)
        return {
            'goals': len(self.sent_goals), 'seconds': round(self.seconds, 1),
            'goals_per_s': round(len(self.sent_goals) / self.seconds, 2),
            'ends': dict(Counter(names.get(s, str(s)) for s in statuses.values())),
            'codes': dict(codes.most_common()),
            'cancelled_at': dict(Counter(
                goal.cancel for goal in self.sent_goals.values() if goal.cancelled)),
            'lost': [self._lost(key, goal) for key, goal in self.open.items()],
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
    """Run the node in a process of its own."""
    command = node_command({name: str(value) for name, value in PARAMETERS.items()})
    with (folder / 'node.log').open('wb') as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(WAIT_S)


def faults(report: dict[str, Any], growth_mb: float) -> list[str]:
    """Return the failures in a report."""
    names = ('lost', 'results_twice', 'ended_twice', 'cancel_answer_wrong')
    problems = [f'{name}: {report[name]}' for name in names if report[name]]
    growth = report['memory_mb']['growth']
    if growth > growth_mb:
        problems.append(f'memory grew by {growth} MB')
    if not report['standing_answers']:
        problems.append('no standing query was answered')
    return problems


def table(report: dict[str, Any]) -> None:
    for name, value in report.items():
        text = value if not isinstance(value, dict) else ', '.join(
            f'{k} {v}' for k, v in value.items())
        print(f'{name.replace("_", " "):<20} {text}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--goals', type=int, default=10_000)
    parser.add_argument('--robot-requests', type=int, default=1_000,
                        help='requests to the robot that dies (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--growth-mb', type=float, default=48.0,
                        help='memory that the node may need more in the second half than in the '
                             'first (default: %(default)s); it settles within about 9000 goals')
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
            robot = dying_robot.DyingRobot(
                context, dict(os.environ), Path(folder), options.robot_requests, options.seed)
            robot.start()
            try:
                soak.run()
                alive = process.poll() is None
            finally:
                robot.join()
                for node in soak.nodes:
                    node.destroy_node()
                context.try_shutdown()
        log = Path(folder, 'node.log').read_text('utf-8', 'replace')
        robot_report = robot.report()
    report = soak.report() | {'robot': robot_report}
    problems = (faults(report, options.growth_mb) + dying_robot.faults(robot_report)
                + ['the node died'] * (not alive)
                + ['the node raised'] * ('Traceback' in log))
    report['faults'] = problems
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + '\n', 'utf-8')
    table(report)
    if problems:
        print(f'FAILED: {", ".join(problems)}; the log of the node ends with:\n{log[-3000:]}')
    return bool(problems)


if __name__ == '__main__':
    raise SystemExit(main())
