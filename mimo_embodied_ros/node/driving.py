"""Driving advice: one request becomes up to three questions about the same frames.

Nothing here publishes a velocity or a path that anything follows; all of it is advice with an end
to its validity.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import DrivingDecision, Trajectory
from mimo_embodied_ros.core.errors import MimoError, ResultCode
from mimo_embodied_ros.core.query import Query, subject
from mimo_embodied_ros.core.tasks import TASKS, Media
from mimo_embodied_ros.ros import messages

if TYPE_CHECKING:
    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.core.frames import Frame, Odometry
    from mimo_embodied_ros.core.tasks import Task

    from .served_request import ServedRequest

NO_ROUTE = 'Follow the road.'
SURROUND_VIEWS = len(TASKS['drive_surround'].views)
# Identifies this process as the generator of its trajectories.
_GENERATOR_ID = uuid.uuid4().bytes


def plan_driving(request: ServedRequest, task: Task, frames: tuple[Frame, ...]) -> dict[str, Any]:
    """Ask for a decision and, where wanted, for the places of hazards and for a path.

    Args:
        request: a goal of PlanDriving.
        task: the first question, the usual one or one that the request names.
        frames: the front view, or all views in the order of the training.

    Returns:
        The fields of the result, except the statistics. A decision is not lost where a question
        beside it fails: the error code is then that question's.

    Raises:
        MimoError: there is no decision.

    """
    message = request.message
    front = subject(task, frames)
    assert front is not None  # a request without images gets those of the default camera
    path = request.session.intake.odometry.motion(
        front.stamp_ns, request.host.settings.wait_for_image, request.is_over,
        needed=task.uses('speed') or task.uses('path') or message.trajectory)
    surround = len(frames) == SURROUND_VIEWS and task.media not in (Media.CLIP, Media.VIDEO)
    route = message.instruction.strip() or NO_ROUTE
    if task is TASKS['drive'] and surround:
        task = TASKS['drive_surround']
    answer = _ask(request, task, route if task.uses('text') else '', frames, path)
    assert isinstance(answer.content, DrivingDecision)
    decision, trajectory = answer.content, Trajectory(())
    outside, objects = answer.outside, answer.objects
    code, problem = ResultCode.NONE, ''
    try:
        if message.locate_hazards:
            located = _ask(request, TASKS['critical_object'], '', (front,), path)
            assert isinstance(located.content, DrivingDecision)
            decision = replace(decision, hazards=decision.hazards + located.content.hazards)
            outside, objects = outside + located.outside, objects + located.objects
        if message.trajectory:
            drawn = (_ask(request, TASKS['trajectory_surround'], '', frames, path) if surround
                     else _ask(request, TASKS['trajectory'], route, (front,), path))
            assert isinstance(drawn.content, Trajectory)
            trajectory = drawn.content
    except MimoError as error:
        code, problem = error.code, f'the decision stands, but a question beside it failed: {error}'
    if code is ResultCode.NONE:
        code, problem = messages.outside_of_image(outside)
    valid_for = request.host.settings.driving_valid_for
    return {
        'decision': messages.decision_message(
            message.instruction, decision, objects, front, path[-1] if path else None, valid_for),
        'trajectory': messages.trajectory_message(
            trajectory, front, path[-1].child_frame_id if path else '', valid_for, _GENERATOR_ID),
        'error_code': int(code), 'error_msg': problem,
        'reasoning': answer.reasoning, 'raw_text': answer.raw_text,
    }


def _ask(
    request: ServedRequest, task: Task, text: str, frames: tuple[Frame, ...],
    path: tuple[Odometry, ...],
) -> Answer:
    """Ask one of the questions; ``path`` is odometry up to the front frame, oldest first."""
    answer, _ = request.ask(Query(
        task, text, frames, thinking=messages.thinking_of(request.message),
        max_new_tokens=request.message.max_new_tokens, odometry=path,
        experimental=task.experimental))
    return answer
