"""Read plans in words: JSON, lists with numbers or bullets, and sentences.

Plans are read in English and Chinese. Each step is an order or names one of the robot's skills, and
what stands before and after the steps is a remark of `core.plan_remarks`. A text that holds
anything else is no plan, because it may refuse the plan, be a report, or be two plans.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .action_verbs import HAN, read_order
from .answers import TaskStep
from .characters import strip_emphasis, to_ascii
from .errors import ParseError
from .json_values import FENCE, json_string, split_values
from .place_readers import entry_points, is_entry
from .plan_remarks import introduction_end, only_remarks
from .step_readers import read_order_step, read_step, strip_end, strip_lead

if TYPE_CHECKING:
    from collections.abc import Collection

    from .skills import Skill

__all__ = ['list_items', 'read_step', 'read_steps']

_MAX_STEPS = 100
_MAX_TEXT = 20_000  # characters of a plan

# "1. ", "1) ", "1- " (as RoboVQA writes them), "(1) ", "**1.** ", "### Step 1: "; not "1.5", "1-2".
# In Chinese texts "1、", "①", "第一步", "步骤1" and "一、", too. Signs are in ASCII here.
_DIGITS = '〇一二三四五六七八九十'
_COUNT = rf'(?:[0-9]{{1,3}}|[{_DIGITS}]{{1,3}})'
_CIRCLED = '[\u2460-\u2473]'
_BOUND = r'\**:?(?=\s|[^\W\d]|[\[*"]|\Z)'
_LINE_MARK = re.compile(
    rf'^[ \t]*[*#_ ]{{0,6}}(?:(?:step |步骤 ?|\(?)[0-9]{{1,3}} ?[.):-]{_BOUND}|[0-9]{{1,3}}、'
    rf'|step [0-9]{{1,3}}\**(?=\n)|(?:步骤 ?{_COUNT}|第{_COUNT}步)\**[:,.、]?|\({_COUNT}\)'
    rf'|[{_DIGITS}]{{1,3}}、|{_CIRCLED})',
    re.IGNORECASE | re.MULTILINE,
)
_ANY_MARK = re.compile(
    rf'(?:\A|(?<=[\s;,。]))[*#_]{{0,6}}(?:step |步骤 ?|\(?)[0-9]{{1,3}}(?:[.)]{_BOUND}|[:-](?=\s))'
    rf'|(?:\A|(?<=[\s;,。{HAN}]))(?:[0-9]{{1,3}}(?:、|\.(?=[{HAN}]))|\([0-9]{{1,3}}\)'
    rf'|第{_COUNT}步[:,、]|步骤{_COUNT}[:、])|{_CIRCLED}',
    re.IGNORECASE,
)
_BULLET = re.compile(r'^([ \t]*)([-*+\u2022\u00b7\u25cf])[ \t]+(?=\S)', re.MULTILINE)
_SENTENCE_END = re.compile(
    r'(?<=[.;!?]) +|\n+|(?<=[。;])|,? and then |, then |,?(?:然后|接着|随后)', re.IGNORECASE)
_COMMA = re.compile(r'(?:[,、;]|(?: [-\u2013\u2014+/&]|:)(?= ))\s*(?:and |并)?', re.IGNORECASE)

_PLAN_KEYS = ('steps', 'plan')
_NUMBER_KEYS = ('id', 'index', 'number', 'step_number', 'order')
_TEXT_KEYS = ('text', 'description', 'instruction', 'step')
_STEP_KEYS = frozenset((
    *_NUMBER_KEYS, *_TEXT_KEYS, 'action', 'object', 'target', 'points', 'point', 'point_2d', 'x',
    'y', 'label', 'reason'))
_BESIDE_KEYS = frozenset(('goal', 'task', 'instruction', 'title'))


def read_steps(text: str, skills: Collection[Skill] = ()) -> tuple[TaskStep, ...] | None:
    """Read a plan in English or Chinese, written as JSON, as a list or as sentences.

    Args:
        text: the answer, without the reasoning.
        skills: of the robot; what their ``says`` name is a step, too, in any language.

    Returns:
        The steps, with points in pixels of the model's image; no steps for ``[]``, and None if the
        text is no plan or is more than one plan.

    Raises:
        ParseError: JSON in the text is damaged, the numbers of a list are not 1, 2, 3, ..., or a
            point in the text is no valid position.

    """
    if len(text) > _MAX_TEXT or text.count('```') > 2:
        return None
    values, words = split_values(text, json_only=True)
    if values:
        return _from_json(values, words, skills)
    text = FENCE.sub('\n', text)
    text = strip_emphasis(text).strip()
    if text[:1] in ('"', "'") and text.endswith(text[:1]) and text.count(text[0]) == 2:
        text = text[1:-1]
    items = _plan_items(text, skills)
    if items is None or len(items) > _MAX_STEPS:
        return None
    steps = tuple(read_order_step(item, skills) for item in items)
    return _all(steps)


def _all(steps: tuple[TaskStep | None, ...]) -> tuple[TaskStep, ...] | None:
    known = tuple(step for step in steps if step is not None)
    return known if len(known) == len(steps) else None


def list_items(text: str) -> list[str]:
    """Return the items of a numbered list, or of a bulleted list if no numbers are found.

    Numbers stand where lines begin, or anywhere if only then there are two or more. An item is a
    line and the indented lines after it. What stands around the list is left out.
    """
    plain = to_ascii(text)
    lines = list(_LINE_MARK.finditer(plain))
    anywhere: list[re.Match[str]] = []
    for mark in _ANY_MARK.finditer(plain):
        if _number(mark) == len(anywhere) + 1:
            anywhere.append(mark)
    marks = anywhere if len(lines) < 2 <= len(anywhere) else lines
    if marks and _number(marks[0]) != 1:
        marks = []
    marks = marks or list(_BULLET.finditer(text))
    return [_item(part)[0] for part in _parts(text, marks)]


def _plan_items(text: str, skills: Collection[Skill]) -> list[str] | None:
    """Return the words of each step, if the text is one list or sentences, and remarks."""
    text = text[introduction_end(to_ascii(text)) :].strip()
    plain = to_ascii(text)
    lines, anywhere = list(_LINE_MARK.finditer(plain)), _marks_anywhere(plain)
    bullets = list(_BULLET.finditer(plain))
    indent = min((len(bullet[1]) for bullet in bullets), default=0)
    outer = [bullet for bullet in bullets if len(bullet[1]) == indent]
    if lines or len(anywhere) > 1:
        marks = anywhere if len(lines) < len(anywhere) else lines
        _check_numbers(marks)
    elif outer and len({bullet[2] for bullet in outer}) == 1:
        marks = outer
    else:
        return _sentences(text, skills)
    if plain[: marks[0].start()].strip():
        return None
    parts = [_item(part) for part in _parts(text, marks)]
    if any(rest.strip() for _, rest in parts[:-1]) or not only_remarks(to_ascii(parts[-1][1])):
        return None
    pieces = [_comma_list(strip_lead(item), ',、;') for item, _ in parts]
    return None if None in pieces else [words for piece in pieces for words in piece or ()]


def _marks_anywhere(plain: str) -> list[re.Match[str]]:
    """Return the marks on all places; "table 3." at the end of "1) wipe table 3." has none."""
    marks: list[re.Match[str]] = []
    for mark in _ANY_MARK.finditer(plain):
        ends_line = plain[mark.end() : mark.end() + 1] in ('', '\n')
        if not (ends_line and marks) or _are_one_list([*marks[-1:], mark], _number(marks[-1])):
            marks.append(mark)
    return marks


def _number(mark: re.Match[str]) -> int:
    label = mark[0]
    if digits := re.search('[0-9]+', label):
        return int(digits[0])
    if circled := re.search(_CIRCLED, label):
        return ord(circled[0]) - 0x245F
    tens, ten, ones = re.sub(f'[^{_DIGITS}]', '', label).rpartition('十')
    return (_DIGITS.find(tens or '一') * 10 if ten else 0) + max(_DIGITS.find(ones), 0) * bool(ones)


def _are_one_list(marks: list[re.Match[str]], first: int = 1) -> bool:
    """Tell whether marks are of one style and count on from the first number."""
    styles = {re.sub(rf'[\s*#_0-9{_DIGITS}]|{_CIRCLED}', '', mark[0].lower()) for mark in marks}
    return len(styles) == 1 and all(_number(mark) == n for n, mark in enumerate(marks, first))


def _check_numbers(marks: list[re.Match[str]]) -> None:
    if _are_one_list(marks):
        return
    msg = (
        f'the numbers of the list are {", ".join(m[0].strip() for m in marks)[:80]} and not '
        '1, 2, 3, ... in one list, so that steps may be missing; ask again or in other words'
    )
    raise ParseError(msg)


def _parts(text: str, marks: list[re.Match[str]]) -> list[str]:
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    return [text[mark.end() : end] for mark, end in zip(marks, ends)]


def _item(part: str) -> tuple[str, str]:
    """Return the first line with the indented lines after it, and the rest."""
    first, *others = part.strip().split('\n')
    count = next((n for n, line in enumerate(others) if line[:1].strip()), len(others))
    item = ' '.join(line.strip() for line in (first, *others[:count]))
    return item.strip(), '\n'.join(others[count:])


def _sentences(text: str, skills: Collection[Skill]) -> list[str] | None:
    """Return the orders in sentences; None if what follows them is no remark."""
    plain, start = to_ascii(text), 0
    orders: list[str] = []
    while start < len(text):
        end = _SENTENCE_END.search(plain, start + 1)
        words = text[start : end.start() if end else len(text)].strip()
        words = strip_lead(words)
        if words and not _is_order(words, skills):
            return orders if orders and only_remarks(plain[start:]) else None
        if words:
            pieces = _comma_list(words)
            if pieces is None:
                return None
            orders += pieces
        start = end.end() if end else len(text)
    return orders or None


def _is_order(words: str, skills: Collection[Skill]) -> bool:
    said = strip_end(words)
    return read_order(to_ascii(said)) is not None or any(skill.match(said) for skill in skills)


def _comma_list(words: str, signs: str = ',、;:+/&-\u2013\u2014') -> list[str] | None:
    """Split "open the drawer, take the spoon" at commas.

    Args:
        words: one item or sentence.
        signs: that may stand between two orders; only commas and semicolons divide them.

    Returns:
        None if a part may be an order or not, or follows another sign.

    """
    plain = to_ascii(words)
    pieces, start = [], 0
    for comma in _COMMA.finditer(plain):
        order = read_order(strip_lead(plain[comma.end() :]))
        sign = comma[0].lstrip()[0]
        if order is None or sign not in signs:
            continue
        if not order[1] or sign not in ',、;':
            return None
        pieces.append(words[start : comma.start()])
        start = comma.end()
    return [*pieces, words[start:]]


def _from_json(
    values: list[Any], words: list[str], skills: Collection[Skill]
) -> tuple[TaskStep, ...] | None:
    """Read a JSON list of steps, an object that holds one, or objects that are steps."""
    before, *between, behind = map(to_ascii, words)
    if introduction_end(before) < len(before) or not only_remarks(behind) or any(between):
        return None
    value: Any = values[0] if len(values) == 1 else values
    if isinstance(value, dict):
        keys = [key for key in _PLAN_KEYS if key in value]
        if keys and (len(keys) > 1 or not value.keys() <= {*keys, *_BESIDE_KEYS}):
            return None
        value = value[keys[0]] if keys else [value]
    if not isinstance(value, list) or len(value) > _MAX_STEPS:
        return None
    return _all(tuple(_json_step(item, n, skills) for n, item in enumerate(value, 1)))


def _json_step(value: Any, number: int, skills: Collection[Skill]) -> TaskStep | None:
    """Read one step: words, or an object of which all fields are known."""
    if not isinstance(value, dict):
        words = json_string(value)
        mark = _LINE_MARK.match(to_ascii(words))
        if mark and _number(mark) != number:
            return None
        words = strip_lead(words[mark.end() :] if mark else words)
        return read_order_step(words, skills) if _comma_list(words, ',、;') == [words] else None
    if not value.keys() <= _STEP_KEYS:
        return None
    numbers = [value[key] for key in _NUMBER_KEYS if key in value]
    if not isinstance(value.get('step', ''), str):
        numbers.append(value['step'])
    if any(n not in (number, str(number)) for n in numbers):
        return None
    parts = [value.get(key) for key in ('action', 'object', 'target')]
    if not all(part is None or isinstance(part, str) for part in parts):
        return None
    action, thing, target = map(json_string, parts)
    texts = list(filter(None, (json_string(value.get(key)) for key in _TEXT_KEYS)))
    named = ' '.join(filter(None, (action, thing, target)))
    if len(texts) > 1 or not (texts or named):
        return None
    step = read_order_step(texts[0] if texts else named, skills)
    other = read_order(to_ascii(named)) if texts and named else None
    if step is None or (texts and named and other != read_order(to_ascii(step.text))):
        return None
    points = (*step.points, *(entry_points(value) if is_entry(value) else ()))
    if thing or target:
        return TaskStep(step.text, action, thing, target, points)
    return TaskStep(step.text, step.action, step.object, step.target, points)
