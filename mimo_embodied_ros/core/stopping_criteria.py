r"""Tell when an answer is complete, so that more text would not change what is read from it.

This is possible for a JSON list of points or boxes and for a short answer in ``\boxed{}``: both
show by a bracket that they are closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .readers import END_THINK, is_thinking, json_list_end, read_boxed
from .tasks import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class StoppingCriterion:
    """Tells whether a text, reasoning included, is a complete answer.

    Attributes:
        bracket: complete texts end with it; ``is_complete`` need not be called for others.
        is_complete: whether a text that ends so is complete.

    """

    bracket: str
    is_complete: Callable[[str], bool]


def _is_complete_list(text: str) -> bool:
    answer = text.rpartition(END_THINK)[2].strip()
    return not is_thinking(text) and json_list_end(answer) == len(answer)


def _is_complete_box(text: str) -> bool:
    box = None if is_thinking(text) else read_boxed(text.rpartition(END_THINK)[2].strip())
    return box is not None and box[1]


_LIST = StoppingCriterion(']', _is_complete_list)
_BOX = StoppingCriterion('}', _is_complete_box)
STOPPING_CRITERIA = {
    AnswerKind.POINTS: _LIST,
    AnswerKind.BOXES: _LIST,
    AnswerKind.SPATIAL: _BOX,
    AnswerKind.YES_NO: _BOX,
    AnswerKind.CHOICE: _BOX,
    AnswerKind.NUMBER: _BOX,
    AnswerKind.WORD: _BOX,
}
"""By the kind of the answer; the others end only where the model ends them."""
