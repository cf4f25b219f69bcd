"""Behaviours that send requests to the node and the robot, and write results to the blackboard.

None of them blocks: each sends its request when it begins, is RUNNING until the request ends, and
cancels it when it is stopped. Give a whole tree its client once: ``tree.setup(client=client)``.

Texts may name keys of the blackboard in braces, as in ``'Is there a {step.object}?'``. The keys are
below ``namespace``, by default ``/mimo``:

=============== ================== ==============================================================
key             written by         holds
=============== ================== ==============================================================
``instruction`` the user           what to do
``plan``        Plan, EachStep     TaskPlan; EachStep keeps the status of its steps
``step``        EachStep           TaskStep under way
``thing``       EachStep           name of where the step acts: its target, or else its object
``affordances`` Find               AffordancePoints
``tracked``     Track              TrackedAffordances
``remembered``  Recall             list of RememberedThing whose places are valid, best first
``answer``      Ask                SpatialAnswer
``camera``      WaitForFrame       CameraStatus
``result``      Execute            result of the robot's action
``error_code``  all but EachStep   int, of ResultCode or of the robot's action; 0: none
``error_msg``   all but EachStep   str, cause and remedy of a failure, also with error_code 0
=============== ================== ==============================================================
"""

from __future__ import annotations

import re
import time
from string import Formatter
from typing import TYPE_CHECKING, Any

from py_trees.common import Access, Status
from py_trees.decorators import Decorator

from mimo_embodied_ros.core.errors import (
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    NoImageError,
    ParseError,
    ResultCode,
    StaleImageError,
)
from mimo_embodied_ros.msg import SpatialAnswer, TaskStep

from .asking import NAMESPACE, Asking, read_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from py_trees.behaviour import Behaviour

    from mimo_embodied_ros.client import Request

_STOP_S = 10.0  # how long a goal that was cancelled may take to end


class _Question(Asking):
    """Sends a request with a text; its goal may have further fields."""

    def __init__(
        self, name: str, text: str, writes: str, namespace: str, goal: dict[str, Any]
    ) -> None:
        fields = (field for _, field, _, _ in Formatter().parse(text) if field)
        reads = {re.split(r'[.\[]', field)[0] for field in fields}
        super().__init__(name, writes, tuple(sorted(reads)), namespace)
        self._text, self._reads, self._goal = text, reads, goal

    def text(self) -> str:
        """Return the text with the blackboard's values."""
        return self._text.format(**{key: read_key(self.blackboard, key) for key in self._reads})


class Plan(_Question):
    """Ask for the steps of a task. FAILURE with error_code 0: the task cannot be done."""

    def __init__(
        self, name: str, instruction: str = '{instruction}', *, namespace: str = NAMESPACE,
        **goal: Any,
    ) -> None:
        """Take the instruction.

        Args:
            name: name of the behaviour.
            instruction: what to do, in plain words.
            namespace: namespace of the keys.
            goal: further fields of PlanTask's goal, as :meth:`.MimoClient.plan` takes them.

        """
        super().__init__(name, instruction, 'plan', namespace, goal)

    def begin(self) -> Request:
        """Send the instruction."""
        return self.client.plan(self.text(), **self._goal)

    def judge(self, result: Any) -> Status:
        """Return SUCCESS when the plan has a step."""
        self.blackboard.plan = result.plan
        if result.plan.steps:
            return Status.SUCCESS
        self._say(ResultCode.NONE, f'cannot be done: {result.plan.instruction}')
        return Status.FAILURE


class _Query(_Question):
    """Asks where to touch or put something; subclasses say what they ask and write."""

    _writes: str

    def __init__(
        self, name: str, query: str = '{thing}', *, namespace: str = NAMESPACE, **goal: Any
    ) -> None:
        """Take the query.

        Args:
            name: name of the behaviour.
            query: what to find, in plain words.
            namespace: namespace of the keys.
            goal: further fields of the action's goal, such as target_frame.

        """
        super().__init__(name, query, self._writes, namespace, goal)


class Find(_Query):
    """Ask where to touch or put something. FAILURE with error_code 0: it is not there."""

    _writes = 'affordances'

    def begin(self) -> Request:
        """Send the query."""
        return self.client.find(self.text(), **self._goal)

    def judge(self, result: Any) -> Status:
        """Return SUCCESS when there is a point or a box."""
        self.blackboard.affordances = result.affordances
        if result.affordances.points or result.affordances.boxes:
            return Status.SUCCESS
        self._say(ResultCode.NONE, f'not there: {result.affordances.query}')
        return Status.FAILURE


