"""Ground truth of questions, and scores of answers.

There is a class for each kind of truth. Its ``read`` takes the JSON value and raises ValueError,
its ``score`` takes a typed answer; pixels are of the original image.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mimo_embodied_ros.core import answers
from mimo_embodied_ros.core.answers import SpatialAnswer, TaskPlan, TextAnswer
from mimo_embodied_ros.core.driving_readers import read_trajectory
from mimo_embodied_ros.core.readers import read_boxes

from . import metrics
from .regions import Boxes, Mask, Polygons
from .truth_values import as_list, as_rows, finite, strings, wrong

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.core.answers import Content

EXACT, RELATIVE, METRES, HIDDEN = 'exact', 'relative', 'l2_metres', 'hidden'
"""Names of the metrics; all but l2_metres are shares, where 1 is best."""


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
class Choice:
    """One letter or several, in any order."""

    letters: str
    metric: ClassVar[str] = EXACT
    task: ClassVar[str] = 'spatial'

    @classmethod
    def read(cls, value: Any, folder: Path) -> Choice:
        """Read a string such as ``B`` or ``AC``."""
        if not isinstance(value, str) or not (letters := _letters(value)):
            raise wrong('choice', value, 'one letter or several')
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
            raise wrong('yes', value, 'true or false')
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
        return cls(finite(value, 'number'))

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
        return cls(strings(value, 'text'))

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
        return cls(strings(as_list(value, 'steps'), 'steps') if value != [] else ())

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
        rows = as_rows(value, 2, 'trajectory')
        if not rows:
            raise wrong('trajectory', value, 'at least one [x, y]')
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
            raise wrong('hidden', value, 'true')
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
        raise wrong('answer', value, f'an object with one of {", ".join(KINDS)}')
    truth: Truth = KINDS[kind].read(value[kind], folder)
    return truth


def answer_words(content: Content) -> str:
    """Return the text of an answer, without its box; '' for answers that are no text."""
    if isinstance(content, TextAnswer):
        boxes = read_boxes(content.text)
        return boxes[-1].content if boxes else content.text
    return content.text if isinstance(content, SpatialAnswer) else ''


def step_words(text: str) -> str:
    """Return a step's words without the pixels after them."""
    return text.partition(' [')[0].strip()


def _letters(text: str) -> str:
    """Return the sorted capitals of ``B``, ``AC`` or ``A, C``, as IDKB compares them; else ''."""
    joined = re.sub(r'[\s,]', '', text).rstrip('.')
    return ''.join(sorted(joined.upper())) if re.fullmatch('[a-z]|[A-Z]+', joined) else ''
