"""Tell which words may stand before and after the steps of a plan without changing it.

These are lists of what is allowed: an introduction ("Sure! Here is the plan:") before the steps,
and a note, an offer or the outcome after them. A plan with other words around it is not read: they
may refuse it, give a condition for it, or give another plan.

All texts have ASCII signs in the place of full-width ones, see `core.characters`.
"""

from __future__ import annotations

import re

from .action_verbs import HAN, read_order

# A remark with one of these says that the plan is not to be done, or not as it is.
_DOUBT = re.compile(
    r"\b(?:not|\w+n't|never|no|none|nothing|neither|nor|cannot|unable|impossible|infeasible|unclear"
    r'|unsure|refuse|decline|sorry|unfortunately|apologi[sz]e|fail\w*|unsafe|instead'
    r'|alternativ\w+|otherwise|or|either|if|unless|except|already|but|however|although|though'
    r'|wrong|mistake\w*|incorrect|actually|skip|ignore|disregard|cancel|correction|avoid\w*|previous'
    r'|old|example|earlier|options?|maybe|perhaps|might|could|rather|versus|vs|broken|damage\w*'
    r'|harm\w*|crash\w*)\b'
    r'|不(?!锈)|没(?!问题)|无法|未|别|勿|否|抱歉|对不起|或|如果|若|假如|除非|已|但|然而|失败|错|取消'
    r'|跳过|忽略|避免|例如|之前|可能|也许',
    re.IGNORECASE,
)
_DATA = re.compile(r'[\[\]{}<>|\\]')  # of JSON, tables and tags
_REPORT = re.compile(r'\b(?:done|completed|finished)\b|完成了', re.IGNORECASE)

_INTERJECTION = re.compile(
    r'(?:sure(?: thing)?|okay|ok|alright|all right|of course|certainly|absolutely|great|got it'
    r'|understood|no problem|right|well|good|yes|here you go|with pleasure'
    r"|(?:i can|i'd be happy to|happy to) help(?: you)?(?: with (?:that|this))?"
    r'|好的?|当然(?:可以)?'
    r'|没问题|可以|明白了?|收到|是的)[,.!。]+\s*',
    re.IGNORECASE,
)
_SENTENCE = re.compile(
    r'[\s#*_>=]*(?P<words>[^:.!?。\n]*(?:\.(?=[^\s*])[^:.!?。\n]*)*)(?P<end>[:.!。]|\n|\Z)[*_ ]*')
# Words of which an introduction is made; one at least is a word for the plan.
_PLAN_WORDS = frozenset(re.findall(r'\S+', """
    action actions answer approach below following follows goal instructions plan procedure process
    sequence solution step step-by-step steps task"""))
_INTRODUCTION_WORDS = _PLAN_WORDS | frozenset(re.findall(r'\S+', """
    a an and are arm as based be break breakdown brief by can carry clear complete completing
    consists correct current detailed do down execute few final first five follow for four from
    full given here here's high-level how i i'd i'll i've image immediate in instruction into is
    it it's let let's list me my need needed needs next now of on one order ordered our out
    outline overview perform picture plans possible proposed provide provided recommended
    remaining request required robot robotic scene sequence short should simple six so suggest
    suggested summary take ten that the their then there these this three to two updated use
    using video was way we what what's will with would you your 1 2 3 4 5 6 7 8 9 10"""))
_STEP_NUMBER = re.compile(r'(?:step|action|步骤|动作) ?\d', re.IGNORECASE)
_PURPOSE = re.compile(
    r'(?:\A|(?<= ))(?<!is )(?<!be )(?:(?:in order )?to'
    r'(?! (?:do|be|perform|execute|take|carry|follow|complete)\b)|for) '
    r'(?P<goal>[^,:;]{1,80}?)(?=,|\Z)',
    re.IGNORECASE,
)
_TO_BE_DONE = re.compile(r'\bbe (?:taken|performed|executed|carried out)\b', re.IGNORECASE)
_GOAL = re.compile(r'\**(?:goal|task|instruction|objective|目标|任务|指令)\**:', re.IGNORECASE)
_CHINESE_INTRODUCTION = re.compile(
    rf'[{HAN}\w“”" ,-]{{0,60}}?(?:计划|步骤|流程|方案|序列|操作|动作|如下|下一步)'
    r'(?:如下|是|为|有|依次为)?'
)

