"""Read plans in words: the steps of a text, with action, object and target of each."""

from __future__ import annotations

import re
from typing import Any

from .answers import TaskStep
from .place_readers import PAIR, entry_points, is_entry, json_string, json_values, read_pairs

# "1. ", "1) ", "1- " (as RoboVQA writes them), "(1) ", "**1.** ", "### Step 1: "; not "1.5", "1-2"
_NUMBER = r'[*#_ ]{0,6}(?:step )?\(?([0-9]{1,3})(?:[.):-]\**:?(?=\s|[^\W\d]|[\[*])|(?=\n))'
_NUMBERED_LINE = re.compile(r'^[ \t]*' + _NUMBER, re.IGNORECASE | re.MULTILINE)
_NUMBERED = re.compile(r'(?:(?<=\s)|\A)' + _NUMBER, re.IGNORECASE)
_BULLET = re.compile(r'^[ \t]*[-*+\u2022][ \t]+(?=\S)', re.MULTILINE)
_SENTENCE_END = re.compile(r'(?<=[.;!?]) |\n|,? and then |, then ', re.IGNORECASE)
# Words before the imperative of a step, as in "To do so, you should first ..."
_LEAD = re.compile(
    r'\A(?:(?:(?:first|second|third|final|last)(?:ly)?|next|then|now|after(?: that|wards))\b,? ?'
    r'|(?:in|on|to|with|using) [^,.;\[\n]{1,80}, '
    r'|(?:you|we|i|the robot) (?:should|must|will|can|(?:need|have) to) )+',
    re.IGNORECASE,
)
# A sentence that begins with one of these describes, refuses or explains, and is no step.
_NO_STEP = re.compile(
    r'(?:an?|the|this|that|these|those|there|here|it|its|i|we|you|he|she|they|my|our|your|not?'
    r'|none|nothing|yes|sorry|unfortunately|since|because|if|so|but|however|to|in|on|with|is|are'
    r"|can|can't|cannot|unable|impossible|(?:\S+ ){1,2}(?:is|are|isn't|aren't|cannot|can't))\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"(?:do not|don't|never|avoid)\b", re.IGNORECASE)
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
_ARTICLE = re.compile(r'(?:the|an?|your|its|this|that) ', re.IGNORECASE)
_TRAILING = re.compile(r'(?: (?:up|down|away|back|off|out|together|again|at))+$', re.IGNORECASE)
_DIRECTIONS = (
    'left',
    'right',
    'forward',
    'forwards',
    'backward',
    'backwards',
    'straight',
    'ahead',
)


def read_steps(text: str) -> tuple[TaskStep, ...] | None:
    """Read a plan written as JSON, as numbered or bulleted lines, or as prose.

    Args:
        text: the answer, without the reasoning.

    Returns:
        The steps, with points in pixels of the model's image; no steps for ``[]``, and None if
        nothing in the text is a step.

    Raises:
        ParseError: a point in the text is no valid position.

    """
    items = list_items(text)
    steps = _from_json(text)
    if steps or (steps is not None and not items):
        return steps
    parsed = []
    for words in items or _sentences(text):
        step = read_step(words)
        if step.text or step.points:
            parsed.append(step)
    return tuple(parsed) or None


def list_items(text: str) -> list[str]:
    """Return the items of a numbered list, or of a bulleted list if no numbers are found.

    Numbers stand where lines begin, or anywhere if only then there are two or more. An item is a
    line and the indented lines after it.
    """
    lines, anywhere = _numbers(_NUMBERED_LINE, text), _numbers(_NUMBERED, text)
    numbers = anywhere if len(lines) < 2 <= len(anywhere) else lines
    parts: list[str] = []
    end = len(text)
    for number in reversed(numbers):
        parts.insert(0, text[number.end() : end])
        end = number.start()
    items = []
    for part in parts or _BULLET.split(text)[1:]:
        item, *others = part.strip().split('\n')
        for line in others:
            if not line[:1].isspace() or not line.strip():
                break
            item += ' ' + line.strip()
        items.append(item)
    return items


def _numbers(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Return the matches that are numbered 1, 2, 3, and so on."""
    marks: list[re.Match[str]] = []
    for mark in pattern.finditer(text):
        if int(mark.group(1)) == len(marks) + 1:
            marks.append(mark)
    return marks


def read_step(text: str) -> TaskStep:
    """Read one step, such as "put the red cube in the blue bowl [120, 60]".

    Action, object and target are those of an English imperative; they are empty if the step is
    none. The text is without coordinates, because these are pixels of the model's image and not of
    the caller's.
    """
    points = read_pairs(text) if PAIR.search(text) else ()
    words = ' '.join(PAIR.sub(' ', text).replace('**', '').replace('`', '').split())
    words = words.strip('\'" ').rstrip('.;, ')
    return TaskStep(words, *_arguments(words), points)


def _arguments(words: str) -> tuple[str, str, str]:
    """Return action, object and target of an imperative; '' where not given."""
    match = _ACTION.match(words)
    if match is None or _NEGATED.match(words):
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


def _thing(words: str) -> str:
    words = _TRAILING.sub('', words.strip())
    article = _ARTICLE.match(words)
    words = words[article.end() :] if article else words
    return '' if words.lower() in _DIRECTIONS else words


def _from_json(text: str) -> tuple[TaskStep, ...] | None:
    """Read a JSON list of steps, or an object that holds one; None if the text has neither."""
    values = json_values(text)
    value: Any = values[0] if values and len(values) == 1 else values
    if isinstance(value, dict):
        value = next((value[key] for key in ('steps', 'plan') if key in value), values)
    if not values or not isinstance(value, list):
        return None
    steps = []
    for item in value:
        step = _json_step(item) if isinstance(item, dict) else read_step(json_string(item))
        if not step.text:
            return None
        steps.append(step)
    return tuple(steps)


def _json_step(value: dict[str, Any]) -> TaskStep:
    action, thing, target = (json_string(value.get(key)) for key in ('action', 'object', 'target'))
    texts = (json_string(value.get(key)) for key in ('text', 'description', 'instruction', 'step'))
    step = read_step(next(filter(None, texts), ' '.join(filter(None, (action, thing, target)))))
    points = (*step.points, *(entry_points(value) if is_entry(value) else ()))
    if thing or target:
        return TaskStep(step.text, action, thing, target, points)
    return TaskStep(step.text, step.action, step.object, step.target, points)


def _sentences(text: str) -> list[str]:
    """Return the sentences that may be steps."""
    lines = '\n'.join(' '.join(line.split()) for line in text.splitlines())
    parts = (_LEAD.sub('', part) for part in _SENTENCE_END.split(lines))
    return [p for p in parts if p[:1].isalpha() and p[-1] not in ':?' and not _NO_STEP.match(p)]
