"""The topics on which the node publishes answers, and what became of each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros import msg
from mimo_embodied_ros.ros.messages import outcome_message, sendable
from mimo_embodied_ros.ros.request_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rclpy.lifecycle import LifecycleNode

    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.ros.request_kinds import Kind


class AnswerTopics:
    """Publishes while the node is active; from any thread.

    Attributes:
        tracked: publishes the points that are followed.
        observations: publishes what answers have shown at which places.

    """

    def __init__(self, node: LifecycleNode) -> None:
        """Make a publisher for each kind of answer, for paths and for outcomes."""
        self._answers = {
            kind.topic: node.create_lifecycle_publisher(kind.message, f'~/{kind.topic}', 10)
            for kind in KINDS
        }
        self._trajectories = node.create_lifecycle_publisher(
            msg.DrivingTrajectory, '~/driving_trajectory', 10)
        self.tracked = node.create_lifecycle_publisher(
            msg.TrackedAffordances, '~/tracked_affordances', 10)
        self.observations = node.create_lifecycle_publisher(
            msg.Observation, '~/observation', 10)
        self._outcomes = node.create_lifecycle_publisher(msg.Outcome, '~/outcome', 10)

    def publish(
        self, kind: Kind, request: Any, queries: Sequence[Query], fields: dict[str, Any]
    ) -> Any:
        """Publish the outcome of a request, and its answer where there is one.

        Args:
            kind: of the request.
            request: a goal, or the request of a service.
            queries: what the model was asked for it, as far as it came to that.
            fields: of the result.

        Returns:
            The outcome, ``msg/Outcome``.

        """
        answer, trajectory = fields.get(kind.result_field), fields.get('trajectory')
        outcome = sendable(outcome_message(kind, request, queries, fields))
        self._outcomes.publish(outcome)
        if answer is not None:
            self._answers[kind.topic].publish(answer)
        if trajectory is not None and trajectory.points:
            self._trajectories.publish(trajectory)
        return outcome
