"""Standing queries: questions that the node asks itself at a rate, behind all other requests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType

from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.core.prompts import read_system
from mimo_embodied_ros.ros import messages
from mimo_embodied_ros.ros.request_kinds import KINDS, Kind
from mimo_embodied_ros.srv import SetStandingQuery

from .served_request import ServedRequest, check_video

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rclpy.timer import Timer

    from mimo_embodied_ros.core.tasks import Task

# The shortest spares the executor, and no model answers more often; the longest is what a timer of
# ROS can hold.
_SHORTEST_PERIOD_S, _LONGEST_PERIOD_S = 0.01, 1e6
# by the service's constants, which have the names of the actions
_KINDS = {
    getattr(SetStandingQuery.Request, kind.action_name.upper()): kind
    for kind in KINDS if hasattr(SetStandingQuery.Request, kind.action_name.upper())
}
# Ends that are no failure: other requests came first.
_EXPECTED = {ResultCode.NONE, ResultCode.PREEMPTED, ResultCode.QUEUE_FULL}


@dataclass(eq=False)
class StandingQuery:
    """A question that is asked at a rate.

    Attributes:
        name: by which it can be changed and ended.
        kind: of its requests.
        goal: of every request.
        timer: of the rate.
        asking: the answer to the latest request is awaited; ticks are dropped meanwhile.

    """

    name: str
    kind: Kind
    goal: Any
    timer: Timer | None = None
    asking: bool = False


class StandingRequest(ServedRequest):
    """One time that a standing query is asked; it makes room for the requests of others."""

    def __init__(self, host: Any, query: StandingQuery) -> None:
        """Take the query that is asked now."""
        super().__init__(host, query.kind, query.goal, preemptible=True)
        self._query = query

    def on_end(self, fields: dict[str, Any]) -> None:
        """Let the next tick ask again; log what went wrong."""
        self._query.asking = False
        code = ResultCode(fields['error_code'])
        if code not in _EXPECTED:
            self.host.get_logger().warning(
                f'standing query {self._query.name!r} failed, {code.name}: '
                f'{fields["error_msg"]}', throttle_duration_sec=10.0)


class StandingQueries:
    """The standing queries of a node, by name; for use in the executor's thread.

    They stay while the node is inactive, and are asked again when it is active.
    """

    def __init__(self, node: Any) -> None:
        """Take the node that is the host of all requests."""
        self._node = node
        self._queries: dict[str, StandingQuery] = {}

    def set(self, request: SetStandingQuery.Request, tasks: Mapping[str, Task]) -> None:
        """Begin, change or end a standing query; a question under way is still answered.

        Raises:
            InvalidRequestError: a field is empty, out of its range, or not of this kind.

        """
        query = _read(request, tasks) if request.enabled else None
        if query is not None and self._node.engine is not None:
            check_video(query.kind.task_of(query.goal, tasks), self._node.engine)
        before = self._queries.pop(request.name, None)
        if before is not None:
            self._node.destroy_timer(before.timer)
        if query is not None:
            period = min(max(_SHORTEST_PERIOD_S, 1 / request.rate), _LONGEST_PERIOD_S)
            query.timer = self._node.create_timer(
                period, partial(self._ask, query),
                clock=Clock(clock_type=ClockType.STEADY_TIME))
            self._queries[request.name] = query

    def _ask(self, query: StandingQuery) -> None:
        if not query.asking and self._node.session is not None:
            query.asking = True
            StandingRequest(self._node, query).submit()


def _read(request: SetStandingQuery.Request, tasks: Mapping[str, Task]) -> StandingQuery:
    """Read the goal that is asked at every tick; raises as ``StandingQueries.set`` does."""
    if not request.name.strip():
        text = 'the standing query has no name; give one, with which it can be changed and ended'
        raise InvalidRequestError(text)
    if not (math.isfinite(request.rate) and request.rate > 0):
        text = f'rate is {request.rate:g} questions a second; give one above 0'
        raise InvalidRequestError(text)
    if request.kind not in _KINDS:
        kinds = ', '.join(f'{number} ({kind.action_name})' for number, kind in _KINDS.items())
        text = f'kind is {request.kind}; give one of {kinds}'
        raise InvalidRequestError(text)
    kind = _KINDS[request.kind]
    goal = kind.action.Goal(
        task=request.task, cameras=request.cameras, max_image_age=request.max_image_age,
        thinking=request.thinking, system_prompt=request.system_prompt,
        thinking_tokens=request.thinking_tokens, max_new_tokens=request.max_new_tokens,
        structured=request.structured,
        caller=f'standing query {request.name}', **{kind.request_field: request.text})
    if hasattr(goal, 'kind'):
        goal.kind = request.affordance_kind
    for name in ('options', 'target_frame'):
        if hasattr(goal, name):
            setattr(goal, name, getattr(request, name))
        elif getattr(request, name):
            text = f'{kind.action_name} has no {name}; leave it empty'
            raise InvalidRequestError(text)
    messages.thinking_of(goal)
    read_system(goal.system_prompt)
    task = kind.task_of(goal, tasks)
    if task.uses('text') and not request.text.strip():
        raise InvalidRequestError(f'the text of a {task.name} request is empty; give a text')
    return StandingQuery(request.name, kind, goal)
