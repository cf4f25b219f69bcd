"""Readers of choices: one letter, or several, of the options of a question."""

from __future__ import annotations

import re
import string
from itertools import chain
from typing import TYPE_CHECKING

from .answers import AnswerType, SpatialAnswer
from .short_answers import BEST, SO, START, any_of, bare, conclusion, plain, with_capitals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LEAD = re.compile(
    rf'{START}(?:{SO}(?:{BEST}(?:answer|option|choice)s?(?:\s?(?:is|are|:))? ?:?\s?'
    r'(?:option |choice )?|i (?:choose|select|pick) (?:option )?)'
    # the Chinese "so", "the right answer is", "should", "choose" and "option"
    r'|(?:(?:所以|因此|综上|故),?)?(?:(?:正确|最终)?的?(?:答案|选项)(?:应?是|为|选)?:?|应?该?选择?)\s?(?:选项)?)',
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    r'(?P<letter>\([A-Za-z]\)|\[[A-Za-z]\]|[A-Z]\)?)(?P<stop> ?[.:\u3001] ?| - | )?(?P<rest>.*)'
)
_CONFIRMED = re.compile(
    r' is (?:(?:the )?(?:correct|best)(?: (?:answer|option|choice|one))?'
    r'|the right (?:answer|option|choice))|选?项'  # the Chinese "option"
)
_JOIN = r'(?:,? and | ?[,;&\u3001和] ?| )'  # the Chinese characters are a comma and "and"
_SEVERAL = re.compile(rf'\(?[A-H]\)?(?:{_JOIN}?\(?[A-H]\)?)+(?: are correct)?\.?')
# letters, with function words in capitals; "A" before a noun is an article and "I" a word
_NAMED = re.compile(r"(?<![A-Za-z0-9'-])(?:[B-HJ-Zb-hj-z]|[Aa](?! [a-z]))(?![A-Za-z0-9'-])")
_RUN = r'\b[A-H]{2,}\b'
# what may follow a letter where the options are not known: words, no verdict and no other letter
_NO_REST = (
    r'is|are|was|has|have|can|could|must|should|would|will|may|might|do|does|or|nor|not?|none|never'
    r'|neither|either|wrong|incorrect|false|untrue|impossible|unlikely|invalid|excluded'
    r'|eliminated|ruled|rejected|fails?|seems?|but|however|wait|maybe|perhaps|possibly|probably'
    r'|likely|though|although|except|yet|apparently|think|guess|sure|unsure|unclear|actually'
    r'|instead|rather|unless|if|because|since|answers?|options?|choices?'
)
_TERM = (
    rf'(?!(?:[B-Zb-ln-z]|[Aa](?! [a-z])|(?i:{_NO_REST}))(?![\w-]))'
    r"(?:[A-Za-z]+(?:['-][A-Za-z0-9]+)*|-?[0-9]+(?:\.[0-9]+)?)"
)
# Chinese words but those for not, wrong, or, may and but, and of questions
_HAN = r'(?:(?![不没非错或否无可但还吗呢吧])[\u4e00-\u9fff])+'
_REST = re.compile(rf'(?!and\b|then\b){_TERM}(?:,? {_TERM}){{0,19}}|{_HAN}')
_NEGATED = re.compile(r"\b(?:not|no|never|cannot|without)\b|n't\b")


def read_choice(words: str, options: Sequence[str] = ()) -> SpatialAnswer | None:
    """Read one letter, or the words of one option.

    ``X``, ``(X)``, ``X.``, ``X. words``, ``option X``, ``the answer is X`` as cvbench,
    drive_action and mme_realworld do; not the first letter of any text, as cosmos_reason1 does.
    The words after a letter are those of its option.
    """
    text = plain(words)
    if re.fullmatch('[a-z][.)]?', text):
        text = text.upper()
    answer = conclusion(text, _LEAD, _others(options)) or ''
    # all that the text can mean, so that one of two meanings is never taken
    letters = {*_letter(answer, options), *_repeated(answer, options), *_repeated(text, options)}
    return _chosen(words, sorted(letters), options) if len(letters) == 1 else None


def read_choices(words: str, options: Sequence[str] = ()) -> SpatialAnswer | None:
    """Read one or several letters: ``AC``, ``A, C``, ``A and C``, or options with their letters.

    The letters are sorted, as idkb compares them; an answer with a letter twice is not read.
    """
    text = plain(words)
    answer = conclusion(text, _LEAD, _others(options)) or ''
    letters: list[str] = []
    if _SEVERAL.fullmatch(answer) and not _repeated(answer, options):
        letters = re.findall('[A-H]', answer)
    elif options:
        item = '|'.join(
            rf'(?:\({letter}\)|{letter}[.:)\u3001]) ?(?i:{re.escape(bare(option))})\.?'
            for letter, option in zip(string.ascii_uppercase, options, strict=False)
        )
        if re.fullmatch(rf'(?:{item})(?:{_JOIN}(?:{item}))+', answer):
            letters = [found.strip('(')[0] for found in re.findall(item, answer)]
    else:
        lines = [_letter(line, ()) for line in text.splitlines()]
        letters = list(chain.from_iterable(lines)) if len(lines) > 1 and all(lines) else []
    if letters:
        return _chosen(words, sorted(letters), options)
    return read_choice(words, options)


def _chosen(words: str, letters: list[str], options: Sequence[str]) -> SpatialAnswer | None:
    """Return the answer, if the letters are different ones that were offered."""
    offered = string.ascii_uppercase[: len(options) or 8]
    if len(letters) == len(set(letters)) and all(letter in offered for letter in letters):
        return SpatialAnswer(words, AnswerType.CHOICE, choices=tuple(letters))
    return None


def _letter(answer: str, options: Sequence[str]) -> list[str]:
    """Return the letter that a text names, alone or with the words of its option."""
    chosen = _CHOSEN.fullmatch(answer)
    if chosen is None:
        return []
    letter = chosen['letter'].strip('()[]').upper()
    stop, rest = chosen['stop'] or '', chosen['rest'].removesuffix('.')
    separated = stop.strip() or (stop and not chosen['letter'].isalpha())
    if not rest:
        named = stop.strip() in ('', '.')
    elif _CONFIRMED.fullmatch(stop + rest):
        named = True
    elif options:
        meant = _means(rest, options) if separated else []
        named = letter in _repeated(rest, options) or meant == [letter]
    else:
        named = bool(separated) and _REST.fullmatch(rest) is not None
    return [letter] if named else []


def _repeated(answer: str, options: Sequence[str]) -> list[str]:
    """Return the letters of the options that a text repeats word by word, as sat compares them."""
    named = zip(string.ascii_uppercase, options, strict=False)
    return [letter for letter, option in named if bare(option) == bare(answer)]


def _means(rest: str, options: Sequence[str]) -> list[str]:
    """Return the letters of the options of which a text is a part: "forward" of "move forward"."""
    if not re.fullmatch(r"[\w ,'-]+", rest):
        return []
    named = []
    part = ' '.join(re.findall(r'\w+', rest.casefold()))
    for letter, option in zip(string.ascii_uppercase, options, strict=False):
        whole = ' '.join(re.findall(r'\w+', bare(option)))
        before, found, after = f' {whole} '.partition(f' {part} ')
        if found and not _NEGATED.search(before + after):
            named.append(letter)
    return named


def _others(options: Sequence[str]) -> Callable[[str], object]:
    """Return the search for what names an option: letters, or the words of one."""
    name = re.compile(rf'{_RUN}|{any_of(options)}', re.ASCII)
    return lambda text: _NAMED.search(with_capitals(text)) or name.search(text)
