"""Reader of spatial answers whose type the question does not fix.

They become the type that the whole of the words surely has, else they stay text.
"""

from __future__ import annotations

from .answers import AnswerType, SpatialAnswer
from .choice_readers import read_choice
from .number_readers import read_number
from .place_readers import read_places
from .yes_no_readers import read_yes_no


def read_spatial(words: str) -> SpatialAnswer:
    """Read an answer as yes or no, a letter, a number or positions, else as plain text.

    Raises:
        ParseError: it begins with brackets that cannot be read. OutputTruncatedError: they are not
            closed.

    """
    short = read_yes_no(words) or read_choice(words) or read_number(words, sentences=False)
    if short:
        return short
    places = read_places(words)
    if places is None:
        return SpatialAnswer(words)
    only_boxes = places.boxes and not places.points
    kind = AnswerType.BOX if only_boxes else AnswerType.POINTS
    return SpatialAnswer(words, kind, points=places.points, boxes=places.boxes)
