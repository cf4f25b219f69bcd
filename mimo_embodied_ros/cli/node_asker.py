"""Asks the questions of benchmarks through a running node."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from mimo_embodied_ros.action import Ask
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import MimoError, ModelNotReadyError, ResultCode
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.evaluation.run import Prediction
from mimo_embodied_ros.msg import ModelInfo
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.images import encode_image
from mimo_embodied_ros.share import carry_large_images

if TYPE_CHECKING:
    from typing_extensions import Self

    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.evaluation.dataset import Record

_FATAL = (ResultCode.MODEL_NOT_READY, ResultCode.BACKEND_UNREACHABLE, ResultCode.SEND_GOAL_FAILURE)
_ENDINGS = {ResultCode.OUTPUT_TRUNCATED: 'length', ResultCode.TIMEOUT: 'deadline'}
_LONGEST_S = 86_400.0  # where the user gives no limit, in place of the node's default
_WAIT_S = 30.0


class NodeAsker:
    """Sends the questions as goals of the action ask, with their images."""

    def __init__(self, name: str, timeout: float = 0.0, *, wait_s: float = _WAIT_S) -> None:
        """Find the node and its model.

        Args:
            name: of the node.
            timeout: seconds for an answer; 0 is no limit.
            wait_s: seconds that the node may be missing.

        Raises:
            ModelNotReadyError: there is no node of this name with a loaded model.

        """
        self._timeout = timeout
        self._owns = not rclpy.ok()
        if self._owns:
            carry_large_images()
            process.init([], signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node('mimo_embodied_eval')
        try:
            self._info = self._find_model(name, wait_s)
            self._client = MimoClient(self._node, name, wait_s=wait_s)
        except BaseException:
            self._shut_down()
            raise

    def __enter__(self) -> Self:
        """Return it; it is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._shut_down()

    @property
    def about(self) -> dict[str, str | int]:
        """See `Asker`."""
        info = self._info
        return {'model': info.name, 'dtype': info.dtype, 'min_pixels': info.min_pixels,
                'max_pixels': info.max_pixels, 'by': 'node'}

    @property
    def limits(self) -> PixelLimits:
        """See `Asker`."""
        return PixelLimits(self._info.min_pixels, self._info.max_pixels)

    def ask(self, record: Record, query: Query) -> Prediction:
        """See `Asker`."""
        begin = time.monotonic()
        text, ending, code, message, attempts = '', 'stop', '', '', 1
        try:
            result = self._client.ask(_question(query), **self._goal(query)).result()
            text, attempts = result.raw_text, result.stats.attempts
        except MimoError as error:
            if error.code in _FATAL:
                raise ModelNotReadyError(str(error)) from error
            text, ending = error.raw_text, _ENDINGS.get(error.code, 'stop')
            code, message = error.code.name, str(error)
        seconds = round(time.monotonic() - begin, 3)
        return Prediction(
            record.key, record.id, text, ending, code, message, seconds, max(1, attempts))

    def _goal(self, query: Query) -> dict[str, Any]:
        return {
            'task': query.task.name, 'timeout': self._timeout or _LONGEST_S,
            'images': [
                encode_image(frame.pixels, Header(stamp=duration_stamp(frame.stamp_ns)))
                for frame in query.frames],
            'thinking': Ask.Goal.THINK_ON if query.thinks else Ask.Goal.THINK_OFF,
            'system_prompt': query.system, 'max_new_tokens': query.max_new_tokens}

    def _find_model(self, name: str, wait_s: float) -> Any:
        """Wait for the message that says which model a node has."""
        found: list[Any] = []
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        subscription = self._node.create_subscription(
            ModelInfo, f'{name}/model_info', found.append, latched)
        end = time.monotonic() + wait_s
        while not found and time.monotonic() < end:
            rclpy.spin_once(self._node, timeout_sec=0.1)
        self._node.destroy_subscription(subscription)
        if not found:
            msg = (f'no node {name} with a loaded model was found within {wait_s:g} s; start and '
                   'configure it, or give its name with its namespace')
            raise ModelNotReadyError(msg)
        return found[-1]

    def _shut_down(self) -> None:
        self._node.destroy_node()
        if self._owns:
            rclpy.try_shutdown()


def duration_stamp(nanoseconds: int) -> Any:
    """Return a stamp as a message."""
    from builtin_interfaces.msg import Time

    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def _question(query: Query) -> str:
    """Return the question with its options, which a goal has no field for."""
    return query.text
