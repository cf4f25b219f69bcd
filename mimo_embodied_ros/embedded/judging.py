"""Whether answers about scenes with a known truth are right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.answers import (
    Affordances,
    DrivingDecision,
    SpatialAnswer,
    TaskPlan,
    TextAnswer,
)
from mimo_embodied_ros.core.skills import GROUNDED
from mimo_embodied_ros.evaluation import metrics
from mimo_embodied_ros.evaluation.ground_truth import step_words
from mimo_embodied_ros.evaluation.regions import answer_points
from mimo_embodied_ros.worlds import table_scene

from . import road_questions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mimo_embodied_ros.core.answers import Content, Point
    from mimo_embodied_ros.worlds import road_scene
    from mimo_embodied_ros.worlds.room_scene import RoomScene

    from .question import Question

_NEAR = 0.1  # how far a plan's point may be from the truth, as a share of the image's sides


def hits(content: Content | None, mask: NDArray[np.bool_]) -> bool:
    """Whether there is one point, and in the (height, width) bool mask."""
    if not isinstance(content, Affordances) or len(content.points) != 1:
        return False
    return bool(metrics.in_mask(answer_points(content), mask).all())


def error(content: Content | None, scene: table_scene.Table, thing: table_scene.Thing) -> float:
    """Distance of the first point from the thing's, in pixels of a picture 640 wide; else nan."""
    if not isinstance(content, Affordances) or not content.points:
        return math.nan
    point = content.points[0]
    return 640 / scene.pixels.shape[1] * math.hypot(point.x - thing.x, point.y - thing.y)


def overlap(content: Content | None, thing: table_scene.Thing) -> float:
    """Intersection over union of the first box."""
    if not isinstance(content, Affordances) or not content.boxes:
        return 0.0
    box = content.boxes[0]
    return metrics.iou((box.x_min, box.y_min, box.x_max, box.y_max), thing.box)


def hazards_fit(content: Content | None, road: road_scene.Road) -> float:
    """Mean over the hazards of the best box's intersection over union."""
    boxes = [(h.box.x_min, h.box.y_min, h.box.x_max, h.box.y_max) for h in content.hazards
            if h.box is not None] if isinstance(content, DrivingDecision) else []
    fits = [max((metrics.iou(box, thing.box) for box in boxes), default=0.0)
            for thing, _ in road_questions.hazards(road)]
    return sum(fits) / len(fits)


def drives_right(content: Content | None, road: road_scene.Road) -> bool:
    """Whether the next action is the right one."""
    return isinstance(content, DrivingDecision) and (
        content.decision == road_questions.next_action(road)[0])


def words_right(content: Content | None, question: Question) -> bool:
    """Whether an answer in words is the short answer of the question."""
    return (isinstance(content, (SpatialAnswer, TextAnswer))
            and metrics.exact_match(content.text, [question.short]))


def plan_right(content: Content | None, question: Question) -> bool:
    """Whether objects, targets and order are those of the true steps."""
    if not isinstance(content, TaskPlan):
        return False
    true = [line.split('. ', 1)[1] for line in question.answer.splitlines()]
    return [step_words(s.text) for s in content.steps] == [step_words(line) for line in true]


def places_right(
    content: Content | None, scene: table_scene.Table, question: Question
) -> bool:
    """Whether the points of a plan are near the things that its steps are about."""
    points = [p for step in content.steps for p in step.points] if (
        isinstance(content, TaskPlan)) else []
    return len(points) == len(question.things) and all(
        _is_at(point, thing, scene) for point, thing in zip(points, question.things))


def room_right(content: Content | None, question: Question, room: RoomScene) -> bool:
    """Whether an answer about a room is right: its word, its point, or its steps and places."""
    if question.kind == 'point':
        return hits(content, table_scene.mask(room, question.things[0]))
    if question.kind == 'absent':
        return content == Affordances()
    if question.kind == 'plan_absent':
        return isinstance(content, TaskPlan) and not content.steps
    if question.kind == 'plan':
        return plan_right(content, question) and places_right(content, room, question)
    return words_right(content, question)


def _is_at(point: Point, thing: table_scene.Thing, scene: table_scene.Table) -> bool:
    """Whether a point is near a thing, or, where a free place is asked for, on none."""
    if not thing.colour:
        return not any(t.box[0] <= point.x <= t.box[2] and t.box[1] <= point.y <= t.box[3]
                       for t in scene.things)
    height, width = scene.pixels.shape[:2]
    return abs(point.x - thing.x) <= _NEAR * width and abs(point.y - thing.y) <= _NEAR * height


def skill_calls(plan: TaskPlan) -> list[tuple[str, ...]]:
    """Return the skills of a plan and the values of their arguments, without the points."""
    return [(step.skill, *(a.value for a in step.arguments)) for step in plan.steps]


def things(plan: TaskPlan) -> list[str]:
    """Return the things that the skills of a plan are about."""
    return [a.value for step in plan.steps for a in step.arguments if a.type in GROUNDED]


def on_things(
    plan: TaskPlan, true: TaskPlan, things: Sequence[table_scene.Thing], scene: table_scene.Table
) -> bool:
    """Whether each point of a plan is where an argument of this value is in the true one.

    Args:
        plan: the answer.
        true: the true plan.
        things: what the points of the true plan are on.
        scene: what both are about.

    """
    values = [a.value for step in true.steps for a in step.arguments if a.point is not None]
    where = list(zip(values, things))
    return all(
        any(a.value == value and _is_at(a.point, thing, scene) for value, thing in where)
        for step in plan.steps for a in step.arguments if a.point is not None)
