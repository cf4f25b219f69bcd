"""The lifecycle node ``mimo_embodied``: a resident model behind actions, services and topics.

configure loads the model, activate subscribes and serves, deactivate ends all requests and keeps
the weights, cleanup frees them; docs/lifecycle.md has more. Goals, service calls and standing
queries are requests of one queue (see ``served_request``); the executor's thread never waits for
the model.
"""

from __future__ import annotations

import functools
import os
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile

from mimo_embodied_ros import msg, srv
from mimo_embodied_ros.core.errors import CancelledError, MimoError, ModelNotReadyError
from mimo_embodied_ros.core.heap import keep_freed_blocks
from mimo_embodied_ros.engine import DeviceLostError, Grounding, GroundingError, GroundingState
from mimo_embodied_ros.engine.loader import Loader
from mimo_embodied_ros.program import run
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.bond import Bond
from mimo_embodied_ros.ros.given_parameters import unused_qualities
from mimo_embodied_ros.ros.managed_node import ManagedNode
from mimo_embodied_ros.ros.parameters import ros_reason, take_numbers_of_both_kinds
from mimo_embodied_ros.ros.request_kinds import KINDS

from .answer_topics import AnswerTopics
from .calls import serve_calls
from .diagnostics import (
    PERIOD_S,
    RequestStatistics,
    cache_advice,
    diagnostics,
    memory_status,
    model_status,
    recorder_status,
    server_status,
)
from .engine_messages import model_message, videos_refused
from .goals import GoalServers
from .session import Session
from .settings import NODE, by_name, parameter_refusal, read_settings
from .standing_queries import StandingQueries
from .tracked_goals import TrackingServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rclpy.lifecycle import LifecycleState
    from rclpy.parameter import Parameter

    from mimo_embodied_ros.engine import Engine, ModelInfo

NAME = 'mimo_embodied'
_LOADER_ENDS_S = 1.0  # how long the end of the process waits for a load that was given up


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


