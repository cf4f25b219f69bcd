"""Ground truth of questions, and scores of answers.

There is a class for each kind of truth. Its ``read`` takes the JSON value and raises ValueError,
its ``score`` takes a typed answer; pixels are of the original image.
"""

from __future__ import annotations

import math
import re
import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from mimo_embodied_ros.core import answers
from mimo_embodied_ros.core.answers import (
    Affordances,
    AnswerType,
    SpatialAnswer,
    TaskPlan,
    TextAnswer,
)
from mimo_embodied_ros.core.driving_readers import read_trajectory
from mimo_embodied_ros.core.errors import BadEncodingError
from mimo_embodied_ros.core.readers import read_boxes
from mimo_embodied_ros.pictures import deep_samples, open_picture

from . import metrics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mimo_embodied_ros.core.answers import Content

IN_REGION, BOX, EXACT, RELATIVE, METRES, HIDDEN = (
    'in_region', 'box_at_0.5', 'exact', 'relative', 'l2_metres', 'hidden')
"""Names of the metrics; all but l2_metres are shares, where 1 is best."""

_LARGEST = 1e15


class Truth(Protocol):
    """The right answer to one question."""

    metric: ClassVar[str]
    task: ClassVar[str]
    """Name of the task that asks for such an answer."""

    @property
    def words(self) -> str:
        """The right answer in words, for the report."""
        ...

    def score(self, content: Content, size: tuple[int, int]) -> float | None:
        """Return the score of an answer; None if it cannot be measured, which is a failure.

        Args:
            content: the typed answer.
            size: (width, height) of the image in pixels.

        Raises:
            ValueError: the truth does not fit the image.

        """
        ...


@dataclass(frozen=True)
class Mask:
    """Points must be on the light pixels of a picture with the image's size."""

    file: Path
    metric: ClassVar[str] = IN_REGION
    task: ClassVar[str] = 'points'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Mask:
        """Read the name of a file, relative to the dataset's folder."""
        if not isinstance(value, str) or not value:
            raise _wrong('mask', value, 'the name of a picture')
        if not (file := folder / value).is_file():
            msg = f'there is no mask {file}'
            raise ValueError(msg)
        return cls(file)

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return 'in the mask'

    def pixels(self) -> NDArray[np.bool_]:
        """Return the mask, (height, width); True where grey is lighter than half, or 1 of 0 and 1.

        Raises:
            ValueError: the file is no picture.

        """
        try:
            picture, _ = open_picture(self.file.read_bytes())
            deep = deep_samples(picture)
        except (OSError, BadEncodingError) as error:
            msg = f'the mask {self.file} cannot be read as a picture: {error}'
            raise ValueError(msg) from error
        grey = np.asarray(picture.convert('L')) if deep is None else deep
        largest = grey.max()  # 16-bit files may hold 0 and 1, or 8 bits
        return grey > (0 if largest <= 1 else 127 if largest <= 255 else 32767)

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        mask = self.pixels()
        if mask.shape != size[::-1]:
            msg = (f'the mask {self.file} has {mask.shape[1]}x{mask.shape[0]} pixels and the image '
                   f'{size[0]}x{size[1]}; both must be of one size')
            raise ValueError(msg)
        return metrics.hit_rate(metrics.in_mask(answer_points(content), mask))


