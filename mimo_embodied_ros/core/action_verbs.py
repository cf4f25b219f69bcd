"""Tell an order, such as "pick up the cup", from other words, in English and in Chinese.

An order begins with a verb in its base form, and not with "cup", "picking up" or "the robot". The
verbs are in ``action_verbs.yaml``.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

HAN = '\u3400-\u4dbf\u4e00-\u9fff'
"""The characters of Chinese words, for a set in a regular expression."""

_TABLE = yaml.safe_load(Path(__file__).with_suffix('.yaml').read_text('utf-8'))
_VERBS, _THINGS, _MAINLY_THINGS, _ALONE, _ALONE_WITH_DIRECTION, _ADVERBS = (
    frozenset(_TABLE[f'english{name}'].split())
    for name in ('', '_also_things', '_mainly_things', '_alone', '_alone_with_direction',
                 '_adverbs')
)
_PARTICLES = (
    'up|down|off|out|away|back|over|on|in|around|to|into|onto|towards?|at|from|for|with|through'
    '|across|along|past|by|under|behind'
)
_DETERMINERS = 'the|an?|it|its|them|this|that|these|those|your|all|both|each|every|[0-9]+'
_ENGLISH = re.compile(
    rf'(?:(?:{"|".join(_ADVERBS)}) )*([^\W\d_]+(?:-[^\W\d_]+)?)'
    rf'(?P<particles>(?: (?:{_PARTICLES})(?= |\Z)){{0,2}})'
    rf'(?:(?P<thing> (?:{_DETERMINERS})\b)|(?P<more> )|\Z)',
    re.IGNORECASE,
)
# Words that begin with a verb of the table and say something else.
_IDIOM = re.compile(
    r'(?:hold|hang|come|carry|move) on\Z|start (?:over|again)|(?:look|watch) out|go ahead\Z'
    r'|lift off|take (?:care|note|your time)|keep (?:in mind|calm)|stay tuned|hold that'
    r'|place ?holder|close call|click here|press any|\S+ of\b'
    r'|(?:stop|walk|turn|yield|exit|brake) (?:signs?|signals?|lights?|lines?|lanes?)\b'
    r'|(?:[a-z]+ ){1,3}(?:passed|found|lost|made|taken|gone|opened|closed|reached|detected|moved'
    r'|picked|placed|achieved|aborted|cancelled|stopped|updated)\Z',
    re.IGNORECASE,
)

# After these a verb is part of a thing's name or of a report, as in "打开的抽屉", "拿起了杯子".
_NO_ORDER = '的了着完已是也都很没得'
_DEVICE = '[器仪员场剂桩宝站座者液棒物]|机(?![械箱盖舱柜身门])'
_DEVICES = frozenset(_TABLE['chinese_also_things'].split())
_LONGER = sorted(_TABLE['chinese'].split(), key=len, reverse=True)
# one test behind all verbs: with one behind each the pattern takes much longer to compile
_LONG = '(?:' + '|'.join(
    f'{verb}(?!{_DEVICE})' if verb in _DEVICES else verb for verb in _LONGER
) + f')(?![{_NO_ORDER}]|不(?!锈))'
_SHORT = f'(?!{"|".join(_LONGER)})(?:' + '|'.join(
    f'{verb}(?![{_NO_ORDER}{others}]|不(?!锈))' for verb, others in _TABLE['chinese_short'].items()
) + ')'
_MANNER = '(?:(?:轻轻|慢慢|小心|缓慢|缓缓|仔细|快速|迅速)地?)?'
_CHINESE = re.compile(
    rf'{_MANNER}(?:(?P<way>(?:使?用|从|向|往|朝|沿着?|给|对)[{HAN}\w ]{{1,20}}?))?'
    rf'(?:(?:把(?![手柄])|将(?!军))(?P<object>[{HAN}\w -]{{1,30}}?))?'
    rf'{_MANNER}(?P<verb>{_LONG}|{_SHORT})(?P<rest>.*)',
    re.DOTALL,
)
# Another order inside of a name: "杯子放进碗里", "cup and put it on the shelf".
_CHINESE_INSIDE = re.compile(
    rf'把(?![手柄])|然后|接着|并且?(?![排道列])|{_LONG}|放(?![{_NO_ORDER}大映])')
_WORD = re.compile(r'(?:\A|(?<= ))([a-z]+)(?= )', re.IGNORECASE)
_BEFORE_VERB = frozenset(['to', 'and', 'then', 'help', 'go', 'come', 'by', 'the', 'a', 'an'])
_JOINED = re.compile(r'(?:\b(?:and|then|but)\b|,)(?: (?:and|then))? ?', re.IGNORECASE)


def read_order(words: str) -> tuple[str, bool] | None:
    """Return the verb with which an order begins, and whether the words can be nothing else.

    "plate the cake" can be nothing else; "plate and cup" may be two things.

    Returns:
        None if the words are no order, or one that is cut off after its verb: "put".

    """
    if chinese := match_chinese(words):
        return chinese['verb'], True
    match = _ENGLISH.match(words)
    verb = match[1].lower() if match else ''
    if match is None or verb not in _VERBS or _IDIOM.match(words):
        return None
    alone = verb in _ALONE or (verb in _ALONE_WITH_DIRECTION and match['particles'])
    if not match['thing'] and not match['more'] and not alone:
        return None
    if verb in _MAINLY_THINGS and (match['particles'] or not match['thing']):
        return None
    return verb, bool(match['thing'] or (match['particles'] and verb not in _THINGS))


def match_chinese(words: str) -> re.Match[str] | None:
    """Match a Chinese order; the groups are way, object, verb and rest."""
    return _CHINESE.match(words)


def holds_order(name: str, verbs: frozenset[str] = frozenset()) -> bool:
    """Tell whether the words for a thing hold an order, as in "cup and put it on the shelf".

    Args:
        name: the words.
        verbs: more first words of orders, in lower case.

    """
    name = name.casefold()
    if _CHINESE_INSIDE.search(name):
        return True
    for joint in _JOINED.finditer(name):
        words = name[joint.end() :]
        order = read_order(words)
        if words.partition(' ')[0] in verbs or (
                order is not None and (' ' in words or order[0] not in _THINGS)):
            return True
    return False


def runs_on(words: str) -> bool:
    """Tell whether an order follows another one without a sign or a word between them.

    "pick up the cup put it down" does; "use the gripper to take the cup" does not.
    """
    chinese = match_chinese(words)
    if not chinese and _CHINESE_INSIDE.search(words):
        return not re.search(r'\([^()]*\)\Z', words)  # the same words in brackets
    first, before = _ENGLISH.match(words), ''
    for word in _WORD.finditer(words):
        match = _ENGLISH.match(words, word.start(1))
        if (
            match and match['thing'] and match[1].lower() in _VERBS and match.start(1) > 0
            and (first is None or first.start(1) != match.start(1))
            and (match[1].lower() not in _THINGS or not match['particles'])
            and before not in _BEFORE_VERB and words[word.start(1) - 2].isalnum()
        ):
            return True
        if word[1].lower() not in _ADVERBS:
            before = word[1].lower()
    return False
