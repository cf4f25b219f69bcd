"""The client of the tests, and the node that it is made with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rclpy.node import Node

    from mimo_embodied_ros.client import MimoClient


@pytest.fixture
def caller(ros: Any) -> Iterator[Node]:
    """A node that nobody spins."""
    from rclpy.node import Node

    node = Node('caller', context=ros.context)
    yield node
    node.destroy_node()


@pytest.fixture
def mimo(caller: Node) -> Iterator[MimoClient]:
    from mimo_embodied_ros.client import MimoClient
    from support.waiting import WAIT_S

    with MimoClient(caller, wait_s=WAIT_S) as client:
        yield client
