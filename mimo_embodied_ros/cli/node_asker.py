"""Asks the questions of benchmarks through a running node."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Header

from mimo_embodied_ros.action import Ask
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import MimoError, ModelNotReadyError, ResultCode
from mimo_embodied_ros.core.profiles import MIMO_EMBODIED, Profile, find_profile
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.evaluation.run import Prediction
from mimo_embodied_ros.msg import ModelInfo
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.executor import Executor
from mimo_embodied_ros.ros.images import encode_image
from mimo_embodied_ros.ros.request_kinds import KINDS
from mimo_embodied_ros.share import carry_large_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rclpy.node import Node
    from typing_extensions import Self

    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.engine.early_end import Cancelled
    from mimo_embodied_ros.evaluation.dataset import Record

_FATAL = (ResultCode.MODEL_NOT_READY, ResultCode.BACKEND_UNREACHABLE, ResultCode.SEND_GOAL_FAILURE)
_ENDINGS = {ResultCode.OUTPUT_TRUNCATED: 'length', ResultCode.TIMEOUT: 'deadline'}
_LONGEST_S = 86_400.0  # where the user gives no limit, in place of the node's default
_WAIT_S = 30.0


class NodeAsker:
    """Sends the questions as goals of the task's action, with their images and stamps."""

    def __init__(
        self, node: Node, name: str, timeout: float = 0.0, *, wait_s: float = _WAIT_S,
        profiles_file: str = '',
    ) -> None:
        """Find the node that is asked, and its model.

        Args:
            node: whose context and namespace are used; whether it is spun does not matter.
            name: of the node that is asked.
            timeout: seconds for an answer; 0 is no limit.
            wait_s: seconds that the node may be missing.
            profiles_file: the node's file of further profiles; empty: none.

        Raises:
            ModelNotReadyError: there is no node of this name with a loaded model.
            InvalidRequestError: the profile of its model is not known here.

        """
        self._timeout = timeout
        self._info = _find_model(node, name, wait_s)
        named = self._info.profile
        self._profile = (find_profile(named, '', profiles_file) if named else None) or MIMO_EMBODIED
        self._client = MimoClient(node, name, wait_s=wait_s)
        self._calls: dict[str, Callable[..., Any]] = {
            'plan_task': self._client.plan, 'find_affordances': self._client.find,
            'answer_spatial': self._client.answer_spatial, 'ask': self._client.ask,
            'plan_driving': self._client.plan_driving}

    def __enter__(self) -> Self:
        """Return it; it is closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def about(self) -> dict[str, str | int]:
        """See `Asker`."""
        info = self._info
        return {'model': info.name, 'dtype': info.dtype, 'min_pixels': info.min_pixels,
                'max_pixels': info.max_pixels, 'by': 'node',
                **({'profile': self.profile.name} if self.profile != MIMO_EMBODIED else {})}

    @property
    def limits(self) -> PixelLimits:
        """See `Asker`."""
        return PixelLimits(self._info.min_pixels, self._info.max_pixels)

    @property
    def profile(self) -> Profile:
        """See `Asker`."""
        return self._profile

    def ask(
        self, record: Record, query: Query, cancelled: Cancelled | None = None
    ) -> Prediction:
        """See `Asker`; one question is asked at a time, and none is cancelled."""
        begin = time.monotonic()
        text, ending, code, message, attempts = '', 'stop', '', '', 1
        try:
            kind = next(kind for kind in KINDS if query.task.answer in kind.answers)
            result = self._calls[kind.action_name](query.text, **self._goal(query)).result()
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
            'images': [encode_image(frame.pixels, Header(stamp=_stamp(frame.stamp_ns)))
                       for frame in query.frames],
            'thinking': Ask.Goal.THINK_ON if query.thinks else Ask.Goal.THINK_OFF,
            'system_prompt': query.system, 'max_new_tokens': query.max_new_tokens,
            **({'options': list(query.options)} if query.options else {})}


@contextlib.contextmanager
def open_node_asker(
    name: str, timeout: float, profiles_file: str = ''
) -> Iterator[NodeAsker]:
    """Start ROS in this process, ask a node of this name, and end ROS."""
    carry_large_images()
    # the interrupt is handled by the run, which keeps what there is
    process.init([], signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node('mimo_embodied_eval')
    try:
        with NodeAsker(node, name, timeout, profiles_file=profiles_file) as asker:
            yield asker
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


def _find_model(node: Node, name: str, wait_s: float) -> Any:
    """Wait for the message that says which model a node has."""
    found: list[Any] = []
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    topic = node.resolve_topic_name(f'{name}/model_info')
    own = rclpy.create_node(f'{node.get_name()}_model', context=node.context)
    executor = Executor(context=node.context)
    executor.add_node(own)
    own.create_subscription(ModelInfo, topic, found.append, latched)
    end = time.monotonic() + wait_s
    try:
        while not found and time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        own.destroy_node()
    if not found:
        msg = (f'no node {name} with a loaded model was found within {wait_s:g} s; start and '
               'configure it, or give its name with its namespace')
        raise ModelNotReadyError(msg)
    return found[-1]


def _stamp(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
