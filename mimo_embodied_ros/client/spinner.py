"""The thread in which the clients of rclpy are made, spun and watched."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from mimo_embodied_ros.core.errors import SendGoalError
from mimo_embodied_ros.ros import threads
from mimo_embodied_ros.ros.executor import Executor

if TYPE_CHECKING:
    from collections.abc import Callable

    from .request import Request

_WATCH_S = 0.1  # how often servers are looked for while requests are under way
_CLOSED = 'the client was closed, or ROS was shut down; make another MimoClient'


class Spinner:
    """Spins a hidden node of its own, so that the user's node need not be spun.

    Attributes:
        node: the user's.
        own_node: of which the clients of rclpy are made.

    """

    def __init__(self, node: Node) -> None:
        """Start the thread."""
        self.node = node
        # an executor of its own can spin only a node of its own; the name's first letter hides it
        self.own_node = Node(
            f'_{node.get_name()}_mimo_client', context=node.context,
            namespace=node.get_namespace(), use_global_arguments=False, enable_rosout=False,
            start_parameter_services=False)
        self._clients: dict[str, Any] = {}
        self._requests: list[Request] = []  # that are not settled
        self._found: dict[str, Any] = {}  # in the graph, in this round of watching
        self._lock = threading.Lock()
        self._closing = False
        self._executor = Executor(context=node.context)
        self._executor.add_node(self.own_node)
        self._thread = threading.Thread(target=self._spin, name='mimo_client', daemon=True)
        threads.start(self._thread, self._end)

    def start(self, request: Request) -> None:
        """Send a request and watch it until it ends.

        Raises:
            SendGoalError: the spinner is closed.

        """
        with self._lock:
            if self._closing:
                raise SendGoalError(_CLOSED)
            self._requests.append(request)
        self.call(request.watch)

    def requests(self) -> list[Request]:
        """All that are not settled, and some that have been settled just now."""
        with self._lock:
            return self._requests[:]

    def call(self, function: Callable[[], None]) -> None:
        """Let the thread call a function, as long as the thread runs."""
        if self._thread.is_alive():
            self._executor.create_task(function)

    def client(self, name: str, connect: Callable[[], Any]) -> Any:
        """The client of rclpy for an action or service; to be called in the thread.

        An executor that spins meanwhile may take up a client that is not all made.
        """
        if name not in self._clients:
            self._clients[name] = connect()
        return self._clients[name]

    def next_message(
        self, kind: Any, topic: str, wanted: Callable[[Any], bool]
    ) -> concurrent.futures.Future[Any]:
        """Return the future of the next message of a topic that is wanted."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def receive(message: Any) -> None:
            # the caller may cancel it at any moment until it is marked as running
            if not future.done() and wanted(message) and future.set_running_or_notify_cancel():
                future.set_result(message)

        def subscribe() -> None:
            try:
                # volatile: no message from before; best effort: whatever the publisher offers
                subscription = self.own_node.create_subscription(
                    kind, topic, receive, qos_profile_sensor_data)
            except Exception as error:
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
                return
            future.add_done_callback(lambda _: self.call(
                lambda: self.own_node.destroy_subscription(subscription)))

        self.call(subscribe)
        return future

    def servers(self, name: str) -> frozenset[bytes]:
        """The servers of a service in the graph, by ids that no other server ever has.

        It is empty where the middleware has no such ids. A server that was killed stays in the
        graph until DDS misses it: 20 s with Fast DDS.
        """
        # the requests' readers have these names with every DDS; rclpy lists none of services
        return frozenset(bytes(endpoint.endpoint_gid) for endpoint in (
            self.own_node.get_subscriptions_info_by_topic(f'rq{name}Request', no_mangle=True)))

    def once_a_round(self, name: str, find: Callable[[], Any]) -> Any:
        """What is found for a name; many requests of one name look into the graph once."""
        if name not in self._found:
            self._found[name] = find()
        return self._found[name]

    def close(self) -> None:
        """End all requests with SendGoalError, and the thread."""
        self._end()
        self._thread.join()
        while self._clients:
            self._clients.popitem()[1].destroy()
        self.own_node.destroy_node()
        self._executor.shutdown()

    def _end(self) -> None:
        self._closing = True
        self.call(lambda: None)  # a mere wake does not end a round

    def _spin(self) -> None:
        try:
            watched = 0.0
            while not self._closing:
                self._executor.spin_once(_WATCH_S if self._requests else None)
                if time.monotonic() > watched + _WATCH_S:  # not after each of many messages
                    self._watch()
                    watched = time.monotonic()
        except Exception:
            if self.node.context.ok():  # else the user's program ends, and rclpy says so
                raise
        finally:
            with self._lock:
                self._closing = True
            for request in self._requests:
                request.end(error=SendGoalError(_CLOSED))

    def _watch(self) -> None:
        self._found.clear()
        for request in self.requests():
            request.watch()
        with self._lock:
            self._requests = [r for r in self._requests if not r.is_settled()]
