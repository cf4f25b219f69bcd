r"""Grammars of answers, for engines that support constrained decoding.

They are written in llguidance's Lark (github.com/guidance-ai/llguidance, docs/syntax.md) and accept
what the readers of this package read without loss. They do not constrain the reasoning before an
answer.
"""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

from .tasks import AnswerKind

if TYPE_CHECKING:
    from .query import Query

# The model writes the tags of its reasoning as plain text, also around an empty one.
_FRAME = r"""start: reasoning? GAP? answer
reasoning[lazy]: /(?s:<think>.*<\/think>)/
GAP: /[ \n]{1,4}/
NUMBER: /[0-9]{1,5}/
STRING: /"[^"\\\x00-\x1F]{0,120}"/
"""
_LIST = r"""answer: "[]" | "[" entry ("," GAP? entry)* "]"
entry: "{" place "," GAP? "\"label\":" GAP? STRING "}"
pair: NUMBER "," GAP? NUMBER
"""
_POINTS = r"""place: "\"points\":" GAP? "[" point ("," GAP? point)* "]"
point: "[" pair "]"
"""
_BOXES = r"""place: "\"bbox_2d\":" GAP? "[" pair "," GAP? pair "]"
"""
_PLAN = r"""answer: "[]" | step1
SKILL: /(?:SAYS)[.。]?/
"""


def grammar_of(query: Query) -> str:
    """Return the grammar of a query's answers.

    Points, boxes, yes or no, the choice of an option and plans of skills have one: their steps are
    in the words of the skills, with values of the right types. It is empty for other answers.
    """
    kind = query.task.answer
    if kind is AnswerKind.PLAN:
        if query.skills is None:
            return ''
        patterns = '|'.join(skill.grammar() for skill in query.skills.skills)
        last = query.skills.max_steps
        steps = ''.join(
            f'step{n}: "{n}. " SKILL' + f' ("\\n" step{n + 1})?' * (n < last) + '\n'
            for n in range(1, last + 1))
        return _FRAME + _PLAN.replace('SAYS', patterns) + steps
    if kind is AnswerKind.POINTS:
        return _FRAME + _LIST + _POINTS
    if kind is AnswerKind.BOXES:
        return _FRAME + _LIST + _BOXES
    if kind is AnswerKind.YES_NO:
        return _FRAME + _one_of(('yes', 'no', 'Yes', 'No'), query)
    if kind is AnswerKind.CHOICE and query.options:
        return _FRAME + _one_of(tuple(string.ascii_uppercase[: len(query.options)]), query)
    return ''


def _one_of(words: tuple[str, ...], query: Query) -> str:
    r"""One of the words, in ``\boxed{}`` where the prompt asks for it.

    Models guess where they are forced into another form than that of the prompt.
    """
    alternatives = ' | '.join(json.dumps(word) for word in words)
    if 'boxed' in query.task.prompt:
        alternatives = f'"\\\\boxed{{" ({alternatives}) "}}"'
    return f'answer: {alternatives}\n'
