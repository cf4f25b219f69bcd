"""The ROS of one test: its own domain, its own context, nodes that are spun."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.node import Node


class Ros:
    """The ROS of one test; nodes made by :meth:`node` are spun in a thread.

    Attributes:
        domain_id: the test's own domain.
        environment: for processes that take part in the test.
        context: for whatever of rclpy takes one.
        executor: spins in the thread; single-threaded, as the product's.

    """

    def __init__(self, domain_id: int) -> None:
        """Initialise a context in the domain and start to spin."""
        import rclpy
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor

        self.domain_id = domain_id
        self.environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain_id)}
        self.context = Context()
        rclpy.init(args=[], context=self.context, domain_id=domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self._nodes: list[Node] = []
        self._error: BaseException | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._spin, name='ros', daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            while not self._closing and self.context.ok():
                self.executor.spin_once(timeout_sec=1.0)
        except BaseException as error:
            if self.context.ok():  # else the test itself shut it down
                self._error = error

    def node(self, name: str, kind: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Make a node that is spun until the test ends.

        Args:
            name: of the node.
            kind: its class, called with name, context and options; rclpy's Node without it.
            options: more arguments of the class.

        """
        from rclpy.node import Node

        node = (kind or Node)(name, context=self.context, **options)
        self._nodes.append(node)
        self.executor.add_node(node)
        return node

    def destroy(self, node: Any) -> None:
        """Destroy a node before the test ends, in the calling thread."""
        self.call(self.executor.remove_node, node)
        self._nodes.remove(node)
        node.destroy_node()

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
        """Wait until the condition is truthy and return its value.

        Fails after the timeout, and as soon as a callback has raised.
        """
        def checked() -> Any:
            if self._error is not None:
                raise self._error
            return condition()

        return wait_for(checked, timeout_s)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function where callbacks run, as a lifecycle service does.

        What destroys subscriptions must: the executor may be about to wait for them. So must what
        makes action clients, which Kilted's executor may take up before they are all made.
        """
        done = self.executor.create_task(function, *arguments)
        self.wait_for(done.done)
        return done.result()

    def call_service(self, node: Node, kind: Any, name: str, /, **request: Any) -> Any:
        """Call a service from a node of this test and return the response."""
        client = node.create_client(kind, name)
        assert client.wait_for_service(WAIT_S)
        response = client.call_async(kind.Request(**request))
        self.wait_for(response.done)
        return response.result()

    def close(self) -> None:
        """Stop to spin, destroy everything, and raise what a callback raised."""
        # In this order: a shutdown pulls the ground from under what is being executed.
        self._closing = True
        self.executor.create_task(lambda: None)  # else it would wait to the end of spin_once
        self._thread.join(timeout=WAIT_S)
        for node in self._nodes:
            node.destroy_node()
        self.executor.shutdown()
        self.context.try_shutdown()
        if self._error is not None:
            raise self._error
