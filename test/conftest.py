"""Fixtures for tests with real nodes: own domain, own context, traffic on this host only."""

from __future__ import annotations

import fcntl
import itertools
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# before anything imports rclpy, and inherited by the processes that tests start
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rclpy.node import Node

_turn = itertools.count()


@contextmanager
def claimed_domain() -> Iterator[int]:
    """Hold a domain id that no other test on this host holds.

    Ids from 1 to 100 keep DDS below the ephemeral ports. A locked file stands for an id, so that
    it is free again when its process ends in whatever way. Each turn starts at another id, so
    that no test hears the last words of the one before.
    """
    start = os.getpid() + next(_turn)
    for domain in (1 + (start + step) % 100 for step in range(100)):
        path = Path(tempfile.gettempdir(), f'ros_test_domain_{domain}.lock')
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT)
        except PermissionError:  # made by another user
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield domain
        finally:
            os.close(lock)
        return
    pytest.fail('all ROS domain ids from 1 to 100 are taken by other tests on this host')


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
        from rclpy.executors import ExternalShutdownException

        try:
            while not self._closing and self.context.ok():
                self.executor.spin_once(timeout_sec=1.0)
        except ExternalShutdownException:  # the test itself shut the context down
            pass
        except BaseException as error:
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
