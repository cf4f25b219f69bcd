"""Behaviours that ask the node and the robot, and leave what they get on the blackboard.

None of them waits: each sends its request when it begins, is RUNNING until the end of it, and
cancels it when it is stopped. Give all of a tree its client once: ``tree.setup(client=client)``.

Texts may name keys of the blackboard in braces, as in ``'Is there a {step.object}?'``. The keys are
below ``namespace``, which is ``/mimo`` unless given:

=============== ================== ==============================================================
key             written by         holds
=============== ================== ==============================================================
``instruction`` the user           what to do
``plan``        Plan, EachStep     TaskPlan; EachStep keeps the status of its steps
``step``        EachStep           TaskStep that is being done
``thing``       EachStep           where the step acts, in words: its target, or else its object
``affordances`` Find               AffordancePoints
``answer``      Ask                SpatialAnswer
``camera``      WaitForFrame       CameraStatus
``result``      Execute            result of the robot's action
``error_code``  all but EachStep   int, of ResultCode or of the robot's action; 0: none
``error_msg``   all but EachStep   str, why it failed and what to do; with error_code 0 as well
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
    """One request each time it is begun; subclasses say which, and what its result means.

    Args:
        name: of the behaviour.
        writes: key of the result.
        reads: further keys that it may read.
        namespace: of all keys.

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
        """Take the client.

        Raises:
            InvalidRequestError: there is none among the arguments.

        """
        if not isinstance(kwargs.get('client'), MimoClient):
            msg = f'{self.name} has no client; call setup(client=MimoClient(node)) of the tree'
            raise InvalidRequestError(msg)
        self.client = kwargs['client']

    def initialise(self) -> None:
        """Begin anew."""
        self._request = None
        self._say(ResultCode.NONE, '')

    def update(self) -> Status:
        """Send the request, wait for its end, judge its result."""
        try:
            if self._request is None:
                self._request = self.begin()
            if not self._request.is_done():
                return Status.RUNNING
            return self.judge(self._request.result())
        except MimoError as error:
            code = getattr(error.reply, 'error_code', None)  # one of the robot's stays as it is
            self._say(code if isinstance(code, int) and code else error.code, str(error))
            return Status.FAILURE

    def terminate(self, new_status: Status) -> None:
        """Cancel what is under way."""
        if self._request is not None and not self._request.is_done():
            self._request.cancel()

    @abstractmethod
    def begin(self) -> Request:
        """Send the request."""

    @abstractmethod
    def judge(self, result: Any) -> Status:
        """Write what the result holds, and say whether that is a success."""

    def _say(self, code: int, text: str) -> None:
        self.blackboard.error_code, self.blackboard.error_msg = int(code), text
        self.feedback_message = text


class _Question(_Asking):
    """A request with a text, whose goal has further fields."""

    def __init__(
        self, name: str, text: str, writes: str, namespace: str, goal: dict[str, Any]
    ) -> None:
        fields = (field for _, field, _, _ in Formatter().parse(text) if field)
        reads = {re.split(r'[.\[]', field)[0] for field in fields}
        super().__init__(name, writes, tuple(sorted(reads)), namespace)
        self._text, self._reads, self._goal = text, reads, goal

    def text(self) -> str:
        """The text with the blackboard's values."""
        return self._text.format(**{key: _read(self.blackboard, key) for key in self._reads})


def _read(blackboard: Any, key: str) -> Any:
    try:
        return blackboard.get(key)
    except KeyError:
        msg = f'nothing is on the blackboard under {blackboard.absolute_name(key)}; set it first'
        raise InvalidRequestError(msg) from None


class Plan(_Question):
    """Ask for the steps of a task. FAILURE also when it cannot be done, with error_code 0."""

    def __init__(
        self, name: str, instruction: str = '{instruction}', *, namespace: str = NAMESPACE,
        **goal: Any,
    ) -> None:
        """Plan what the text says.

        Args:
            name: of the behaviour.
            instruction: what to do.
            namespace: of the keys.
            goal: further fields of PlanTask's goal, as :meth:`.MimoClient.plan` takes them.

        """
        super().__init__(name, instruction, 'plan', namespace, goal)

    def begin(self) -> Request:
        """Send the instruction."""
        return self.client.plan(self.text(), **self._goal)

    def judge(self, result: Any) -> Status:
        """SUCCESS with at least one step."""
        self.blackboard.plan = result.plan
        if result.plan.steps:
            return Status.SUCCESS
        self._say(ResultCode.NONE, f'cannot be done: {result.plan.instruction}')
        return Status.FAILURE


class Find(_Question):
    """Ask where to touch or put. FAILURE also when it is not there, with error_code 0."""

    def __init__(
        self, name: str, query: str = '{thing}', *, namespace: str = NAMESPACE, **goal: Any
    ) -> None:
        """Find what the text describes.

        Args:
            name: of the behaviour.
            query: what to find.
            namespace: of the keys.
            goal: further fields of FindAffordances' goal, such as target_frame.

        """
        super().__init__(name, query, 'affordances', namespace, goal)

    def begin(self) -> Request:
        """Send the query."""
        return self.client.find(self.text(), **self._goal)

    def judge(self, result: Any) -> Status:
        """SUCCESS with at least one point or box."""
        self.blackboard.affordances = result.affordances
        if result.affordances.points or result.affordances.boxes:
            return Status.SUCCESS
        self._say(ResultCode.NONE, f'not there: {result.affordances.query}')
        return Status.FAILURE


