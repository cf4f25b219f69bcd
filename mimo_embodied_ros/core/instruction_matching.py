"""Whether a plan stays within the words of its instruction, so that no other words can steer it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_TOKEN = re.compile(r'[^\W_]+')
_BREAK = re.compile(r"[^\w\s'-]+")


def words_of(text: str) -> list[str]:
    """Words in small letters, numbers too; those of several things as of one."""
    return [
        word[:-1] if len(word) > 3 and word.endswith('s') and not word.endswith('ss') else word
        for word in _TOKEN.findall(text.casefold())
    ]


# Words that name neither a skill nor a thing: they need not come back in a plan, and no name goes
# beyond them.
_LINKS = frozenset(words_of("""
    a all an and any away at back by can carefully could down each every first for from gently i in
    into it me my now of off on onto or out please quickly robot slowly some step that the their
    them then there these this those to together toward up we will with would you your"""))
_ANYTHING = frozenset(('item', 'object', 'one', 'thing'))
_EVERYTHING = frozenset(('anything', 'everything'))


def telling(text: str) -> list[str]:
    """The words that say something; all of them where none does."""
    words = words_of(text)
    return [word for word in words if word not in _LINKS] or words


def same_thing(one: str, other: str) -> bool:
    """Whether two names may be of one thing: one has all words of the other."""
    a, b = set(telling(one)), set(telling(other))
    return bool(a and b) and (a <= b or b <= a)


def is_named(instruction: str, thing: str, skill_words: Iterable[str]) -> bool:
    """Whether an instruction names a thing, with more words or fewer.

    "red cube" is named by "the red cube", "the cube", "the red objects" and "everything", and not
    by "the green cube".
    """
    wanted = set(telling(thing))
    for phrase in _phrases(instruction, _LINKS | set(skill_words) - wanted):
        described = phrase - _ANYTHING
        if phrase & _EVERYTHING or described <= wanted or wanted <= described:
            return True
    return False


def _phrases(text: str, ends: Collection[str]) -> Iterator[set[str]]:
    """The words that stand together, without any of the ends between them."""
    for part in _BREAK.split(text):
        phrase: set[str] = set()
        for word in (*words_of(part), ''):
            if word and word not in ends:
                phrase.add(word)
            elif phrase:
                yield phrase
                phrase = set()


def left_out(instruction: str, covered: Iterable[str]) -> list[str]:
    """The words of an instruction that a plan does nothing about.

    Args:
        instruction: what was asked for.
        covered: words of the plan's skills and things, as `words_of` has them.

    """
    known = _LINKS | _ANYTHING | _EVERYTHING | set(covered)
    return [word for word in dict.fromkeys(words_of(instruction)) if word not in known]
