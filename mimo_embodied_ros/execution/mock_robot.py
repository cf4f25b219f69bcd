"""A mock robot: serves and publishes what a skills file names, and moves nothing.

It tests plans, policies and behaviour trees where there is no robot yet::

    python -m mimo_embodied_ros.execution.mock_robot skills.yaml --fail /pick=2
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from mimo_embodied_ros.program import run
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.conditions import meet
from mimo_embodied_ros.ros.fields import fields_of, interface_class, set_fields
from mimo_embodied_ros.ros.simulated_motion import simulate_motion
from mimo_embodied_ros.ros.skill_interfaces import load_checked_skills

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mimo_embodied_ros.core.skills import Call, Skill

NAME = 'mock_robot'
_PERIOD_S = 0.1  # of messages


class MockRobot:
    """Serves each call of the skills: waits a while, and succeeds unless `fail` was called for it.

    What the skills' conditions are about is as they want: results, and messages of topics, which
    are published all the time.

    Attributes:
        calls: (name, fields of the goal or request) of all calls, in the order of arrival.
        cancelled: names of the actions that were cancelled while they ran.
        duration_s: how long an action takes, seconds; infinite: until it is cancelled.
        service_s: how long a service takes, seconds.
        fields: by the name of an action, service or topic, fields that its results or messages
            have instead of those that the skills want.
        on_done: called with name and fields when a call succeeds, for instance to change a
            simulation.

    """

    def __init__(
        self, node: Node, skills: Mapping[str, Skill], duration_s: float = 0.1,
        on_done: Callable[[str, Any], None] = lambda *_: None,
    ) -> None:
        """Open the action and service servers in a node.

        Raises:
            InvalidRequestError: an interface that a skill names is not installed.

        """
        self.calls: list[tuple[str, Any]] = []
        self.cancelled: list[str] = []
        self.duration_s, self.service_s, self.on_done = duration_s, 0.0, on_done
        self.fields: dict[str, dict[str, Any]] = {}
        self._node, self._failing = node, Counter[str]()
        self._servers: dict[str, Any] = {}
        # a slow service in the node's own group would hold up all others
        group = ReentrantCallbackGroup()
        for call in (call for skill in skills.values() for call in skill.runs):
            if call.name in self._servers:
                continue
            kind = interface_class(call.type)
            self._servers[call.name] = ActionServer(
                node, kind, call.name, partial(self._act, call, kind),
                cancel_callback=lambda _: CancelResponse.ACCEPT,
            ) if call.action else node.create_service(
                kind, call.name, partial(self._serve, call), callback_group=group)
        self._conditions = [c for skill in skills.values() for c in skill.conditions]
        self._publishers: dict[str, Any] = {}
        for condition in (c for c in self._conditions if c.type):
            if condition.name not in self._publishers:
                self._publishers[condition.name] = node.create_publisher(
                    interface_class(condition.type), condition.name, 1)
        if self._publishers:
            node.create_timer(_PERIOD_S, self._publish, callback_group=group)

    def fail(self, name: str, times: int = 1) -> None:
        """Let the next calls of this name fail: an action aborts, a service answers defaults."""
        self._failing[name] += times

    def destroy(self) -> None:
        """Close the action servers; the node closes its services itself."""
        for server in self._servers.values():
            if isinstance(server, ActionServer):
                server.destroy()

    def _fails(self, name: str) -> bool:
        if not self._failing[name]:
            return False
        self._failing[name] -= 1
        return True

    async def _serve(self, call: Call, request: Any, response: Any) -> Any:
        fields = self._record(call, request)
        if self.service_s:
            await simulate_motion(self._node, None, self.service_s)
        if not self._fails(call.name):
            self._fill(call, response)
            self.on_done(call.name, fields)
        return response

    async def _act(self, call: Call, kind: Any, handle: Any) -> Any:
        fields = self._record(call, handle.request)
        await simulate_motion(self._node, handle, self.duration_s)
        result = kind.Result()
        if handle.is_cancel_requested:
            self.cancelled.append(call.name)
            handle.canceled()
        elif self._fails(call.name):
            if hasattr(result, 'error_msg'):
                result.error_msg = 'the mock robot was told to fail'
            handle.abort()
        else:
            self._fill(call, result)
            self.on_done(call.name, fields)
            handle.succeed()
        return result

    def _fill(self, call: Call, answer: Any) -> None:
        """Set the fields of a result or response as the skills want them, or `fields` says."""
        set_fields(answer, call.expect)
        for condition in self._conditions:
            if condition.name == call.name and not condition.type:
                meet(condition, answer)
        set_fields(answer, self.fields.get(call.name, {}))

    def _publish(self) -> None:
        """Publish a message for each topic, and for each joint of a topic of joints."""
        messages: dict[tuple[str, str], Any] = {}
        for condition in (c for c in self._conditions if c.type):
            key = condition.name, condition.joint
            message = messages.setdefault(key, interface_class(condition.type)())
            meet(condition, message)
        for (name, _), message in messages.items():
            set_fields(message, self.fields.get(name, {}))
            self._publishers[name].publish(message)

    def _record(self, call: Call, message: Any) -> Any:
        fields = fields_of(message)
        self.calls.append((call.name, fields))
        self._node.get_logger().info(f'{call.name}: {fields}')
        return fields


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('skills', help='YAML file with the skills of the robot')
    parser.add_argument('--duration', type=float, default=1.0, metavar='SECONDS',
                        help='how long an action takes (default: %(default)s)')
    parser.add_argument('--service-duration', type=float, default=0.0, metavar='SECONDS',
                        help='how long a service takes (default: %(default)s)')
    parser.add_argument('--fail', action='append', default=[], metavar='NAME=TIMES',
                        help='let the first calls of this name fail; may be repeated')
    options = parser.parse_args(arguments)

    def make() -> Node:
        node = Node(NAME)
        robot = MockRobot(node, load_checked_skills(options.skills), options.duration)
        robot.service_s = options.service_duration
        for name, _, times in (fail.partition('=') for fail in options.fail):
            robot.fail(name, int(times or 1))
        return node

    return process.run(make, NAME, [])


if __name__ == '__main__':
    run(main)
