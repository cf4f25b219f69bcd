"""Time that passes for a goal, as if something moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock, ClockType
from rclpy.task import Future

if TYPE_CHECKING:
    from rclpy.node import Node

_WATCH_S = 0.02  # how often it looks for the end, or for a cancel


async def simulate_motion(node: Node, handle: Any, duration_s: float) -> None:
    """Return after so many seconds of the wall clock, or when the goal is cancelled before.

    Args:
        node: whose executor runs the goal.
        handle: of the goal.
        duration_s: seconds; infinite: until it is cancelled.

    """
    ended = Future(executor=node.executor)
    clock = Clock(clock_type=ClockType.STEADY_TIME)
    end = clock.now().nanoseconds / 1e9 + duration_s

    def watch() -> None:
        if handle.is_cancel_requested or clock.now().nanoseconds / 1e9 >= end:
            ended.set_result(None)

    timer = node.create_timer(min(_WATCH_S, duration_s), watch, clock=clock)
    await ended
    node.destroy_timer(timer)
