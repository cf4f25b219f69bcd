"""From typed answers to messages, stamped with the frame's own stamp."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point as PointMsg
from std_msgs.msg import Header
from unique_identifier_msgs.msg import UUID

from mimo_embodied_ros import msg as interfaces
from mimo_embodied_ros.core.answers import (
    Affordances,
    AnswerType,
    SpatialAnswer,
    TaskPlan,
    TextAnswer,
)
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.geometry.lifting import PositionStatus, lift

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mimo_embodied_ros.core.answers import (
        Answer,
        Box,
        DrivingDecision,
        ObjectReference,
        Point,
        SkillArgument,
        Trajectory,
    )
    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.engine import ModelInfo, Reply

_ANSWER_TYPES = {
    AnswerType.TEXT: interfaces.SpatialAnswer.TEXT,
    AnswerType.YES_NO: interfaces.SpatialAnswer.YES_NO,
    AnswerType.CHOICE: interfaces.SpatialAnswer.CHOICE,
    AnswerType.NUMBER: interfaces.SpatialAnswer.NUMBER,
    AnswerType.POINTS: interfaces.SpatialAnswer.POINTS,
    AnswerType.BOX: interfaces.SpatialAnswer.BOX,
}
# The constants THINK_DEFAULT, THINK_ON and THINK_OFF, which all requests share.
_THINKING = (None, True, False)


def thinking_of(request: Any) -> bool | None:
    """Whether a request wants the model to reason aloud; None leaves it to the task.

    Raises:
        InvalidRequestError: the value is none of the three.

    """
    if request.thinking >= len(_THINKING):
        text = (f'thinking is {request.thinking}; give 0 (THINK_DEFAULT, as the task says), '
                '1 (THINK_ON) or 2 (THINK_OFF)')
        raise InvalidRequestError(text)
    return _THINKING[request.thinking]


def duration(seconds: float) -> Duration:
    """Seconds as a message; negative ones, of clocks that disagree, are kept."""
    nanoseconds = round(seconds * 1e9)
    return Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def seconds(message: Duration) -> float:
    """The other way."""
    return float(message.sec + message.nanosec / 1e9)


def _header(frame: Frame) -> Header:
    stamp = Time(sec=frame.stamp_ns // 10**9, nanosec=frame.stamp_ns % 10**9)
    return Header(stamp=stamp, frame_id=frame.frame_id)


def _points(points: Iterable[Point], frame: Frame | None, target_frame: str) -> list[Any]:
    out = []
    for point in points:
        message = interfaces.AffordancePoint(
            label=point.label, x=point.x, y=point.y, in_image=point.in_image)
        if target_frame and frame is not None:
            position = lift(frame, point.x, point.y)
            message.position_status = int(position.status)
            if position.status is PositionStatus.OK and target_frame != frame.frame_id:
                message.position_status = int(PositionStatus.TF_ERROR)
            elif position.status is PositionStatus.OK:
                message.position = PointMsg(**dict(zip('xyz', position.xyz)))
                message.depth_stddev = position.depth_stddev
        out.append(message)
    return out


def _boxes(boxes: Iterable[Box]) -> list[Any]:
    return [
        interfaces.AffordanceBox(
            label=b.label, x_min=b.x_min, y_min=b.y_min, x_max=b.x_max, y_max=b.y_max,
            in_image=b.in_image)
        for b in boxes
    ]


def _arguments(
    arguments: Iterable[SkillArgument], frame: Frame | None, target_frame: str
) -> list[Any]:
    out = []
    for argument in arguments:
        message = interfaces.SkillArgument(
            name=argument.name, type=int(argument.type), value=argument.value,
            number=argument.number or 0.0, grounding=int(argument.grounding))
        if argument.point is not None:
            message.point, = _points((argument.point,), frame, target_frame)
        out.append(message)
    return out


def _objects(objects: Iterable[ObjectReference]) -> list[Any]:
    return [
        interfaces.ObjectReference(id=o.id, camera=o.camera, x=o.x, y=o.y, in_image=o.in_image)
        for o in objects
    ]


def answer_message(query: Query, answer: Answer, target_frame: str = '') -> Any:
    """The message of an answer's kind; pixels and header are of the first frame."""
    content = answer.content
    frame = query.frames[0] if query.frames else None
    if isinstance(content, TaskPlan):
        message = interfaces.TaskPlan(
            plan_id=UUID(uuid=list(uuid.uuid4().bytes)), instruction=query.text,
            raw_text=answer.raw_text, position_frame_id=target_frame, problem=content.problem)
        for number, step in enumerate(content.steps, 1):
            message.steps.append(interfaces.TaskStep(
                id=number, description=step.text, action=step.action, object=step.object,
                target=step.target, points=_points(step.points, frame, target_frame),
                depends_on=step.depends_on or ([number - 1] if number > 1 else []),
                skill=step.skill, arguments=_arguments(step.arguments, frame, target_frame),
                preconditions=step.preconditions, success_condition=step.success,
                problem=step.problem, status=(
                    interfaces.TaskStep.REFUSED if step.problem else interfaces.TaskStep.PENDING)))
    elif isinstance(content, Affordances):
        message = interfaces.AffordancePoints(
            query=query.text, position_frame_id=target_frame,
            points=_points(content.points, frame, target_frame), boxes=_boxes(content.boxes))
    elif isinstance(content, SpatialAnswer):
        message = interfaces.SpatialAnswer(
            question=query.text, answer=content.text, answer_type=_ANSWER_TYPES[content.type],
            yes=bool(content.yes), choice=content.choice, number=content.number or 0.0,
            unit=content.unit, position_frame_id=target_frame,
            points=_points(content.points, frame, target_frame), boxes=_boxes(content.boxes),
            objects=_objects(answer.objects))
    else:
        assert isinstance(content, TextAnswer)
        message = interfaces.TextAnswer(
            question=query.text, answer=content.text, objects=_objects(answer.objects))
    if frame is not None:
        message.header = _header(frame)
        message.camera = frame.camera
        message.image_width, message.image_height = frame.width, frame.height
    return message