@dataclass(frozen=True)
class Polygons:
    """Points must be in one of these polygons; without polygons the thing is not in the image."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    metric: ClassVar[str] = IN_REGION
    task: ClassVar[str] = 'points'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Polygons:
        """Read a list of polygons of at least three ``[x, y]``."""
        rings = tuple(_rows(ring, 2, 'a polygon') for ring in _list(value, 'polygons'))
        if any(len(ring) < 3 for ring in rings):
            raise _wrong('polygons', value, 'at least three corners each')
        return cls(tuple(tuple((x, y) for x, y in ring) for ring in rings))

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return 'in the outline' if self.polygons else 'not there'

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        if not self.polygons:
            return float(_not_there(content))
        return metrics.hit_rate(metrics.in_polygons(answer_points(content), self.polygons))


@dataclass(frozen=True)
class Boxes:
    """These boxes must be found; without boxes the thing is not in the image."""

    boxes: tuple[metrics.Corners, ...]
    metric: ClassVar[str] = BOX
    task: ClassVar[str] = 'boxes'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Boxes:
        """Read a list of ``[x_min, y_min, x_max, y_max]``."""
        rows = _rows(value, 4, 'boxes')
        if any(x_min >= x_max or y_min >= y_max for x_min, y_min, x_max, y_max in rows):
            raise _wrong('boxes', value, '[x_min, y_min, x_max, y_max] of boxes that are not empty')
        return cls(tuple((a, b, c, d) for a, b, c, d in rows))

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return 'the outline' if self.boxes else 'not there'

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        if not isinstance(content, (Affordances, SpatialAnswer)):
            return 0.0
        boxes = [(b.x_min, b.y_min, b.x_max, b.y_max) for b in content.boxes]
        return metrics.boxes_f1(boxes, self.boxes)


@dataclass(frozen=True)
class Choice:
    """One letter or several, in any order."""

    letters: str
    metric: ClassVar[str] = EXACT
    task: ClassVar[str] = 'spatial'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Choice:
        """Read a string such as ``B`` or ``AC``."""
        if not isinstance(value, str) or not (letters := _letters(value)):
            raise _wrong('choice', value, 'one letter or several')
        return cls(letters)

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return self.letters

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        typed = content.choice if isinstance(content, SpatialAnswer) else ''
        return float(_letters(typed or answer_words(content)) == self.letters)


@dataclass(frozen=True)
class YesNo:
    """Yes or no."""

    yes: bool
    metric: ClassVar[str] = EXACT
    task: ClassVar[str] = 'spatial'

    @classmethod
    def read(cls, value: Any, folder: Path) -> YesNo:
        """Read JSON's ``true`` or ``false``."""
        if not isinstance(value, bool):
            raise _wrong('yes', value, 'true or false')
        return cls(value)

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return 'yes' if self.yes else 'no'

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        if isinstance(content, SpatialAnswer) and content.yes is not None:
            return float(content.yes is self.yes)
        return float(metrics.exact_match(answer_words(content), [self.words]))


@dataclass(frozen=True)
class Number:
    """A quantity, in the unit that the question asks for; the answer's unit is ignored."""

    number: float
    metric: ClassVar[str] = RELATIVE
    task: ClassVar[str] = 'spatial'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Number:
        """Read a JSON number."""
        return cls(_finite(value, 'number'))

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return f'{self.number:g}'

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        number = content.number if isinstance(content, SpatialAnswer) else None
        if number is None:
            try:  # VSI-Bench takes the first word
                number = float(answer_words(content).split()[0].rstrip('.'))
            except (IndexError, ValueError):
                return 0.0
        return metrics.relative_accuracy(number, self.number) if math.isfinite(number) else 0.0


@dataclass(frozen=True)
class Text:
    """Free text; any of several texts is right."""

    accepted: tuple[str, ...]
    metric: ClassVar[str] = EXACT
    task: ClassVar[str] = 'ask'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Text:
        """Read a string or a list of strings."""
        return cls(_strings(value, 'text'))

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return ' | '.join(self.accepted)

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        return float(metrics.exact_match(answer_words(content), self.accepted))


@dataclass(frozen=True)
class Steps:
    """The steps of a plan in order; no steps: the instruction cannot be carried out."""

    steps: tuple[str, ...]
    metric: ClassVar[str] = EXACT
    task: ClassVar[str] = 'plan'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Steps:
        """Read a list of strings."""
        return cls(_strings(_list(value, 'steps'), 'steps') if value != [] else ())

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return '; '.join(self.steps) or 'cannot be done'

    def score(self, content: Content, size: tuple[int, int]) -> float:
        """See ``Truth``."""
        if not isinstance(content, TaskPlan):
            return 0.0
        steps = [metrics.normalize(step_words(step.text)) for step in content.steps]
        return float(steps == [metrics.normalize(step) for step in self.steps])


