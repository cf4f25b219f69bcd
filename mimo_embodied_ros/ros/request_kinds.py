"""The kinds of requests that the node serves, and the names of their interfaces and fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.tasks import TASKS, AnswerKind, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

# Requests that may wait for the server, and replies that may wait for each client; all clients get
# all replies. With ROS's default of ten, the eleventh silently displaces the oldest.
SERVICE_QOS = QoSProfile(depth=100)
ACTION_QOS = {
    f'{service}_service_qos_profile': SERVICE_QOS for service in ('goal', 'result', 'cancel')}


@dataclass(frozen=True)
class Kind:
    """A kind of request: its interfaces, and the names of the fields that differ between kinds."""

    action_name: str
    action: Any
    task: Task
    answers: tuple[AnswerKind, ...]  # the kinds of answers that its message can hold
    request_field: str
    result_field: str
    topic: str
    message: Any
    service_name: str = ''
    service: Any = None

    def task_of(self, request: Any, tasks: Mapping[str, Task]) -> Task:
        """The task of a request: the one that it names, or the default of its kind.

        Raises:
            InvalidRequestError: there is no such task or kind, or the message of this kind cannot
                hold the answers of the task.

        """
        if request.task:
            fitting = [name for name, task in tasks.items() if task.answer in self.answers]
            if request.task not in fitting:
                text = (f'{self.action_name} has no task {request.task!r}; it has '
                        f'{", ".join(fitting)}, and tasks_file may add more')
                raise InvalidRequestError(text)
            return tasks[request.task]
        if self.task is not Task.POINTS:
            return self.task
        tasks_of_kinds = (Task.POINTS, Task.BOXES)  # FindAffordances' constants POINTS and BOXES
        if request.kind >= len(tasks_of_kinds):
            text = f'kind is {request.kind}; give 0 (POINTS) or 1 (BOXES)'
            raise InvalidRequestError(text)
        return tasks_of_kinds[request.kind]


KINDS = (
    Kind('plan_task', action.PlanTask, Task.PLAN, (AnswerKind.PLAN,), 'instruction', 'plan',
         'task_plan', msg.TaskPlan, 'get_task_plan', srv.GetTaskPlan),
    Kind('find_affordances', action.FindAffordances, Task.POINTS,
         (AnswerKind.POINTS, AnswerKind.BOXES), 'query', 'affordances',
         'affordances', msg.AffordancePoints, 'get_affordances', srv.GetAffordances),
    Kind('answer_spatial', action.AnswerSpatial, Task.SPATIAL,
         (AnswerKind.SPATIAL, AnswerKind.YES_NO, AnswerKind.CHOICE, AnswerKind.CHOICES,
          AnswerKind.NUMBER, AnswerKind.WORD, AnswerKind.LABELS), 'question', 'answer',
         'spatial_answer', msg.SpatialAnswer, 'get_spatial_answer', srv.GetSpatialAnswer),
    Kind('ask', action.Ask, Task.ASK, (AnswerKind.TEXT,), 'question', 'answer',
         'text_answer', msg.TextAnswer),
    Kind('plan_driving', action.PlanDriving, TASKS['drive'], (AnswerKind.DECISION,),
         'instruction', 'decision', 'driving_decision', msg.DrivingDecision),
)