def decision_message(
    instruction: str, decision: DrivingDecision, objects: Sequence[ObjectReference],
    frame: Frame, valid_for: float,
) -> Any:
    """The message of a driving decision on the front frame; ``valid_for`` in seconds."""
    return interfaces.DrivingDecision(
        header=_header(frame), camera=frame.camera, image_width=frame.width,
        image_height=frame.height, instruction=instruction, behavior=int(decision.behavior),
        target_speed_valid=decision.target_speed is not None,
        target_speed=decision.target_speed or 0.0, decision=decision.decision,
        scene=decision.scene, hazards=[hazard.label for hazard in decision.hazards],
        hazard_boxes=_boxes(h.box for h in decision.hazards if h.box is not None),
        objects=_objects(objects), rationale=decision.rationale, valid_for=duration(valid_for))


def trajectory_message(
    trajectory: Trajectory, frame: Frame, base_frame: str, valid_for: float, generator: bytes
) -> Any:
    """The message of a path from the front frame's stamp on; speeds are not given."""
    points = []
    for point in trajectory.points:
        message = interfaces.DrivingTrajectoryPoint(time_from_start=duration(point.time))
        message.pose.position.x, message.pose.position.y = point.x, point.y
        if point.heading is not None:
            message.pose.orientation.z = math.sin(point.heading / 2)
            message.pose.orientation.w = math.cos(point.heading / 2)
        points.append(message)
    header = _header(frame)
    header.frame_id = base_frame or 'base_link'
    return interfaces.DrivingTrajectory(
        header=header, generator_id=UUID(uuid=list(generator)), points=points,
        valid_for=duration(valid_for))


def outside_of_image(places: Sequence[Any]) -> tuple[ResultCode, str]:
    """The code and message for places that the model named and that are not in the image."""
    if not places:
        return ResultCode.NONE, ''
    return (ResultCode.POINT_OUT_OF_IMAGE,
            f'{len(places)} places lie outside of the image; see in_image; ask again')


def fill_stats(
    message: interfaces.GenerationStats, model: ModelInfo, replies: Sequence[Reply]
) -> None:
    """Note what an answer cost, as far as the engine knows; the node adds its own times.

    A request that became several questions counts them all; its first token is the first one's.
    """
    stats = [reply.stats for reply in replies]
    message.model, message.backend = model.name, model.backend
    for name in ('prompt_tokens', 'image_tokens', 'reused_tokens', 'completion_tokens'):
        setattr(message, name, sum(getattr(s, name) for s in stats))
    message.preprocess_time = duration(sum(s.preprocess_s for s in stats))
    message.first_token_time = duration(max(0.0, stats[0].first_token_s - stats[0].preprocess_s))
    message.generation_time = duration(sum(s.total_s for s in stats))
    message.finish_reason = replies[-1].finish_reason


def model_message(model: ModelInfo) -> Any:
    """What is loaded."""
    return interfaces.ModelInfo(
        name=model.name, architecture=model.architecture, backend=model.backend,
        device=model.device, dtype=model.dtype, parameters=model.parameters,
        min_pixels=model.min_pixels, max_pixels=model.max_pixels,
        context_length=model.context_length)
