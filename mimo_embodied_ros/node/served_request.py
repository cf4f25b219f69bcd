"""A request on its way through the node: a goal, a service call, or a standing query's question.

All go the same way, and the methods stand in its order::

    submit   accepted: checked and put in the queue               in the executor's thread
    run      running: images, questions, result                   in a thread of the scheduler
    cancel   ended by the one who asked, wherever it is           in the executor's thread
    finish   ended: counted, published, recorded and handed over  in the thread that ended it

A request ends exactly once. One that cannot be queued ends in ``submit``.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ModelNotReadyError
from mimo_embodied_ros.core.query import subject
from mimo_embodied_ros.engine.answer_cache import query_key
from mimo_embodied_ros.engine.answering import State, answer_query
from mimo_embodied_ros.engine.job import Job
from mimo_embodied_ros.ros import messages

from .carried_answer import CarriedAnswer
from .driving import plan_driving
from .engine_messages import fill_stats
from .image_question import answer_question

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.context import Context

    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.core.tasks import Task
    from mimo_embodied_ros.engine import Engine, Reply
    from mimo_embodied_ros.engine.answer_cache import Computation
    from mimo_embodied_ros.ros.request_kinds import Kind

    from .answer_topics import AnswerTopics
    from .diagnostics import RequestStatistics
    from .session import Session
    from .settings import Settings


class Host(Protocol):
    """What a request needs of the node that it was sent to.

    Attributes:
        context: of rclpy.
        settings: the values of the parameters.
        session: cameras, queue and model; None while the node is not active.
        statistics: count the ends of requests.
        topics: on which answers are published.

    """

    context: Context
    settings: Settings
    session: Session | None
    statistics: RequestStatistics
    topics: AnswerTopics

    def get_clock(self) -> Any:
        """The node's clock."""

    def get_logger(self) -> Any:
        """The node's logger."""

    def in_executor(self, function: Callable[..., None], *arguments: Any) -> None:
        """Let the executor's thread call a function, as long as there is an executor."""

    def lose_model(self, error: ModelNotReadyError) -> None:
        """Give up a model that cannot answer any more; in the executor's thread."""


