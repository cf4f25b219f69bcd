r"""Tells when an answer is whole, so that nothing the model could add would change what is read.

Only for answers of one closed thing: the JSON list of places, or the ``\boxed{}`` of one choice.
"""

from __future__ import annotations

from .readers import END_THINK, is_thinking, json_list_end, read_boxed
from .tasks import AnswerKind

_LISTED = frozenset({AnswerKind.POINTS, AnswerKind.BOXES})
_BOXED = frozenset({
    AnswerKind.SPATIAL, AnswerKind.YES_NO, AnswerKind.CHOICE, AnswerKind.NUMBER, AnswerKind.WORD,
})


def is_complete(kind: AnswerKind, text: str) -> bool:
    """Whether what the model wrote so far, reasoning included, is a whole answer of its kind."""
    closing = ']' if kind in _LISTED else '}' if kind in _BOXED else ''
    if not closing or not text.endswith(closing) or is_thinking(text):
        return False
    answer = text.rpartition(END_THINK)[2].strip()
    if kind in _LISTED:
        return json_list_end(answer) == len(answer)
    found = read_boxed(answer)
    return found is not None and found[1]