@dataclass(frozen=True)
class TrueTrajectory:
    """Positions of the base at equal time steps: metres, x forward and y left."""

    positions: tuple[tuple[float, float], ...]
    metric: ClassVar[str] = METRES
    task: ClassVar[str] = 'ask'

    @classmethod
    def read(cls, value: Any, folder: Path) -> TrueTrajectory:
        """Read a list of ``[x, y]``, as many as the question asks for."""
        rows = _rows(value, 2, 'trajectory')
        if not rows:
            raise _wrong('trajectory', value, 'at least one [x, y]')
        return cls(tuple((x, y) for x, y in rows))

    @property
    def words(self) -> str:
        """See ``Truth``."""
        return ' '.join(f'({x:g}, {y:g})' for x, y in self.positions)

    def score(self, content: Content, size: tuple[int, int]) -> float | None:
        """See ``Truth``; a path with another number of positions cannot be measured."""
        path = (content if isinstance(content, answers.Trajectory)
                else read_trajectory(answer_words(content), step=1.0))
        if path is None or len(path.points) != len(self.positions):
            return None
        return metrics.displacement([(p.x, p.y) for p in path.points], self.positions)


@dataclass(frozen=True)
class Hidden:
    """The right answer is not published; who judges has it, and the answers go there in a file."""

    metric: ClassVar[str] = HIDDEN
    task: ClassVar[str] = 'ask'
    words: ClassVar[str] = 'not published'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Hidden:
        """Read JSON's ``true``."""
        if value is not True:
            raise _wrong('hidden', value, 'true')
        return cls()

    def score(self, content: Content, size: tuple[int, int]) -> None:
        """See ``Truth``; nothing can be measured here."""


KINDS: dict[str, Any] = {
    'mask': Mask, 'polygons': Polygons, 'boxes': Boxes, 'choice': Choice, 'yes': YesNo,
    'number': Number, 'text': Text, 'steps': Steps, 'trajectory': TrueTrajectory,
    'hidden': Hidden,
}
"""Classes of truth by their key in a record's ``answer``."""


def read_truth(value: Any, folder: Path) -> Truth:
    """Read a record's ``answer``: an object with one of `KINDS` as its only key.

    Raises:
        ValueError: the value is something else.

    """
    kind = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else ''
    if kind not in KINDS:
        raise _wrong('answer', value, f'an object with one of {", ".join(KINDS)}')
    truth: Truth = KINDS[kind].read(value[kind], folder)
    return truth


def answer_points(content: Content) -> list[tuple[float, float]]:
    """Return the points of an answer, (x, y) in pixels."""
    if isinstance(content, (Affordances, SpatialAnswer)):
        return [(point.x, point.y) for point in content.points]
    return []


def answer_words(content: Content) -> str:
    """Return the text of an answer, without its box; '' for answers that are no text."""
    if isinstance(content, TextAnswer):
        boxes = read_boxes(content.text)
        return boxes[-1].content if boxes else content.text
    return content.text if isinstance(content, SpatialAnswer) else ''


def step_words(text: str) -> str:
    """Return a step's words without the pixels after them."""
    return text.partition(' [')[0].strip()


def _wrong(name: str, value: Any, expected: str) -> ValueError:
    return ValueError(f'{name} is {reprlib.repr(value)}; give {expected}')


def _not_there(content: Content) -> bool:
    """Whether an answer of points or boxes has none."""
    if isinstance(content, SpatialAnswer) and content.type is not AnswerType.POINTS:
        return False
    return isinstance(content, (Affordances, SpatialAnswer)) and not (
        content.points or content.boxes)


def _letters(text: str) -> str:
    """Return the sorted capitals of ``B``, ``AC`` or ``A, C``, as IDKB compares them; else ''."""
    joined = re.sub(r'[\s,]', '', text).rstrip('.')
    return ''.join(sorted(joined.upper())) if re.fullmatch('[a-z]|[A-Z]+', joined) else ''


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(name, value, 'a list')
    return value


def _finite(value: Any, name: str) -> float:
    # NaN fails the comparison, too, and integers may be too large for a float
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _LARGEST:
        raise _wrong(name, value, 'a finite number')
    return float(value)


def _rows(value: Any, count: int, name: str) -> list[list[float]]:
    rows = [_list(row, name) for row in _list(value, name)]
    if any(len(row) != count for row in rows):
        raise _wrong(name, value, f'a list of lists of {count} numbers')
    return [[_finite(number, name) for number in row] for row in rows]


def _strings(value: Any, name: str) -> tuple[str, ...]:
    texts: Sequence[Any] = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise _wrong(name, value, 'words, or a list of them')
    return tuple(texts)
