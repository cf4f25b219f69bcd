"""A question of a benchmark and its answer, from which rules make scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .ground_truth import Choice, Text, YesNo, answer_words

if TYPE_CHECKING:
    from mimo_embodied_ros.core.answers import Content
    from mimo_embodied_ros.core.resize import Resize

    from .dataset import Record


@dataclass(frozen=True)
class Answered:
    """A question of a benchmark and its answer.

    Attributes:
        record: the question.
        text: all that the model wrote; '' where it failed.
        content: as a robot reads the answer; None where it cannot be read.
        score: of the content, in the metric of the record's truth; None: it has none.
        resize: from the first image to the one that the model saw; None without an image.

    """

    record: Record
    text: str
    content: Content | None = None
    score: float | None = 0.0
    resize: Resize | None = None

    @property
    def target(self) -> str:
        """The right answer as the vendor's files have it."""
        truth = self.record.truth
        if isinstance(truth, Choice):
            return truth.letters
        if isinstance(truth, YesNo):
            return truth.words
        return truth.accepted[0] if isinstance(truth, Text) else truth.words

    @property
    def words(self) -> str:
        """The answer as a robot reads it, in words."""
        if self.content is None:
            return ''
        return getattr(self.content, 'choice', '') or answer_words(self.content)