class ServedRequest(Job):
    """A request of one kind; subclasses tell the one who asked of its progress.

    Attributes:
        host: the node.
        kind: its interfaces and the names of their fields.
        message: the goal, or the request of the service.
        task: what is asked; known once it is in the queue.
        queries: what the model was asked for it so far.
        replies: what the model wrote so far, also for queries that failed.
        stats: costs and durations, for the result.

    """

    task: Task

    def __init__(
        self, host: Host, kind: Kind, message: Any, *, preemptible: bool = False
    ) -> None:
        """Accept a request that has arrived now."""
        super().__init__(kind.action_name, message.caller or kind.action_name, message.priority,
                         preemptible=preemptible)
        self.host, self.kind, self.message = host, kind, message
        self.queries: list[Query] = []
        self.replies: list[Reply] = []
        self.stats = msg.GenerationStats()
        self._text: list[str] = []  # what the model has written, in pieces
        self._session = host.session

    # -- accepted

    def submit(self) -> None:
        """Put it in the queue; where that is not possible it ends at once, with the reason."""
        timeout = messages.seconds(self.message.timeout)
        self.deadline = self.arrived + (timeout or self.host.settings.timeout)
        try:
            if timeout < 0:
                text = f'timeout is {timeout:g} s; give a positive one, or 0 for the default'
                raise InvalidRequestError(text)
            if self._session is None:
                text = 'the node is not active; configure and activate it first'
                raise ModelNotReadyError(text)
            self.task = self.kind.task_of(self.message, self.host.settings.tasks)
            check_video(self.task, self._session.engine)
            self._session.scheduler.submit(self)
        except MimoError as error:
            self.finish(None, error)

    # -- running

    def run(self) -> dict[str, Any]:
        """Answer it; returns the fields of the result."""
        session = self.session
        self.on_start()
        self.stats.queue_time = messages.duration(self.started - self.arrived)
        self.on_progress(State.PREPROCESSING, '', 0)
        carried = self._begin_to_follow() if getattr(self.message, 'follow', False) else None
        try:
            return self._answer(carried)
        finally:
            if self.replies:
                fill_stats(self.stats, session.engine.info, self.replies)
            if carried is not None:
                self.on_carried(carried)

    def _begin_to_follow(self) -> CarriedAnswer:
        """Watch the camera of the request, before an image is taken from it."""
        if self.message.images or self.message.compressed_images:
            text = 'follow needs a camera, and the request has images; name cameras instead'
            raise InvalidRequestError(text)
        return CarriedAnswer(self.session.followed(*self.message.cameras[:1] or ['']))

    def _answer(self, carried: CarriedAnswer | None) -> dict[str, Any]:
        """Take the images and answer; ``carried`` follows the points meanwhile."""
        session, task = self.session, self.task
        frames = session.intake.frames(task, self.message, self.host.settings, self.is_over)
        frame, now_ns = subject(task, frames), self.host.get_clock().now().nanoseconds
        if frame is not None and now_ns:  # before the first /clock nobody knows it
            self.stats.image_age = messages.duration((now_ns - frame.stamp_ns) / 1e9)
        if carried is not None and frame is not None:
            carried.begin(frame)
        with session.engine.keep_images():
            if self.kind.action is action.PlanDriving:
                return plan_driving(self, task, frames)
            result = answer_question(self, task, frames)
        if carried is not None:
            carried.carry(messages.points_of(result[self.kind.result_field]))
            result['newest'] = carried.message(
                self.session, getattr(self.message, self.kind.request_field),
                self.message.target_frame)
        return result

    def ask(self, query: Query) -> tuple[Answer, Reply]:
        """Ask the model one question; equal questions about the same images are answered once.

        Raises:
            MimoError: there is no answer.

        """
        session, settings = self.session, self.host.settings
        system = self.message.system_prompt.strip() or query.task.system.strip()
        query = replace(
            query, system=system or settings.system_prompt,
            thinking_tokens=self.message.thinking_tokens or settings.thinking_tokens,
            max_new_tokens=query.max_new_tokens or settings.max_new_tokens,
            deadline=self.deadline, retry=settings.retry_structured,
            structured=settings.structured or self.message.structured or query.structured)
        self.queries.append(query)
        try:
            (answer, reply), shared = session.answers.get_or_compute(
                self, query_key(query), partial(_ask_model, session.engine, query), self.progress)
        except MimoError as error:
            if session.engine.lost and isinstance(error, ModelNotReadyError):
                self.host.in_executor(self.host.lose_model, error)
            if error.reply is not None:
                self.replies.append(error.reply)
                self._note_attempts(error.reply, str(error))
            raise
        if shared:  # another request had the costs
            reply = replace(reply, stats=replace(
                reply.stats, preprocess_s=0.0, first_token_s=0.0, total_s=0.0))
        else:
            self._note_attempts(reply)
        self.replies.append(reply)
        return answer, reply

    def progress(self, state: State, text: str, tokens: int) -> None:
        """Take new text of the model and the number of its tokens so far."""
        if self._stop is None:
            if state is State.PREPROCESSING:  # of a second attempt
                self._text.clear()
            self._text.append(text)
            self.on_progress(state, text, tokens)

    def _note_attempts(self, reply: Reply, failure: str = '') -> None:
        """Count a question that was asked twice, and log the text that the result does not have."""
        if reply.attempts > 1:
            self.host.statistics.add_second_try(read=not failure)
            self.host.get_logger().warning(
                f'{self.kind.action_name} was asked twice, since {reply.unread[0]!r} could not be '
                f'read; then: {failure or repr(reply.text)}')

    @property
    def session(self) -> Session:
        """The node's session when the request came; only what the session runs asks for it."""
        assert self._session is not None
        return self._session

    # -- ended

    def cancel(self) -> bool:
        """End it with CANCELLED; returns whether this call ended it."""
        return self._session is not None and self._session.scheduler.cancel(self)

    def finish(self, result: dict[str, Any] | None, error: MimoError | None) -> None:
        """Count, publish and record its end, and hand the fields of the result over."""
        taken = time.monotonic() - self.arrived
        self.host.statistics.add(error, taken, asked=bool(self.queries))
        fields = result or {}
        if error is not None:
            fields = {'error_code': int(error.code), 'error_msg': str(error),
                      'raw_text': error.raw_text or ''.join(self._text),
                      'reasoning': error.reasoning}
        self.stats.total_time = messages.duration(taken)
        fields = messages.sendable(fields)
        fields['stats'] = self.stats
        try:
            if self.host.context.ok():  # else the process ends, and nobody listens any more
                outcome = self.host.topics.publish(self.kind, self.message, self.queries, fields)
                recorder = self._session.recorder if self._session is not None else None
                if recorder is not None and self.queries:
                    recorder.add(self.queries[0], outcome, fields.get(self.kind.result_field))
        finally:
            self.on_end(fields)

    # -- what the one who asked hears; called in any thread

    def on_start(self) -> None:
        """A thread of the scheduler begins with it."""

    def on_progress(self, state: State, text: str, tokens: int) -> None:
        """It has come to a state, or the model has written more text."""

    def on_carried(self, carried: CarriedAnswer) -> None:
        """Its points were followed, as far as there are some; before the end, if it has one."""
        carried.close()

    def on_end(self, fields: dict[str, Any]) -> None:
        """It has ended; ``fields`` are those of the result."""


def check_video(task: Task, engine: Engine) -> None:
    """Raise InvalidRequestError where a task is asked with a video and the model takes none."""
    if task.media.is_video and not engine.info.takes_video:
        why = f' ({engine.info.video_problem})' if engine.info.video_problem else ''
        text = (f'{task.name} is asked with a video, and the model takes none{why}; ask a task '
                'about images, or serve a model that takes videos as docs/remote.md says')
        raise InvalidRequestError(text)


def _ask_model(
    engine: Engine, query: Query, computation: Computation[tuple[Answer, Reply]]
) -> tuple[Answer, Reply]:
    """Ask the model for all requests that want this answer."""
    return answer_query(engine, query, on_progress=computation.progress,
                        cancelled=computation.cancelled, deadline=computation.deadline)