# A note may say how to do the steps, and not which.
_NOTE = re.compile(
    r'(?:please )?(?:notes?|caution|warning|tips?|reminder|remember|important|safety)\b'
    r'(?: that\b)?[*:,]*|(?:请?注意|备注|(?:温馨)?提示|提醒)(?:事项)?[*:,]*',
    re.IGNORECASE,
)
_NOT_IN_NOTE = re.compile(
    r"\b(?:cannot|can't|unable|impossible|infeasible|refuse|sorry|unfortunately|instead|or|if"
    r'|alternativ\w+|otherwise|unless|skip|ignore|disregard|cancel|wrong|already|incorrect|actually'
    r'|steps?|plan|list|above|first|before|after|previous|only|this|that|it|these|those|so|execute'
    r'|perform|run|start|stop|abort|halt|danger\w*|unsafe|forbidden|prohibited|fail\w*|works?'
    r'|unknown|missing)\b|[?\d]'
    r'|无法|不能|不可能|抱歉|对不起|或者|如果|除非|否则|跳过|忽略|取消|错|步|计划|以上|先|之前|已'
    r'|这|那|它|该|执行|停|危险|禁止|操作|失败',
    re.IGNORECASE,
)
_OFFER = re.compile(
    r'(?:please )?(?:let me know|feel free to|(?:i )?hope (?:this|that|it) helps|good luck|enjoy'
    r'|if you (?:need|have|want|would like) .*(?:questions?|help|assistance|details|changes))\b.*'
    r'|(?:如有|如果[你您]?(?:有|需要)|希望(?:这|以上)|请随时).*',
    re.IGNORECASE,
)
_OUTCOME = re.compile(
    r'(?:after (?:this|that|these (?:steps|actions)),? |then,? |finally,? )?'
    r'(?:this|that|it|(?:the|this|your) (?:task|goal|plan|job|sequence)|all|everything'
    r'|(?:these|all(?: the)?|the) (?:steps|actions)) '
    r'(?:(?:will|should|is|are)(?: then| now)?(?: be)? (?:done|completed?|finished|achieved'
    r'|accomplished|fulfilled)'
    r'|(?:completes?|finish(?:es)?|concludes?|ends?|accomplish(?:es)?|achieves?)'
    r'|(?:will|should|ensures? that|makes? sure that) [^,;]{1,80})'
    r'(?: (?:it|the (?:task|goal|plan|job|sequence)))?(?: (?:in|after|with) .{1,40})?'
    r'|the [^,;]{1,60} (?:will|should)(?: then| now)? be [^,;]{1,60}'
    r'|by following these (?:steps|actions),? [^;]{1,100}'
    rf'|(?:这样|至此|之后|最后|然后)[{HAN}, ]{{0,30}}(?:就|便|即可|将)[{HAN}]{{0,20}}'
    r'(?:完成|结束)了?'
    r'|即可完成(?:任务|指令|目标)',
    re.IGNORECASE,
)
_FUTURE = re.compile(
    r'\b(?:then|will|should|by|ensures?|makes?|(?:complete|finishe|accomplishe|achieve)s|concludes?'
    r'|ends?)\b|[就便即将]',
    re.IGNORECASE,
)


def introduction_end(text: str) -> int:
    """Return where the introduction ends with which a text begins; 0 if there is none."""
    end = 0
    while end < len(text):
        sentence = _SENTENCE.match(text, end)
        interjection = _INTERJECTION.match(text, end)
        if interjection:
            end = interjection.end()
        elif goal := _GOAL.match(text, end):
            line = text[goal.end() :].partition('\n')[0]
            if any(p.search(line) for p in (_DOUBT, _REPORT, _DATA)) or not line.strip():
                break
            end = goal.end() + len(line)
        elif sentence and not sentence['words'].strip():
            if sentence.end() == end or sentence['end'] in ('.', '!', '。'):
                break
            end = sentence.end()
        elif sentence and _introduces(sentence['words'].strip('*_ '), sentence['end']):
            end = sentence.end()
        else:
            break
    return end


def _introduces(words: str, end: str) -> bool:
    if any(p.search(words) for p in (_DOUBT, _REPORT, _DATA)) or _STEP_NUMBER.match(words):
        return False
    if re.search(f'[{HAN}]', words):
        return end in (':', '\n') and _CHINESE_INTRODUCTION.fullmatch(words) is not None
    purpose = _PURPOSE.search(words)
    rest = _PURPOSE.sub('', words, count=1)
    rest = _TO_BE_DONE.sub('be', rest)
    said = re.sub(r'[,*_"]', ' ', rest.replace('\u2019', "'").lower()).split()
    if not _INTRODUCTION_WORDS.issuperset(said):
        return False
    if words.isdigit():  # "1:"
        return False
    return (end == ':' and bool(said or purpose)) or not _PLAN_WORDS.isdisjoint(said)


def only_remarks(text: str) -> bool:
    """Tell whether a text holds nothing but remarks that may stand after a plan."""
    if _DATA.search(text):
        return False
    for line in text.splitlines():
        words = line.strip('-*_=#> \t')
        if note := _NOTE.match(words):
            if _NOT_IN_NOTE.search(words, note.end()):
                return False
            continue
        if not all(map(_is_last_remark, re.split(r'(?<=[.!?]) +|(?<=。)', words))):
            return False
    return True


def _is_last_remark(sentence: str) -> bool:
    words = sentence.strip().rstrip('.!。')
    if not words or _OFFER.fullmatch(words):
        return True
    if _DOUBT.search(words) or read_order(words) or not _FUTURE.search(words):
        return False
    return _OUTCOME.fullmatch(words) is not None
