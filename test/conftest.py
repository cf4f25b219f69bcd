"""Fixtures for tests with real nodes: own domain, own context, traffic on this host only."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from domains import claimed_domain

# before anything imports rclpy, and inherited by the processes that tests start
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Wait until the condition is truthy and return its value; fail after the timeout."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if self._error is not None:
                raise self._error
            if time.monotonic() > deadline:
                pytest.fail(f'the condition did not come true within {timeout_s} s')
            time.sleep(0.005)
        return value

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function where callbacks run, as a lifecycle service does.

        What destroys subscriptions must: the executor may be about to wait for them. So must what
        makes action clients, which Kilted's executor may take up before they are all made.
        """
        done = self.executor.create_task(function, *arguments)
        self.wait_for(done.done, 60.0)
        return done.result()

    def close(self) -> None:
        """Stop to spin, destroy everything, and raise what a callback raised."""
        # In this order: a shutdown pulls the ground from under what is being executed.
        self._closing = True
        self.executor.wake()
        self._thread.join(timeout=10)
        for node in self._nodes:
            node.destroy_node()
        self.executor.shutdown()
        self.context.try_shutdown()
        if self._error is not None:
            raise self._error


@pytest.fixture
def ros() -> Iterator[Ros]:
    """A domain, a context and a spinning executor of the test's own."""
    with claimed_domain() as domain_id:
        world = Ros(domain_id)
        yield world
        world.close()
