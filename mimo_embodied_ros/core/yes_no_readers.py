"""Reader of yes or no."""

from __future__ import annotations

import re

from .answers import AnswerType, SpatialAnswer
from .short_answers import LEAD, NOUN, PLACES, THING, conclusion, plain, with_capitals

_YES = r'(?:YES|\(YES\)|是的?|对的?)'
_NO = r'(?:NO|\(NO\)|否|不|不是的?|不对|没有)'
# what may not stand before "the answer is"; the Chinese characters are of yes and no
_OTHERS = re.compile(
    r'\b(?:yes|no|not|true|false)\b|[是否不对没有]',
    re.IGNORECASE | re.ASCII,
)
_CONTRACTED = (
    (re.compile(r"\b(can)(?:'t|not)\b", re.IGNORECASE), r'\1 not'),
    (re.compile(r"(?<=[seo])n't\b", re.IGNORECASE), ' not'),
    (re.compile(r"\b(it|that|there)'s\b", re.IGNORECASE), r'\1 is'),
    (re.compile(r"\b(they)'re\b", re.IGNORECASE), r'\1 are'),
)
_IT = rf'(?:IT|THEY|THIS|THAT|(?:{THING}|(?:THESE|THOSE) {NOUN})(?: {PLACES})?)'
_NOW = r'(?: (?:already|now|currently|clearly|indeed|completely|fully))?'
_STATE = (
    r'(?:done|satisfied|completed?|finished|fulfilled|achieved|reached|POSSIBLE|visible|TRUE|correct'
    r'|right|open(?:ed)?|closed?|empty|full|present|available|free|reachable|safe|placed|moved|held'
    r'|picked up|put|removed|cleared|stacked|located|parked|moving|stopped|standing|touching)'
)
_ACT = (
    r'(?:fit|reach|grasp|pick up|hold|place|put|move|lift|push|pull|open|close|see|touch|contain'
    rf'|support|block|face|HAVE)(?: {THING})?'
)


def _clause(negation: str) -> str:
    """Return the pattern of a clause that confirms yes, or no by its one negation."""
    place = rf'(?: {PLACES})?'
    return (
        rf'{_IT} (?:(?:IS|ARE){negation}(?:{_NOW} {_STATE})?{place}'
        rf'|(?:HAS|HAVE){negation}(?:{_NOW} BEEN {_STATE}{place})?'
        rf'|(?:DOES|DO){negation}(?: {_ACT}{place})?'
        rf'|CAN{negation}(?: (?:BE {_STATE}|{_ACT}){place})?)'
    )


_A_THING = rf'(?:(?:AN? )?{NOUN}(?: {NOUN}){{0,3}})'
_AFFIRMS = rf'(?:{_clause("")}|THERE (?:IS|ARE)(?: {_A_THING}(?: {PLACES})?)?)'
# "there is no ..." needs a place: "no mistake" denies nothing
_DENIES = (
    rf'(?:{_clause(" NOT")}(?: YET)?|THERE (?:IS|ARE) NOT(?: {_A_THING} {PLACES})?'
    rf'|THERE (?:IS|ARE) NO {NOUN}(?: {NOUN}){{0,2}} {PLACES}|THERE (?:IS|ARE) NONE)'
)
_ANSWER = re.compile(
    rf'(?:({_YES})(?:[,.:;!]? {_AFFIRMS})?|{_NO}(?:[,.:;!]? {_DENIES})?)[.!]?'
)


def read_yes_no(words: str) -> SpatialAnswer | None:
    """Read yes or no, alone or with a clause that says the same once more.

    robospatial and robovqa want the bare word. "No, it is on the right." is not read: whether it
    denies depends on the question.
    """
    answer = conclusion(plain(words), LEAD, _OTHERS.search)
    if answer is None:
        return None
    for pattern, written in _CONTRACTED:
        answer = pattern.sub(written, answer)
    if match := _ANSWER.fullmatch(with_capitals(answer)):
        return SpatialAnswer(words, AnswerType.YES_NO, yes=match.group(1) is not None)
    return None
