r"""The forms that all short answers share: how their text is written, and what leads to the value.

A short answer is read by the grammar of its whole text. The grammars are made of the patterns here:
words of closed lists, and in a few places any ``NOUN``, which cannot change the value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .characters import to_ascii

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_COMMAND = re.compile(
    r'\\(?:text(?:bf|it|rm|sf|tt)?|emph|math(?:bf|it|rm|sf|tt))\{([^{}]*)\}'  # only the typeface
)
_WRITINGS = (
    (re.compile(r'(?<=[\w}])(?=\\(?:text|math|emph))|(?<=\})(?=\w)'), ' '),  # 3\text{4} is no 34
    (re.compile(r'(?<!\\)\\[,;: ]'), ' '),
    (re.compile(r'\\%'), '%'),
    (re.compile(r' ?\^ ?(?:\\circ\b|\{ ?\\circ ?\})|\\degree\b'), '\u00b0'),
    (re.compile(r'\\(?:approx|sim)\b ?'), '\u2248'),
    (re.compile(r'(?<![A-Za-z0-9)])\\\( ?([^\\]+?) ?\\\)(?![A-Za-z0-9(\\])'), r'\1'),
    (re.compile(r"^\s*'([^'\n]*)'(\.?)\s*$"), r'\1\2'),
)
_MARKED = re.compile(
    r'(?<![A-Za-z0-9*_`"$~\\])(\*\*|__|[*_`"$])(?=\S)([^*_`"$\n]+)(?<=\S)\1(?![A-Za-z0-9*_`"$~])'
)
_SIGNS = str.maketrans(
    {'\u3002': '. ', '\u2018': "'", '\u2019': "'", '\u201c': '"', '\u201d': '"'}
)
_NESTING = 4

START = r'(?:^|(?<=[.!\n])|(?<=[.!] ))'  # of a sentence
SO = r'(?:(?:so|thus|therefore|hence),? )?'
BEST = r'(?:(?:the|my) )?(?:(?:correct|final|best|right) )?'
LEAD = re.compile(
    rf'{START}(?:{SO}{BEST}answer ?(?:is ?:?|:)\s?'
    # the Chinese "so", "right", "final" and "the answer is"
    r'|(?:(?:所以|因此|综上),?)?(?:正确|最终)?答案(?:[是为]:?|:)\s?)',
    re.IGNORECASE,
)
_DOUBTFUL = re.compile(
    r"""\?|\b(?:answers?|actually|although|assum\w+|believe|but|cannot|depends?|either|guess|however
    |if|likely|may|maybe|might|neither|nor|or|perhaps|possibl[ey]|probabl[ey]|seems?|sure|think
    |uncertain|unclear|unless|unsure|wait|whether)\b|n't\b
    |答案|或|可能|也许|但""",  # answer, or, maybe, but
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)

# words of grammar, number, doubt and comparison; the grammars write them in capitals
_CAPITALS = """
    a an the this that these those it they he she we you i its there here who what which where when
    why how is are am be been being was were do does did has have had can could may might must
    should would will need needs seem seems appear appears look looks think believe guess assume
    suppose say know tell not no never none neither nobody nothing anything cannot hardly barely
    scarcely yes true false wrong incorrect impossible possible unable opposite contrary reverse
    converse negation lack absence failure fake and or but nor yet though although however while
    whereas except without besides plus minus versus unless if because since so thus therefore hence
    then than rather instead otherwise wait actually maybe perhaps probably possibly likely unlikely
    probable potential sure unsure certain uncertain clear unclear known unknown about around
    approximately roughly almost nearly partly partially mostly always sometimes only first later
    soon once until after before of as at in on by to for from with per near above below under
    underneath beneath behind beside inside outside over against onto into within between among
    zero one ones two three four five six seven eight nine ten tens eleven twelve dozen dozens score
    scores gross hundred hundreds thousand thousands million millions billion billions trillion
    trillions
    lakh lakhs crore crores half halves third thirds quarter quarters fourth fourths fifth fifths
    sixth sixths seventh sevenths eighth eighths ninth ninths tenth tenths sixteenth sixteenths
    hundredth hundredths thousandth thousandths second pair pairs couple couples double twice times
    more less few fewer another other others several some many much extra additional most least
    doubt doubts problem problems question questions idea ideas way ways reason reasons clue chance
    chances sense extent degree verge brink
