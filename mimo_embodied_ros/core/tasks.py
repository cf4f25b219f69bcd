r"""Tasks for the model, read from YAML files; ``tasks.yaml`` holds the package's own tasks.

A file maps the name of each task to its fields. This one is complete::

    graspable:
      prompt: 'Which of these can the gripper hold: {text}? Put your final answer in \boxed{}.'
      answer: labels
      vocabulary: [cup, spoon, knife]

``prompt`` (required)
    The prompt. ``{text}`` stands for the request's text, ``{options}`` for its choices, ``{speed}``
    and ``{path}`` for speed and past path of the odometry, ``{duration}`` for the length of the
    clip and ``{skills}`` for the robot's skills; every other brace is sent as it is. A prompt
    without ``{text}`` is a whole question.
``answer`` (required)
    How the answer is parsed: plan, points, boxes, spatial (of the type that the model's words
    have), yes_no, choice (one letter), choices (letters such as AC), number, word, labels, text,
    decision, trajectory.
``media``
    The images that the model sees: image (the default; exactly one), images (one or more), clip
    (frames of one camera, oldest first), views (an image of each of ``views``), clips (equally many
    frames of each of ``views``, view by view), video and videos (the same as one video, or as a
    video of each of ``views``), any (also none).
``views``
    Names of the views in the order of the images.
``system``
    The system prompt of requests that give none; without it that of the node, or of the model's
    chat template.
``thinking``
    Whether the model writes its reasoning where the request does not say it (default: false).
``positions``
    The unit of positions in the answer: pixels (of the image that the model sees), original (pixels
    of the original image), metres, none. The default depends on ``answer``.
``options``
    How each choice is written in the place of ``{options}``, such as "\n{letter}. {option}".
``vocabulary``
    The words that are allowed in the answer, for word and labels. Without it, a word is one of the
    request's options.
``tokens``
    Limit of tokens of an answer without reasoning (default: 512).
``step``
    Seconds between the points of a trajectory.
"""

from __future__ import annotations

import dataclasses
import re
import reprlib
import string
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import InvalidRequestError
from .yaml_tables import YamlNode, load_table

if TYPE_CHECKING:
    from collections.abc import Sequence


class AnswerKind(Enum):
    """How an answer is parsed."""

    PLAN = 'plan'
    POINTS = 'points'
    BOXES = 'boxes'
    SPATIAL = 'spatial'
    YES_NO = 'yes_no'
    CHOICE = 'choice'
    CHOICES = 'choices'
    NUMBER = 'number'
    WORD = 'word'
    LABELS = 'labels'
    TEXT = 'text'
    DECISION = 'decision'
    TRAJECTORY = 'trajectory'


class Media(Enum):
    """The images that the model sees."""

    ANY = 'any'
    IMAGE = 'image'
    IMAGES = 'images'
    CLIP = 'clip'
    VIEWS = 'views'
    CLIPS = 'clips'
    VIDEO = 'video'
    VIDEOS = 'videos'

    @property
    def is_timed(self) -> bool:
        """Whether it is frames of a camera in their order in time."""
        return self in (Media.CLIP, Media.CLIPS, Media.VIDEO, Media.VIDEOS)

    @property
    def is_video(self) -> bool:
        """Whether the model gets it as videos, not as images."""
        return self in (Media.VIDEO, Media.VIDEOS)


class Positions(Enum):
    """The unit of positions in an answer."""

    PIXELS = 'pixels'
    ORIGINAL = 'original'
    METRES = 'metres'
    NONE = 'none'


_LOCATING = (
    AnswerKind.PLAN,
    AnswerKind.POINTS,
    AnswerKind.BOXES,
    AnswerKind.SPATIAL,
    AnswerKind.DECISION,
)
_PLACEHOLDER = re.compile(r'\{(text|options|speed|path|duration|skills)\}')


