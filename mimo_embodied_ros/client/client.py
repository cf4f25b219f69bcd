"""A client of the node in the manner of Nav2's BasicNavigator, blocking and for asyncio.

    with MimoClient(node) as mimo:
        plan = mimo.plan('put the red cube in the blue bowl', timeout=60.0).result().plan

Every call returns a :class:`Request` at once, which tells its end, its feedback and its result, can
be cancelled, and can be awaited. The client spins in a thread of its own: it does not matter
whether and where the node that it is made with is spun, and a callback may wait for a result.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionClient

from mimo_embodied_ros.action import TrackAffordances
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.ros.messages import duration, sendable
from mimo_embodied_ros.ros.request_kinds import ACTION_QOS, KINDS, SERVICE_QOS
from mimo_embodied_ros.srv import Forget, ListCameras, ListMemory, Recall

from .call import CodedCall, ServiceCall
from .goal import ActionGoal
from .spinner import Spinner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from rclpy.node import Node
    from typing_extensions import Self

    from .request import Request

_KINDS = {kind.action_name: kind for kind in KINDS}


class MimoClient:
    """Asks the nodes ``mimo_embodied`` and ``mimo_memory``, and any other action of the robot.

    ``plan``, ``find``, ``track``, ``answer_spatial``, ``ask`` and ``plan_driving`` take the text
    and further fields of the action's goal by their names, such as ``cameras=['wrist']`` or
    ``target_frame='base_link'``; ``timeout`` and ``max_image_age`` may be seconds. They return at
    once; what is wrong with a goal is raised, everything later comes with the request's result.
    So do ``recall``, ``remembered`` and ``forget`` with the fields of their services' requests.

    Attributes:
        node: the one that it was made with.
        wait_s: seconds that a server may be missing, and that it may take to accept a goal. How
            long the answer may take is another limit: the goal's ``timeout``, or that of
            :meth:`Request.result`.

    """

    def __init__(
        self, node: Node, server: str = 'mimo_embodied', *, memory: str = 'mimo_memory',
        wait_s: float = 10.0,
    ) -> None:
        """Open a client.

        Args:
            node: whose context, namespace, remappings and clock are used.
            server: name of the node to ask, relative to the namespace of ``node``.
            memory: name of the node that remembers, likewise.
            wait_s: seconds that a server may be missing, and that it may take to accept a goal.

        """
        self.node, self.wait_s = node, wait_s
        self._server, self._memory = server, memory
        self._newest: Request | None = None
        self._spinner = Spinner(node)

    def __enter__(self) -> Self:
        """Return it; it is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all that is under way with SendGoalError, and the thread."""
        self._spinner.close()

    # -- questions

    def plan(self, instruction: str, **goal: Any) -> Request:
        """Ask for the steps of a task; a PlanTask result."""
        return self._ask('plan_task', instruction, goal)

    def find(self, query: str, **goal: Any) -> Request:
        """Ask where to touch or put; a FindAffordances result."""
        return self._ask('find_affordances', query, goal)

    def track(self, query: str, **goal: Any) -> Request:
        """Ask where to touch or put, and where that is from then on; a TrackAffordances result.

        Its feedback has the points in the newest image. Cancel it when they are not needed any
        more; ``duration`` and ``ask_again_after`` may be seconds, too.
        """
        return self._send_goal(TrackAffordances, 'track_affordances', {'query': query, **goal})

    def answer_spatial(self, question: str, **goal: Any) -> Request:
        """Ask where things are; an AnswerSpatial result."""
        return self._ask('answer_spatial', question, goal)

    def ask(self, question: str, **goal: Any) -> Request:
        """Ask anything; an Ask result."""
        return self._ask('ask', question, goal)

    def plan_driving(self, instruction: str = '', **goal: Any) -> Request:
        """Ask what to do next at the wheel; a PlanDriving result."""
        return self._ask('plan_driving', instruction, goal)

    def cameras(self) -> Request:
        """Ask what has arrived from the cameras; a ListCameras response."""
        return self.call(ListCameras, f'{self._server}/list_cameras', ListCameras.Request())

    # -- what was seen where

    def recall(self, what: str = '', **fields: Any) -> Request:
        """Ask where things were seen, all without ``what``; a Recall response, best first.

        ``max_age`` may be seconds.
        """
        return self._ask_memory(Recall, 'recall', {'what': what, **fields})

    def remembered(self, **fields: Any) -> Request:
        """Ask for all that is remembered; a ListMemory response."""
        return self._ask_memory(ListMemory, 'list_memory', fields)

    def forget(
        self, *, ids: Sequence[int] = (), what: str = '', everything: bool = False
    ) -> Request:
        """Forget things and searches, which exactly one of the fields tells; a Forget response."""
        return self._ask_memory(
            Forget, 'forget', {'ids': ids, 'what': what, 'everything': everything})

    # -- any other server

    def send(self, action: Any, name: str, goal: Any, goal_id: bytes | None = None) -> Request:
        """Send a goal to any action, such as one of the robot's own.

        Args:
            action: its type.
            name: as the node that the client was made with would resolve it.
            goal: its ``Goal`` message.
            goal_id: 16 bytes by which the server is to know the goal; None: random ones.

        """
        name = self.node.resolve_service_name(name)
        connect = partial(ActionClient, self._spinner.own_node, action, name, **ACTION_QOS)
        return self._start(ActionGoal(
            self._spinner, name, connect, sendable(goal), self.wait_s, goal_id))

    def call(self, service: Any, name: str, request: Any) -> Request:
        """Call any service, as :meth:`send` does any action; its result is the response."""
        return self._call(ServiceCall, service, name, request)

    def next_message(
        self, message: Any, topic: str, wanted: Callable[[Any], bool] = lambda _: True
    ) -> Future[Any]:
        """Wait for a message that is published after this call.

        Args:
            message: its type.
            topic: as the node that the client was made with would resolve it.
            wanted: tells whether a message is waited for; called in the client's thread.

        Returns:
            The future of the message. Cancel it where the message is not wanted any more.

        """
        return self._spinner.next_message(message, self.node.resolve_topic_name(topic), wanted)

    def given_up(self, name: str) -> list[Request]:
        """What was cancelled, or has ended, while a server may still do it.

        Whoever commands a robot asks this before a call that must not be made beside another.

        Args:
            name: of an action or service, as for :meth:`send`.

        Returns:
            Requests of this client for which `Request.may_still_run` holds, in the order in which
            they were made.

        """
        name = self.node.resolve_service_name(name)
        return [request for request in self._spinner.requests()
                if request.name == name and request.is_given_up()]

    def servers(self, name: str) -> frozenset[bytes]:
        """The servers of a service in the graph, by ids that no other server ever has.

        Where the middleware has no such ids, all that there are have the id ``b''``.
        """
        name = self.node.resolve_service_name(name)
        return self._spinner.servers(name) or frozenset(
            [b''] * min(1, self.node.count_services(name)))

    # -- the newest request, as with BasicNavigator

    def is_done(self) -> bool:
        """Whether what was asked last has ended."""
        return self._last().is_done()

    def feedback(self) -> Any:
        """The newest feedback on what was asked last."""
        return self._last().feedback()

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the result of what was asked last; see :meth:`Request.result`."""
        return self._last().result(timeout_s)

    def cancel(self) -> None:
        """Cancel what was asked last."""
        self._last().cancel()

    def _last(self) -> Request:
        if self._newest is None:
            msg = 'nothing has been asked yet; call plan, find, answer_spatial or ask first'
            raise InvalidRequestError(msg)
        return self._newest

    def _ask(self, action_name: str, text: str, fields: dict[str, Any]) -> Request:
        kind = _KINDS[action_name]
        return self._send_goal(kind.action, action_name, {kind.request_field: text, **fields})

    def _send_goal(self, action: Any, action_name: str, fields: dict[str, Any]) -> Request:
        goal = _filled(action.Goal(check_fields=True), action_name, fields)
        return self.send(action, f'{self._server}/{action_name}', goal)

    def _ask_memory(self, service: Any, service_name: str, fields: dict[str, Any]) -> Request:
        request = _filled(service.Request(check_fields=True), service_name, fields)
        return self._call(CodedCall, service, f'{self._memory}/{service_name}', request)

    def _call(self, kind: type[ServiceCall], service: Any, name: str, request: Any) -> Request:
        name = self.node.resolve_service_name(name)
        connect = partial(
            self._spinner.own_node.create_client, service, name, qos_profile=SERVICE_QOS)
        return self._start(kind(self._spinner, name, connect, sendable(request), self.wait_s))

    def _start(self, request: Request) -> Request:
        self._spinner.start(request)
        self._newest = request
        return request


def _filled(message: Any, name: str, fields: dict[str, Any]) -> Any:
    """Return the goal or request of that name with its fields set; a Duration may be seconds.

    Raises:
        InvalidRequestError: it has no such field, or the value does not fit it.

    """
    field_types = message.get_fields_and_field_types()
    for field, value in fields.items():
        if field not in field_types:
            msg = f'{name} has no field {field}; it has {", ".join(field_types)}'
            raise InvalidRequestError(msg)
        is_seconds = field_types[field] == 'builtin_interfaces/Duration' and isinstance(
            value, (int, float))
        try:
            setattr(message, field, duration(value) if is_seconds else value)
        except AssertionError as error:
            msg = f'{field} of {name} is {value!r}: {error}'
            raise InvalidRequestError(msg) from None
    return message
