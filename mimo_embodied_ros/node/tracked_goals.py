"""The action TrackAffordances: the points of an answer in each new image, until the goal ends."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.task import Future

from mimo_embodied_ros.action import FindAffordances, TrackAffordances
from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    MimoError,
    ResultCode,
    error_of,
)
from mimo_embodied_ros.core.tasks import AnswerKind
from mimo_embodied_ros.msg import TrackedAffordances
from mimo_embodied_ros.ros.messages import seconds, sendable
from mimo_embodied_ros.ros.request_kinds import ACTION_QOS, KINDS
from mimo_embodied_ros.tracking.track import State

from .calls import wake
from .goals import RESULT_TIMEOUT_S, conclude
from .served_request import ServedRequest

if TYPE_CHECKING:
    from rclpy.action.server import ServerGoalHandle

    from mimo_embodied_ros.msg import AffordancePoints

    from .carried_answer import CarriedAnswer
    from .followed_cameras import FollowedCamera, Seen
    from .served_request import Host

_ASK_AGAIN_S = 1.0  # where the goal does not say
_KIND = next(kind for kind in KINDS if kind.action is FindAffordances)
# of a question, which a goal has as well
_SHARED = ('query', 'task', 'target_frame', 'max_image_age', 'timeout', 'thinking', 'system_prompt',
           'thinking_tokens', 'max_new_tokens', 'structured', 'caller')


class TrackedQuestion(ServedRequest):
    """One time that the model is asked for a goal."""

    def __init__(self, goal: TrackedGoal, *, again: bool) -> None:
        """Ask; again: behind all other requests."""
        message = goal.message
        super().__init__(goal.host, _KIND, FindAffordances.Goal(
            cameras=[message.camera] if message.camera else [], follow=True,
            priority=0 if again else message.priority,
            **{name: getattr(message, name) for name in _SHARED}), preemptible=again)
        self._goal = goal
        self._carried: CarriedAnswer | None = None

    def on_carried(self, carried: CarriedAnswer) -> None:
        """Leave what follows the points to the goal, unless there are none."""
        self._carried = carried
        if self.stopped():
            carried.close()

    def on_end(self, fields: dict[str, Any]) -> None:
        """Hand the answer to the goal."""
        answer, carried = fields.get(_KIND.result_field), self._carried
        if answer is None and carried is not None:
            carried.close()
        self._goal.on_answer(
            fields, None if answer is None or carried is None else (answer, carried))


class TrackedGoal:
    """A goal of TrackAffordances; a `Watcher` of its camera.

    The executor's thread begins and cancels it, threads of the scheduler bring answers, and that of
    the camera does all else.

    Attributes:
        host: the node.
        message: the goal.
        result: the action's result, once it has ended.

    """

    def __init__(self, host: Host, handle: ServerGoalHandle) -> None:
        """Take a goal that was accepted now."""
        self.host, self.message, self._handle = host, handle.request, handle
        self.result = Future(executor=host.executor)
        self._session = host.session
        self._lock = threading.RLock()
        self._camera: FollowedCamera | None = None
        self._question: TrackedQuestion | None = None  # which the model is asked now
        self._carried: CarriedAnswer | None = None  # the answer that is followed
        self._answers = self._images = 0
        self._newest = TrackedAffordances(query=self.message.query)
        self._seen: Seen | None = None  # the image that was told last
        self._states: list[State] = []  # in it
        self._due = 0.0  # when the next image is told, as all times here ``time.monotonic()``
        self._end = math.inf
        self._lost_since: float | None = None

    def begin(self) -> None:
        """Watch the camera and ask the model; where that is not possible the goal ends at once."""
        question = TrackedQuestion(self, again=False)
        try:
            if self._session is not None:  # else the question says so
                self._check(question)
                self._camera = self._session.followed(self.message.camera)
                self._camera.watch(self)
        except MimoError as error:
            self._finish(error)
        else:
            self._ask(question)

    def _check(self, question: TrackedQuestion) -> None:
        """Refuse fields that are out of their range.

        Raises:
            InvalidRequestError: one is.

        """
        message, duration = self.message, seconds(self.message.duration)
        if not (math.isfinite(message.rate) and message.rate >= 0):
            text = f'rate is {message.rate:g} Hz; give one above 0, or 0 for each image'
            raise InvalidRequestError(text)
        if duration < 0:
            text = f'duration is {duration:g} s; give a positive one, or 0 for no end'
            raise InvalidRequestError(text)
        task = _KIND.task_of(question.message, self.host.settings.tasks)
        if task.answer is not AnswerKind.POINTS:
            text = f'the task {task.name} gives no points; name one that does, or none'
            raise InvalidRequestError(text)

    def cancel(self) -> bool:
        """End it with CANCELLED; returns whether this call ended it."""
        return self._finish(CancelledError('the caller cancelled the request'))

    # -- the model

    def _ask(self, question: TrackedQuestion) -> None:
        with self._lock:
            self._question = question
        question.submit()

    def on_answer(
        self, fields: dict[str, Any], answered: tuple[AffordancePoints, CarriedAnswer] | None
    ) -> None:
        """Follow the points of a new answer; without one, go on with those of the last one."""
        code = ResultCode(fields['error_code'])
        with self._lock:
            self._question, self._lost_since = None, None
            first = self._carried is None
            if self.result.done():
                if answered is not None:
                    answered[1].close()
                return
            if answered is not None:
                self._take(*answered)
        if answered is None and first:
            self._finish(error_of(code, fields['error_msg']))
        elif answered is None and code is not ResultCode.PREEMPTED:
            self.host.get_logger().warning(
                f'track_affordances asks again later, {code.name}: {fields["error_msg"]}',
                throttle_duration_sec=10.0)

    def _take(self, answer: AffordancePoints, carried: CarriedAnswer) -> None:
        """Follow the points of an answer, unless it denies what is in view."""
        before = self._carried
        self._answers += 1
        if before is None:
            if duration := seconds(self.message.duration):
                self._end = time.monotonic() + duration
        elif not answer.points and State.TRACKED in self._states:
            carried.close()
            return
        else:
            before.close()
        self._carried, self._seen, self._states = carried, None, []  # which are told at once

    # -- in the thread of the camera

    def on_image(self, seen: Seen) -> None:
        """Have nothing to do before the points are followed into it."""

    def on_tick(self) -> None:
        """Tell of a new image, ask again, or end."""
        now, carried = time.monotonic(), self._carried
        if carried is None:
            return
        if now >= self._end:
            self._finish(None)
            return
        if carried.newest is not None and carried.newest is not self._seen:
            self._seen = carried.newest
            self._images += 1
            states = [point.state for point in carried.followed()]
            if now >= self._due or states != self._states:
                self._due = now + (1 / self.message.rate if self.message.rate else 0)
                self._tell(carried)
            self._states = states
        self._ask_where_lost(now, carried)

    def _tell(self, carried: CarriedAnswer) -> None:
        assert self._session is not None
        message = sendable(carried.message(
            self._session, self.message.query, self.message.target_frame))
        with self._lock:
            if self.result.done() or carried is not self._carried:
                return
            self._newest = message
            self.host.topics.tracked.publish(message)
            self._handle.publish_feedback(TrackAffordances.Feedback(affordances=message))

    def _ask_where_lost(self, now: float, carried: CarriedAnswer) -> None:
        """Ask the model again where a point is not seen for long enough, or there is none."""
        patience = seconds(self.message.ask_again_after) or _ASK_AGAIN_S
        if {*self._states} == {State.TRACKED}:
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since = now
        elif self._question is None and 0 < patience <= now - self._lost_since:
            carried.ask_again()
            self._ask(TrackedQuestion(self, again=True))

    def on_close(self, error: MimoError) -> None:
        """End, since there will be no more images."""
        self._finish(error)

    # -- its end

    def _finish(self, error: MimoError | None) -> bool:
        """End it, unless it has ended; returns whether this call ended it."""
        with self._lock:
            if self.result.done():
                return False
            self.result.set_result(sendable(TrackAffordances.Result(
                affordances=self._newest, images=self._images, answers=self._answers,
                error_code=int(error.code) if error else int(ResultCode.NONE),
                error_msg=str(error) if error else '')))
            question, carried = self._question, self._carried
        if question is not None:
            question.cancel()
        if carried is not None:
            carried.close()
        if self._camera is not None:
            self._camera.leave(self)
        self.host.in_executor(wake)
        return True


class TrackingServer:
    """The action server; goals that cannot be served are aborted with their error code."""

    def __init__(self, node: Any) -> None:
        """Open the server of the node that is the host of all requests."""
        self._node = node
        self._goals: dict[bytes, TrackedGoal] = {}
        self._server = ActionServer(
            node, TrackAffordances, '~/track_affordances', self._execute,
            handle_accepted_callback=self._on_accepted, cancel_callback=self._on_cancel,
            result_timeout=RESULT_TIMEOUT_S, **ACTION_QOS)

    def destroy(self) -> None:
        """Close the server."""
        self._server.destroy()

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        goal = self._goals[bytes(handle.goal_id.uuid)] = TrackedGoal(self._node, handle)
        handle.execute()
        goal.begin()

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        goal = self._goals.get(bytes(handle.goal_id.uuid))
        cancelled = goal is not None and goal.cancel()
        return CancelResponse.ACCEPT if cancelled else CancelResponse.REJECT

    async def _execute(self, handle: ServerGoalHandle) -> TrackAffordances.Result:
        result = await self._goals[bytes(handle.goal_id.uuid)].result
        del self._goals[bytes(handle.goal_id.uuid)]
        conclude(self._node, handle, 'track_affordances', result)
        return result