class MimoEmbodied(ManagedNode):
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
    _tracking: TrackingServer | None = None
    _bond: Bond | None = None
    _loader: Loader | None = None
    _loaded: float | None = None  # the share of the weights, while they are loaded
    _cache_needed = 0
    _model: ModelInfo | None = None  # what was published of the loaded one
    _grounding = Grounding()  # what was published of the loaded model, or the refused one

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
        self._tracking = TrackingServer(self)
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
            self._loaded, self._model, self._grounding = 0.0, None, Grounding()
            self._loader = Loader(
                self.settings.engine, self._on_loading, self._on_waiting, self.stopping)
            self.engine = self._loader.result()
            self._loader = None  # which would keep the engine
        except CancelledError as error:
            if self.context.ok():  # else the process ends
                self.get_logger().info(f'not configured: {error}')
            return TransitionCallbackReturn.FAILURE
        except MimoError as error:
            self.statistics.add_load(error)
            self.get_logger().error(f'not configured, {error.code.name}: {error}')
            if isinstance(error, GroundingError):
                self._grounding = error.grounding
                if error.model is not None:
                    self._model_publisher.publish(model_message(error.model, error.grounding))
            if isinstance(error, DeviceLostError):
                self._give_up(error)
            return TransitionCallbackReturn.FAILURE
        finally:
            self._loaded = None
        self.statistics = RequestStatistics()
        self.get_logger().info(str(self.engine.info))
        self._publish_model(self.engine)
        return super().on_configure(state)

    def _publish_model(self, engine: Engine) -> None:
        """Say which model is loaded, and what was found out about it, unless that is known."""
        model, grounding = engine.info, engine.grounding
        before, is_tested = self._model, grounding != self._grounding
        is_tried = before is None or model.takes_video is not before.takes_video
        # a server that came back may have another context
        is_new = before is None or is_tried or model.context_length != before.context_length
        if not (is_tested or is_new):
            return
        self._model, self._grounding = model, grounding
        if is_tried and (sentence := videos_refused(model, self.settings)):
            self.get_logger().warning(sentence)
        if is_tested and grounding.state is GroundingState.WRONG:
            self.get_logger().warning(f'the grounding test failed: {grounding.report}')
        elif is_tested and grounding.report:
            self.get_logger().info(f'grounding test: {grounding.report}')
        self._model_publisher.publish(model_message(model, grounding))

    def _on_loading(self, share: float) -> None:
        self._loaded = share
        self.get_logger().info(f'loading the weights: {share:.0%}')

    def _on_waiting(self, reason: str) -> None:
        self.get_logger().warning(
            f'waiting for a server, for {self.settings.engine.startup_timeout:g} s at most: '
            f'{reason}')

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
        for sentence in unused_qualities(self):
            self.get_logger().warning(sentence)
        self.get_logger().info(self._introduction())
        self._bond = Bond(self, self.settings.bond_heartbeat_period)
        return super().on_activate(state)

    def _introduction(self) -> str:
        """What an active node is, in one line."""
        assert self.engine is not None
        name = self.get_fully_qualified_name()
        return (f'active: model {self.engine.info.name}, '
                f'cameras {", ".join(camera.name for camera in self.settings.cameras)}, actions '
                f'{", ".join(f"{name}/{kind.action_name}" for kind in KINDS)}')

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
        for release in (self._stop, self._free):
            try:
                release()
            except Exception:  # noqa: BLE001, PERF203 else the node would be finalized
                self.get_logger().error(traceback.format_exc())
        return super().on_error(state)

    def lose_model(self, error: ModelNotReadyError) -> None:
        """Give up a model that cannot answer any more; several requests may find that out."""
        if self.session is not None and self.session.engine.lost:
            self._lost = error
            self.get_logger().error(f'the model is lost: {error}; configure the node again')
            self.trigger_deactivate()
            self._lost = None
            self.statistics.add_load(error)

    def destroy_node(self) -> None:
        """Leave no thread behind that can be ended."""
        self.end_configuring()
        self._stop()
        self._free()
        for servers in (self._goals, self._tracking):
            if servers is not None:
                servers.destroy()
        super().destroy_node()
        if self._loader is not None:
            self.hanging |= not self._loader.has_ended(_LOADER_ENDS_S)

    def _stop(self) -> None:
        bond, self._bond = self._bond, None
        session, self.session = self.session, None
        try:
            if bond is not None:
                bond.close()
        finally:
            if session is not None:
                session.close()

    def _free(self) -> None:
        engine, self.engine = self.engine, None
        if engine is not None:
            self.statistics = RequestStatistics()
            self._model, self._grounding = None, Grounding()
            try:
                engine.close()
            except DeviceLostError as error:
                self._give_up(error)

    def _give_up(self, error: DeviceLostError) -> None:
        """End the process, after the transition under way: it cannot load a model any more."""
        self.hanging = True  # libraries may not survive their own end
        self.in_executor(process.give_up, str(error))

    @staticmethod
    def parameters_with(values: Mapping[str, Any]) -> set[str]:
        """Return the names of the node's parameters with these values: each camera has its own."""
        cameras = values.get('cameras')
        return {*by_name(cameras if isinstance(cameras, list) else ())}

    # -- what the node tells of itself, and what may be changed while it runs

    def _publish_diagnostics(self) -> None:
        engine, session = self.engine, self.session
        if engine is not None:  # one of its servers may have come back
            self._publish_model(engine)
        waiting, running = None, 0
        if session is not None:
            waiting, running = len(session.scheduler), session.scheduler.running
        statuses = [model_status(
            None if engine is None else engine.info, waiting, running, self.statistics,
            self._loaded, self._grounding)]
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
            if session.recorder is not None:
                statuses.append(recorder_status(session.recorder))
        self._diagnostics_publisher.publish(diagnostics(self, statuses))

    def _on_parameters(self, changed: Sequence[Parameter]) -> SetParametersResult:
        values = {p.name: p.value for p in changed}
        reason = parameter_refusal(
            values, [c.name for c in self.settings.cameras],
            configured=self.engine is not None or self._loaded is not None)
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


async def _autostart(node: MimoEmbodied) -> bool:
    if not node.get_parameter('autostart').value:
        return True
    for transition in Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE:
        # another node may have shut it down meanwhile, which is no failure
        if not await node.change_state(transition) and not node.stopping.is_set():
            return False
    return True


def main(
    args: Sequence[str] | None = None, make: Callable[[], MimoEmbodied] = MimoEmbodied
) -> int:
    """Run the node until it is interrupted; exit code 1 when it cannot start."""
    keep_freed_blocks()
    cv2.setNumThreads(1)  # on a busy robot its threads wait for each other longer than they save
    # read when torch is loaded: its threads would spin between two operations, while others wait
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    return process.run(make, NAME, args, _autostart)


if __name__ == '__main__':
    run(main)
