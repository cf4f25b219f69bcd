"""Readers of short answers: yes or no, choices, numbers, words of a vocabulary, positions.

The names in the docstrings are folders of ``lmms_eval/tasks`` in XiaomiMiMo/MiMo-Embodied; the
reader follows the rule of that benchmark. Ambiguous answers are not read: the reader returns None.
"""

from __future__ import annotations

import math
import re
import string
from typing import TYPE_CHECKING

from .answers import AnswerType, SpatialAnswer
from .place_readers import read_places

if TYPE_CHECKING:
    from collections.abc import Sequence

_YES_NO = re.compile(r'(yes|no)(?![\w-])', re.IGNORECASE)
_ANSWER_IS = re.compile(
    r'(?:the )?(?:correct |final |best )?(?:answer|option|choice)(?: is)?:? *', re.IGNORECASE
)
_CHOICE = re.compile(r'\(?([A-Za-z])\)?\.?|(?:\(([A-Za-z])\)|([A-Z])[.):])\s.*', re.DOTALL)
_CHOICES = re.compile(r'\(?[A-H]\)?(?:(?: ?(?:[,;/&\u3001]|and\b|, ?and\b))? ?\(?[A-H]\)?)*\.?')
_CHOSEN_LINE = re.compile(r'(?:\(([A-H])\)|([A-H])[.):])\s.*')
_QUANTITY = re.compile(
    r'(-?[0-9]+(?:\.[0-9]+)?) *(?:\\[,; ] *)?\\?([^\W\d_][^\d\s]{0,19}|[%°][A-Za-z]?)?\.?'
)
_ABOUT = re.compile(r'(?:about|approximately|around|roughly|nearly|~|\u2248) ?', re.IGNORECASE)
_SOME_NUMBER = re.compile(r'(?<![\w.,-])-?[0-9]+(?:\.[0-9]+)?')
_COUNTED = re.compile(r'-?[0-9]+(?:\.[0-9]+)?(?: ?([^\W\d_]{1,20}))?(?![\w-]|[.,:][0-9])')
_ORDINAL = re.compile(r'st|nd|rd|th', re.IGNORECASE)


def read_spatial(words: str) -> SpatialAnswer:
    """Read an answer as yes or no, a letter, a number or positions, else as plain text."""
    short = _yes_no(words) or _letter(_ANSWER_IS.sub('', words, count=1), words)
    if answer := short or _quantity(words, words):
        return answer
    places = read_places(words)
    if places is None:
        return SpatialAnswer(words)
    only_boxes = places.boxes and not places.points
    kind = AnswerType.BOX if only_boxes else AnswerType.POINTS
    return SpatialAnswer(words, kind, points=places.points, boxes=places.boxes)


def read_yes_no(words: str) -> SpatialAnswer | None:
    """Read yes or no; more words may follow (robospatial and robovqa want the bare word)."""
    return next(filter(None, map(_yes_no, _candidates(words))), None)


def read_choice(words: str, options: Sequence[str] = ()) -> SpatialAnswer | None:
    """Read one letter, or the words of one option.

    ``X``, ``(X)``, ``X.``, ``X. words``, ``option X``, ``the answer is X`` as cvbench,
    drive_action and mme_realworld do; not the first letter of any text, as cosmos_reason1 does.
    """
    for candidate in _candidates(words):
        answer = _letter(candidate, words) or _option(candidate, options)
        if answer and _offered(answer, options):
            return answer
    return None


def read_choices(words: str, options: Sequence[str] = ()) -> SpatialAnswer | None:
    """Read one or several letters: ``AC``, ``A, C``, ``A and C``, or the lines of the options.

    The letters are sorted, as idkb compares them; an answer with a letter twice is not read.
    """
    for candidate in _candidates(words):
        letters = re.findall('[A-H]', candidate) if _CHOICES.fullmatch(candidate) else []
        if len(letters) > 1 and len(letters) == len(set(letters)):
            answer = SpatialAnswer(words, AnswerType.CHOICE, choices=tuple(sorted(letters)))
            return answer if _offered(answer, options) else None
    lines = [_CHOSEN_LINE.fullmatch(line.strip()) for line in words.splitlines() if line.strip()]
    if len(lines) > 1 and all(lines):
        letters = sorted({line.group(1) or line.group(2) for line in lines if line})
        answer = SpatialAnswer(words, AnswerType.CHOICE, choices=tuple(letters))
        return answer if len(letters) == len(lines) and _offered(answer, options) else None
    return read_choice(words, options)


