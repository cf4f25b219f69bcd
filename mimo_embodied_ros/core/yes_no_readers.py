"""Reader of yes or no."""

from __future__ import annotations

import re

from .answers import AnswerType, SpatialAnswer
from .short_answers import LEAD, NOUN, PLACES, THING, conclusion, plain

_YES = r'(?:yes|\(yes\)|\u662f\u7684?|\u5bf9\u7684?)'
_NO = r'(?:no|\(no\)|\u5426|\u4e0d|\u4e0d\u662f\u7684?|\u4e0d\u5bf9|\u6ca1\u6709)'
# what may not stand before "the answer is"; the Chinese characters are those of yes and no
_OTHERS = re.compile(
    r'\b(?:yes|no|not|true|false)\b|[\u662f\u5426\u4e0d\u5bf9\u6ca1\u6709]', re.IGNORECASE
)
_CONTRACTED = (
    (re.compile(r"\bcan't\b|\bcannot\b"), 'can not'),
    (re.compile(r"(?<=s|e|o)n't\b"), ' not'),
    (re.compile(r"(?<=\bit|at|re|he)'s\b"), ' is'),  # it's, that's, there's, she's
    (re.compile(r"\bthey're\b"), 'they are'),
)
_IT = rf'(?:it|they|this|that|(?:{THING}|these {NOUN}|those {NOUN})(?: {PLACES})?)'
_NOW = r'(?: (?:already|now|currently|clearly|indeed|completely|fully))?'
_STATE = (
    r'(?:done|satisfied|completed?|finished|fulfilled|achieved|reached|possible|visible|true|correct'
    r'|right|open(?:ed)?|closed?|empty|full|present|available|free|reachable|safe|placed|moved|held'
    r'|picked up|put|removed|cleared|stacked|located|parked|moving|stopped|standing|touching)'
)
_ACT = (
    r'(?:fit|reach|grasp|pick up|hold|place|put|move|lift|push|pull|open|close|see|touch|contain'
    rf'|support|block|face|have)(?: {THING})?'
)


def _clause(negation: str) -> str:
    """Return the pattern of a clause that confirms yes, or no by its one negation."""
    place = rf'(?: {PLACES})?'
    return (
        rf'{_IT} (?:(?:is|are){negation}(?:{_NOW} {_STATE})?{place}'
        rf'|(?:has|have){negation}(?:{_NOW} been {_STATE}{place})?'
        rf'|(?:does|do){negation}(?: {_ACT}{place})?'
        rf'|can{negation}(?: (?:be {_STATE}|{_ACT}){place})?)'
    )


_A_THING = rf'(?:(?:an? )?{NOUN}(?: {NOUN}){{0,3}})'
_AFFIRMS = rf'(?:{_clause("")}|there (?:is|are)(?: {_A_THING}(?: {PLACES})?)?)'
# "there is no ..." needs a place: "no doubt" and "no problem" deny nothing
_DENIES = (
    rf'(?:{_clause(" not")}(?: yet)?|there (?:is|are) not(?: {_A_THING} {PLACES})?'
    rf'|there (?:is|are) no {NOUN}(?: {NOUN}){{0,2}} {PLACES}|there (?:is|are) none)'
)
_ANSWER = re.compile(
    rf'(?:({_YES})(?:[,.:;!]? {_AFFIRMS})?|{_NO}(?:[,.:;!]? {_DENIES})?)[.!]?', re.IGNORECASE
)


def read_yes_no(words: str) -> SpatialAnswer | None:
    """Read yes or no, alone or with a clause that says the same once more.

    robospatial and robovqa want the bare word. "No, it is on the right." is not read: whether it
    denies depends on the question.
    """
    answer = conclusion(plain(words), LEAD, _OTHERS)
    if answer is None:
        return None
    answer = answer.lower()
    for pattern, written in _CONTRACTED:
        answer = pattern.sub(written, answer)
    if match := _ANSWER.fullmatch(answer):
        return SpatialAnswer(words, AnswerType.YES_NO, yes=match.group(1) is not None)
    return None
