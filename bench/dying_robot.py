"""Servers that die and come back, and slow services, under a client that never stops to ask.

A mock robot in a process of its own is killed at random moments and started again; some of its
services take longer than the client waits for a server. Requests are cancelled at random moments.
Each must end, well or with an error that names the cause, and none may be executed twice, or after
it has ended unsent.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from short_lease import short_lease

if TYPE_CHECKING:
    from pathlib import Path

IN_FLIGHT = 10
SERVER_S = 2.0  # how long the client waits for a server
LIVES_S, PAUSES_S = (1.0, 6.0), (0.0, 2.0)  # of the robot
DURATIONS_S = (0.02, 0.5, 2 * SERVER_S)  # of its actions and services
LOST_S = 300.0  # a request without an end by then is stuck
CAUSES = {
    'no server': 'there is no server for', 'server gone': 'has been gone for',
    'server restarted': 'another one has started', 'not accepted': 'did not accept the goal within',
    'goal unknown': 'does not know the goal', 'cancelled': 'was cancelled',
}
ACTION, SERVICE = '/dying_robot/act', '/dying_robot/serve'
SKILLS = f"""
do:
  description: Do something.
  says: do it
  success: it is done
  runs:
    - {{action: {ACTION}, type: mimo_embodied_ros/action/RunSkill}}
    - {{service: {SERVICE}, type: mimo_embodied_ros/srv/GetAffordances}}
"""
LEASE_S = 2  # after which the client misses a killed process


@dataclass
class Asked:
    """A request, and when it is to be cancelled."""

    request: Any
    is_goal: bool
    cancel_at: float
    deadline: float


class DyingRobot:
    """Asks the robot, and kills it, each in a thread."""

    def __init__(self, context: Any, environment: dict[str, str], folder: Path, requests: int,
                 seed: int) -> None:
        from rclpy.node import Node

        from mimo_embodied_ros.client import MimoClient

        self.folder, self.requests = folder, requests
        self.random = random.Random(seed)
        self.deaths = 0
        self.asked: list[Asked] = []
        (folder / 'robot.yaml').write_text(SKILLS)
        self.log = folder / 'robot.log'
        self.log.touch()
        self.environment = {**environment, **short_lease(folder, LEASE_S)}
        self.node = Node('operator', context=context)
        self.mimo = MimoClient(self.node, wait_s=SERVER_S)
        self.over = threading.Event()
        self.threads = [threading.Thread(target=work) for work in (self._live_and_die, self._ask)]

    def start(self) -> None:
        """Begin."""
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        """Wait until all requests have ended, and close the client."""
        for thread in self.threads:
            thread.join()
        self.mimo.close()
        self.node.destroy_node()

    def _live_and_die(self) -> None:
        chance = random.Random(self.random.random())
        while not self.over.is_set():
            durations = [str(chance.choice(DURATIONS_S)) for _ in range(2)]
            with self.log.open('ab') as log:
                process = subprocess.Popen(
                    [sys.executable, '-m', 'mimo_embodied_ros.execution.mock_robot', 'robot.yaml',
                     '--duration', durations[0], '--service-duration', durations[1]],
                    stdout=log, stderr=log, cwd=self.folder, env=self.environment)
            life_s = chance.uniform(*LIVES_S)
            # on a busy machine all lives might be too short for anything to succeed
            while not self.over.wait(life_s) and 'succeeded' not in self._ends():
                life_s = 0.1
            process.kill()
            process.wait()
            self.deaths += 1
            self.over.wait(chance.uniform(*PAUSES_S))

    def _ask(self) -> None:
        from mimo_embodied_ros.srv import GetAffordances

        under_way: list[Asked] = []
        self.node.create_client(GetAffordances, SERVICE).wait_for_service(LOST_S)
        while len(self.asked) < self.requests or under_way:
            while len(self.asked) < self.requests and len(under_way) < IN_FLIGHT:
                self.asked.append(self._send(len(self.asked)))
                under_way.append(self.asked[-1])
            now = time.monotonic()
            for asked in under_way:
                if now > asked.cancel_at:
                    asked.request.cancel()
                    asked.cancel_at = float('inf')
            time.sleep(0.01)
            under_way = [asked for asked in under_way
                         if not asked.request.is_done() and now < asked.deadline]
        self.over.set()

    def _send(self, number: int) -> Asked:
        from mimo_embodied_ros.action import RunSkill
        from mimo_embodied_ros.srv import GetAffordances

        is_goal = self.random.random() < 0.5
        request = (
            self.mimo.send(RunSkill, ACTION, RunSkill.Goal(skill='do', object=str(number)))
            if is_goal else
            self.mimo.call(GetAffordances, SERVICE, GetAffordances.Request(query=str(number))))
        now = time.monotonic()
        after_s = self.random.choice((LOST_S, LOST_S, 0.0, self.random.uniform(0.0, 2.0)))
        return Asked(request, is_goal, now + after_s, now + LOST_S)

    def _ends(self) -> list[str]:
        return [_end(asked.request) for asked in self.asked]

    def report(self) -> dict[str, Any]:
        """Return the numbers of requests and ends, and what should not have been."""
        executed = Counter(
            int(number) for number in re.findall(
                r"'(?:object|query)': '(\d+)'", self.log.read_text('utf-8', 'replace')))
        ends = self._ends()
        return {
            'requests': len(self.asked), 'goals': sum(asked.is_goal for asked in self.asked),
            'deaths': self.deaths, 'executed': len(executed), 'ends': dict(Counter(ends)),
            'stuck': [f'{number}: {asked.request.name}' for number, asked in enumerate(self.asked)
                      if not asked.request.is_done()],
            'executed_twice': sum(times > 1 for times in executed.values()),
            'executed_unsent': sum(
                executed[n] > 0 and not a.request._sent for n, a in enumerate(self.asked)),
            'succeeded_unexecuted': sum(
                end == 'succeeded' and not executed[n] for n, end in enumerate(ends)),
        }


def _end(request: Any) -> str:
    """How a request has ended."""
    from mimo_embodied_ros.core.errors import MimoError

    if not request.is_done():
        return 'stuck'
    try:
        request.result()
    except MimoError as error:
        return next((end for end, words in CAUSES.items() if words in str(error)),
                    f'without a cause: {error}')
    return 'succeeded'


def faults(report: dict[str, Any]) -> list[str]:
    """Return the failures in a report."""
    names = ('stuck', 'executed_twice', 'executed_unsent', 'succeeded_unexecuted')
    problems = [f'{name}: {report[name]}' for name in names if report[name]]
    return problems + [end for end in report['ends'] if end.startswith('without')]
