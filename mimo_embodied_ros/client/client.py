"""A client of the node in the manner of Nav2's BasicNavigator, blocking and for asyncio.

    with MimoClient(node) as mimo:
        plan = mimo.plan('put the red cube in the blue bowl', timeout=60.0).result().plan

Every call returns a :class:`Request` at once, which tells its end, its feedback and its result, can
be cancelled, and can be awaited. The client spins in a thread of its own: it does not matter
whether and where the node that it is made with is spun, and a callback may wait for a result.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING, Any

from action_msgs.msg import GoalStatus
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from mimo_embodied_ros.core.errors import (
    CancelledError,
    GoalRejectedError,
    InvalidRequestError,
    MimoError,
    RequestTimeoutError,
    ResultCode,
    SendGoalError,
    error_of,
)
from mimo_embodied_ros.ros.messages import duration
from mimo_embodied_ros.ros.request_kinds import ACTION_QOS, KINDS, SERVICE_QOS
from mimo_embodied_ros.srv import ListCameras

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from typing_extensions import Self

_KINDS = {kind.action_name: kind for kind in KINDS}
_WATCH_S = 0.1  # how often servers are looked for while something is asked


class Request:
    """One goal or call under way; made by :class:`MimoClient`. For use in any thread.

    Attributes:
        name: resolved name of the action or service.

    """

    def __init__(
        self, client: MimoClient, name: str, connect: Callable[[], Any], message: Any
    ) -> None:
        """Ask once the server is there; ``connect`` makes rclpy's client of it, of either kind."""
        self.name = name
        self._client, self._connect, self._message = client, connect, message
        self._server: Any = None
        self._future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._handle: Any = None
        self._feedback: Any = None
        self._text = ''
        self._sent = self._cancelled = False
        self._heard = time.monotonic()  # when the server was last there, or answered

    def is_done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._future.done()

    def feedback(self) -> Any:
        """The newest feedback of the action; None before the first."""
        return self._feedback

    def text(self) -> str:
        """What the model has written so far."""
        return self._text

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the action's result, or the service's response.

        Args:
            timeout_s: seconds; None is without end, which is safe: a goal has its deadline in the
                node, and a server that goes away is noticed.

        Raises:
            RequestTimeoutError: there is no result yet; the request goes on.
            MimoError: of the type that belongs to the result's ``error_code``, with its
                ``error_msg``; ``reply`` is the result. SendGoalError: the server is not there.

        """
        try:
            return self._future.result(timeout_s)
        except concurrent.futures.TimeoutError:
            msg = f'{self.name} has no result after {timeout_s} s; wait longer, or cancel it'
            raise RequestTimeoutError(msg) from None

    def cancel(self) -> None:
        """Ask to end it, at whatever point it is; its result is CancelledError then."""
        self._cancelled = True
        self._client._call(self._cancel)

    def add_done_callback(self, function: Callable[[Request], Any]) -> None:
        """Call a function in the client's thread at the end, or now if it has ended."""
        self._future.add_done_callback(lambda _: function(self))

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await the result in asyncio, or in a callback of rclpy that is a coroutine.

        Cancelling what awaits it in asyncio cancels the request.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            yield from self._awaited_in_rclpy()
        else:
            ended = asyncio.wrap_future(self._future)
            try:
                yield from asyncio.shield(ended).__await__()
            except asyncio.CancelledError:
                # else asyncio complains that nobody asked how it ended
                ended.add_done_callback(lambda done: done.cancelled() or done.exception())
                self.cancel()
                raise
        return self.result()

    def _awaited_in_rclpy(self) -> Generator[Any, Any, None]:
        executor = self._client.node.executor
        if executor is None:
            msg = 'only an executor that spins the node of the client can await a request'
            raise InvalidRequestError(msg)
        done = Future(executor=executor)

        def wake(_: Request) -> None:
            done.set_result(None)
            executor.create_task(lambda: None)  # so that it looks at what waits

        self.add_done_callback(wake)
        yield from done.__await__()

    # -- what follows runs in the client's thread, where rclpy's clients are not in use elsewhere

    @property
    def _is_goal(self) -> bool:
        return isinstance(self._server, ActionClient)

    def _watch(self) -> None:
        """Send it when the server is there; end it when the server is not, or does not answer."""
        now, known = time.monotonic(), self._client._clients
        if self._server is None:
            try:
                # here, because an executor may take up a client that is not all made
                self._server = known[self.name] = known.get(self.name) or self._connect()
            except Exception as error:
                self._end(error=InvalidRequestError(f'{self.name} cannot be asked: {error}'))
                return
        if self._is_there():
            if not self._sent:
                self._sent = True
                self._send()
            elif self._handle is None:
                self._end_if(now, 'the server of {} did not answer within {:g} s; is it busy?')
                return
            self._heard = now
        elif self._sent:
            self._end_if(now, 'the server of {} has been gone for {:g} s; start it again')
        else:
            self._end_if(now, 'there is no server for {} after {:g} s; start it (mimo-embodied '
                              'serve, or ros2 launch mimo_embodied_ros mimo_embodied.launch.py), '
                              'or give the name of its node: MimoClient(node, server=...)')

    def _end_if(self, now: float, why: str) -> None:
        if now - self._heard > self._client.wait_s:
            self._end(error=SendGoalError(why.format(self.name, self._client.wait_s)))

    def _is_there(self) -> bool:
        server = self._server
        return bool(server.server_is_ready() if self._is_goal else server.service_is_ready())

    def _send(self) -> None:
        try:
            if self._is_goal:
                sent = self._server.send_goal_async(self._message, self._on_feedback)
                sent.add_done_callback(self._on_response)
            else:
                self._server.call_async(self._message).add_done_callback(
                    lambda future: self._end(future.result()))
        except Exception as error:  # a message that cannot be sent ends this request alone
            self._end(error=InvalidRequestError(f'{self.name} cannot be asked that: {error}'))

    def _on_feedback(self, message: Any) -> None:
        self._feedback = message.feedback
        self._text += getattr(message.feedback, 'delta', '')

    def _on_response(self, future: Any) -> None:
        handle = future.result()
        if not handle.accepted:
            self._end(error=GoalRejectedError(f'{self.name} did not accept the goal'))
            return
        self._handle = handle
        if self._cancelled or self.is_done():  # meanwhile; nobody waits for it
            handle.cancel_goal_async()
        if not self.is_done():
            handle.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future: Any) -> None:
        reply = future.result()
        if reply.status == GoalStatus.STATUS_SUCCEEDED:
            self._end(reply.result)
        else:
            self._end(error=_error(self.name, reply.status, reply.result))

    def _cancel(self) -> None:
        if self.is_done():
            return
        if self._handle is not None:
            self._handle.cancel_goal_async()
        elif not (self._sent and self._is_goal):  # else _on_response does
            self._end(error=CancelledError(f'{self.name} was cancelled'))

    def _end(self, result: Any = None, error: Exception | None = None) -> None:
        if self._future.done():
            return
        if error is None:
            self._future.set_result(result)
        else:
            self._future.set_exception(error)


