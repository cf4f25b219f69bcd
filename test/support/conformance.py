"""Raw outputs and the answers to expect of them: test/data/conformance.jsonl, a record a line.

``task`` and ``options`` say what was asked, ``text`` and ``finish`` (else 'stop') what came,
``size`` what the model saw (else 1600 by 900 pixels; the caller's image is twice as large), and
``expect`` the answer's fields that are not empty, with positions in pixels of what the model saw,
or the error's code. ``profile`` names another model than MiMo-Embodied, and ``thinks`` says that it
reasoned.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mimo_embodied_ros.core.answers import (
    Affordances,
    Answer,
    Behavior,
    Box,
    DrivingDecision,
    Point,
    SpatialAnswer,
    TaskPlan,
    Trajectory,
)
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.profiles import MIMO_EMBODIED, PROFILES
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import Resize
from mimo_embodied_ros.core.tasks import TASKS
from support.paths import TEST_DATA

_ALL: list[dict[str, Any]] = [
    json.loads(line)
    for line in (TEST_DATA / 'conformance.jsonl').read_text().splitlines()
]
RECORDS = [record for record in _ALL if 'profile' not in record]
OTHER_MODELS = [record for record in _ALL if 'profile' in record]
_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)  # a parser has no use for them


def answer_to(record: dict[str, Any]) -> Answer:
    """Give the record's text to the parser."""
    width, height = record.get('size', (1600, 900))
    prompt = Prompt(
        '', (_NO_PIXELS,), (Resize(2 * width, 2 * height, width, height),), 100,
        thinks=record.get('thinks', False),
        profile=PROFILES[record.get('profile', MIMO_EMBODIED.name)])
    return parse_answer(
        query_of(record), prompt, record['text'], record.get('finish', 'stop'))


def query_of(record: dict[str, Any]) -> Query:
    """Return what was asked, without images."""
    return Query(
        TASKS[record['task']], 'the request', options=tuple(record.get('options', ())),
        experimental=True)


def simplified(answer: Answer) -> dict[str, Any]:
    """Return an answer's fields that are not empty, with positions in pixels of its image."""
    content = answer.content
    fields: dict[str, Any] = {
        'objects': [[o.id, o.camera, o.x, o.y] for o in answer.objects],
        'outside': len(answer.outside),
    }
    if isinstance(content, TaskPlan):
        fields['steps'] = [step.text for step in content.steps]
        fields['points'] = [_point(p) for step in content.steps for p in step.points]
    elif isinstance(content, (Affordances, SpatialAnswer)):
        fields['points'] = [_point(point) for point in content.points]
        fields['boxes'] = [[*_corners(box), box.label] for box in content.boxes]
    elif isinstance(content, DrivingDecision):
        fields |= {
            'decision': content.decision,
            'behavior': content.behavior.name if content.behavior is not Behavior.UNKNOWN else '',
            'rationale': content.rationale,
            'hazards': [[h.label, h.box and _corners(h.box)] for h in content.hazards],
            'scene': content.scene,
            'target_speed': content.target_speed and round(content.target_speed, 4),
        }
    elif isinstance(content, Trajectory):
        fields['trajectory'] = [
            [p.time, p.x, p.y, *([] if p.heading is None else [p.heading])] for p in content.points
        ]
    if isinstance(content, SpatialAnswer):
        fields |= {'yes': content.yes, 'number': content.number, 'unit': content.unit}
        fields['choices'] = list(content.choices)
    typed = {key: value for key, value in fields.items() if value or value is False or value == 0.0}
    if not typed.get('outside'):
        typed.pop('outside', None)
    if not typed.keys() - {'objects', 'outside'} and hasattr(content, 'text'):
        typed['text'] = content.text
    return typed


def _point(point: Point) -> list[Any]:
    return [point.x / 2, point.y / 2, point.label]


def _corners(box: Box) -> list[float]:
    return [box.x_min / 2, box.y_min / 2, box.x_max / 2, box.y_max / 2]