"""
_FUNCTION_WORDS = frozenset(_CAPITALS.split())
_WORD = re.compile('[A-Za-z]+')

NOUN = r'[a-z]{2,}(?:-[a-z]{2,})*'
THING = rf'(?:(?:THE|AN?|ITS|THIS|THAT) {NOUN}(?: {NOUN}){{0,3}}(?: OF (?:THE|AN?) {NOUN}){{0,2}})'
_SIDE = '(?:left|right|front|back|top|bottom|middle|center|centre|side|end|edge)'
_PLACE = (
    rf'(?:(?:(?:BETWEEN|AMONG) {THING} AND {THING}|(?:TO|ON|AT|IN) THE {_SIDE}(?: OF {THING})?'
    r'|(?:left OF|right OF|IN front OF|next TO|close TO|ON top OF|IN|ON|AT|NEAR|BY|ABOVE|BELOW'
    r'|UNDER|UNDERNEATH|BENEATH|BEHIND|BESIDE|INSIDE|OUTSIDE|OVER|AGAINST|ONTO|INTO|WITHIN)'
    rf' {THING})(?! AND\b))'
)
PLACES = rf'(?:{_PLACE}(?: {_PLACE}){{0,2}})'


def plain(words: str) -> str:
    r"""Write a text in one way: ASCII signs, single spaces, no typefaces of LaTeX and Markdown.

    Its lines stay, without empty ones. Other LaTeX stays, too, and no grammar has it: ``\sqrt{2}``
    is no 2.
    """
    text = to_ascii(words).translate(_SIGNS)
    for pattern, written in _WRITINGS:
        text = pattern.sub(written, text)
    for _ in range(_NESTING):
        text = _COMMAND.sub(r'\1', text)
    lines = [' '.join(line.split()) for line in text.splitlines()]
    text = '\n'.join(filter(None, lines))
    for _ in range(_NESTING):
        text = _MARKED.sub(r'\2', text)
    return text


def with_capitals(text: str) -> str:
    """Write words of grammar, number and doubt in capitals and other words small.

    So a pattern of small letters holds no word that changes the meaning: "THE cup IS NOT ON THE
    table". The length stays, and the case of single letters, which are units.
    """

    def written(word: re.Match[str]) -> str:
        small = word.group().lower()
        if small in _FUNCTION_WORDS:
            return small.upper()
        return small if len(small) > 1 else word.group()

    return _WORD.sub(written, text)


def conclusion(
    text: str, lead: re.Pattern[str], others: Callable[[str], object]
) -> str | None:
    """Return the part of a plain text that must be the answer, on one line.

    It is what follows the last ``lead``, else all. None where what stands before the lead leaves
    the answer open, or where ``others`` finds words in it that may be an answer, too.
    """
    before, answer = '', text
    for last in lead.finditer(text):
        before, answer = text[: last.start()], text[last.end() :]
    if _DOUBTFUL.search(before) or others(before):
        return None
    return answer.replace('\n', ' ').strip()


def bare(words: str) -> str:
    """Return a text as it is compared with the words of an option: plain, small, without stop."""
    return ' '.join(plain(words).split()).rstrip('.').casefold()


def any_of(names: Iterable[str]) -> str:
    """Return the pattern of any of the names, the longest first; of nothing where none is given."""
    longest_first = sorted(filter(None, map(bare, names)), key=len, reverse=True)
    either = '|'.join(map(re.escape, longest_first)) or '(?!)'
    return rf'(?<![A-Za-z0-9])(?i:{either})(?![A-Za-z0-9])'
