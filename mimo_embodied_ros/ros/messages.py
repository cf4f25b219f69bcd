"""From typed answers to messages, stamped with the frame's own stamp."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, Any

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point as PointMsg
from geometry_msgs.msg import PoseStamped, Quaternion, Vector3
from std_msgs.msg import Header
from unique_identifier_msgs.msg import UUID

from mimo_embodied_ros import msg as interfaces
from mimo_embodied_ros.core import answers
from mimo_embodied_ros.core.answers import (
    Affordances,
    AnswerType,
    SpatialAnswer,
    TaskPlan,
    TextAnswer,
)
from mimo_embodied_ros.core.characters import NOT_VALID, valid_text
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.core.query import subject
from mimo_embodied_ros.geometry.lifting import PositionStatus
from mimo_embodied_ros.geometry.odometry import is_valid_at
from mimo_embodied_ros.geometry.poses import Pose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mimo_embodied_ros.core.answers import (
        Answer,
        Box,
        Content,
        DrivingDecision,
        ObjectReference,
        Point,
        SkillArgument,
        Trajectory,
    )
    from mimo_embodied_ros.core.frames import Frame, Odometry
    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.geometry.lifting import Lifter
    from mimo_embodied_ros.tracking.point_follower import FollowedPoint

    from .request_kinds import Kind

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


def sendable(value: Any) -> Any:
    """Return a value for a message whose texts all can be sent; messages are changed in place.

    Args:
        value: a message, a text, a list, tuple or mapping of them, or anything else, which is
            kept.

    """
    if isinstance(value, str):
        return valid_text(value) if NOT_VALID.search(value) else value
    if isinstance(value, (list, tuple)):
        return [sendable(item) for item in value]
    if isinstance(value, dict):
        return {name: sendable(item) for name, item in value.items()}
    if hasattr(value, 'get_fields_and_field_types'):
        for name, kind in value.get_fields_and_field_types().items():
            if 'string' in kind or '/' in kind:
                setattr(value, name, sendable(getattr(value, name)))
    return value


def thinking_of(request: Any) -> bool | None:
    """Whether a request wants the model to reason aloud; None: as the task says.

    Raises:
        InvalidRequestError: the value is none of the three.

    """
    if request.thinking >= len(_THINKING):
        text = (f'thinking is {request.thinking}; give 0 (THINK_DEFAULT, as the task says), '
                '1 (THINK_ON) or 2 (THINK_OFF)')
        raise InvalidRequestError(text)
    return _THINKING[request.thinking]


def duration(seconds: float) -> Duration:
    """Seconds as a message; they may be negative, where clocks disagree."""
    nanoseconds = round(seconds * 1e9)
    return Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def seconds(message: Duration) -> float:
    """A duration message in seconds."""
    return float(message.sec + message.nanosec / 1e9)


def stamp_message(nanoseconds: int) -> Time:
    """A time in nanoseconds as a message."""
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def _header(frame: Frame) -> Header:
    return Header(stamp=stamp_message(frame.stamp_ns), frame_id=frame.frame_id)


def pose_message(pose: Pose, header: Header) -> PoseStamped:
    """A pose in the frame of a header."""
    message = PoseStamped(header=header)
    message.pose.position = PointMsg(**dict(zip('xyz', pose.position)))
    message.pose.orientation = Quaternion(**dict(zip('xyzw', pose.orientation)))
    return message


def base_message(odometry: Odometry | None, stamp_ns: int) -> Any:
    """Where the base was at an image's stamp; not valid where there is no odometry of that time."""
    message = interfaces.BaseState()
    if odometry is None or not is_valid_at(odometry, stamp_ns):
        return message
    message.valid = True
    stamp, twist = stamp_message(odometry.stamp_ns), message.twist
    message.pose = pose_message(Pose(odometry.position, odometry.orientation),
                                Header(stamp=stamp, frame_id=odometry.frame_id))
    twist.header = Header(stamp=stamp, frame_id=odometry.child_frame_id)
    twist.twist.linear = Vector3(**dict(zip('xyz', odometry.linear)))
    twist.twist.angular = Vector3(**dict(zip('xyz', odometry.angular)))
    return message


def _points(points: Iterable[Point], lifter: Lifter | None) -> list[Any]:
    out = []
    for point in points:
        message = interfaces.AffordancePoint(
            label=point.label, x=point.x, y=point.y, in_image=point.in_image)
        if lifter is not None:
            position = lifter.point(point.x, point.y)
            message.position_status = int(position.status)
            message.position_problem = position.problem
            if position.status is PositionStatus.OK:
                message.position = PointMsg(**dict(zip('xyz', position.xyz)))
                message.depth_stddev = position.depth_stddev
            if position.normal is not None:
                message.normal_valid = True
                message.normal = Vector3(**dict(zip('xyz', position.normal)))
        out.append(message)
    return out


