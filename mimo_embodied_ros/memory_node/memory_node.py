"""The node ``mimo_memory``: remembers what the answers of ``mimo_embodied`` have shown where.

It hears ``~/observation`` and ``~/tracked_affordances`` of the node that answers, and odometry. All
that it remembers is in one file. It serves ``~/recall``, ``~/forget`` and ``~/list_memory``, and
publishes all things on ``~/things``.
"""

from __future__ import annotations

import functools
import traceback
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data

from mimo_embodied_ros import msg, srv
from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ResultCode, TransformError
from mimo_embodied_ros.geometry.extrinsics import Extrinsics
from mimo_embodied_ros.memory.store import Memory
from mimo_embodied_ros.program import run
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.messages import seconds, sendable
from mimo_embodied_ros.ros.parameters import check_topic, read_table
from mimo_embodied_ros.ros.request_kinds import SERVICE_QOS
from mimo_embodied_ros.ros.transforms import Transforms

from .memory_messages import (
    search_message,
    sighting_of,
    sighting_of_tracked,
    thing_message,
    told_in,
)
from .memory_parameters import PARAMETERS
from .odometry_session import OdometrySession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mimo_embodied_ros.memory.sighting import RememberedThing, Sighting

NAME = 'mimo_memory'
_PERIOD_S = 1.0  # at which tracked points are remembered, and changes are published
_RESULTS = 10  # of Recall, by default
_LATE_NS = 200_000_000  # by which transforms may be behind


def _answering(function: Callable[..., None]) -> Callable[..., Any]:
    """Let a service answer with the code and text of the error that its function raises."""

    @functools.wraps(function)
    def call(node: MimoMemory, request: Any, response: Any) -> Any:
        try:
            node.check_odometry()
            function(node, request, response)
        except MimoError as error:
            response.error_code, response.error_msg = int(error.code), str(error)
        except Exception as error:  # noqa: BLE001 the node answers the next one all the same
            node.get_logger().error(traceback.format_exc())
            response.error_code, response.error_msg = int(ResultCode.UNKNOWN), repr(error)
        return sendable(response)

    return call


