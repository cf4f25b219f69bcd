"""Whether two texts name one thing, by the stems of their words.

A text embedding was tried instead: it gave "mug" and "cup" 0.21, and "red cube" and "blue cube"
0.66, so it cannot tell a synonym from a thing of another colour.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from snowballstemmer import EnglishStemmer

from mimo_embodied_ros.core.action_verbs import HAN
from mimo_embodied_ros.core.instruction_matching import content_words, tokenize, within

if TYPE_CHECKING:
    from collections.abc import Collection

_ENGLISH = """
    be is are was were been am do does did done have has had s ve re what which who when where how
    see saw seen look looking looked find found finding search searching locate located location
    position whereabouts know remember remembered tell show spotted notice noticed visible
    leave put last latest lastly lately recently ever yet already still again just anything
    something everything"""
_CHINESE = re.findall(r'\S+', """
    在哪 在哪里 在哪儿 哪里 哪儿 哪 在什么地方 什么地方 在什么位置 什么位置 位置 什么 有没有 是否 吗
    呢 了 我 我们 看到 看到了 看到过 看见 看见了 看见过 见到 见过 看过 找 找到 找找 找一下 寻找 查找
    上次 上一次 最近 刚才 刚刚 还记得 记得 知道 告诉我""")
_QUESTION_WORDS = frozenset(tokenize(' '.join((_ENGLISH, *_CHINESE)), _CHINESE))
# a stop word, except where it is a thing: "the red can", but "can you see the cup"
_CAN = re.compile(r'\bcans?\b(?! (?:you|i|we|it|anyone)\b)')
_LATIN = re.compile('[a-z]+')
_HAN = re.compile(f'[{HAN}]+')


@lru_cache(4096)
def subject_words(text: str) -> frozenset[str]:
    """Return the words for the things that a question or a name is about, English ones as stems.

    "Where did you see the red cups?" is about "red" and "cup". It is empty where no thing is named,
    as in "What have you seen?".
    """
    words = {word for word in content_words(text, _CHINESE) if word not in _QUESTION_WORDS}
    if _CAN.search(text.casefold()):
        words.add('can')
    stem = EnglishStemmer().stemWord
    return frozenset(stem(word) if _LATIN.fullmatch(word) else word for word in words)


def fit(wanted: str, name: str) -> float:
    """Return how well a name fits what is wanted, 0 to 1: the Dice coefficient of their words.

    "cup" and "red cup" fit each other. "red cup" and "blue cup" do not, since each has a word that
    the other lacks: 0. Where nothing is wanted, everything fits: 1.
    """
    a, b = subject_words(wanted), subject_words(name)
    if not a:
        return 1.0
    if not b or not (within(a, b) or within(b, a)):
        return 0.0
    sizes = _size(a), _size(b)
    return 2 * min(sizes) / sum(sizes)


def detail(name: str) -> int:
    """Return how much a name says: more for "red cup" than for "cup"."""
    return _size(subject_words(name))


def _size(words: Collection[str]) -> int:
    """Twice the number of words; in Chinese, where none ends, a word is two characters."""
    return sum(len(word) if _HAN.fullmatch(word) else 2 for word in words)