@dataclass(frozen=True)
class Task:
    """One kind of question; the module's docstring describes the fields.

    Raises:
        InvalidRequestError: the fields do not fit each other.

    """

    name: str
    prompt: str
    answer: AnswerKind
    media: Media = Media.IMAGE
    views: tuple[str, ...] = ()
    system: str = ''
    thinking: bool = False
    positions: Positions | None = None
    options: str = ''
    vocabulary: tuple[str, ...] = ()
    tokens: int = 512
    step: float = 0.0

    PLAN: ClassVar[Task]
    POINTS: ClassVar[Task]
    BOXES: ClassVar[Task]
    SPATIAL: ClassVar[Task]
    ASK: ClassVar[Task]

    def __post_init__(self) -> None:
        """Check that the fields fit each other."""
        kind = self.answer
        problems = {
            'the name is not made of small letters, digits and _': not re.fullmatch(
                r'[a-z][a-z0-9_]*', self.name
            ),
            'views belong to media views, clips or videos, and those need them': (
                bool(self.views) is not (self.media in (Media.VIEWS, Media.CLIPS, Media.VIDEOS))
            ),
            'options and {options} in the prompt belong together': (
                bool(self.options) is not self.uses('options')
            ),
            'options do not hold {option}': self.options and '{option}' not in self.options,
            'a vocabulary belongs to word or labels': (
                self.vocabulary and kind not in (AnswerKind.WORD, AnswerKind.LABELS)
            ),
            'word and labels need a vocabulary or options': (
                kind in (AnswerKind.WORD, AnswerKind.LABELS)
                and not (self.vocabulary or self.options)
            ),
            'tokens is below 1': self.tokens < 1,
            'a step above 0 belongs to trajectory, which needs it': (
                not 0 <= self.step < 60 or bool(self.step) is not self.experimental
            ),
        }
        for problem, applies in problems.items():
            if applies:
                msg = f'task {self.name}: {problem}'
                raise InvalidRequestError(msg)

    @property
    def experimental(self) -> bool:
        """Whether the released model is not documented to give such answers: paths as text."""
        return self.answer is AnswerKind.TRAJECTORY

    @property
    def boxed(self) -> bool:
        r"""Whether the prompt asks for the answer in ``\boxed{}``."""
        return r'\boxed{}' in self.prompt

    @property
    def coordinates(self) -> Positions:
        """The unit of positions: ``positions``, or the default for the kind of answer."""
        if self.positions is not None:
            return self.positions
        if self.answer is AnswerKind.TRAJECTORY:
            return Positions.METRES
        return Positions.PIXELS if self.answer in _LOCATING else Positions.NONE

    def uses(self, placeholder: str) -> bool:
        """Tell whether the prompt has the placeholder ``text``, ``options``, ``speed``, ..."""
        return f'{{{placeholder}}}' in self.prompt

    def fill(self, text: str = '', **values: str) -> str:
        """Put the values into the prompt, in one pass: braces inside of values stay as they are."""
        values['text'] = text
        parts = _PLACEHOLDER.split(self.prompt)  # words and placeholders' names in turn
        for i in range(1, len(parts), 2):
            parts[i] = values[parts[i]]
        return ''.join(parts)

    def list_options(self, options: Sequence[str]) -> str:
        """Write at most 26 options in the form of the task."""
        lines = ''
        for letter, option in zip(string.ascii_uppercase, options, strict=False):
            # in this order, so that braces in an option stay what they are
            lines += self.options.replace('{letter}', letter).replace('{option}', option)
        return lines


_ENUMS: dict[str, type[Enum]] = {'answer': AnswerKind, 'media': Media, 'positions': Positions}
_TYPES: dict[str, tuple[type, ...]] = {
    'prompt': (str,),
    'options': (str,),
    'system': (str,),
    'thinking': (bool,),
    'tokens': (int,),
    'step': (int, float),
}


def load_tasks(path: Path | str) -> dict[str, Task]:
    """Read tasks from a YAML file.

    See ``known_tasks`` to use them beside the package's own.

    Raises:
        InvalidRequestError: the file cannot be read or is not as the module's docstring describes;
            the message has its name and the line.

    """
    return load_table(path, 'task', _task, 'mimo_embodied_ros.core.tasks for the fields')


def _task(name: str, key: YamlNode, value: YamlNode) -> Task:
    names = [field.name for field in dataclasses.fields(Task) if field.name != 'name']
    fields = {field: _field(field, node) for field, node in value.fields(names).items()}
    for field in ('prompt', 'answer'):
        if not fields.get(field):
            raise key.error(f'task {name} has no {field}')
    try:
        return Task(name, **fields)
    except InvalidRequestError as error:
        raise key.error(str(error)) from error


def _field(field: str, node: YamlNode) -> Any:
    value = node.value()
    shown = reprlib.repr(value)
    if field in _ENUMS:
        try:
            return _ENUMS[field](value)
        except ValueError:
            allowed = ', '.join(str(member.value) for member in _ENUMS[field])
            raise node.error(f'{field} is {shown}; it is one of {allowed}') from None
    if field in _TYPES:
        # True is an int in Python, and no number of tokens
        if isinstance(value, _TYPES[field]) and isinstance(value, bool) is (field == 'thinking'):
            return value
        raise node.error(f'{field} is {shown}; it is of type {_TYPES[field][-1].__name__}')
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise node.error(f'{field} is {shown}; it is a list of strings, numbers in quotes')


TASKS = load_tasks(Path(__file__).with_name('tasks.yaml'))
"""The package's own tasks by name."""

for _name in ('plan', 'points', 'boxes', 'spatial', 'ask'):
    setattr(Task, _name.upper(), TASKS[_name])


def known_tasks(file: Path | str = '') -> dict[str, Task]:
    """Return the package's own tasks with those of a file, which may replace them.

    Raises:
        InvalidRequestError: as ``load_tasks`` does.

    """
    return {**TASKS, **load_tasks(file)} if file else TASKS
