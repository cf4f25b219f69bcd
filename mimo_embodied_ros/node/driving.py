"""Driving advice: one request becomes up to three questions about the same frames.

Nothing here publishes a velocity or a path that anything follows; all of it is advice with an end
to its validity.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import DrivingDecision, Trajectory
from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ResultCode
from mimo_embodied_ros.core.query import Query, subject
from mimo_embodied_ros.core.tasks import TASKS, Media
from mimo_embodied_ros.ros import messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.core.frames import Frame, Odometry
    from mimo_embodied_ros.core.tasks import Task
    from mimo_embodied_ros.engine import Reply

NO_ROUTE = 'Follow the road.'
SURROUND = len(TASKS['drive_surround'].views)
# Of this node as a maker of trajectories, as long as it runs.
_GENERATOR = uuid.uuid4().bytes


def plan_driving(
    task: Task, request: Any, frames: tuple[Frame, ...], path: tuple[Odometry, ...],
    valid_for: float, ask: Callable[[Query], tuple[Answer, Reply]],
) -> dict[str, Any]:
    """Ask for a decision and, where wanted, for the places of hazards and for a path.

    Args:
        task: what is asked first, the usual one or one that the request names.
        request: a goal of PlanDriving.
        frames: the front view, or all views in the order of the training.
        path: odometry up to the stamp of the frame that it is about, oldest first.
        valid_for: seconds after the image's stamp for which the advice is good.
        ask: asks the model one question.

    Returns:
        The result's fields but the statistics. A decision is not lost where what was asked
        beside it failed: the error code is then of that.

    Raises:
        MimoError: there is no decision.

    """
    if not path and (task.uses('speed') or task.uses('path') or request.trajectory):
        text = ('driving advice needs odometry of the vehicle and none has arrived; set '
                'odometry_topic and see whether it publishes')
        raise InvalidRequestError(text)
    front = subject(task, frames)
    assert front is not None  # without images in the request the default camera's are taken
    around = len(frames) == SURROUND and task.media is not Media.CLIP
    thinking = messages.thinking_of(request)

    def about(task: Task, text: str, shown: tuple[Frame, ...]) -> Answer:
        return ask(Query(
            task, text, shown, thinking=thinking, max_new_tokens=request.max_new_tokens,
            odometry=path, experimental=task.experimental))[0]

    route = request.instruction.strip() or NO_ROUTE
    if task is TASKS['drive'] and around:
        task = TASKS['drive_surround']
    answer = about(task, route if task.uses('text') else '', frames)
    assert isinstance(answer.content, DrivingDecision)
    decision, trajectory = answer.content, Trajectory(())
    outside, objects = answer.outside, answer.objects
    code, problem = ResultCode.NONE, ''
    try:
        if request.locate_hazards:
            found = about(TASKS['critical_object'], '', (front,))
            assert isinstance(found.content, DrivingDecision)
            decision = replace(decision, hazards=decision.hazards + found.content.hazards)
            outside, objects = outside + found.outside, objects + found.objects
        if request.trajectory:
            drawn = (about(TASKS['trajectory_surround'], '', frames) if around
                     else about(TASKS['trajectory'], route, (front,)))
            assert isinstance(drawn.content, Trajectory)
            trajectory = drawn.content
    except MimoError as error:
        code, problem = error.code, f'the decision stands, but what was asked beside it: {error}'
    if code is ResultCode.NONE:
        code, problem = messages.outside_of_image(outside)
    return {
        'decision': messages.decision_message(
            request.instruction, decision, objects, front, path[-1] if path else None, valid_for),
        'trajectory': messages.trajectory_message(
            trajectory, front, path[-1].child_frame_id if path else '', valid_for, _GENERATOR),
        'error_code': int(code), 'error_msg': problem,
        'reasoning': answer.reasoning, 'raw_text': answer.raw_text,
    }
