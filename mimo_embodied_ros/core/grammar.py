r"""Grammars that an answer cannot leave, for engines that can hold the model to one.

They are written in llguidance's Lark (github.com/guidance-ai/llguidance, docs/syntax.md) and accept
what the readers of this package read without loss. The reasoning before an answer stays free.
"""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

from .tasks import AnswerKind

if TYPE_CHECKING:
    from .query import Query

# The model writes the tags of its reasoning as plain text, also around nothing.
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
SKILL: /(?:SAYS)\.?/
"""


def grammar_of(query: Query) -> str:
    """The grammar of a query's answers; empty for what has none: words, lists of choices, driving.

    A plan has one where the query has skills: steps of their words, with values of the right types.
    """
    kind = query.task.answer
    if kind is AnswerKind.PLAN:
        if query.skills is None:
            return ''
        says = '|'.join(skill.grammar() for skill in query.skills.skills)
        most = query.skills.max_steps
        steps = ''.join(
            f'step{n}: "{n}. " SKILL' + f' ("\\n" step{n + 1})?' * (n < most) + '\n'
            for n in range(1, most + 1))
        return _FRAME + _PLAN.replace('SAYS', says) + steps
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
    """A word in a box where the prompt asks for one: forced into another form, models guess."""
    some = ' | '.join(json.dumps(word) for word in words)
    if 'boxed' in query.task.prompt:
        some = f'"\\\\boxed{{" ({some}) "}}"'
    return f'answer: {some}\n'