def _boxes(boxes: Iterable[Box], lifter: Lifter | None = None) -> list[Any]:
    out = []
    for box in boxes:
        message = interfaces.AffordanceBox(
            label=box.label, x_min=box.x_min, y_min=box.y_min, x_max=box.x_max, y_max=box.y_max,
            in_image=box.in_image)
        if lifter is not None:
            extent = lifter.box(box.x_min, box.y_min, box.x_max, box.y_max)
            message.position_status = int(extent.status)
            message.position_problem = extent.problem
            if extent.status is PositionStatus.OK:
                message.center = PointMsg(**dict(zip('xyz', extent.center)))
                message.size = Vector3(**dict(zip('xyz', extent.size)))
        out.append(message)
    return out


def _arguments(arguments: Iterable[SkillArgument], lifter: Lifter | None) -> list[Any]:
    out = []
    for argument in arguments:
        message = interfaces.SkillArgument(
            name=argument.name, type=int(argument.type), value=argument.value,
            number=argument.number or 0.0, grounding=int(argument.grounding))
        if argument.point is not None:
            message.point, = _points((argument.point,), lifter)
        out.append(message)
    return out


def _objects(objects: Iterable[ObjectReference]) -> list[Any]:
    return [
        interfaces.ObjectReference(id=o.id, camera=o.camera, x=o.x, y=o.y, in_image=o.in_image)
        for o in objects
    ]


def answer_message(
    query: Query, answer: Answer, odometry: Odometry | None = None, lifter: Lifter | None = None
) -> Any:
    """The message of an answer; its pixels and header are those of the frame that it is about.

    Args:
        query: the question.
        answer: the model's answer.
        odometry: at that frame's stamp; None where there is none.
        lifter: computes 3D positions; None where the request wants none.

    """
    content, target_frame = answer.content, lifter.target_frame if lifter else ''
    frame = subject(query.task, query.frames)
    if isinstance(content, TaskPlan):
        message = interfaces.TaskPlan(
            plan_id=UUID(uuid=list(uuid.uuid4().bytes)), instruction=query.text,
            raw_text=answer.raw_text, position_frame_id=target_frame, problem=content.problem)
        if rules := query.skills:
            message.skills = [skill.name for skill in rules.skills]
            message.open_ended, message.max_steps = rules.open_ended, rules.max_steps
        for number, step in enumerate(content.steps, 1):
            message.steps.append(interfaces.TaskStep(
                id=number, description=step.text, action=step.action, object=step.object,
                target=step.target, points=_points(step.points, lifter),
                depends_on=step.depends_on or ([number - 1] if number > 1 else []),
                skill=step.skill, arguments=_arguments(step.arguments, lifter),
                preconditions=step.preconditions, success_condition=step.success,
                problem=step.problem, status=(
                    interfaces.TaskStep.REFUSED if step.problem else interfaces.TaskStep.PENDING)))
    elif isinstance(content, Affordances):
        message = interfaces.AffordancePoints(
            query=query.text, position_frame_id=target_frame,
            points=_points(content.points, lifter), boxes=_boxes(content.boxes, lifter))
    elif isinstance(content, SpatialAnswer):
        message = interfaces.SpatialAnswer(
            question=query.text, answer=content.text, answer_type=_ANSWER_TYPES[content.type],
            yes=bool(content.yes), choice=content.choice, number=content.number or 0.0,
            unit=content.unit, position_frame_id=target_frame,
            points=_points(content.points, lifter), boxes=_boxes(content.boxes, lifter),
            objects=_objects(answer.objects))
    else:
        assert isinstance(content, TextAnswer)
        message = interfaces.TextAnswer(
            question=query.text, answer=content.text, objects=_objects(answer.objects))
    if frame is not None:
        message.header = _header(frame)
        message.camera = frame.camera
        message.image_width, message.image_height = frame.width, frame.height
        message.base = base_message(odometry, frame.stamp_ns)
    return message


def points_of(answer: Any) -> list[Any]:
    """The points of an answer's message; of a plan those of each step, then of its arguments."""
    if isinstance(answer, interfaces.TaskPlan):
        seen = interfaces.SkillArgument.SEEN
        return [point for step in answer.steps for point in (
            *step.points, *(a.point for a in step.arguments if a.grounding == seen))]
    return list(answer.points)