class MimoMemory(Node):
    """Remembers places, and answers where things were seen."""

    LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    """Quality of ``~/things``."""
    # a node that could not be made is destroyed, too, by Kilted with its context
    _memory: Memory | None = None

    def __init__(self, name: str = NAME, **options: Any) -> None:
        """Open the memory, subscribe and serve.

        Raises:
            InvalidRequestError: a parameter is wrong, or the file cannot be used.

        """
        super().__init__(name, **options)
        settings = read_table(self, PARAMETERS)
        self._memory = Memory(
            settings['file'], max_things=settings['max_things'], max_age_s=settings['max_age'],
            max_bytes=settings['max_mb'] * 10**6)
        self._fixed = settings['fixed_frames']
        for frame in self._fixed:
            self._memory.begin_session(frame, settings['map_id'] or uuid.uuid4().hex)
        self._views: dict[str, Sighting] = {}  # the newest of each camera
        self._tracked: dict[tuple[str, str], Any] = {}  # the newest of each camera and query
        self._changed = True
        self._transforms = Transforms(self, Extrinsics(), settings['tf_buffer'])
        self._odometry: OdometrySession | None = None
        topic = settings['odometry_topic']
        check_topic(self, topic, 'odometry_topic')
        if topic:
            self._odometry = OdometrySession(
                self, topic, self._memory.latest_session, self._begin_session)
            self.create_subscription(
                Odometry, topic, self._odometry.hear, qos_profile_sensor_data)
        self.create_subscription(
            msg.Observation, f'{settings["node"]}/observation', self._on_observation, 100)
        self.create_subscription(
            msg.TrackedAffordances, f'{settings["node"]}/tracked_affordances',
            self._on_tracked, 10)
        for kind, service, function in (
                (srv.Recall, '~/recall', self._on_recall),
                (srv.Forget, '~/forget', self._on_forget),
                (srv.ListMemory, '~/list_memory', self._on_list)):
            self.create_service(kind, service, function, qos_profile=SERVICE_QOS)
        self._things = self.create_publisher(msg.RememberedThings, '~/things', self.LATCHED)
        self.create_timer(_PERIOD_S, self._on_period,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))

    def destroy_node(self) -> None:
        """Close the memory, too."""
        if self._memory is not None:
            self._transforms.close()
            self._memory.close()
            self._memory = None
        super().destroy_node()

    @property
    def memory(self) -> Memory:
        """What is remembered."""
        assert self._memory is not None
        return self._memory

    def _begin_session(self, frame_id: str, session: str) -> None:
        self.memory.begin_session(frame_id, session)
        self._changed = True  # places may be none any more

    # -- what is seen

    def _on_observation(self, observation: Any) -> None:
        self._remember(sighting_of, observation)

    def _on_tracked(self, tracked: Any) -> None:
        # written once a second; depth may come too late for one of them
        if any(p.point.position_status == p.point.OK for p in tracked.points):
            self._tracked[tracked.camera, tracked.query] = tracked

    def _remember(self, read: Callable[[Any], Sighting], message: Any) -> None:
        """Put a sighting where it belongs; say what cannot be remembered, and why."""
        try:
            self.check_odometry()
            sighting = read(message)
            if not (sighting.things or sighting.complete):
                return  # a point that is followed, and lost
            sighting = self._placed(sighting)
            self.memory.add(sighting)
        except (MimoError, ValueError) as error:  # ValueError: depth without its columns
            self.get_logger().error(
                f'an answer is not remembered: {error}', throttle_duration_sec=10.0)
            return
        self._changed = True
        if sighting.view is not None:
            self._views[sighting.camera] = sighting

    def _placed(self, sighting: Sighting) -> Sighting:
        """Tell a sighting in a frame that does not move, in its present session.

        Raises:
            InvalidRequestError: there is none.

        """
        session = self.memory.sessions.get(sighting.frame_id)
        if not session:
            text = (f'the places of {sighting.question!r} are in {sighting.frame_id!r}, a frame '
                    'that moves or is not known; ask with a target_frame that does not move (there '
                    f'are {", ".join(self.memory.sessions) or "none"}), or name it in fixed_frames')
            raise InvalidRequestError(text)
        return replace(sighting, session=session)

    def check_odometry(self) -> None:
        """Look whether the places in odometry's frame still are places."""
        if self._odometry is not None:
            self._odometry.check_publisher()

    def _on_period(self) -> None:
        tracked, self._tracked = self._tracked, {}
        for message in tracked.values():
            self._remember(sighting_of_tracked, message)
        self.check_odometry()
        if self._changed:
            try:
                self._publish()
            except MimoError as error:
                self.get_logger().error(str(error), throttle_duration_sec=10.0)

    def _publish(self) -> None:
        now = self.get_clock().now()
        message = msg.RememberedThings(things=[
            thing_message(thing, now.nanoseconds) for thing in self.memory.things(pictures=False)])
        message.header.stamp = now.to_msg()
        self._things.publish(sendable(message))
        self._changed = False

    # -- what is asked

    @_answering
    def _on_recall(self, request: Any, response: Any) -> None:
        if request.within < 0 or seconds(request.max_age) < 0:
            text = 'within and max_age may not be negative; 0 is any'
            raise InvalidRequestError(text)
        view, now_ns = None, self.get_clock().now().nanoseconds
        if request.in_view:
            view = self._views.get(request.in_view)
            if view is None:
                text = (f'nothing with a place has been asked about {request.in_view!r} since this '
                        f'node started; there are views of {", ".join(self._views) or "no camera"}')
                raise InvalidRequestError(text)
        point, near = request.near.point, None
        if request.within:
            near = request.near.header.frame_id, (point.x, point.y, point.z), request.within
        things, searches = self.memory.recall(
            request.what, now_ns=now_ns, near=near, max_age_s=seconds(request.max_age), view=view,
            limit=request.max_results or _RESULTS)
        if request.target_frame:
            things = [self._told(thing, request.target_frame) for thing in things]
        response.things = [
            thing_message(thing, now_ns, picture=request.pictures) for thing in things]
        response.searches = [
            search_message(search, now_ns, picture=request.pictures) for search in searches]

    def _told(self, thing: RememberedThing, frame: str) -> RememberedThing:
        """A thing in another frame, as that is now; without a place where that is not known."""
        if thing.place_problem or thing.frame_id == frame:
            return thing
        odometry = self._odometry.newest if self._odometry is not None else None
        now_ns = odometry.stamp_ns if odometry else self.get_clock().now().nanoseconds - _LATE_NS
        try:
            transform = self._transforms.lookup(frame, thing.frame_id, now_ns, lambda: odometry)
        except TransformError as error:
            return replace(thing, place_problem=str(error))
        return told_in(thing, frame, transform)

    @_answering
    def _on_forget(self, request: Any, response: Any) -> None:
        response.forgotten = self.memory.forget(
            [*request.ids], request.what, everything=request.everything)
        self._changed = True

    @_answering
    def _on_list(self, request: Any, response: Any) -> None:
        now_ns = self.get_clock().now().nanoseconds
        response.things = [thing_message(thing, now_ns)
                           for thing in self.memory.things(pictures=request.pictures)]
        response.searches = [search_message(search, now_ns)
                             for search in self.memory.searches(pictures=request.pictures)]
        response.bytes = self.memory.bytes


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; exit code 1 when it cannot start."""
    return process.run(MimoMemory, NAME, args)


if __name__ == '__main__':
    run(main)
