r"""Grammars of answers, for engines that support constrained decoding.

They are written in llguidance's Lark (github.com/guidance-ai/llguidance, docs/syntax.md) and accept
what the readers of this package read without loss. They do not constrain the reasoning before an
answer. Answers in free words have none, and neither have plans in free words and paths: a model
that refuses them would be forced to invent steps that a robot then takes.
"""

from __future__ import annotations

import json
import re
import string
from typing import TYPE_CHECKING

from .profiles import MIMO_EMBODIED
from .tasks import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .profiles import Profile
    from .query import Query

# The model writes the tags of its reasoning as plain text, also around an empty one.
_FRAME = r"""start: reasoning? GAP? answer
reasoning[lazy]: /(?s:<think>.*<\/think>)/
GAP: /[ \n]{1,4}/
NUMBER: /0|[1-9][0-9]{0,4}/
STRING: /"[^"\\<\x00-\x1F]{0,120}"/
"""
_LIST = r"""answer: "[]" | "[" entry ("," GAP? entry)* "]"
entry: "{" place "," GAP? "\"label\":" GAP? STRING "}"
pair: NUMBER "," GAP? NUMBER
"""
_POINTS = r"""place: "\"points\":" GAP? "[" point ("," GAP? point)* "]"
point: "[" pair "]"
"""
_POINT = r"""place: "\"KEY\":" GAP? "[" pair "]"
"""
_BOXES = r"""place: "\"bbox_2d\":" GAP? "[" pair "," GAP? pair "]"
"""
_PLAN = r"""answer: "[]" | step1
SKILL: /(?:SAYS)[.。]?/
"""
# A number, and the unit where the model gives one.
QUANTITY = '-?(?:0|[1-9][0-9]{0,5})(?:[.][0-9]{1,3})?( ?(?:[mck]?m|meters?|feet|degrees?|[%°]))?'
# Words that can stand in a grammar and in a box as they are.
_PLAIN = re.compile(r"[\w ,.'()/&+:-]+")
SEVERAL = 'ABCDEFGH'  # the letters that may be chosen together
# An option in a question, after its letter.
_LETTERED = re.compile(r'(?<![\w.])([A-Z])[.):](?=\s*\S)')


def grammar_of(query: Query, profile: Profile = MIMO_EMBODIED) -> str:
    """Return the grammar of a query's answers; empty where it has none.

    Points, boxes, hazards in boxes, yes or no, numbers, letters and words to choose from have one,
    and plans of skills: their steps are in the words of the skills, with values of the right types.
    Points and boxes of a model have none where its profile has no key for them.

    Args:
        query: the request.
        profile: of the model, with the keys of points and boxes.

    """
    grammar = _grammar(query, profile)
    if '<think>' in profile.mode(thinks=query.thinks).prefill.rpartition('</think>')[2]:
        # the reasoning is begun already, and only its end is the model's
        grammar = grammar.replace('start: reasoning? GAP?', 'start: reasoning GAP?')
        grammar = grammar.replace('<think>.*', '.*')
    return grammar


def _grammar(query: Query, profile: Profile) -> str:
    kind, task = query.task.answer, query.task
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
        place = _POINTS if profile.point == 'points' else _POINT.replace('KEY', profile.point)
        return _FRAME + _LIST + place if profile.point else ''
    boxes = _FRAME + _LIST + _BOXES.replace('bbox_2d', profile.box)
    if kind is AnswerKind.BOXES:
        return boxes if profile.box else ''
    if kind is AnswerKind.DECISION and asks_for_hazards(query, profile):
        return boxes.replace('label', 'caption')
    alternatives = _short_answers(query)
    if alternatives and 'boxed' in task.prompt:
        # models guess where they are forced into another form than that of the prompt
        alternatives = f'"\\\\boxed{{" ({alternatives}) "}}"'
    return f'{_FRAME}answer: {alternatives}\n' if alternatives else ''


def without_reasoning(grammar: str) -> str:
    """Return the grammar of an answer whose reasoning is written already."""
    return grammar.replace('start: reasoning? ', 'start: ', 1)


def asks_for_hazards(query: Query, profile: Profile) -> bool:
    """Tell whether the prompt asks for boxes, each with a caption, by the model's key."""
    return bool(profile.box) and f'"{profile.box}"' in query.task.prompt


def _short_answers(query: Query) -> str:
    """Return the alternatives of an answer of a few words; empty where they are not known."""
    kind = query.task.answer
    if kind is AnswerKind.YES_NO:
        return _one_of(('yes', 'no', 'Yes', 'No'))
    if kind is AnswerKind.NUMBER:
        return f'/{QUANTITY}/'
    if kind is AnswerKind.CHOICE:
        count = len(query.options)
        return _one_of(string.ascii_uppercase[:count] if count else lettered(query.text))
    if kind is AnswerKind.CHOICES and len(query.options) <= len(SEVERAL):
        # in their order, none of them twice: A, AB, AC, ABC, B, BC, C
        letters = SEVERAL[: len(query.options)]
        starts = (first + ''.join(f'{more}?' for more in letters[number:])
                  for number, first in enumerate(letters, 1))
        return f'/{"|".join(starts)}/' if letters else ''
    if kind is AnswerKind.WORD:
        words = query.task.vocabulary + query.options
        return _one_of(words) if all(map(_PLAIN.fullmatch, words)) else ''
    return ''


def lettered(text: str) -> str:
    """Return the letters of the options in a question, ``A. left B. right``; empty: it has none."""
    letters = ''.join(_LETTERED.findall(text))
    return letters if len(letters) > 1 and string.ascii_uppercase.startswith(letters) else ''


def _one_of(words: Iterable[str]) -> str:
    return ' | '.join(json.dumps(word, ensure_ascii=False) for word in words)
