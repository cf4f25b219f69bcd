"""The node with a model that takes its time, as one of billions of parameters does.

Run ``python -m mimo_embodied_ros.cli.slow_node --ros-args -p answer_time:=3.0``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from rclpy.duration import Duration

from mimo_embodied_ros.engine.early_end import EarlyEnd
from mimo_embodied_ros.node.lifecycle_node import MimoEmbodied, main
from mimo_embodied_ros.program import run

if TYPE_CHECKING:
    from rclpy.clock import Clock
    from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.engine import Engine, Reply
    from mimo_embodied_ros.engine.early_end import Cancelled, Deadline

_POLL_S = 0.01


class SlowNode(MimoEmbodied):
    """Its parameter ``answer_time`` is the least time of an answer, seconds of the node's clock."""

    def __init__(self, **options: Any) -> None:
        """Declare the parameter, too."""
        super().__init__(**options)
        self._answer_time = self.declare_parameter('answer_time', 3.0).value

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, and slow it down."""
        done = super().on_configure(state)
        if self.engine is not None:
            self.engine = cast('Engine', SlowEngine(
                self.engine, self.get_clock(), self._answer_time))
        return done


class SlowEngine:
    """An engine with answers that take no less than some time."""

    def __init__(self, engine: Engine, clock: Clock, seconds: float) -> None:
        self._engine, self._clock, self._time = engine, clock, Duration(seconds=seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(
        self, prompt: Prompt, *, cancelled: Cancelled | None = None, deadline: Deadline = None,
        **options: Any,
    ) -> Reply:
        """Answer; cancel and deadline end the wait, too."""
        until, end = self._clock.now() + self._time, EarlyEnd(cancelled, deadline)
        reply = self._engine.generate(prompt, cancelled=cancelled, deadline=deadline, **options)
        while self._clock.now() < until and not end.reached():
            time.sleep(_POLL_S)
        return replace(reply, finish_reason=end.reason or reply.finish_reason)


if __name__ == '__main__':
    run(lambda: main(make=SlowNode))
