"""Read one step of a plan: whether it is an order, and its action, object and target."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .action_verbs import HAN, match_chinese, read_order, runs_on
from .answers import ArgumentType, TaskStep
from .characters import strip_emphasis, to_ascii
from .place_readers import PAIR, read_pairs

if TYPE_CHECKING:
    from collections.abc import Collection

    from .skills import Skill

_MAX_LENGTH = 500  # characters of a step

# Words before an order, as in "To do so, you should first ...".
_LEAD = re.compile(
    r'(?:(?:(?:first|second|third|fourth|fifth|final|last|next)(?:ly)?|then|now|also'
    r'|after(?: that|wards))\b[,:]? ?|please,? '
    r'|(?:in order )?to (?!the |an? |your |its |this |that )[^,.;\[\n]{1,80}, '
    r'|(?:you|the (?:robot|arm)) (?:should|must|ha(?:ve|s) to|needs? to) '
    r'|(?:(?:so|thus|therefore|based on [^,.;]{1,60}),? )?'
    r'the (?:immediate )?(?:(?:next|first|only) )?(?:step|action) (?:is|should be):? (?:to )?'
    r'|(?:首先|其次|然后|接着|随后|之后|最后|接下来|现在|再|先|请|并且?(?![排道列])|下一步(?:应该|就?是)?'
    r'|(?:[你您]|机器人|机械臂)(?:应该?|应当|需要?|必须|要)|为了[^,。]{1,40}(?=,))[,:、]? ?)+',
    re.IGNORECASE,
)
_ALLOWED = re.compile(
    rf"[A-Za-z0-9_\u00c0-\u024f{HAN} .,;:!'\"\u2019\u201c\u201d()%&\u00b0\u00d7+#\u2013\u2014"
    r'。、\u00b7-]'
    r'|(?<=[0-9])/(?=[0-9])|(?<=m)/(?=[hs]\b)'
)
# Until then, or where: what follows is about the step, and says what is so.
_CLAUSE = re.compile(
    r'\b(?:until|till|when|once|while|after|before|so that'
    r'|(?:(?:check|ensure|verify|confirm|inspect|sure|determine|see|find out)\b'
    r'[^,.;:]{0,40}?(?:\b(?:that|if|whether)\b)?)'
    r'|that|which|who|where)\b[^,.;:]*',
    re.IGNORECASE,
)
# With one of these the step is not to be done, is a report, has a condition, or has two readings.
_NO_STEP = re.compile(
    r"\b(?:not|\w+n't|never|no|none|nothing|neither|nor|cannot|cant|unable|impossible|or|either"
    r'|if|unless|otherwise|instead|except|alternatively|already|done|complete|completed|finished'
    r'|failed|fails|succeeded|succeeds|successful(?:ly)?|skipped|sorry|unfortunately|but'
    r"|i|i'm|i'll|i've|i'd|me|my|we|we're|us|our|in case|provided|assuming"
    r'|optional(?:ly)?|maybe|perhaps|possibly'
    r')\b'
    r'|不(?!锈)|没|无法|无需|未|别(?!针|墅)|勿|(?<!是)否|如果|若|假如|除非|除了|或|还是|要么|吗|呢|我|咱|已'
    r'|(?<!为)了|完成|完毕|失败|成功|抱歉|对不起|哪|什么|谁|怎|正在|但|避免'
    r'|(?:检测|观察|搜索|扫描|查找|检查|定位|测量)到',
    re.IGNORECASE,
)
# Words of other languages, which have orders that begin like English ones: "bring die Tasse".
_FOREIGN = re.compile(
    r'\b(?:der|die|das|den|dem|des|eine?|eine[mnrs]|und|auf|mit|zum|zur|im|la|les?|une?|du|et|el|los'
    r'|las|de|het|een|il|gli|della?)\b',
    re.IGNORECASE,
)
# These words are about the plan and the answer, and not about things.
_ABOUT_PLAN = re.compile(
    r'\b(?:plans?|tasks?|steps|step \d+|lists?|websites?|errors?|info|information|details|answers?'
    r'|(?:the|this) (?:image|picture|photo|video))\b|步骤|[上下]一?步|计划',
    re.IGNORECASE,
)
_REPORT = re.compile(
    r'\b(?:is|are|was|were|has|have|had|been|being|contains|remains|appears|seems|lies|needs'
    r'|would|should|must)\b|(?<!可)是',
    re.IGNORECASE,
)
# "打开抽屉中" is under way; "放在桌上的杯子" and "装满水的杯子" are cups.
_CHINESE_REPORT = re.compile('[^到进入在从]*中|.{1,2}(?:在.*[上里中内下边旁]|满.*)的.*')
_CHINESE_CHECK = re.compile('检查|确认|确保|查看|观察|检测|等待')
_POSITION = re.compile(r'\d\s*,\s*\d|\bpixels?\b|坐标|\b[xy] ?[=:]', re.IGNORECASE)
_CUT_OFF = re.compile(
    r'(?:\b(?:the|an?|of|to|into|onto|from|with|and|or|at|your|its|next|for|by|than|then|between'
    r'|beside|near|under|this|that)|[-(:\u2013]|[把将的和到在从向用与于])\Z',
    re.IGNORECASE,
)

_ACTION = re.compile(
    r'(?:(?:carefully|gently|slowly|firmly) )?'
    r'((?:turn|switch|power) on|[a-z]+(?: (?:up|down|off|out|away|back|over)(?![\w-]))?)'
    r'(?: (.*)|$)',
    re.IGNORECASE,
)
_MOVERS = (
    'put|place|move|drop|stack|pour|insert|push|pull|slide|bring|carry|transfer|return|deliver'
    '|hand|give|set|lay|hang|throw|lower|go|walk|drive|navigate|head'
)
_MOVER = re.compile(rf'(?:{_MOVERS})\b', re.IGNORECASE)
# Where the words on the object and the target end.
_REST = re.compile(
    rf'[,:;(]|\b(?:from|with|using|by) |\band (?:then )?(?:{_MOVERS}|pick|lift|release)\b',
    re.IGNORECASE,
)
# After "into" or "on" the target is the thing alone; after "beside" the relation is part of it.
_WHERE = re.compile(
    r'(?:\A|(?<= ))(?:(?:into|onto|inside(?: of)?|on top of|in(?! front of)|on'
    r'|to(?! the (?:left|right) of)) '
    r'|((?:to the )?(?:left|right) of|next to|in front of|beside|behind|between|near|under'
    r'|underneath|beneath|below|above|over|against|around|towards?|at) )',
    re.IGNORECASE,
)
_ARTICLE = re.compile(r'(?:the|an?|your|its|this|that) |一个|这个|那个|该', re.IGNORECASE)
_TRAILING = re.compile(r'(?: (?:up|down|away|back|off|out|together|again|at))+$', re.IGNORECASE)
_DIRECTIONS = frozenset(
    ('left', 'right', 'forward', 'forwards', 'backward', 'backwards', 'straight', 'ahead'))

_CHINESE_END = re.compile(r'[,;:(。、]|并|然后|接着')
_CHINESE_TO = '到进入在至向往给于'  # last characters of verbs that a target follows
_CHINESE_GOERS = frozenset(('去', '返回'))
_CHINESE_TARGET = re.compile(r'(?:到|至|给)(?=.)')
_CHINESE_PLACE = re.compile(r'(?<=..)(?:里面|里边|里|内|中|上面|上)\Z')
_CHINESE_ALONE = frozenset('停走等')


def read_order_step(text: str, skills: Collection[Skill] = ()) -> TaskStep | None:
    """Read a step, such as "First, put the red cube in the blue bowl [120, 60]".

    Args:
        text: the step's words.
        skills: of the robot; what one of them says is an order, too, in any language.

    Returns:
        None if the words are no order in English or Chinese, or are one that must not be done, that
        has a condition, that has more than one reading, or that is cut off.

    Raises:
        ParseError: a pixel in it is no valid position.

    """
    step = read_step(strip_lead(text))
    if not step.text or len(step.text) > _MAX_LENGTH:
        return None
    words = to_ascii(step.text).replace('\u2019', "'")
    after_pixels = (to_ascii(text[pair.end() :]).strip() for pair in PAIR.finditer(text))
    if any(read_order(strip_lead(rest)) for rest in after_pixels):
        return None  # two orders with nothing but a pixel between them
    for skill in skills:
        for arguments in skill.match(step.text):
            if not any(_NO_STEP.search(value) for name, value in arguments.items()
                       if skill.argument(name).type is not ArgumentType.TEXT):
                return step
    return step if read_order(words) and _is_clear(words) else None


def _is_clear(words: str) -> bool:
    """Tell whether an order can be read in one way only, and is whole."""
    if _ALLOWED.sub('', words):
        return False
    if any(pattern.search(words) for pattern in (_POSITION, _CUT_OFF, _ABOUT_PLAN, _FOREIGN)):
        return False
    quotes = words.count('"'), words.count('\u201c') - words.count('\u201d')
    if quotes[0] % 2 or quotes[1] or '",' in words or words.count('(') != words.count(')'):
        return False
    said = _CLAUSE.sub('', words)
    first = re.split(r'[.:;。]', said, maxsplit=1)[0]
    if _NO_STEP.search(said) or runs_on(said):
        return False
    if chinese := match_chinese(words):
        return _is_whole_chinese(chinese) and not (
            '是' in first and not _CHINESE_CHECK.match(chinese['verb']))
    return not _REPORT.search(first)


def _is_whole_chinese(order: re.Match[str]) -> bool:
    verb = order['verb']
    if not order['object'] and _CHINESE_REPORT.fullmatch(verb + order['rest']):
        return False
    if order['rest'].strip(' ,。!'):
        return True
    if verb[-1] in _CHINESE_TO:
        return verb == '前进'
    return len(verb) > 1 or bool(order['object'] or order['way']) or verb in _CHINESE_ALONE


def strip_lead(text: str) -> str:
    """Return an order without the words before it, such as "First, you should"."""
    words = text.lstrip('* ')
    lead = _LEAD.match(to_ascii(words))
    return words[lead.end() :] if lead else words


def strip_end(words: str) -> str:
    """Return words without the punctuation after them, full-width one included."""
    return words[: len(to_ascii(words).rstrip('.;,! 。、'))]


def read_step(text: str) -> TaskStep:
    """Read the words of a step, such as "put the red cube in the blue bowl [120, 60]".

    Action, object and target are those of an order in English or Chinese; they are empty if the
    words are none. The text is without coordinates, because these are pixels of the model's image
    and not of the caller's.
    """
    points = read_pairs(text) if PAIR.search(text) else ()
    words = ' '.join(strip_emphasis(PAIR.sub(' ', text)).split())
    if words[:1] in ('"', "'") and words[-1:] == words[:1] and words.count(words[0]) == 2:
        words = words[1:-1]
    words = strip_end(words)
    return TaskStep(words, *_arguments(words), points)


def _arguments(words: str) -> tuple[str, str, str]:
    """Return action, object and target of an order; '' where not given."""
    if chinese := match_chinese(to_ascii(words)):
        return _chinese_arguments(chinese)
    match = _ACTION.match(words)
    if match is None or re.match(r"(?:do not|don't|never|avoid)\b", words, re.IGNORECASE):
        return '', '', ''
    action, rest = match.group(1).lower(), match.group(2) or ''
    if end := _REST.search(rest):
        rest = rest[: end.start()]
    target = ''
    if _MOVER.match(action) and (where := _WHERE.search(rest)):
        target = _thing(rest[where.end() :])
        rest = rest[: where.start()]
        if target and where.group(1):
            target = f'{where.group(1).lower()} {target}'
    return action, _thing(rest), target


def _chinese_arguments(order: re.Match[str]) -> tuple[str, str, str]:
    verb, thing, rest = order['verb'], order['object'] or '', order['rest']
    if end := _CHINESE_END.search(rest):
        rest = rest[: end.start()]
    if thing or verb[-1] in _CHINESE_TO or verb in _CHINESE_GOERS:
        target = rest
    else:
        thing, to, target = rest, '', ''
        if place := _CHINESE_TARGET.search(rest):
            thing, to = rest[: place.start()], rest[place.end() :]
            target = to
    target = _CHINESE_PLACE.sub('', target.strip())
    return verb, _thing(thing), _thing(target)


def _thing(words: str) -> str:
    words = _TRAILING.sub('', words.strip())
    article = _ARTICLE.match(words)
    words = words[article.end() :] if article else words
    return '' if words.lower() in _DIRECTIONS else words

