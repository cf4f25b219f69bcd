"""Match the words of a plan with those of its instruction, so that no other text can steer it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_TOKEN = re.compile(r'[^\W_]+')
_PUNCTUATION = re.compile(r"[^\w\s'-]+")


def tokenize(text: str) -> list[str]:
    """Split a text into lower-case words and numbers, plurals made singular."""
    return [
        word[:-1] if len(word) > 3 and word.endswith('s') and not word.endswith('ss') else word
        for word in _TOKEN.findall(text.casefold())
    ]


# Words that name neither a skill nor a thing: a plan need not repeat them, and they are no part of
# a thing's name.
_STOP_WORDS = frozenset(tokenize("""
    a all an and any away at back by can carefully could down each every first for from gently i in
    into it me my now of off on onto or out please quickly robot slowly some step that the their
    them then there these this those to together toward up we will with would you your"""))
_GENERIC_NOUNS = frozenset(('item', 'object', 'one', 'thing'))
_UNIVERSAL_PRONOUNS = frozenset(('anything', 'everything'))


def content_words(text: str) -> list[str]:
    """Return the words without stop words; all words where there are only stop words."""
    words = tokenize(text)
    return [word for word in words if word not in _STOP_WORDS] or words


def may_be_same_thing(name: str, other: str) -> bool:
    """Whether two names may mean one thing: one has all content words of the other."""
    a, b = set(content_words(name)), set(content_words(other))
    return bool(a and b) and (a <= b or b <= a)


def mentions(instruction: str, thing: str, skill_words: Iterable[str]) -> bool:
    """Whether an instruction mentions a thing, with more words or fewer.

    "red cube" is mentioned by "the red cube", "the cube", "the red objects" and "everything", and
    not by "the green cube".

    Args:
        instruction: what the user wants.
        thing: its name.
        skill_words: words that name skills; they end the name of a thing.

    """
    name = set(content_words(thing))
    for phrase in _phrases(instruction, _STOP_WORDS | set(skill_words) - name):
        described = phrase - _GENERIC_NOUNS
        if phrase & _UNIVERSAL_PRONOUNS or described <= name or name <= described:
            return True
    return False


def _phrases(text: str, separators: Collection[str]) -> Iterator[set[str]]:
    """Yield the sets of words that stand together between separators and punctuation."""
    for part in _PUNCTUATION.split(text):
        phrase: set[str] = set()
        for word in (*tokenize(part), ''):
            if word and word not in separators:
                phrase.add(word)
            elif phrase:
                yield phrase
                phrase = set()


def uncovered_words(instruction: str, covered: Iterable[str]) -> list[str]:
    """Return the content words of an instruction that a plan does nothing about.

    Args:
        instruction: what the user wants.
        covered: words of the plan's skills and things, by `tokenize`.

    """
    ignored = _STOP_WORDS | _GENERIC_NOUNS | _UNIVERSAL_PRONOUNS | set(covered)
    return [word for word in dict.fromkeys(tokenize(instruction)) if word not in ignored]
