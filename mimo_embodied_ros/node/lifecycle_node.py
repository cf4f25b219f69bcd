"""The lifecycle node ``mimo_embodied``: a resident model behind actions, services and topics.

configure loads the model, activate subscribes and serves, deactivate ends all requests and keeps
the weights, cleanup frees them. Goals, service calls and standing queries are requests of one queue
(see ``served_request``); the executor's thread never waits for the model.
"""

from __future__ import annotations

import functools
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile

from mimo_embodied_ros import msg, srv
from mimo_embodied_ros.core.errors import MimoError, ModelNotReadyError
from mimo_embodied_ros.engine import load_engine
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.parameters import ros_reason, take_numbers_of_both_kinds

from .answer_topics import AnswerTopics
from .calls import serve_calls
from .diagnostics import (
    PERIOD_S,
    RequestStatistics,
    cache_advice,
    diagnostics,
    memory_status,
    model_status,
    server_status,
)
from .engine_messages import model_message
from .goals import GoalServers
from .session import Session
from .settings import NODE, parameter_refusal, read_settings
from .standing_queries import StandingQueries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.lifecycle import LifecycleState
    from rclpy.parameter import Parameter

    from mimo_embodied_ros.engine import Engine

NAME = 'mimo_embodied'


def _log_exceptions(transition: Callable[..., Any]) -> Callable[..., Any]:
    """Log what a transition raises; rclpy turns it into an error state without a word."""

    @functools.wraps(transition)
    def call(node: MimoEmbodied, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().error(traceback.format_exc())
            raise

    return call


class MimoEmbodied(LifecycleNode):
    """Serves plans, affordances, spatial and free answers about what its cameras see.

    Attributes:
        settings: the values of the parameters.
        engine: the model; None while none is loaded.
        session: what requests are answered with; None while the node is not active.
        statistics: of the requests to the loaded model.
        topics: on which answers are published.

    """

    # a node that could not be made is destroyed, too, by Kilted with its context
    engine: Engine | None = None
    session: Session | None = None
    _goals: GoalServers | None = None
    _cache_needed = 0

    def __init__(self, name: str = NAME, **options: Any) -> None:
        """Declare parameters and open the servers; nothing is loaded yet."""
        super().__init__(name, **options)
        self.settings = read_settings(self)
        self.statistics = RequestStatistics()
        self._lost: ModelNotReadyError | None = None  # why the model failed for good
        self.topics = AnswerTopics(self)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._model_publisher = self.create_publisher(msg.ModelInfo, '~/model_info', latched)
        self._goals = GoalServers(self)
        serve_calls(self)
        self.create_service(srv.ListCameras, '~/list_cameras', self._on_list_cameras)
        self._standing_queries = StandingQueries(self)
        self.create_service(srv.SetStandingQuery, '~/set_standing_query', self._on_standing_query)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(PERIOD_S, self._publish_diagnostics,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        take_numbers_of_both_kinds(self)
        self.add_on_set_parameters_callback(self._on_parameters)

    # -- lifecycle

    @_log_exceptions
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters, load the model and let it answer once."""
        try:
            self.settings = read_settings(self)
            self.engine = load_engine(self.settings.engine, self._on_loading)
            self.engine.warm_up()
        except MimoError as error:
            self._free()  # else a model that did not warm up would keep its memory
            self.statistics.add_load(error)
            self.get_logger().error(f'not configured, {error.code.name}: {error}')
            return TransitionCallbackReturn.FAILURE
        self.statistics = RequestStatistics()
        self.get_logger().info(str(self.engine.info))
        self._model_publisher.publish(model_message(self.engine.info))
        return super().on_configure(state)

    def _on_loading(self, share: float) -> None:
        self.get_logger().info(f'loading the weights: {share:.0%}')

    @_log_exceptions
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and serve."""
        assert self.engine is not None
        try:
            self.session = Session(self, self.settings, self.engine)
        except RuntimeError as error:
            if 'QoS override' not in str(error):
                raise
            self.get_logger().error(
                f'not activated: {ros_reason(error)}; see qos_overrides among the parameters')
            return TransitionCallbackReturn.ERROR
        return super().on_activate(state)

    @_log_exceptions
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End all requests; the model stays in memory."""
        self._stop()
        done = super().on_deactivate(state)
        return done if self._lost is None else TransitionCallbackReturn.ERROR

    @_log_exceptions
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model's memory."""
        self._free()
        return super().on_cleanup(state)

    @_log_exceptions
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End all requests and free the model's memory."""
        self._stop()
        self._free()
        return super().on_shutdown(state)

    @_log_exceptions
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Become unconfigured after whatever failed, so that the node can be configured again."""
        self._stop()
        self._free()
        return super().on_error(state)

    def lose_model(self, error: ModelNotReadyError) -> None:
        """Give up a model that cannot answer any more; several requests may find that out."""
        if self.session is not None:
            self._lost = error
            self.get_logger().error(f'the model is lost: {error}; configure the node again')
            self.trigger_deactivate()
            self._lost = None
            self.statistics.add_load(error)

    def destroy_node(self) -> None:
        """Leave no thread behind."""
        self._stop()
        self._free()
        if self._goals is not None:
            self._goals.destroy()
        super().destroy_node()

    def _stop(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None

    def _free(self) -> None:
        if self.engine is not None:
            self.engine.close()
            self.engine = None
            self.statistics = RequestStatistics()

    def in_executor(self, function: Callable[..., None], *arguments: Any) -> None:
        """Let the executor's thread call a function, as long as there is an executor."""
        if self.executor is not None:
            self.executor.create_task(function, *arguments)

    # -- what the node tells of itself, and what may be changed while it runs

    def _publish_diagnostics(self) -> None:
        engine, session = self.engine, self.session
        waiting, running = None, 0
        if session is not None:
            waiting, running = len(session.scheduler), session.scheduler.running
        statuses = [model_status(
            None if engine is None else engine.info, waiting, running, self.statistics)]
        if engine is not None:
            memory = engine.memory()
            if memory.cache_needed > self._cache_needed:  # once for each size
                self.get_logger().warning(cache_advice(memory))
                self._cache_needed = memory.cache_needed
            statuses.append(memory_status(memory))
            now = time.monotonic()
            statuses += [server_status(health, now) for health in engine.health()]
        if session is not None:
            statuses += session.intake.diagnoses(self.settings.max_image_age)
        self._diagnostics_publisher.publish(diagnostics(self, statuses))

    def _on_parameters(self, changed: Sequence[Parameter]) -> SetParametersResult:
        values = {p.name: p.value for p in changed}
        reason = parameter_refusal(
            values, [c.name for c in self.settings.cameras], configured=self.engine is not None)
        if not reason:
            live = {p.name for p in NODE if p.live}
            self.settings = replace(
                self.settings, **{name: values[name] for name in live & values.keys()})
        return SetParametersResult(successful=not reason, reason=reason)

    def _on_standing_query(
        self, request: srv.SetStandingQuery.Request, response: srv.SetStandingQuery.Response
    ) -> srv.SetStandingQuery.Response:
        try:
            self._standing_queries.set(request, self.settings.tasks)
        except MimoError as error:
            response.error_code, response.error_msg = int(error.code), str(error)
        return response

    def _on_list_cameras(
        self, request: srv.ListCameras.Request, response: srv.ListCameras.Response
    ) -> srv.ListCameras.Response:
        if self.session is not None:
            intake = self.session.intake
            response.cameras = [intake.status(name) for name in intake.cameras]
        return response


def _autostart(node: MimoEmbodied) -> bool:
    return not node.get_parameter('autostart').value or all(
        transition() is TransitionCallbackReturn.SUCCESS
        for transition in (node.trigger_configure, node.trigger_activate))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted; exit code 1 when it cannot start."""
    cv2.setNumThreads(1)  # on a busy robot its threads wait for each other longer than they save
    return process.run(MimoEmbodied, NAME, args, _autostart)


if __name__ == '__main__':
    raise SystemExit(main())
