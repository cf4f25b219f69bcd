r"""The forms that all short answers share: how their text is written, and what leads to the value.

A short answer is read by the grammar of its whole text. The grammars are made of the patterns here:
words of closed lists, and in a few places any ``NOUN`` that cannot change the value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .characters import to_ascii

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMMAND = re.compile(
    r'\\(?:text(?:bf|it|rm|sf|tt)?|emph|math(?:bf|it|rm|sf|tt))\{([^{}]*)\}'  # only the typeface
)
_LATEX = (
    (re.compile(r'(?<!\\)\\[,;: ]'), ' '),
    (re.compile(r'\\%'), '%'),
    (re.compile(r' ?\^ ?(?:\\circ\b|\{ ?\\circ ?\})|\\degree\b'), '\u00b0'),
    (re.compile(r'\\(?:approx|sim)\b ?'), '\u2248'),
    (re.compile(r'(?<![\w)])\\\( ?([^\\]+?) ?\\\)(?![\w(\\])'), r'\1'),
)
_MARKED = re.compile(r'(?<![\w*_`"$~\\])(\*\*|__|[*_`"$])(?=\S)([^*_`"$\n]+)(?<=\S)\1(?![\w*_`"$~])')
_SIGNS = str.maketrans({'\u3002': '.', '\u2019': "'", '\u201c': '"', '\u201d': '"'})
_NESTING = 4

START = r'(?:^|(?<=[.!\n])|(?<=[.!] ))'  # of a sentence
SO = r'(?:(?:so|thus|therefore|hence),? )?'
LEAD = re.compile(
    rf'{START}(?:{SO}(?:(?:the|my) )?(?:(?:correct|final|best|right) )?answer ?(?:is ?:?|:)\s?'
    r'|(?:(?:\u6240\u4ee5|\u56e0\u6b64|\u7efc\u4e0a),?)?(?:\u6b63\u786e|\u6700\u7ec8)?'
    r'\u7b54\u6848(?:[\u662f\u4e3a]:?|:)\s?)',  # the (right, final) answer is
    re.IGNORECASE,
)
_DOUBTFUL = re.compile(
    r"""\?|\b(?:answers?|actually|although|assum\w+|believe|but|cannot|depends?|either|guess|however
    |if|likely|may|maybe|might|neither|nor|or|perhaps|possibl[ey]|probabl[ey]|seems?|sure|think
    |uncertain|unclear|unless|unsure|wait|whether)\b|n't\b
    |\u7b54\u6848|\u6216|\u53ef\u80fd|\u4e5f\u8bb8|\u4f46""",  # answer, or, maybe, but
    re.IGNORECASE | re.VERBOSE,
)

# words that would change the value, or the sense of the clause, in the place of a noun
_NO_NOUN = """
    zero one two three four five six seven eight nine ten eleven twelve dozens? hundreds? thousands?
    millions? billions? trillions? hal(?:f|ves) thirds? quarters?
    (?:four|fif|six|seven|eigh|nin|ten|hundred)ths? pairs? couples? double
    twice times more less few(?:er)? another others? several some many much extra additional most
    least and or but nor yet though although however while whereas except without besides plus minus
    versus unless if because since so then than rather instead not no never none neither nobody
    nothing anything cannot hardly barely scarcely wait actually maybe perhaps probably possibly
    likely unlikely almost nearly part(?:ly|ially)? mostly about might may could would should must
    will was were did had is are am be been being do does has have can seems? appears? looks? guess
    think believe assume suppose unsure uncertain unclear unknown sure certain depends? yes true
    false wrong incorrect impossible unable opposite otherwise doubts? problems? questions? ideas?
    ways? reasons? clues? chances? sense extent degree its thus always sometimes first later soon once when until after before
    only needs? it they this that these those there who which what where why how the an? of as at in
    on by to for from with he she we you i
""".split()
NOUN = rf'(?:(?!(?:{"|".join(_NO_NOUN)})\b)[a-z]+(?:-(?!(?:{"|".join(_NO_NOUN)})\b)[a-z]+)*)'
THING = rf'(?:(?:the|an?|its|this|that) {NOUN}(?: {NOUN}){{0,3}}(?: of (?:the|an?) {NOUN}){{0,2}})'
_SIDE = '(?:left|right|front|back|top|bottom|middle|cent(?:er|re)|side|end|edge)'
PLACE = (
    rf'(?:(?:(?:between|among) {THING} and {THING}|(?:to|on|at|in) the {_SIDE}(?: of {THING})?'
    r'|(?:left of|right of|in front of|next to|close to|on top of|in|on|at|near|by|above|below'
    r'|under|underneath|beneath|behind|beside|inside|outside|over|against|onto|into|within)'
    rf' {THING})(?! and\b))'
)
PLACES = rf'(?:{PLACE}(?: {PLACE}){{0,2}})'


def plain(words: str) -> str:
    r"""Write a text in one way: ASCII signs, single spaces, no typefaces of LaTeX and Markdown.

    Its lines stay, without empty ones. Other LaTeX stays, too, and no grammar has it: ``\sqrt{2}``
    is no 2.
    """
    text = to_ascii(words).translate(_SIGNS)
    for _ in range(_NESTING):
        text = _COMMAND.sub(r'\1', text)
    for pattern, written in _LATEX:
        text = pattern.sub(written, text)
    lines = [' '.join(line.split()) for line in text.splitlines()]
    text = '\n'.join(filter(None, lines))
    for _ in range(_NESTING):
        text = _MARKED.sub(r'\2', text)
    return text


def conclusion(text: str, lead: re.Pattern[str], others: re.Pattern[str]) -> str | None:
    """Return the part of a plain text that must be the answer, on one line.

    It is what follows the last ``lead``, else all. None where what stands before the lead leaves
    the answer open, or holds one of the ``others``: words that may be an answer, too.
    """
    before, answer = '', text
    for last in lead.finditer(text):
        before, answer = text[: last.start()], text[last.end() :]
    if _DOUBTFUL.search(before) or others.search(before):
        return None
    return answer.replace('\n', ' ').strip()


def bare(words: str) -> str:
    """Return a text as it is compared with the words of an option: plain, small, without stop."""
    return ' '.join(plain(words).split()).rstrip('.').casefold()


def any_of(names: Iterable[str]) -> str:
    """Return the pattern of any of the names, the longest first; of nothing where none is given."""
    longest_first = sorted(filter(None, map(bare, names)), key=len, reverse=True)
    return rf'(?<!\w)(?i:{"|".join(map(re.escape, longest_first)) or "(?!)"})(?!\w)'
