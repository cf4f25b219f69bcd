"""Typed answers. Pixels are of the original image: x right, y down, origin top-left."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True)
class Point:
    """A pixel position that the model named.

    ``in_image`` is False when it lies outside of the image; it is never moved.
    """

    x: float
    y: float
    label: str = ''
    in_image: bool = True


@dataclass(frozen=True)
class Box:
    """An axis-aligned region that the model named; ``in_image`` as for a point."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float
    label: str = ''
    in_image: bool = True


@dataclass(frozen=True)
class Affordances:
    """Where to touch or put. Both empty: the model says that it is not there."""

    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()


class AnswerType(Enum):
    """What a spatial answer is made of."""

    TEXT = 'text'
    YES_NO = 'yes_no'
    CHOICE = 'choice'
    NUMBER = 'number'
    POINTS = 'points'
    BOX = 'box'


@dataclass(frozen=True)
class SpatialAnswer:
    """The answer's words, and the one typed field that ``type`` names."""

    text: str
    type: AnswerType = AnswerType.TEXT
    yes: bool | None = None
    choice: str = ''
    number: float | None = None
    unit: str = ''
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class TaskStep:
    """One step of a plan; ``action``, ``object`` and ``target`` are empty where not given."""

    text: str
    action: str = ''
    object: str = ''
    target: str = ''
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class TaskPlan:
    """Steps in the order in which to do them. No step: the model says that it cannot be done."""

    instruction: str
    steps: tuple[TaskStep, ...] = ()


@dataclass(frozen=True)
class TextAnswer:
    """A free answer in words."""

    text: str


Content = TaskPlan | Affordances | SpatialAnswer | TextAnswer


@dataclass(frozen=True)
class Answer:
    """A typed answer, with the words it was read from.

    Attributes:
        content: what the task asked for.
        reasoning: what the model thought aloud, without its tags.
        raw_text: everything that the model wrote.
        outside: points and boxes that are not in the image (POINT_OUT_OF_IMAGE if any).

    """

    content: Content
    reasoning: str = ''
    raw_text: str = ''
    outside: tuple[Point | Box, ...] = field(default=())
