r"""JSON schemas of answers, for servers that hold answers to a schema and to no grammar.

They accept a part of what the readers read: one object, as OpenAI's interface demands, with the
field ``answer``. Short answers stand in it as a string, and places as the list that their prompts
ask for. A schema has no place for reasoning, which is words before the JSON, and none for plans.
"""

from __future__ import annotations

import itertools
import string
from typing import TYPE_CHECKING, Any

from .characters import valid_values
from .files import parse_json
from .grammar import QUANTITY, SEVERAL, asks_for_hazards, lettered
from .json_values import FENCE
from .profiles import MIMO_EMBODIED
from .tasks import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .profiles import Profile
    from .query import Query

_KEY = 'answer'
SHORT = (AnswerKind.YES_NO, AnswerKind.NUMBER, AnswerKind.CHOICE, AnswerKind.CHOICES,
         AnswerKind.WORD)
_PIXEL = {'type': 'integer', 'minimum': 0, 'maximum': 99999}


def schema_of(query: Query, profile: Profile = MIMO_EMBODIED) -> dict[str, Any] | None:
    """Return the JSON schema of a query's answers; None where they have none.

    Points, boxes, hazards in boxes, yes or no, numbers, letters and words to choose from have one,
    as long as the model answers without reasoning.

    Args:
        query: the request.
        profile: of the model, with the keys of points and boxes.

    """
    kind = query.task.answer
    if profile.thinks(wanted=query.thinks):
        return None
    content = _short_answer(query)
    if kind is AnswerKind.POINTS and profile.point:
        points = _pixels(2)
        if profile.point == 'points':
            points = _list(points) | {'minItems': 1}
        content = _entries(profile.point, points, 'label')
    elif kind is AnswerKind.BOXES and profile.box:
        content = _entries(profile.box, _pixels(4), 'label')
    elif kind is AnswerKind.DECISION and asks_for_hazards(query, profile):
        content = _entries(profile.box, _pixels(4), 'caption')
    return None if content is None else _object({_KEY: content})


def unwrap_short_answer(answer: str) -> str:
    """Return the content of a JSON object with the field ``answer`` alone; else the text as it is.

    Args:
        answer: without the reasoning.

    """
    try:
        value = valid_values(parse_json(FENCE.sub('', answer)))
    except ValueError:
        return answer
    content = value[_KEY] if isinstance(value, dict) and value.keys() == {_KEY} else None
    return content if isinstance(content, str) else answer


def _short_answer(query: Query) -> dict[str, Any] | None:
    kind, letters = query.task.answer, string.ascii_uppercase[: len(query.options)]
    if kind is AnswerKind.YES_NO:
        return _one_of(('yes', 'no'))
    if kind is AnswerKind.NUMBER:
        return {'type': 'string', 'pattern': f'^{QUANTITY}$'}
    if kind is AnswerKind.CHOICE:
        return _one_of(letters or lettered(query.text))
    if kind is AnswerKind.CHOICES and len(letters) <= len(SEVERAL):
        return _one_of(''.join(chosen) for count in range(1, len(letters) + 1)
                       for chosen in itertools.combinations(letters, count))
    if kind is AnswerKind.WORD:
        return _one_of(query.task.vocabulary + query.options)
    return None


def _one_of(words: Iterable[str]) -> dict[str, Any] | None:
    allowed = list(dict.fromkeys(words))
    return {'type': 'string', 'enum': allowed} if allowed else None


def _entries(place: str, pixels: dict[str, Any], label: str) -> dict[str, Any]:
    return _list(_object({place: pixels, label: {'type': 'string', 'maxLength': 120}}))


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'array', 'items': items}


def _pixels(count: int) -> dict[str, Any]:
    return _list(_PIXEL) | {'minItems': count, 'maxItems': count}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'object', 'properties': fields, 'required': list(fields),
            'additionalProperties': False}