def tracked_message(
    query: str, frame: Frame, points: Sequence[Any], followed: Sequence[FollowedPoint],
    age_ns: int, lifter: Lifter | None = None,
) -> Any:
    """The message of the points of an answer in a newer image.

    Args:
        query: the text of the request.
        frame: of the newer image.
        points: of the answer, ``msg/AffordancePoint``.
        followed: where each of them is in that image.
        age_ns: from the stamp of the image that the answer is about to that of the newer one.
        lifter: computes 3D positions in the newer image; None where the request wants none.

    """
    message = interfaces.TrackedAffordances(
        header=_header(frame), camera=frame.camera, image_width=frame.width,
        image_height=frame.height, base=base_message(frame.odometry, frame.stamp_ns), query=query,
        position_frame_id=lifter.target_frame if lifter else '')
    for point, now in zip(points, followed):
        is_there = not math.isnan(now.x)
        place, = _points([answers.Point(now.x, now.y, point.label, is_there)],
                         lifter if is_there else None)
        message.points.append(interfaces.TrackedPoint(
            state=int(now.state), point=place, uncertainty=now.uncertainty,
            answer_age=duration(age_ns / 1e9)))
    return message


def content_of(message: Any) -> Content:
    """What can be drawn of an answer's message: its words and places."""
    def points(holder: Any) -> tuple[answers.Point, ...]:
        return tuple(answers.Point(p.x, p.y, p.label, p.in_image) for p in holder.points)

    def boxes(messages: Iterable[Any]) -> tuple[answers.Box, ...]:
        return tuple(answers.Box(b.x_min, b.y_min, b.x_max, b.y_max, b.label, b.in_image)
                     for b in messages)

    if isinstance(message, interfaces.TaskPlan):
        return TaskPlan(message.instruction, tuple(
            answers.TaskStep(s.description, s.action, s.object, s.target, points(s))
            for s in message.steps))
    if isinstance(message, interfaces.AffordancePoints):
        return Affordances(points(message), boxes(message.boxes))
    if isinstance(message, interfaces.SpatialAnswer):
        return SpatialAnswer(message.answer, points=points(message), boxes=boxes(message.boxes))
    if isinstance(message, interfaces.DrivingDecision):
        return answers.DrivingDecision(message.decision, hazards=tuple(
            answers.Hazard(box.label, box) for box in boxes(message.hazard_boxes)))
    return TextAnswer(message.answer)


def plain(message: Any) -> Any:
    """Convert messages, also in lists and mappings, to JSON types; NaN and infinity become None."""
    if hasattr(message, 'get_fields_and_field_types'):
        return {name: plain(getattr(message, name))
                for name in message.get_fields_and_field_types()}
    if isinstance(message, float):
        return message if math.isfinite(message) else None
    if hasattr(message, 'tolist'):  # array.array and numpy's
        return plain(message.tolist())
    if isinstance(message, dict):
        return {key: plain(value) for key, value in message.items()}
    return [plain(item) for item in message] if isinstance(message, list | tuple) else message


def outcome_message(
    kind: Kind, request: Any, queries: Sequence[Query], fields: Mapping[str, Any]
) -> Any:
    """The message that tells how a request ended.

    Args:
        kind: of the request.
        request: a goal, or the request of a service.
        queries: what the model was asked for it; empty where the request failed before.
        fields: of the result.

    """
    frame = subject(queries[0].task, queries[0].frames) if queries else None
    return interfaces.Outcome(
        header=Header() if frame is None else _header(frame),
        camera='' if frame is None else frame.camera, kind=kind.action_name,
        task=queries[0].task.name if queries else request.task,
        text=getattr(request, kind.request_field), caller=request.caller,
        topic=kind.topic if fields.get(kind.result_field) is not None else '',
        stats=fields['stats'], error_code=fields['error_code'], error_msg=fields['error_msg'],
        reasoning=fields['reasoning'], raw_text=fields['raw_text'])


def decision_message(
    instruction: str, decision: DrivingDecision, objects: Sequence[ObjectReference],
    frame: Frame, odometry: Odometry | None, valid_for: float,
) -> Any:
    """The message of a driving decision about the front frame; ``valid_for`` in seconds."""
    return interfaces.DrivingDecision(
        header=_header(frame), camera=frame.camera, image_width=frame.width,
        image_height=frame.height, instruction=instruction, behavior=int(decision.behavior),
        target_speed_valid=decision.target_speed is not None,
        target_speed=decision.target_speed or 0.0, decision=decision.decision,
        scene=decision.scene, hazards=[hazard.label for hazard in decision.hazards],
        hazard_boxes=_boxes(h.box for h in decision.hazards if h.box is not None),
        objects=_objects(objects), rationale=decision.rationale, valid_for=duration(valid_for),
        base=base_message(odometry, frame.stamp_ns))


def trajectory_message(
    trajectory: Trajectory, frame: Frame, base_frame: str, valid_for: float, generator: bytes
) -> Any:
    """The message of a path that begins at the front frame's stamp; it has no speeds."""
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
    """The error code and message for places in an answer that lie outside of the image."""
    if not places:
        return ResultCode.NONE, ''
    return (ResultCode.POINT_OUT_OF_IMAGE,
            f'{len(places)} places lie outside of the image; see in_image; ask again')
