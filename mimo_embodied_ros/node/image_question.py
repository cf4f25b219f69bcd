"""A request that is one question about images, as all are but those about driving."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.core.query import Query, subject
from mimo_embodied_ros.engine.answering import State
from mimo_embodied_ros.engine.grounding import ground_answer
from mimo_embodied_ros.ros import messages

from .observations import observation_message
from .skill_plans import refusal, with_skills

if TYPE_CHECKING:
    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.core.tasks import Task

    from .served_request import ServedRequest


def answer_question(
    request: ServedRequest, task: Task, frames: tuple[Frame, ...]
) -> dict[str, Any]:
    """Ask the model, and make the message of its answer, with positions where they are wanted.

    Returns:
        The fields of the result, except the statistics.

    Raises:
        MimoError: there is no answer.

    """
    message, kind, session = request.message, request.kind, request.session
    settings, odometry = request.host.settings, session.intake.odometry
    frame = subject(task, frames)
    motion = odometry.motion(
        frame.stamp_ns, settings.wait_for_image, request.is_over
    ) if frame and (task.uses('speed') or task.uses('path')) else ()
    query = Query(
        task, getattr(message, kind.request_field), frames,
        thinking=messages.thinking_of(message), max_new_tokens=message.max_new_tokens,
        options=tuple(getattr(message, 'options', ())), odometry=motion,
        remembered=tuple(getattr(message, 'remembered', ())))
    query = with_skills(query, message, settings, session.engine)
    answer, reply = request.ask(query)
    answer = ground_answer(query, answer, request.ask)
    target_frame, lifter = getattr(message, 'target_frame', ''), None
    if target_frame and frame:
        request.progress(State.LIFTING, '', reply.stats.completion_tokens)
        lifter = session.lifter(
            frame, target_frame, time.monotonic() + settings.wait_for_transform, request.is_over,
            request.check)
        lifter.prepare()
    # looked up now, since odometry from after the image has come while the model wrote
    base = odometry.at(frame.stamp_ns) if frame else None
    answer_message = messages.answer_message(query, answer, base, lifter)
    code, text = messages.outside_of_image(answer.outside)
    if code is ResultCode.NONE:
        code, text = refusal(answer.content)
    if lifter is not None and lifter.error is not None:
        code, text = lifter.error.code, f'pixels are given, but no 3D: {lifter.error}'
    observations = request.host.topics.observations
    if lifter is not None and frame and observations.get_subscription_count():
        seen = observation_message(kind, query.text, frame, answer_message, lifter)
        if seen is not None:
            observations.publish(messages.sendable(seen))
    return {
        kind.result_field: answer_message,
        'error_code': int(code), 'error_msg': text,
        'reasoning': answer.reasoning, 'raw_text': answer.raw_text,
    }
