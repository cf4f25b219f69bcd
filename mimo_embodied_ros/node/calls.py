"""The node's blocking services, for callers without actions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future

from mimo_embodied_ros.ros.request_kinds import KINDS, SERVICE_QOS

from .served_request import ServedRequest

if TYPE_CHECKING:
    from mimo_embodied_ros.ros.request_kinds import Kind


class CallRequest(ServedRequest):
    """A call of one of the services.

    Attributes:
        result: the fields of the response, once the request has ended.

    """

    def __init__(self, host: Any, kind: Kind, message: Any) -> None:
        """Take a call that arrived now."""
        super().__init__(host, kind, message)
        self.result = Future(executor=host.executor)

    def on_end(self, fields: dict[str, Any]) -> None:
        """Let the call return."""
        self.result.set_result(fields)
        self.host.in_executor(wake)


def wake() -> None:
    """Do nothing, so that the executor looks at what waits for a future."""


def serve_calls(node: Any) -> None:
    """Open the services of the node that is the host of all requests."""
    # A call that waits for its answer would otherwise hold up images, goals and cancels.
    group = ReentrantCallbackGroup()
    for kind in KINDS:
        if kind.service:
            node.create_service(kind.service, f'~/{kind.service_name}',
                                partial(_answer, node, kind), callback_group=group,
                                qos_profile=SERVICE_QOS)


async def _answer(node: Any, kind: Kind, message: Any, response: Any) -> Any:
    request = CallRequest(node, kind, message)
    request.submit()
    for name, value in (await request.result).items():
        setattr(response, name, value)
    return response
