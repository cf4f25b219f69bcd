"""Typed answers. Pixels are of the original image: x right, y down, origin top-left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


@dataclass(frozen=True)
class Point:
    """A pixel position that the model named.

    ``in_image`` is False for a position outside of the image, which is not moved into it.
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
    """Places to touch or to put something on.

    Both are empty where the model says that the image does not show the thing.
    """

    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()


class AnswerType(Enum):
    """The type of a spatial answer."""

    TEXT = 'text'
    YES_NO = 'yes_no'
    CHOICE = 'choice'
    NUMBER = 'number'
    POINTS = 'points'
    BOX = 'box'


@dataclass(frozen=True)
class SpatialAnswer:
    """The words of an answer, and the one typed field that ``type`` names.

    Attributes:
        text: the answer in the model's words.
        type: which of the fields below is given.
        yes: the answer to a yes-or-no question.
        choices: letters of the chosen options, or words of a closed vocabulary.
        number: in ``unit``.
        unit: as the model wrote it; empty for a count or where the model gives none.
        points: pixels.
        boxes: pixels.

    """

    text: str
    type: AnswerType = AnswerType.TEXT
    yes: bool | None = None
    choices: tuple[str, ...] = ()
    number: float | None = None
    unit: str = ''
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def choice(self) -> str:
        """All choices in one string: letters as in ``AC``, words separated by commas."""
        only_letters = set(map(len, self.choices)) <= {1}
        return ('' if only_letters else ', ').join(self.choices)


class ArgumentType(IntEnum):
    """The type of a skill's argument: ``type`` of ``msg/SkillArgument.msg``."""

    OBJECT = 0
    PLACE = 1
    POINT = 2
    POSE = 3
    NUMBER = 4
    TEXT = 5
    CHOICE = 6


class Grounding(IntEnum):
    """Where an argument's thing is: ``grounding`` of ``msg/SkillArgument.msg``."""

    NOT_GROUNDED = 0
    SEEN = 1
    NOT_VISIBLE = 2
    HELD = 3


@dataclass(frozen=True)
class SkillArgument:
    """An argument of a step's skill; ``value`` is in the model's words, without an article.

    ``number`` is given for type NUMBER only, ``point`` only where the grounding is SEEN.
    """

    name: str
    type: ArgumentType
    value: str = ''
    number: float | None = None
    grounding: Grounding = Grounding.NOT_GROUNDED
    point: Point | None = None


@dataclass(frozen=True)
class TaskStep:
    """One step of a plan; ``action``, ``object`` and ``target`` are empty where not given.

    The fields from ``skill`` on are filled by ``core.plan_checking``, where the robot's skills are
    known.

    Attributes:
        text: in the model's words, without coordinates.
        action: verb phrase.
        object: what is acted on.
        target: where to, or onto what.
        points: pixels that the step names.
        skill: name of the skill that does the step.
        arguments: of the skill, in the order in which it declares them.
        preconditions: what must hold before the step begins, in words.
        success: how to tell that the step is done, in words.
        depends_on: numbers of the steps, counted from 1, that must succeed before this one.
        problem: why the step must not be done; empty if it may be done.

    """

    text: str
    action: str = ''
    object: str = ''
    target: str = ''
    points: tuple[Point, ...] = ()
    skill: str = ''
    arguments: tuple[SkillArgument, ...] = ()
    preconditions: tuple[str, ...] = ()
    success: str = ''
    depends_on: tuple[int, ...] = ()
    problem: str = ''

    @property
    def values(self) -> dict[str, str]:
        """The words of each argument by its name."""
        return {argument.name: argument.value for argument in self.arguments}


@dataclass(frozen=True)
class TaskPlan:
    """Steps in the order in which to do them.

    There are none where the model says that the instruction cannot be carried out. ``problem`` is
    why the robot must not do the plan; empty if it may do it.
    """

    instruction: str
    steps: tuple[TaskStep, ...] = ()
    problem: str = ''


@dataclass(frozen=True)
class TextAnswer:
    """A free answer in words."""

    text: str


class Behavior(IntEnum):
    """What a vehicle does: the constants of ``msg/DrivingDecision.msg``."""

    UNKNOWN = 0
    NONE = 1
    SLOW_DOWN = 2
    STOP = 3
    SHIFT_LEFT = 4
    SHIFT_RIGHT = 5
    TURN_LEFT = 6
    TURN_RIGHT = 7


@dataclass(frozen=True)
class Hazard:
    """A hazard in the model's words, and its box where the model gives one."""

    label: str
    box: Box | None = None


@dataclass(frozen=True)
class DrivingDecision:
    """What the vehicle should do next; advice only. Fields that the model does not give are empty.

    Attributes:
        decision: in the model's words.
        behavior: that the decision says to do; UNKNOWN where it is not exactly one.
        rationale: the reason for the decision.
        hazards: what to watch for.
        scene: road, weather and traffic in the model's words.
        target_speed: metres a second; None where no speed is said to be the target.

    """

    decision: str = ''
    behavior: Behavior = Behavior.UNKNOWN
    rationale: str = ''
    hazards: tuple[Hazard, ...] = ()
    scene: str = ''
    target_speed: float | None = None


@dataclass(frozen=True)
class TrajectoryPoint:
    """A position of the planned path, in ``base_link`` at the image's stamp: x forward, y left.

    Attributes:
        time: seconds after the image's stamp.
        x: metres.
        y: metres.
        heading: radians, positive to the left; None where the model gives none.

    """

    time: float
    x: float
    y: float
    heading: float | None = None


@dataclass(frozen=True)
class Trajectory:
    """A path that the model wrote as text. Experimental."""

    points: tuple[TrajectoryPoint, ...]


@dataclass(frozen=True)
class ObjectReference:
    """An object that the model names by a tag, as DriveLM does: ``<c1,CAM_BACK,1088.3,497.5>``.

    The position counts pixels of nuScenes' original image, 1600 wide and 900 high.
    """

    id: str
    camera: str
    x: float
    y: float
    in_image: bool = True


Content = TaskPlan | Affordances | SpatialAnswer | TextAnswer | DrivingDecision | Trajectory


@dataclass(frozen=True)
class Answer:
    """A typed answer and the text that it was read from.

    Attributes:
        content: the answer, of the type that the task asks for.
        reasoning: what the model wrote between its reasoning tags.
        raw_text: everything that the model wrote.
        outside: positions that are not in the image (POINT_OUT_OF_IMAGE if any).
        objects: references by tags, in the order of the text.

    """

    content: Content
    reasoning: str = ''
    raw_text: str = ''
    outside: tuple[Point | Box | ObjectReference, ...] = ()
    objects: tuple[ObjectReference, ...] = ()
