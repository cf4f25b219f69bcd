"""Readers of spatial answers: of the type that the words have, and positions without labels.

The names in the docstrings are folders of ``lmms_eval/tasks`` in XiaomiMiMo/MiMo-Embodied; the
reader follows the rule of that benchmark. Ambiguous answers are not read: the reader returns None.
"""

from __future__ import annotations

import re

from .answers import Affordances, AnswerType, SpatialAnswer
from .choice_readers import read_choice, read_choices
from .number_readers import read_number
from .readers import PAIR, read_entries, read_pairs, read_quads
from .vocabulary_readers import read_labels, read_word
from .yes_no_readers import read_yes_no

__all__ = [
    'read_bare', 'read_choice', 'read_choices', 'read_labels', 'read_number', 'read_spatial',
    'read_word', 'read_yes_no',
]  # fmt: skip

_WORD = re.compile(r'[^\W\d]')


def read_spatial(words: str) -> SpatialAnswer:
    """Read an answer as yes or no, a letter, a number or positions, else as plain text."""
    short = read_yes_no(words) or read_choice(words) or read_number(words, sentences=False)
    if short:
        return short
    places = read_entries(words)
    if places is None and not _WORD.search(words):
        places = read_bare(words, boxes=True) or read_bare(words, boxes=False)
    if places is None and PAIR.search(words):
        places = Affordances(read_pairs(words))
    if places is None:
        return SpatialAnswer(words)
    only_boxes = places.boxes and not places.points
    kind = AnswerType.BOX if only_boxes else AnswerType.POINTS
    return SpatialAnswer(words, kind, points=places.points, boxes=places.boxes)


def read_bare(words: str, *, boxes: bool) -> Affordances | None:
    """Read coordinates without labels; None if there are none."""
    if boxes:
        quads = read_quads(words)
        return Affordances(boxes=quads) if quads else None
    pairs = read_pairs(words)
    return Affordances(pairs) if pairs else None
