"""Bring the answer of any model into the forms of MiMo-Embodied, which the readers read.

Only what is the same in another writing is rewritten: marks, tags and keys. Positions keep their
order and unit, which `core.parse` converts.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from .errors import ParseError

if TYPE_CHECKING:
    from .profiles import Profile

_NUMBER = r'-?[0-9]{1,7}(?:\.[0-9]{1,9})?'
# <points x1="4" y1="5" x2="6" y2="7" alt="cups">cups</points>, <point x="4" y="5">cup</point>
_TAG = re.compile(
    rf'<(points?)((?:\s+[xy][0-9]{{0,3}}="{_NUMBER}")+)(?:\s+alt="([^"<>]*)")?\s*>([^<>]*)</\1>')
_COORDINATE = re.compile(rf'([xy])([0-9]*)="({_NUMBER})"')
_XML_FENCE = re.compile(r'```(?:xml)?(?![A-Za-z])')
# Keys of positions that are x first, whatever the model
_X_FIRST = re.compile(r'["\'](?:bbox_2d|bbox|box|x|y)["\']\s*:')


def common_form(answer: str, profile: Profile, *, places: bool) -> str:
    """Rewrite an answer of the profile's model.

    Args:
        answer: without the reasoning.
        profile: of the model.
        places: whether the answer may hold positions; else only marks are taken out.

    Raises:
        ParseError: the model writes y first, and the answer has a key whose order is x first.

    """
    for pattern in profile.marks:
        answer = re.sub(pattern, lambda mark: mark[1] if mark.re.groups else '', answer)
    if not places:
        return answer.strip()
    if profile.tags:
        answer = _entries_of_tags(answer)
    if profile.y_first and (found := _X_FIRST.search(answer)):
        msg = (f'the answer holds the key {found.group()}, whose order is x first, and the profile '
               f'{profile.name} is of a model that writes y first; ask again')
        raise ParseError(msg)
    for key, ours in ((profile.point, 'points'), (profile.box, 'bbox_2d')):
        if key and key != ours:
            quoted = rf'(["\']){re.escape(key)}\1(?=\s*:)'
            answer = re.sub(quoted, rf'\1{ours}\1', answer)
    return answer.strip()


def _entries_of_tags(answer: str) -> str:
    """Write a text of nothing but tags as JSON; any other text stays as it is."""
    text = _XML_FENCE.sub('', answer)
    tags = list(_TAG.finditer(text))
    if not tags or _TAG.sub('', text).strip():
        return answer
    entries = []
    for tag in tags:
        places = _COORDINATE.findall(tag[2])
        numbers = [float(number) for _, _, number in places]
        pairs = list(zip(places[::2], places[1::2], strict=False))
        if len(places) % 2 or any(
                (x[0], y[0]) != ('x', 'y') or x[1] != y[1] for x, y in pairs):
            return answer
        entries.append({'points': [list(pair) for pair in zip(numbers[::2], numbers[1::2],
                                                               strict=True)],
                        'label': (tag[4] or tag[3] or '').strip()})
    return json.dumps(entries, ensure_ascii=False)
