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
``answer``      Ask                SpatialAnswer
``camera``      WaitForFrame       CameraStatus
``result``      Execute            result of the robot's action
``error_code``  all but EachStep   int, of ResultCode or of the robot's action; 0: none
``error_msg``   all but EachStep   str, cause and remedy of a failure, also with error_code 0
=============== ================== ==============================================================
"""

from __future__ import annotations

import re
from abc import abstractmethod
from string import Formatter
from typing import TYPE_CHECKING, Any

from py_trees.behaviour import Behaviour
from py_trees.common import Access, Status
from py_trees.decorators import Decorator

from mimo_embodied_ros.client import MimoClient
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

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.client import Request

NAMESPACE = 'mimo'


class _Asking(Behaviour):
    """Sends one request each time it begins; subclasses make it and judge its result.

    Args:
        name: name of the behaviour.
        writes: key of the result.
        reads: further keys that it reads.
        namespace: namespace of all keys.

    """

    client: MimoClient

    def __init__(
        self, name: str, writes: str, reads: tuple[str, ...] = (), namespace: str = NAMESPACE
    ) -> None:
        super().__init__(name)
        self.blackboard = self.attach_blackboard_client(namespace=namespace)
        for key in (writes, 'error_code', 'error_msg'):
            self.blackboard.register_key(key, Access.WRITE)
        for key in reads:
            self.blackboard.register_key(key, Access.READ)
        self._request: Request | None = None

    def setup(self, **kwargs: Any) -> None:
        """Take the client from the arguments of ``tree.setup``.

        Raises:
            InvalidRequestError: the arguments have no client.

        """
        if not isinstance(kwargs.get('client'), MimoClient):
            msg = f'{self.name} has no client; call setup(client=MimoClient(node)) of the tree'
            raise InvalidRequestError(msg)
        self.client = kwargs['client']

    def initialise(self) -> None:
        """Forget an earlier request and its error."""
        self._request = None
        self._say(ResultCode.NONE, '')

    def update(self) -> Status:
        """Send the request at the first tick, and judge its result once it has ended."""
        try:
            if self._request is None:
                self._request = self.begin()
            if not self._request.is_done():
                return Status.RUNNING
            return self.judge(self._request.result())
        except MimoError as error:
            code = getattr(error.reply, 'error_code', None)  # a robot's own code is kept
            self._say(code if isinstance(code, int) and code else error.code, str(error))
            return Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        """Cancel the request under way."""
        if self._request is not None and not self._request.is_done():
            self._request.cancel()

    @abstractmethod
    def begin(self) -> Request:
        """Send the request."""

    @abstractmethod
    def judge(self, result: Any) -> Status:
        """Write the result to the blackboard, and return the status that it means."""

    def _say(self, code: int, text: str) -> None:
        self.blackboard.error_code, self.blackboard.error_msg = int(code), text
        self.feedback_message = text


class _Question(_Asking):
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
        return self._text.format(**{key: _read(self.blackboard, key) for key in self._reads})


def _read(blackboard: Any, key: str) -> Any:
    try:
        return blackboard.get(key)
    except KeyError:
        msg = f'the blackboard has no {blackboard.absolute_name(key)}; set it first'
        raise InvalidRequestError(msg) from None


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


class Find(_Question):
    """Ask where to touch or put something. FAILURE with error_code 0: it is not there."""

    def __init__(
        self, name: str, query: str = '{thing}', *, namespace: str = NAMESPACE, **goal: Any
    ) -> None:
        """Take the query.

        Args:
            name: name of the behaviour.
            query: what to find, in plain words.
            namespace: namespace of the keys.
            goal: further fields of FindAffordances' goal, such as target_frame.

        """
        super().__init__(name, query, 'affordances', namespace, goal)

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


class Execute(_Asking):
    """Send a goal to an action of the robot's own."""

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


class WaitForFrame(_Asking):
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

    def initialise(self) -> None:
        """Note the time by the clock of the client's node."""
        super().initialise()
        now = self.client.node.get_clock().now().nanoseconds
        self._since_ns = now - round(self._max_age_s * 1e9)

    def begin(self) -> Request:
        """Ask for the state of the cameras."""
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
        self._steps = list(_read(self.blackboard, 'plan').steps)
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
