"""The lifecycle node ``mimo_embodied``: a resident model behind actions, services and topics.

configure loads the model, activate subscribes and serves, deactivate ends what runs and keeps the
weights, cleanup frees them. Goals, service calls and standing queries become jobs of one
scheduler; the executor's thread never waits for the model. Goals that cannot be served are
accepted and aborted with their error code, because a rejected goal cannot carry a reason.
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
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.task import Future

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import (
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    ResultCode,
)
from mimo_embodied_ros.core.query import Query, subject
from mimo_embodied_ros.core.tasks import Media
from mimo_embodied_ros.engine import load_engine
from mimo_embodied_ros.engine.answer_cache import AnswerCache, query_key
from mimo_embodied_ros.engine.answering import State, answer_query
from mimo_embodied_ros.engine.grounding import ground_answer
from mimo_embodied_ros.engine.scheduler import Job, Scheduler
from mimo_embodied_ros.geometry.lifting import Lifter
from mimo_embodied_ros.ros import messages, process
from mimo_embodied_ros.ros.request_kinds import ACTION_QOS, KINDS, SERVICE_QOS, Kind
from mimo_embodied_ros.ros.transforms import Transforms

from . import engine_messages, settings
from .diagnostics import PERIOD_S, Outcomes, diagnostics, memory_status, model_status, server_status
from .driving import plan_driving
from .feedback import Feedback
from .intake import Intake, frame_of
from .recorder import Recorder
from .skill_plans import refusal, with_skills
from .standing_queries import StandingQueries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.action.server import ServerGoalHandle
    from rclpy.lifecycle import LifecycleState
    from rclpy.parameter import Parameter

    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.core.tasks import Task
    from mimo_embodied_ros.engine import Engine, Reply

NAME = 'mimo_embodied'
# How long a goal is remembered after its end, for clients that ask for its result late; with its
# images. As rclcpp does; rclpy's own 15 minutes would be gigabytes.
_RESULT_TIMEOUT_S = 10


def _said(transition: Callable[..., Any]) -> Callable[..., Any]:
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
    """Serves plans, affordances, spatial and free answers about what its cameras see."""

    def __init__(self, name: str = NAME, **options: Any) -> None:
        """Declare parameters and open the servers; nothing is loaded yet."""
        super().__init__(name, **options)
        self._engine: Engine | None = None
        self._intake: Intake | None = None
        self._transforms: Transforms | None = None
        self._scheduler: Scheduler | None = None
        self._recorder: Recorder | None = None
        self._shared: AnswerCache[tuple[Answer, Reply]] = AnswerCache()
        self._lost: ModelNotReadyError | None = None  # why the model failed for good
        self._settings = settings.read(self)
        self._outcomes: dict[bytes, tuple[Future, Job]] = {}
        self._ended = Outcomes()
        self._publishers_of = {
            kind.topic: self.create_lifecycle_publisher(kind.message, f'~/{kind.topic}', 10)
            for kind in KINDS
        }
        self._trajectories = self.create_lifecycle_publisher(
            msg.DrivingTrajectory, '~/driving_trajectory', 10)
        self._outcome_publisher = self.create_lifecycle_publisher(msg.Outcome, '~/outcome', 10)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._model_publisher = self.create_publisher(msg.ModelInfo, '~/model_info', latched)
        self._action_servers = [self._serve_action(kind) for kind in KINDS]
        # A call that waits for its answer would otherwise hold up images, goals and cancels.
        calls = ReentrantCallbackGroup()
        for kind in KINDS:
            if kind.service:
                self.create_service(kind.service, f'~/{kind.service_name}', self._on_call(kind),
                                    callback_group=calls, qos_profile=SERVICE_QOS)
        self.create_service(srv.ListCameras, '~/list_cameras', self._on_list_cameras)
        self._standing = StandingQueries(
            self, lambda: self._scheduler is not None, self._submit)
        self.create_service(srv.SetStandingQuery, '~/set_standing_query', self._on_standing_query)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(PERIOD_S, self._publish_diagnostics,
                          clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.add_on_set_parameters_callback(self._on_parameters)

    # -- lifecycle

    @_said
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters, load the model and let it answer once."""
        try:
            self._settings = settings.read(self)
            self._engine = load_engine(
                self._settings.engine,
                lambda share: self.get_logger().info(f'loading the weights: {share:.0%}'))
            self._engine.warm_up()
        except MimoError as error:
            self._free()  # else a model that did not warm up would keep its memory
            self._ended.add_load(error)
            self.get_logger().error(f'not configured, {error.code.name}: {error}')
            return TransitionCallbackReturn.FAILURE
        self._ended = Outcomes()
        self.get_logger().info(str(self._engine.info))
        self._model_publisher.publish(engine_messages.model_message(self._engine.info))
        return super().on_configure(state)

    @_said
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and serve."""
        assert self._engine is not None
        self._intake = Intake(self, self._settings, self._engine.limits)
        self._transforms = Transforms(self, self._settings.extrinsics, self._settings.tf_buffer)
        self._shared = AnswerCache()
        if self._settings.record_to:
            self._recorder = Recorder(
                self._settings.record_to, self._settings.record_max_mb * 10**6,
                self._engine.limits, self.get_logger().warning)
        self._scheduler = Scheduler(self._settings.max_queue, self._settings.engine.max_batch)
        self._scheduler.start()
        return super().on_activate(state)

    @_said
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End what waits and runs; the model stays in memory."""
        self._stop()
        done = super().on_deactivate(state)
        return done if self._lost is None else TransitionCallbackReturn.ERROR

    @_said
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model's memory."""
        self._free()
        return super().on_cleanup(state)

    @_said
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Do both."""
        self._stop()
        self._free()
        return super().on_shutdown(state)

    @_said
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Become unconfigured after whatever failed, so that the node can be configured again."""
        self._stop()
        self._free()
        return super().on_error(state)

    def _on_lost_model(self, error: ModelNotReadyError) -> None:
        """Give up a model that cannot answer any more; several requests may find that out."""
        if self._scheduler is not None:
            self._lost = error
            self.get_logger().error(f'the model is lost: {error}; configure the node again')
            self.trigger_deactivate()
            self._lost = None
            self._ended.add_load(error)

    def destroy_node(self) -> None:
        """Leave no thread behind."""
        self._stop()
        self._free()
        for server in self._action_servers:
            server.destroy()
        super().destroy_node()

    def _stop(self) -> None:
        if self._scheduler is not None:
            self._scheduler.stop()
            self._scheduler = None
        if self._intake is not None:
            self._intake.close()
            self._intake = None
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None
        if self._transforms is not None:
            self._transforms.close()
            self._transforms = None

    def _free(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
            self._ended = Outcomes()

    def _publish_diagnostics(self) -> None:
        info = None if self._engine is None else self._engine.info
        scheduler = self._scheduler
        waiting, running = (None, 0) if scheduler is None else (len(scheduler), scheduler.running)
        found = [model_status(info, waiting, running, self._ended)]
        if self._engine is not None:
            found.append(memory_status(self._engine.memory()))
            now = time.monotonic()
            found += [server_status(health, now) for health in self._engine.health()]
        if self._intake is not None:
            found += self._intake.diagnoses(self._settings.max_image_age)
        self._diagnostics_publisher.publish(diagnostics(self, found))

    def _on_parameters(self, changed: Sequence[Parameter]) -> SetParametersResult:
        values = {p.name: p.value for p in changed}
        why = settings.refusal(
            values, [c.name for c in self._settings.cameras], configured=self._engine is not None)
        if not why:
            live = {p.name for p in settings.NODE if p.live}
            self._settings = replace(
                self._settings, **{name: values[name] for name in live & values.keys()})
        return SetParametersResult(successful=not why, reason=why)

    # -- requests

    def _serve_action(self, kind: Kind) -> ActionServer:
        return ActionServer(
            self, kind.action, f'~/{kind.action_name}', self._execute(kind),
            handle_accepted_callback=lambda handle: self._on_goal(kind, handle),
            cancel_callback=self._on_cancel, result_timeout=_RESULT_TIMEOUT_S, **ACTION_QOS)

    def _submit(
        self, kind: Kind, request: Any, on_end: Callable[[dict[str, Any]], None],
        on_start: Callable[[], None] = lambda: None,
        on_progress: Callable[[State, str, int], None] = lambda *_: None,
        *, standing: bool = False,
    ) -> Job:
        """Queue a request; ``on_end`` gets its result fields, also when it cannot be queued.

        The three may be called in any thread.
        """
        stats, written, asked = msg.GenerationStats(), list[str](), list[Query]()
        timeout = messages.seconds(request.timeout)

        def progress(state: State, delta: str, tokens: int) -> None:
            if not job.stopped():
                written.append(delta)
                on_progress(state, delta, tokens)

        def work(job: Job) -> dict[str, Any]:
            on_start()
            stats.queue_time = messages.duration(job.started - job.arrived)
            return self._answer(kind, request, job, stats, asked, progress)

        def finish(result: dict[str, Any] | None, error: MimoError | None) -> None:
            taken = time.monotonic() - job.arrived
            self._ended.add(error, taken)
            values = result or {}
            if error is not None:
                values = {'error_code': int(error.code), 'error_msg': str(error),
                          'raw_text': error.raw_text or ''.join(written),
                          'reasoning': error.reasoning}
            stats.total_time = messages.duration(taken)
            values['stats'] = stats
            try:
                self._tell(kind, request, asked, values)
            finally:
                on_end(values)

        job = Job(work, finish, kind=kind.action_name, caller=request.caller or kind.action_name,
                  priority=request.priority, preemptible=standing)
        job.deadline = job.arrived + (timeout or self._settings.timeout)
        try:
            if timeout < 0:
                msg_ = f'timeout is {timeout:g} s; give a positive one, or 0 for the default'
                raise InvalidRequestError(msg_)
            if self._scheduler is None:
                msg_ = 'the node is not active; configure and activate it first'
                raise ModelNotReadyError(msg_)
            self._scheduler.submit(job)
        except MimoError as error:
            finish(None, error)
        return job

    def _tell(
        self, kind: Kind, request: Any, asked: Sequence[Query], values: dict[str, Any]
    ) -> None:
        """Publish and record what became of a request."""
        if not self.context.ok():  # the process ends, and nobody hears it any more
            return
        answer, trajectory = values.get(kind.result_field), values.get('trajectory')
        outcome = messages.outcome_message(kind, request, asked, values)
        self._outcome_publisher.publish(outcome)
        if answer is not None:
            self._publishers_of[kind.topic].publish(answer)
        if trajectory is not None and trajectory.points:
            self._trajectories.publish(trajectory)
        recorder = self._recorder
        if recorder is not None and asked:
            recorder.add(asked[0], outcome, answer)

    def _answer(
        self, kind: Kind, request: Any, job: Job, stats: msg.GenerationStats, asked: list[Query],
        on_progress: Callable[[State, str, int], None],
    ) -> dict[str, Any]:
        """Run one request in a thread of the scheduler; returns the fields of its result."""
        assert self._engine is not None
        assert self._intake is not None
        on_progress(State.PREPROCESSING, '', 0)
        task = kind.task_of(request, self._settings.tasks)
        frames = self._frames(task, request, job)
        about = subject(task, frames)
        if about is not None:
            age = self.get_clock().now().nanoseconds - about.stamp_ns
            stats.image_age = messages.duration(age / 1e9)
        engine, replies = self._engine, []

        def ask(query: Query) -> tuple[Answer, Reply]:
            limit = query.max_new_tokens or self._settings.max_new_tokens
            query = replace(query, max_new_tokens=limit, deadline=job.deadline,
                            structured=self._settings.structured or query.structured)
            asked.append(query)

            def compute() -> tuple[Answer, Reply]:
                return answer_query(
                    engine, query, on_progress=on_progress, cancelled=job.stopped)

            try:
                (answer, reply), shared = self._shared.get_or_compute(
                    query_key(query), compute, job.check)
            except MimoError as error:
                if isinstance(error, ModelNotReadyError):
                    self._in_executor(self._on_lost_model, error)
                if error.reply is not None:
                    replies.append(error.reply)
                raise
            if shared:
                on_progress(State.ANSWERING, reply.text, reply.stats.completion_tokens)
                reply = replace(reply, stats=replace(
                    reply.stats, preprocess_s=0.0, first_token_s=0.0, total_s=0.0))
            replies.append(reply)
            return answer, reply

        try:
            if kind.action is action.PlanDriving:
                path = self._intake.path(about.stamp_ns) if about else ()
                return plan_driving(
                    task, request, frames, path, self._settings.driving_valid_for, ask)
            return self._answer_one(kind, task, request, frames, ask, on_progress)
        finally:
            if replies:
                engine_messages.fill_stats(stats, engine.info, replies)

    def _answer_one(
        self, kind: Kind, task: Task, request: Any, frames: tuple[Frame, ...],
        ask: Callable[[Query], tuple[Answer, Reply]],
        on_progress: Callable[[State, str, int], None],
    ) -> dict[str, Any]:
        """Ask the one question that a request of most kinds is."""
        query = with_skills(Query(
            task, getattr(request, kind.request_field), frames,
            thinking=messages.thinking_of(request), max_new_tokens=request.max_new_tokens,
            options=tuple(getattr(request, 'options', ()))), request, self._settings)
        answer, reply = ask(query)
        answer = ground_answer(query, answer, ask)
        # asked now, since odometry from after the image has come while the model wrote
        frame, intake, transforms = subject(task, frames), self._intake, self._transforms
        odometry = intake.odometry_at(frame.stamp_ns) if frame and intake else None
        target, lifter = getattr(request, 'target_frame', ''), None
        if target and frame and transforms:
            on_progress(State.LIFTING, '', reply.stats.completion_tokens)
            lifter = Lifter(frame, target, functools.partial(
                transforms.lookup, stamp_ns=frame.stamp_ns, odometry=odometry))
        message = messages.answer_message(query, answer, odometry, lifter)
        code, text = messages.outside_of_image(answer.outside)
        if code is ResultCode.NONE:
            code, text = refusal(answer.content)
        if lifter is not None and lifter.error is not None:
            code, text = lifter.error.code, f'pixels are given, but no 3D: {lifter.error}'
        return {
            kind.result_field: message,
            'error_code': int(code), 'error_msg': text,
            'reasoning': answer.reasoning, 'raw_text': answer.raw_text,
        }

    def _frames(self, task: Task, request: Any, job: Job) -> tuple[Frame, ...]:
        """Decode the images of a request, or the newest ones or clips of its cameras."""
        assert self._intake is not None
        if request.images and request.cameras:
            text = 'the request has images and names cameras; give one of the two'
            raise InvalidRequestError(text)
        if request.images:
            return tuple(frame_of(image) for image in request.images)
        age = messages.seconds(request.max_image_age)
        if age < 0:
            text = f'max_image_age is {age:g} s; give a positive one, or 0 for the default'
            raise InvalidRequestError(text)
        def stopped() -> bool:
            return job.stopped() or time.monotonic() >= (job.deadline or 0)

        wanted = (age or self._settings.max_image_age, self._settings.wait_for_image, stopped)
        names = request.cameras or ['']
        for name in names:  # all at once
            self._intake.want(name)
        spatial = bool(getattr(request, 'target_frame', ''))  # else depth need not be decoded
        if task.media in (Media.CLIP, Media.CLIPS):
            clips = [self._intake.clip(name, *wanted, spatial=spatial) for name in names]
            length = min(map(len, clips))  # of several views equally long
            return tuple(frame for clip in clips for frame in clip[-length:])
        return tuple(self._intake.frame(name, *wanted, spatial=spatial) for name in names)

    # -- actions

    def _on_goal(self, kind: Kind, handle: ServerGoalHandle) -> None:
        """Queue a goal.

        Its state changes in the executor's thread only, where cancel requests arrive, too: rclpy
        looks at the state and changes it in two steps. It does not tell that a client has died:
        the goal of a dead one ends by its deadline at the latest, and nobody hears of it.
        """
        outcome = Future(executor=self.executor)
        executing = False

        def execute() -> None:
            nonlocal executing
            if not executing:
                executing = True
                handle.execute()

        def start() -> None:
            self._in_executor(execute)

        begin = time.monotonic()

        def publish(state: State, delta: str, tokens: int) -> None:
            handle.publish_feedback(kind.action.Feedback(
                state=int(state), delta=delta, tokens=tokens,
                elapsed=messages.duration(time.monotonic() - begin)))

        feedback = Feedback(publish)

        def end(values: dict[str, Any]) -> None:
            feedback.flush()
            outcome.set_result(kind.action.Result(**values))
            self._in_executor(execute)

        key = bytes(handle.goal_id.uuid)
        feedback.say(State.QUEUED, '', 0)
        # An end before this line is found by _execute, which runs in this thread after it.
        self._outcomes[key] = (
            outcome, self._submit(kind, handle.request, end, start, feedback.say))

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        """Accept exactly those requests that make the goal end with CANCELLED."""
        found, scheduler = self._outcomes.get(bytes(handle.goal_id.uuid)), self._scheduler
        if found is not None and scheduler is not None and scheduler.cancel(found[1]):
            return CancelResponse.ACCEPT
        return CancelResponse.REJECT

    def _execute(self, kind: Kind) -> Callable[[ServerGoalHandle], Any]:
        async def execute(handle: ServerGoalHandle) -> Any:
            key = bytes(handle.goal_id.uuid)
            result = await self._outcomes[key][0]
            del self._outcomes[key]
            if result.error_code == ResultCode.NONE:
                handle.succeed()
            elif result.error_code == ResultCode.CANCELLED and handle.is_cancel_requested:
                handle.canceled()
            else:
                self.get_logger().warning(
                    f'{kind.action_name} failed, {ResultCode(result.error_code).name}: '
                    f'{result.error_msg}')
                handle.abort()
            return result

        return execute

    # -- services

    def _on_call(self, kind: Kind) -> Callable[[Any, Any], Any]:
        async def call(request: Any, response: Any) -> Any:
            outcome = Future(executor=self.executor)

            def end(values: dict[str, Any]) -> None:
                outcome.set_result(values)
                self._in_executor(lambda: None)  # so that it looks at what waits

            self._submit(kind, request, end)
            for name, value in (await outcome).items():
                setattr(response, name, value)
            return response

        return call

    def _in_executor(self, function: Callable[..., None], *arguments: Any) -> None:
        """Let the executor's thread call a function, as long as there is one."""
        if self.executor is not None:
            self.executor.create_task(function, *arguments)

    def _on_standing_query(
        self, request: srv.SetStandingQuery.Request, response: srv.SetStandingQuery.Response
    ) -> srv.SetStandingQuery.Response:
        try:
            self._standing.set(request, self._settings.tasks)
        except MimoError as error:
            response.error_code, response.error_msg = int(error.code), str(error)
        return response

    def _on_list_cameras(
        self, request: srv.ListCameras.Request, response: srv.ListCameras.Response
    ) -> srv.ListCameras.Response:
        if self._intake is not None:
            response.cameras = [self._intake.status(name) for name in self._intake.cameras]
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
