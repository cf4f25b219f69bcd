"""Match the words of a plan with those of its instruction, so that no other text can steer it.

Chinese has no spaces between words. There a word is what stands between punctuation, stop words,
and the words of a vocabulary, such as those of the skills: "把|红色方块|放进|蓝色碗|里".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .action_verbs import HAN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_TOKEN = re.compile(rf'[{HAN}]+|[^\W_{HAN}]+')
_PUNCTUATION = re.compile(r"[^\w\s'-]+")
_CHINESE = re.compile(f'[{HAN}]+')

# Where a word of one character is part of another one it is no stop word.
_CHINESE_STOP_WORDS = re.findall(r'\S+', """
    把(?![手柄]) 将(?!军) 并(?![排道列]) 先(?!生) 和(?!服) 请 麻烦 帮我 帮忙 给我 为我 并且 然后
    接着 随后 之后 最后 首先 再 以及 与 它们 它 那个 这个 那些 这些 一个
    所有 全部 都 到 机器人 你""")
_CHINESE_PLACES = ('里面', '里边', '里', '内', '中', '上面', '上')
_CHINESE_WHERE = re.compile(rf'(?<=.)(?:{"|".join(_CHINESE_PLACES)})\Z')


def tokenize(text: str, vocabulary: Iterable[str] = ()) -> list[str]:
    """Split a text into lower-case words and numbers, plurals made singular.

    Args:
        text: in Chinese, or in a language that has spaces between words.
        vocabulary: words at which Chinese is split, besides stop words.

    """
    tokens: list[str] = []
    words = _TOKEN.findall(text.casefold())
    separator = _separator(vocabulary) if any(map(_CHINESE.match, words)) else None
    for word in words:
        if separator and _CHINESE.match(word):
            parts = (_CHINESE_WHERE.sub('', part) for part in separator.split(word))
            tokens += filter(None, (part.replace('的', '') for part in parts))
        else:
            plural = len(word) > 3 and word.endswith('s') and not word.endswith('ss')
            tokens.append(word[:-1] if plural else word)
    return tokens


def _separator(vocabulary: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds the longest word of the vocabulary, or else a stop word."""
    words = sorted(filter(_CHINESE.fullmatch, vocabulary), key=len, reverse=True)
    return re.compile(f'({"|".join((*words, *_CHINESE_STOP_WORDS))})')


# Words that name neither a skill nor a thing: a plan need not repeat them, and they are no part of
# a thing's name.
_STOP_WORDS = frozenset(tokenize("""
    a all an and any away at back by can carefully could down each every first for from gently i in
    into it me my now of off on onto or out please quickly robot slowly some step that the their
    them then there these this those to together toward up we will with would you your"""))
_STOP_WORDS |= {word.partition('(')[0] for word in _CHINESE_STOP_WORDS} | {*_CHINESE_PLACES}
_GENERIC_NOUNS = frozenset(('item', 'object', 'one', 'thing', '东西', '物体', '物品', '一切'))
_UNIVERSAL_PRONOUNS = frozenset(('anything', 'everything'))


def content_words(text: str, vocabulary: Iterable[str] = ()) -> list[str]:
    """Return the words of `tokenize` without stop words; all where there are only stop words."""
    words = tokenize(text, vocabulary)
    return [word for word in words if word not in _STOP_WORDS] or words


def may_be_same_thing(name: str, other: str) -> bool:
    """Whether two names may mean one thing: one has all content words of the other."""
    a, b = set(content_words(name)), set(content_words(other))
    return bool(a and b) and (within(a, b) or within(b, a))


def within(words: Collection[str], others: Collection[str]) -> bool:
    """Whether the others have all the words; a Chinese word has the one that it ends with.

    "红色方块" (red cube) has "方块" (cube), and "cube" is a word of "red cube".
    """
    return all(
        word in others or (
            _CHINESE.fullmatch(word) is not None and any(o.endswith(word) for o in others))
        for word in words)


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
    separators = set(skill_words) - name
    for phrase in _phrases(instruction, separators):
        described = phrase - _GENERIC_NOUNS
        if (phrase & _UNIVERSAL_PRONOUNS or within(described, name)
                or within(name, described)):
            return True
    return False


def _phrases(text: str, separators: Collection[str]) -> Iterator[set[str]]:
    """Yield the sets of words that stand together between separators and punctuation."""
    for part in _PUNCTUATION.split(text):
        phrase: set[str] = set()
        for word in (*tokenize(part, separators), ''):
            if word and word not in separators and word not in _STOP_WORDS:
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
    known = set(covered)
    ignored = _STOP_WORDS | _GENERIC_NOUNS | _UNIVERSAL_PRONOUNS
    return [word for word in dict.fromkeys(tokenize(instruction, known))
            if word not in ignored and not within((word,), known)]
