"""Typed answers. Pixels are of the original image: x right, y down, origin top-left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


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
    """The answer's words, and the one typed field that ``type`` names.

    Attributes:
        text: the answer in the model's words.
        type: which of the others is given.
        yes: the answer to a question of yes or no.
        choices: letters of the chosen options, or words of a closed vocabulary.
        number: in ``unit``.
        unit: as the model wrote it; empty: a count or not given.
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
        """All choices in one string: letters as in ``AC``, words with commas between."""
        only_letters = set(map(len, self.choices)) <= {1}
        return ('' if only_letters else ', ').join(self.choices)


class ArgumentType(IntEnum):
    """What an argument of a skill is: ``type`` of ``msg/SkillArgument.msg``."""

    OBJECT = 0
    PLACE = 1
    POINT = 2
    POSE = 3
    NUMBER = 4
    TEXT = 5
    CHOICE = 6


class Grounding(IntEnum):
    """What is known of where an argument is: ``grounding`` of ``msg/SkillArgument.msg``."""

    NOT_GROUNDED = 0
    SEEN = 1
    NOT_VISIBLE = 2
    HELD = 3


@dataclass(frozen=True)
class SkillArgument:
    """What a step's skill is done with; ``value`` is in the model's words, without an article.

    ``number`` is given for numbers only, ``point`` only where something is seen.
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

    What follows them is given where the robot's skills are known, see ``core.plan_checking``.

    Attributes:
        text: in the model's words, without coordinates.
        action: verb phrase.
        object: what is acted on.
        target: where to, or onto what.
        points: pixels that the step names.
        skill: name of the skill that does it.
        arguments: of the skill, in its order.
        preconditions: what must be so before it is begun, in words.
        success: how to tell that it is done, in words.
        depends_on: numbers of the steps, counted from 1, that must succeed before it.
        problem: why it must not be done; empty where it may be.

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
    """Steps in the order in which to do them. No step: the model says that it cannot be done.

    ``problem`` is why the robot must do none of them; empty where it may.
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
    """What to watch for, in the model's words, and where it is if the model said so."""

    label: str
    box: Box | None = None


@dataclass(frozen=True)
class DrivingDecision:
    """What to do next at the wheel: advice only. What the model did not say is empty.

    Attributes:
        decision: in the model's words.
        behavior: what these words name; UNKNOWN where they name none.
        rationale: why.
        hazards: what to watch for.
        scene: what the model sees of road, weather and traffic.
        target_speed: metres a second, None where none is named.

    """

    decision: str = ''
    behavior: Behavior = Behavior.UNKNOWN
    rationale: str = ''
    hazards: tuple[Hazard, ...] = ()
    scene: str = ''
    target_speed: float | None = None


@dataclass(frozen=True)
class TrajectoryPoint:
    """Where the vehicle is to be, in ``base_link`` at the image's stamp: x forward, y left.

    Attributes:
        time: seconds after the image's stamp.
        x: metres.
        y: metres.
        heading: radians, to the left positive; None where the model gives none.

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
    """A typed answer, with the words it was read from.

    Attributes:
        content: what the task asked for.
        reasoning: what the model thought aloud, without its tags.
        raw_text: everything that the model wrote.
        outside: places that are not in the image (POINT_OUT_OF_IMAGE if any).
        objects: what tags in the answer refer to, in its order.

    """

    content: Content
    reasoning: str = ''
    raw_text: str = ''
    outside: tuple[Point | Box | ObjectReference, ...] = ()
    objects: tuple[ObjectReference, ...] = ()