class Ask(_Question):
    """A condition: SUCCESS if the answer to a question is yes. With the other, error_code is 0."""

    def __init__(
        self, name: str, question: str, *, expected: bool = True, namespace: str = NAMESPACE,
        **goal: Any,
    ) -> None:
        """Ask a question of yes or no.

        Args:
            name: of the behaviour.
            question: about what the camera sees.
            expected: False: SUCCESS if the answer is no.
            namespace: of the keys.
            goal: further fields of AnswerSpatial's goal, such as task.

        """
        super().__init__(name, question, 'answer', namespace, goal)
        self._expected = expected

    def begin(self) -> Request:
        """Send the question."""
        return self.client.answer_spatial(self.text(), **self._goal)

    def judge(self, result: Any) -> Status:
        """SUCCESS with the answer that is expected."""
        self.blackboard.answer = answer = result.answer
        if answer.answer_type != SpatialAnswer.YES_NO:
            msg = f'the answer is neither yes nor no: {answer.answer}; ask so that it can be'
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
        """Do something.

        Args:
            name: of the behaviour.
            action: type of the action.
            action_name: its name, relative to the namespace of the client's node.
            goal: makes the goal of the behaviour's blackboard client, as in
                ``lambda blackboard: Pick.Goal(pose=pose_of(blackboard.affordances))``.
            reads: the keys that it reads.
            namespace: of the keys.

        """
        super().__init__(name, 'result', reads, namespace)
        self._action, self._action_name, self._goal = action, action_name, goal

    def begin(self) -> Request:
        """Send the goal."""
        try:
            goal = self._goal(self.blackboard)
        except (AttributeError, IndexError, KeyError) as error:
            msg = f'{self.name} cannot make its goal of the blackboard: {error}'
            raise InvalidRequestError(msg) from error
        return self.client.send(self._action, self._action_name, goal)

    def judge(self, result: Any) -> Status:
        """SUCCESS, as the action says."""
        self.blackboard.result = result
        return Status.SUCCESS


class WaitForFrame(_Asking):
    """RUNNING until a camera has sent an image that is not from before.

    error_code tells meanwhile what is missing. Limit the time with py_trees' Timeout.
    """

    def __init__(
        self, name: str, camera: str = '', *, max_age_s: float = 0.0, namespace: str = NAMESPACE
    ) -> None:
        """Wait for a camera.

        Args:
            name: of the behaviour.
            camera: its name in the node; empty: the first.
            max_age_s: how old an image may be when the behaviour begins, seconds.
            namespace: of the keys.

        """
        super().__init__(name, 'camera', (), namespace)
        self._camera, self._max_age_s, self._since_ns = camera, max_age_s, 0

    def initialise(self) -> None:
        """Note the time, by the clock of the client's node."""
        super().initialise()
        now = self.client.node.get_clock().now().nanoseconds
        self._since_ns = now - round(self._max_age_s * 1e9)

    def begin(self) -> Request:
        """Ask what has arrived."""
        return self.client.cameras()

    def judge(self, result: Any) -> Status:
        """SUCCESS with a fresh image, else ask again at the next tick."""
        waits = self._waits_for(result.cameras)
        if waits is None:
            self._say(ResultCode.NONE, '')
            return Status.SUCCESS
        self._say(waits.code, str(waits))
        self._request = None
        return Status.RUNNING

    def _waits_for(self, cameras: list[Any]) -> MimoError | None:
        if not cameras:
            return ModelNotReadyError('the node has no cameras while it is not active')
        camera = next((c for c in cameras if c.name == (self._camera or cameras[0].name)), None)
        if camera is None:
            names = ', '.join(c.name for c in cameras)
            msg = f'there is no camera {self._camera}; there is {names}'
            raise InvalidRequestError(msg)
        self.blackboard.camera = camera
        if not camera.image_valid:
            return NoImageError(f'no image has arrived on {camera.image_topic} yet')
        stamp = camera.header.stamp
        if stamp.sec * 10**9 + stamp.nanosec < self._since_ns:
            return StaleImageError(f'the newest image on {camera.image_topic} is from before')
        return None


class EachStep(Decorator):
    """Run the child once for each step of the plan: SUCCESS after the last, FAILURE with the first.

    The status of each step in the plan follows.
    """

    def __init__(self, name: str, child: Behaviour, *, namespace: str = NAMESPACE) -> None:
        """Go through the plan.

        Args:
            name: of the behaviour.
            child: does the step that is on the blackboard.
            namespace: of the keys.

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
            InvalidRequestError: there is no plan, or no step in it; Plan fails then.

        """
        self._steps = list(_read(self.blackboard, 'plan').steps)
        if not self._steps:
            msg = f'{self.name}: the plan has no steps; let Plan succeed first'
            raise InvalidRequestError(msg)
        self._next()

    def update(self) -> Status:
        """Note how the step ended, and take the next one."""
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
        """Note that the step was stopped."""
        if new_status is Status.INVALID and self._step is not None and (
                self._step.status == TaskStep.EXECUTING):
            self._step.status = TaskStep.CANCELLED

    def _next(self) -> None:
        self.blackboard.step = self._step = self._steps.pop(0)
        self.blackboard.thing = self._step.target or self._step.object
        self._step.status = TaskStep.EXECUTING
        self.feedback_message = self._step.description
