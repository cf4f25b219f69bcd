"""A node ``mimo_memory`` that remembers what the test tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import Point
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Header

from mimo_embodied_ros import msg, srv
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.ros.messages import duration

if TYPE_CHECKING:
    from support.ros import Ros


def thing(name: str, age: float = 0.0, **fields: Any) -> msg.RememberedThing:
    """A thing at a place in the map that was seen so many seconds ago."""
    return msg.RememberedThing(**{
        'name': name, 'header': Header(frame_id='map'), 'age': duration(age), 'place_valid': True,
        'position': Point(x=1.0, y=2.0, z=0.5), **fields})


class MemoryServer:
    """The node; it serves as `srv/` says, as far as words go.

    Attributes:
        things: that it remembers, best first.
        asked: all requests.

    """

    def __init__(self, ros: Ros, *things: msg.RememberedThing, name: str = 'mimo_memory') -> None:
        """Serve."""
        self.things, self.asked = list(things), list[Any]()
        self._node = ros.node(name)
        self._node.create_service(srv.Recall, '~/recall', self._recall)
        self._node.create_service(srv.ListMemory, '~/list_memory', self._list)
        self._node.create_service(srv.Forget, '~/forget', self._forget)
        self._out = self._node.create_publisher(
            msg.RememberedThings, '~/things',
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))

    def publish(self) -> None:
        """Tell the topic what is remembered now."""
        now = self._node.get_clock().now().to_msg()
        self._out.publish(msg.RememberedThings(header=Header(stamp=now), things=self.things))

    def listeners(self) -> int:
        """Number of subscriptions of the topic."""
        return int(self._out.get_subscription_count())

    def _recall(self, request: Any, response: Any) -> Any:
        self.asked.append(request)
        if request.within < 0:
            response.error_code = int(ResultCode.INVALID_REQUEST)
            response.error_msg = 'within is negative; give metres, or 0'
        else:
            response.things = [thing for thing in self.things if request.what in thing.name]
        return response

    def _list(self, request: Any, response: Any) -> Any:
        self.asked.append(request)
        response.things = self.things
        return response

    def _forget(self, request: Any, response: Any) -> Any:
        self.asked.append(request)
        kept = [thing for thing in self.things if not (
            request.everything or thing.id in request.ids or request.what == thing.name)]
        response.forgotten = len(self.things) - len(kept)
        self.things = kept
        return response
