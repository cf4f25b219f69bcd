"""Readers of the words of a closed vocabulary."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from .answers import AnswerType, SpatialAnswer
from .number_readers import read_number
from .short_answers import LEAD, PLACES, THING, any_of, bare, conclusion, plain, with_capitals
from .yes_no_readers import read_yes_no

if TYPE_CHECKING:
    from collections.abc import Sequence

_IT_IS = re.compile(
    rf'(?:(?:IT|THIS|THAT|{THING}) IS (?:AN? |THE )?|THERE (?:IS|ARE) (?:AN? )?)'
)
_PLACE = re.compile(rf'(?: {PLACES})?\.?')


def read_word(
    words: str, vocabulary: Sequence[str] = (), options: Sequence[str] = ()
) -> SpatialAnswer | None:
    """Read a word of a closed vocabulary as yes or no, a number, or a choice.

    nuscenesqa compares the lower-case answer without its full stop with the words of the
    vocabulary. maplm looks for an option in the answer; here the answer is the option, or a
    sentence that says no more: "It is an intersection.", "There are 3 lanes."
    """
    allowed = {bare(word): word for word in (*vocabulary, *options)}
    named = any_of(allowed)
    whole = plain(words)
    text = conclusion(whole, LEAD, re.compile(named).search)
    if text is None:
        return None
    if {'yes', 'no'} <= allowed.keys() and (answer := read_yes_no(words)):
        return answer
    word = allowed.get(bare(text), '')
    if word.casefold().startswith('not ') and bare(whole) != bare(word):
        return None  # "the answer is not standing": also another than "standing"
    if options and not word:
        word = _numbered(text, options) or _named(text, allowed, named)
    if not word or bare(word) in ('yes', 'no'):  # else read_yes_no had read the whole
        return None
    if answer := read_number(word, sentences=False):
        return replace(answer, text=words)
    return SpatialAnswer(words, AnswerType.CHOICE, choices=(word,))


def _numbered(words: str, options: Sequence[str]) -> str:
    """Return the option that is the number of a sentence; empty if there is none."""
    said = read_number(words)
    for option in options if said else ():
        number = read_number(option, sentences=False)
        if said and number and not number.unit and number.number == said.number:
            return option
    return ''


def _named(text: str, allowed: dict[str, str], named: str) -> str:
    """Return the only allowed word that a sentence names; empty if it says more."""
    found = list(re.finditer(named, text))
    if len(found) == 1:
        before, after = text[: found[0].start()], text[found[0].end() :]
        if _IT_IS.fullmatch(with_capitals(before)) and _PLACE.fullmatch(with_capitals(after)):
            return allowed.get(bare(found[0].group()), '')
    return ''


def read_labels(words: str, vocabulary: Sequence[str]) -> SpatialAnswer | None:
    """Read words of a closed vocabulary that are separated by commas, "and" or line ends."""
    allowed = {word.lower(): word for word in vocabulary}
    parts = [p.strip(' .*-[]"\'').lower() for p in re.split(r',|\n|;|\band\b', words)]
    parts = [part for part in parts if part]
    if not parts or not all(part in allowed for part in parts):
        return None
    labels = tuple(dict.fromkeys(allowed[part] for part in parts))
    return SpatialAnswer(words, AnswerType.CHOICE, choices=labels)