class Track(_Query):
    """Keep a thing's points in the newest image up to date, for what acts on them beside it.

    RUNNING, with the newest points on the blackboard, until its ``duration`` is over.
    """

    _writes = 'tracked'

    def begin(self) -> Request:
        """Send the query."""
        return self.client.track(self.text(), **self._goal)

    def update(self) -> Status:
        """Write the newest points."""
        status = super().update()
        feedback = self._request.feedback() if self._request is not None else None
        if status is Status.RUNNING and feedback is not None:
            self.blackboard.tracked = feedback.affordances
        return status

    def judge(self, result: Any) -> Status:
        """Return SUCCESS, since the duration is over."""
        self.blackboard.tracked = result.affordances
        return Status.SUCCESS


class Recall(_Question):
    """Ask where a thing was seen. FAILURE with error_code 0: nowhere, or that place is lost."""

    def __init__(
        self, name: str, what: str = '{thing}', *, namespace: str = NAMESPACE, **request: Any
    ) -> None:
        """Take the name of the thing.

        Args:
            name: name of the behaviour.
            what: what to recall, in plain words; empty: everything.
            namespace: namespace of the keys.
            request: further fields of Recall's request, as :meth:`.MimoClient.recall` takes them.

        """
        super().__init__(name, what, 'remembered', namespace, request)
        self._what = ''

    def begin(self) -> Request:
        """Send the name."""
        self._what = self.text()
        return self.client.recall(self._what, **self._goal)

    def judge(self, result: Any) -> Status:
        """Return SUCCESS when the place of a thing is valid."""
        self.blackboard.remembered = [thing for thing in result.things if thing.place_valid]
        if self.blackboard.remembered:
            return Status.SUCCESS
        self._say(ResultCode.NONE, result.things[0].place_problem if result.things
                  else f'not remembered: {self._what}')
        return Status.FAILURE


class Ask(_Question):
    """A condition: SUCCESS when the answer is yes. FAILURE with error_code 0: it is no."""

    def __init__(
        self, name: str, question: str, *, expected: bool = True, namespace: str = NAMESPACE,
        **goal: Any,
    ) -> None:
        """Take the question.

        Args:
            name: name of the behaviour.
            question: a yes/no question about the camera's image.
            expected: False: SUCCESS when the answer is no.
            namespace: namespace of the keys.
            goal: further fields of AnswerSpatial's goal, such as task.

        """
        super().__init__(name, question, 'answer', namespace, goal)
        self._expected = expected

    def begin(self) -> Request:
        """Send the question."""
        return self.client.answer_spatial(self.text(), **self._goal)

    def judge(self, result: Any) -> Status:
        """Return SUCCESS when the answer is the expected one."""
        self.blackboard.answer = answer = result.answer
        if answer.answer_type != SpatialAnswer.YES_NO:
            msg = f'the answer is neither yes nor no: {answer.answer}; ask a yes/no question'
            raise ParseError(msg)
        if answer.yes == self._expected:
            return Status.SUCCESS
        self._say(ResultCode.NONE, f'{answer.question} {answer.answer}')
        return Status.FAILURE


class Execute(Asking):
    """Send a goal to an action of the robot's own.

    It waits where an earlier goal was cancelled and has not ended, and fails where that one does
    not end: the robot never does both.
    """

    def __init__(
        self, name: str, action: Any, action_name: str, goal: Callable[[Any], Any], *,
        reads: tuple[str, ...] = ('step', 'affordances'), namespace: str = NAMESPACE,
    ) -> None:
        """Take the action.

        Args:
            name: name of the behaviour.
            action: type of the action.
            action_name: name of the action, relative to the namespace of the client's node.
            goal: makes the goal from the behaviour's blackboard client, as in
                ``lambda blackboard: Pick.Goal(pose=pose_of(blackboard.affordances))``.
            reads: keys that ``goal`` reads.
            namespace: namespace of the keys.

        """
        super().__init__(name, 'result', reads, namespace)
        self._action, self._action_name, self._goal = action, action_name, goal
        self._began = 0.0

    def initialise(self) -> None:
        """Note the time, to limit the wait for the end of an earlier goal."""
        super().initialise()
        self._began = time.monotonic()

    def update(self) -> Status:
        """Begin when no goal that was cancelled may still be running."""
        if self._request is None and self.client.given_up(self._action_name):
            if time.monotonic() < self._began + _STOP_S:
                return Status.RUNNING
            self._say(ResultCode.STEP_FAILED, f'{self._action_name} may still be doing what it was '
                      f'asked before, {_STOP_S:g} s after that was cancelled')
            return Status.FAILURE
        return super().update()

    def begin(self) -> Request:
        """Send the goal."""
        try:
            goal = self._goal(self.blackboard)
        except (AttributeError, IndexError, KeyError) as error:
            msg = f'{self.name} cannot make its goal from the blackboard: {error}'
            raise InvalidRequestError(msg) from error
        return self.client.send(self._action, self._action_name, goal)

    def judge(self, result: Any) -> Status:
        """Return SUCCESS, since the action has succeeded."""
        self.blackboard.result = result
        return Status.SUCCESS


