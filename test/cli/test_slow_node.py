"""A model that takes its time, by the clock of its node."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from rclpy.clock import Clock
from rclpy.time import Time

from mimo_embodied_ros.cli.slow_node import SlowEngine
from mimo_embodied_ros.engine import GenerationStats, Reply


class Ready:
    """An engine that has its answer at once."""

    info = 'a model'

    def generate(self, _: Any, **__: Any) -> Reply:
        return Reply('here', 'stop', GenerationStats())


class Ticking(Clock):
    """A clock that goes on by a second whenever it is read."""

    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> Time:
        self.seconds += 1
        return Time(seconds=self.seconds)


def test_an_answer_takes_its_time_by_the_clock() -> None:
    clock = Ticking()
    engine = SlowEngine(Ready(), clock, 3.0)
    assert engine.generate(None, max_new_tokens=1).finish_reason == 'stop'
    assert clock.seconds == 4
    assert engine.info == 'a model'


@pytest.mark.parametrize(('options', 'reason'), [
    ({'cancelled': lambda: True}, 'cancelled'), ({'deadline': 0.0}, 'deadline')])
def test_cancel_and_deadline_end_the_wait(options: dict[str, Any], reason: str) -> None:
    clock = Ticking()
    reply = SlowEngine(Ready(), clock, 3.0).generate(None, max_new_tokens=1, **options)
    assert reply.finish_reason == reason
    assert clock.seconds == 2