def read_number(words: str) -> SpatialAnswer | None:
    """Read a number with its unit, or the only number of a sentence.

    vsibench takes the first word of the box and countbench the box, which would read ``3 or 4`` as
    3.
    """
    for candidate in _candidates(words):
        bare = _ABOUT.sub('', candidate, count=1) if _ABOUT.match(candidate) else candidate
        if answer := _quantity(bare, words):
            return answer
    numbers = list(_SOME_NUMBER.finditer(words))
    if len(numbers) != 1 or (counted := _COUNTED.match(words, numbers[0].start())) is None:
        return None
    unit = counted.group(1) or ''
    if _ORDINAL.fullmatch(unit):
        return None
    return _number(numbers[0].group(), unit, words)


def read_word(
    words: str, vocabulary: Sequence[str] = (), options: Sequence[str] = ()
) -> SpatialAnswer | None:
    """Read a word of a closed vocabulary as yes or no, a number, or a choice.

    nuscenesqa compares the lower-case answer without its full stop with the words of the
    vocabulary. maplm looks for an option in the answer; here the answer must name only one.
    """
    short = words.strip().rstrip('.').lower()
    allowed = {word.lower(): word for word in (*vocabulary, *options)}
    if short not in allowed and options:
        longest_first = sorted((o.lower() for o in options), key=len, reverse=True)
        names = '|'.join(map(re.escape, longest_first))
        pattern = rf'(?<![\w.-])(?:{names})(?!\w|\.\d)'
        named = set(re.findall(pattern, words.lower()))
        short = named.pop() if len(named) == 1 else ''
    if short not in allowed:
        return None
    word = allowed[short]
    answer = _yes_no(word) if short in ('yes', 'no') else _quantity(word, words)
    return answer or SpatialAnswer(words, AnswerType.CHOICE, choices=(word,))


def read_labels(words: str, vocabulary: Sequence[str]) -> SpatialAnswer | None:
    """Read words of a closed vocabulary that are separated by commas, "and" or line ends."""
    allowed = {word.lower(): word for word in vocabulary}
    parts = [p.strip(' .*-[]"\'').lower() for p in re.split(r',|\n|;|\band\b', words)]
    parts = [part for part in parts if part]
    if not parts or not all(part in allowed for part in parts):
        return None
    labels = tuple(dict.fromkeys(allowed[part] for part in parts))
    return SpatialAnswer(words, AnswerType.CHOICE, choices=labels)


def _candidates(words: str) -> list[str]:
    """Return the parts that may be the answer: all, the last line, what follows "the answer is"."""
    bare = ' '.join(words.replace('**', '').split())
    last = ' '.join(words.strip().rpartition('\n')[2].replace('**', '').split())
    matches = (_ANSWER_IS.search(line) for line in (bare, last))
    return [bare, last, *(match.string[match.end() :] for match in matches if match)]


def _yes_no(words: str) -> SpatialAnswer | None:
    if match := _YES_NO.match(words):
        return SpatialAnswer(words, AnswerType.YES_NO, yes=match.group(1).lower() == 'yes')
    return None


def _letter(answer: str, words: str) -> SpatialAnswer | None:
    if match := _CHOICE.fullmatch(answer):
        letter = next(filter(None, match.groups())).upper()
        return SpatialAnswer(words, AnswerType.CHOICE, choices=(letter,))
    return None


def _option(answer: str, options: Sequence[str]) -> SpatialAnswer | None:
    """Return the option that the answer repeats word by word, as sat and others compare them."""
    words = answer.rstrip('.').casefold()
    for letter, option in zip(string.ascii_uppercase, options, strict=False):
        if option.rstrip('.').casefold() == words:
            return SpatialAnswer(answer, AnswerType.CHOICE, choices=(letter,))
    return None


def _offered(answer: SpatialAnswer, options: Sequence[str]) -> bool:
    letters = string.ascii_uppercase[: len(options)] if options else string.ascii_uppercase
    return all(letter in letters for letter in answer.choices)


def _quantity(answer: str, words: str) -> SpatialAnswer | None:
    if match := _QUANTITY.fullmatch(answer):
        return _number(match.group(1), (match.group(2) or '').rstrip('.'), words)
    return None


def _number(digits: str, unit: str, words: str) -> SpatialAnswer | None:
    number = float(digits)
    if not math.isfinite(number):
        return None
    return SpatialAnswer(words, AnswerType.NUMBER, number=number, unit=unit)