def _error(name: str, status: int, result: Any) -> MimoError:
    """The error of a goal that did not succeed, by the package's codes if it has one of them."""
    code, text = getattr(result, 'error_code', 0), getattr(result, 'error_msg', '')
    if not isinstance(code, int):  # MoveIt has a message there
        code = 0
    if code == 0 and status == GoalStatus.STATUS_CANCELED:
        code, text = ResultCode.CANCELLED, f'{name} was cancelled'
    error = error_of(code, text or f'{name} failed with error_code {code} and gave no reason')
    error.reply = result
    error.raw_text = getattr(result, 'raw_text', '')
    error.reasoning = getattr(result, 'reasoning', '')
    return error


class MimoClient:
    """Asks a node ``mimo_embodied``, and any other action of the robot.

    ``plan``, ``find``, ``answer_spatial``, ``ask`` and ``plan_driving`` take the text and further
    fields of the action's goal by their names, such as ``cameras=['wrist']`` or
    ``target_frame='base_link'``; ``timeout`` and ``max_image_age`` may be seconds. They return at
    once; what is wrong with a goal is raised, everything later comes with the request's result.

    Attributes:
        node: the one that it was made with.
        wait_s: seconds that a server may be missing, or may take to accept a goal.

    """

    def __init__(self, node: Node, server: str = 'mimo_embodied', *, wait_s: float = 10.0) -> None:
        """Open a client.

        Args:
            node: whose context, namespace, remappings and clock are used.
            server: name of the node to ask, relative to the namespace of ``node``.
            wait_s: seconds that a server may be missing, or may take to accept a goal.

        """
        self.node, self.wait_s = node, wait_s
        self._server = server
        self._clients: dict[str, Any] = {}
        self._open: list[Request] = []
        self._newest: Request | None = None
        self._lock = threading.Lock()
        self._closing = False
        # A node of its own is what an executor of its own can spin; hidden, as its name begins.
        self._own = Node(
            f'_{node.get_name()}_mimo_client', context=node.context,
            namespace=node.get_namespace(), use_global_arguments=False, enable_rosout=False,
            start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._own)
        self._thread = threading.Thread(target=self._spin, name='mimo_client', daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Return it; it is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all that is under way with SendGoalError, and the thread."""
        self._closing = True
        self._call(lambda: None)
        self._thread.join()
        while self._clients:
            self._clients.popitem()[1].destroy()
        self._own.destroy_node()
        self._executor.shutdown()

    # -- questions

    def plan(self, instruction: str, **goal: Any) -> Request:
        """Ask for the steps of a task; a PlanTask result."""
        return self._ask('plan_task', instruction, goal)

    def find(self, query: str, **goal: Any) -> Request:
        """Ask where to touch or put; a FindAffordances result."""
        return self._ask('find_affordances', query, goal)

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

    def send(self, action: Any, name: str, goal: Any) -> Request:
        """Send a goal to any action, such as one of the robot's own.

        Args:
            action: its type.
            name: as the node that the client was made with would resolve it.
            goal: its ``Goal`` message.

        """
        name = self.node.resolve_service_name(name)
        return self._start(name, lambda: ActionClient(
            self._own, action, name, **ACTION_QOS), goal)

    def call(self, service: Any, name: str, request: Any) -> Request:
        """Call any service, as :meth:`send` does any action; its result is the response."""
        name = self.node.resolve_service_name(name)
        return self._start(name, lambda: self._own.create_client(
            service, name, qos_profile=SERVICE_QOS), request)

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

    # -- the thread

    def _ask(self, action_name: str, text: str, fields: dict[str, Any]) -> Request:
        kind = _KINDS[action_name]
        goal = kind.action.Goal(check_fields=True)
        known = goal.get_fields_and_field_types()
        for name, value in {kind.request_field: text, **fields}.items():
            if name not in known:
                msg = f'{action_name} has no field {name}; it has {", ".join(known)}'
                raise InvalidRequestError(msg)
            is_seconds = known[name] == 'builtin_interfaces/Duration' and isinstance(
                value, (int, float))
            try:
                setattr(goal, name, duration(value) if is_seconds else value)
            except AssertionError as error:
                msg = f'{name} of {action_name} is {value!r}: {error}'
                raise InvalidRequestError(msg) from None
        return self.send(kind.action, f'{self._server}/{action_name}', goal)

    def _start(self, name: str, connect: Callable[[], Any], message: Any) -> Request:
        with self._lock:
            if self._closing:
                raise SendGoalError(_CLOSED)
            request = Request(self, name, connect, message)
            self._open.append(request)
        self._newest = request
        self._call(request._watch)
        return request

    def _call(self, function: Callable[[], None]) -> None:
        """Let the thread call a function, while there is one."""
        if self._thread.is_alive():
            self._executor.create_task(function)

    def _spin(self) -> None:
        try:
            while not self._closing:
                self._executor.spin_once(_WATCH_S if self._open else None)
                for request in self._open[:]:
                    request._watch()
                with self._lock:
                    self._open = [request for request in self._open if not request.is_done()]
        except Exception:
            if self.node.context.ok():  # else the user's program ends, and rclpy says so
                raise
        finally:
            with self._lock:
                self._closing = True
            for request in self._open:
                request._end(error=SendGoalError(_CLOSED))


_CLOSED = 'the client was closed, or ROS was shut down; make another MimoClient'
