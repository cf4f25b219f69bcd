"""Reader of numbers with their units."""

from __future__ import annotations

import math
import re

from .answers import AnswerType, SpatialAnswer
from .short_answers import LEAD, NOUN, PLACES, THING, conclusion, plain, with_capitals

# what may not stand before "the answer is": another number
_OTHERS = re.compile(
    r'[0-9]|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozens?)\b'
    r'|[一二三四五六七八九十两]',
    re.IGNORECASE | re.ASCII,
)
_LENGTH = (
    r'(?:[kcmd]?m|ft|foot|feet|IN|inch(?:es)?|yards?|yd|miles?|mi'
    r'|(?:kilo|centi|milli|deci)?met(?:er|re)s?)'
)
_MEASURE = (
    rf'(?:{_LENGTH}(?:\u00b2|\u00b3|\^ ?(?:[23]|\{{[23]\}}))?|(?:square|cubic) {_LENGTH}|sq\.? ?ft'
    rf'|{_LENGTH}(?:/(?:s|h|min)| PER (?:SECOND|hour|minute))|mph|kph'
    r'|m?s|secs?|SECOND|seconds|min(?:ute)?s?|h|hrs?|hours?|\u00b0 ?[CF]?|deg(?:ree)?s?|DEGREE'
    r'|rad(?:ian)?s?|%|percent|k?g|(?:kilo)?grams?|m?l|lit(?:er|re)s?)'
)
# metres, kilometres, seconds, minutes, hours, degrees, people; measure words with what they count
_HAN_MEASURE = (
    r'(?:[厘毫分千]?米|公里|秒|分钟|小时|度|人|[个只把张辆条根棵块本件位名台盏扇]'
    # no half, more, or so, above, below, not, or, and, to, some, is, in, have, no question
    r'(?:(?![半多余左上下不没或和到至几以又是在有吗呢么吧])[\u4e00-\u9fff]){0,6})'
)
_PLURAL = r'(?:(?:[a-z]{2,}-)*[a-z]{2,}s(?<!ss)|people|men|women|children)'
_COUNTED = rf'(?:(?:{NOUN} ){{0,2}}{_PLURAL}|(?<=\b1 )(?=[a-z]{{3}}){NOUN}(?: {NOUN}){{0,2}})'
_QUANTITY = (
    r'(?:(?:ABOUT|APPROXIMATELY|approx\.|AROUND|ROUGHLY) |[~\u2248] ?|大?约)?'
    r'(-?[0-9]+(?:\.[0-9]+)?)'
    rf'(?:\s?({_MEASURE}|{_HAN_MEASURE})| ({_COUNTED}))?'
)
# not "the image number"
_MEASURED = (
    rf'(?:(?:total |exact )?(?:number|count)|(?:{NOUN} ){{0,2}}(?:total|distance|height|width'
    r'|length|depth|size|area|volume|diameter|radius|thickness|speed|duration|angle|temperature))'
)
_OF = rf'(?: (?:OF|BETWEEN|FROM|TO) (?:{THING}|{NOUN}(?: {NOUN})?)(?: (?:AND|TO|FROM) {THING})?)'
_BEFORE = (
    r'(?:(?:(?:SO|THUS|THEREFORE|HENCE),? )?'
    r'(?:THERE (?:IS|ARE) (?:ONLY |exactly )?|(?:I|WE) (?:CAN )?(?:count|see) |IT IS '
    rf'|THE {_MEASURED}{_OF}{{0,2}}(?: {PLACES})? IS )'
    # in the picture, video, room, scene or on the table (in all) there are; the distance is
    r'|(?:[这该]?张?(?:图[片像]?|画面|照片|视频|房间|场景|桌子?)'
    r'[上中里内])?(?:[一总]?共)?有|(?:距离|高度|宽度|长度|数量)[是为])'
)
_AFTER = rf'(?: (?:{PLACES}|IN total|long|wide|high|tall|deep|away))'
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
