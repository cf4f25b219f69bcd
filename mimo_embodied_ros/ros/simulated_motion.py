"""Waiting in a server as long as a simulated motion takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType
from rclpy.task import Future

if TYPE_CHECKING:
    from rclpy.node import Node

_POLL_S = 0.02  # how often the end and a cancel request are looked for


async def simulate_motion(node: Node, handle: Any, duration_s: float) -> None:
    """Return after the duration in wall-clock time, or earlier when the goal is cancelled.

    Args:
        node: the node whose executor runs the goal.
        handle: the goal's handle; None for a service, which cannot be cancelled.
        duration_s: seconds; infinite: until the goal is cancelled.

    """
    ended = Future(executor=node.executor)
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    end = clock.now().nanoseconds / 1e9 + duration_s

    def watch() -> None:
        if (handle and handle.is_cancel_requested) or clock.now().nanoseconds / 1e9 >= end:
            ended.set_result(None)

    timer = node.create_timer(min(_POLL_S, duration_s), watch, clock=clock)
    await ended
    node.destroy_timer(timer)
