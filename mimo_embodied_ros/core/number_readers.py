"""Reader of numbers with their units."""

from __future__ import annotations

import math
import re

from .answers import AnswerType, SpatialAnswer
from .short_answers import LEAD, NOUN, PLACES, THING, conclusion, plain, with_capitals

# what may not stand before "the answer is"; the Chinese characters are one to ten, and two
_OTHERS = re.compile(
    r'[0-9]|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?)\b'
    r'|[\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d\u5341\u4e24]',
    re.IGNORECASE | re.ASCII,
)
_LENGTH = (
    r'(?:[kcmd]?m|ft|foot|feet|IN|inch(?:es)?|yards?|yd|miles?|mi'
    r'|(?:kilo|centi|milli|deci)?met(?:er|re)s?)'
)
_MEASURE = (
    rf'(?:{_LENGTH}(?:\u00b2|\u00b3|\^ ?(?:[23]|\{{[23]\}}))?|(?:square|cubic) {_LENGTH}|sq\.? ?ft'
    rf'|{_LENGTH}(?:/(?:s|h|min)| PER (?:SECOND|hour|minute))|mph|kph'
    r'|m?s|secs?|SECOND|seconds|min(?:ute)?s?|h|hrs?|hours?|\u00b0 ?[CF]?|deg(?:ree)?s?'
    r'|rad(?:ian)?s?|%|percent|k?g|(?:kilo)?grams?|m?l|lit(?:er|re)s?)'
)
# metres, kilometres, seconds, minutes, hours, degrees, people; measure words with what they count
_HAN_MEASURE = (
    r'(?:[\u5398\u6beb\u5206\u5343]?\u7c73|\u516c\u91cc|\u79d2|\u5206\u949f|\u5c0f\u65f6|\u5ea6'
    r'|\u4eba'
    r'|[\u4e2a\u53ea\u628a\u5f20\u8f86\u6761\u6839\u68f5\u5757\u672c\u4ef6\u4f4d\u540d\u53f0\u76cf\u6247]'
    # no half, more, or so, above, below, not, or, and, to, some, is, in, have
    r'(?:(?![\u534a\u591a\u4f59\u5de6\u4e0a\u4e0b\u4e0d\u6ca1\u6216\u548c\u5230\u81f3\u51e0\u4ee5\u53c8'
    r'\u662f\u5728\u6709])'
    r'[\u4e00-\u9fff]){0,6})'
)
_PLURAL = r'(?:(?:[a-z]{2,}-)*[a-z]{2,}s(?<!ss)|people|men|women|children)'
_COUNTED = rf'(?:(?:{NOUN} ){{0,2}}{_PLURAL}|(?<=\b1 )(?=[a-z]{{3}}){NOUN}(?: {NOUN}){{0,2}})'
_QUANTITY = (
    r'(?:(?:ABOUT|APPROXIMATELY|approx\.|AROUND|ROUGHLY) |[~\u2248] ?|\u5927?\u7ea6)?'
    r'(-?[0-9]+(?:\.[0-9]+)?)'
    rf'(?:\s?({_MEASURE}|{_HAN_MEASURE})| ({_COUNTED}))?'
)
_HEAD = (
    r'(?:number|count|total|distance|height|width|length|depth|size|area|volume|diameter|radius'
    r'|thickness|speed|duration|angle|temperature)'
)
_OF = rf'(?: (?:OF|BETWEEN|FROM|TO) (?:{THING}|{NOUN}(?: {NOUN})?)(?: (?:AND|TO|FROM) {THING})?)'
_BEFORE = (
    r'(?:(?:(?:SO|THUS|THEREFORE|HENCE),? )?'
    r'(?:THERE (?:IS|ARE) (?:ONLY |exactly )?|(?:I|WE) (?:CAN )?(?:count|see) |IT IS '
    rf'|THE (?:{NOUN} ){{0,2}}{_HEAD}{_OF}{{0,2}}(?: {PLACES})? IS )'
    # in the picture (in all) there are; the distance is
    r'|(?:(?:(?![\u6ca1\u4e0d])[\u4e00-\u9fff]){1,6}[\u4e0a\u4e2d\u91cc\u5185])?'
    r'(?:[\u4e00\u603b]?\u5171)?\u6709'
    r'|(?:\u8ddd\u79bb|\u9ad8\u5ea6|\u5bbd\u5ea6|\u957f\u5ea6|\u6570\u91cf)[\u662f\u4e3a])'
)
_AFTER = rf'(?: (?:{PLACES}|long|wide|high|tall|deep|away))'
_ANSWER = re.compile(rf'{_QUANTITY}\.?')
_SENTENCE = re.compile(rf'{_BEFORE}?{_QUANTITY}{_AFTER}?\.?')


def read_number(words: str, *, sentences: bool = True) -> SpatialAnswer | None:
    """Read a number with its unit, or a sentence that says one: "There are 3 chairs".

    vsibench takes the first word of the box and countbench the box, which would read ``3 or 4`` as
    3. Not read is also what may be meant as two numbers: ``1,200`` and ``1/2``.
    """
    answer = conclusion(plain(words), LEAD, _OTHERS.search)
    grammar = _SENTENCE if sentences else _ANSWER
    if answer is None or not (match := grammar.fullmatch(with_capitals(answer))):
        return None
    number = float(match[1])
    if not math.isfinite(number):
        return None
    start, end = match.span(2 if match[2] else 3)
    return SpatialAnswer(words, AnswerType.NUMBER, number=number, unit=answer[start:end])
