"""An executor that cannot be made, since ROS is shut down, says nothing when it is deleted."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from rclpy.context import Context

from mimo_embodied_ros.ros.executor import Executor


def test_an_executor_that_cannot_be_made_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, 'unraisablehook', lambda found: unraisable.append(found.exc_type))
    context = Context()
    rclpy.init(context=context)
    rclpy.shutdown(context=context)
    with pytest.raises(RuntimeError) as error:
        Executor(context=context)
    del error
    gc.collect()
    assert not unraisable