class WaitForFrame(Asking):
    """RUNNING until a camera has sent an image since the behaviour began.

    Meanwhile error_code says what is missing. Limit the time with py_trees' Timeout.
    """

    def __init__(
        self, name: str, camera: str = '', *, max_age_s: float = 0.0, namespace: str = NAMESPACE
    ) -> None:
        """Take the camera.

        Args:
            name: name of the behaviour.
            camera: name of the camera in the node; empty: the first one.
            max_age_s: how old an image may be when the behaviour begins, seconds.
            namespace: namespace of the keys.

        """
        super().__init__(name, 'camera', (), namespace)
        self._camera, self._max_age_s, self._since_ns = camera, max_age_s, 0
        self._asked = 0.0

    def initialise(self) -> None:
        """Note the time by the clock of the client's node."""
        super().initialise()
        now = self.client.node.get_clock().now().nanoseconds
        self._since_ns = now - round(self._max_age_s * 1e9)

    def update(self) -> Status:
        """Ask again where no answer comes, since only asking does no harm."""
        if self._request is not None and not self._request.is_done() and (
                time.monotonic() > self._asked + self.client.wait_s):
            self._request.cancel()
            self._request = None
        return super().update()

    def begin(self) -> Request:
        """Ask for the state of the cameras."""
        self._asked = time.monotonic()
        return self.client.cameras()

    def judge(self, result: Any) -> Status:
        """Return SUCCESS when there is a fresh image; else ask again at the next tick."""
        missing = self._missing(result.cameras)
        if missing is None:
            self._say(ResultCode.NONE, '')
            return Status.SUCCESS
        self._say(missing.code, str(missing))
        self._request = None
        return Status.RUNNING

    def _missing(self, cameras: list[Any]) -> MimoError | None:
        if not cameras:
            return ModelNotReadyError('the node has no cameras while it is not active')
        camera = next((c for c in cameras if c.name == (self._camera or cameras[0].name)), None)
        if camera is None:
            names = ', '.join(c.name for c in cameras)
            msg = f'there is no camera {self._camera}; the node has {names}'
            raise InvalidRequestError(msg)
        self.blackboard.camera = camera
        if not camera.image_valid:
            return NoImageError(f'no image has arrived on {camera.image_topic} yet')
        stamp = camera.header.stamp
        if stamp.sec * 10**9 + stamp.nanosec < self._since_ns:
            return StaleImageError(f'the newest image on {camera.image_topic} is too old')
        return None


class EachStep(Decorator):
    """Runs the child once for each step of the plan, until a step fails.

    It keeps the status of each step in the plan.
    """

    def __init__(self, name: str, child: Behaviour, *, namespace: str = NAMESPACE) -> None:
        """Take the child.

        Args:
            name: name of the behaviour.
            child: does the ``step`` on the blackboard.
            namespace: namespace of the keys.

        """
        super().__init__(name, child)
        self.blackboard = self.attach_blackboard_client(namespace=namespace)
        self.blackboard.register_key('plan', Access.READ)
        for key in ('step', 'thing'):
            self.blackboard.register_key(key, Access.WRITE)
        self._steps: list[Any] = []
        self._step: Any = None

    def initialise(self) -> None:
        """Take the first step.

        Raises:
            InvalidRequestError: there is no plan, or it has no steps; Plan fails then.

        """
        self._steps = list(read_key(self.blackboard, 'plan').steps)
        if not self._steps:
            msg = f'{self.name}: the plan has no steps; let Plan succeed first'
            raise InvalidRequestError(msg)
        self._next()

    def update(self) -> Status:
        """Set the status of the step that has ended, and take the next one."""
        ended = {Status.SUCCESS: TaskStep.SUCCEEDED, Status.FAILURE: TaskStep.FAILED}
        if self.decorated.status not in ended:
            return Status.RUNNING
        self._step.status = ended[self.decorated.status]
        if self.decorated.status is Status.FAILURE:
            return Status.FAILURE
        if not self._steps:
            return Status.SUCCESS
        self._next()
        return Status.RUNNING

    def terminate(self, new_status: Status) -> None:
        """Set the status of a step that was stopped."""
        if new_status is Status.INVALID and self._step is not None and (
                self._step.status == TaskStep.EXECUTING):
            self._step.status = TaskStep.CANCELLED

    def _next(self) -> None:
        self.blackboard.step = self._step = self._steps.pop(0)
        self.blackboard.thing = self._step.target or self._step.object
        self._step.status = TaskStep.EXECUTING
        self.feedback_message = self._step.description
