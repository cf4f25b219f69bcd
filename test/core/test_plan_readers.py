"""Plans in all the forms in which a model may write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.answers import Answer, Point, TaskPlan, TaskStep
from mimo_embodied_ros.core.errors import ParseError
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.plan_readers import read_step, read_steps
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import Resize

if TYPE_CHECKING:
    from collections.abc import Callable

HALF = Resize(448, 336, 224, 168)


def plan_of(text: str) -> Answer:
    prompt = Prompt('', (np.zeros((168, 224, 3), np.uint8),), (HALF,), 100)
    return parse_answer(Query(Task.PLAN, 'tidy up'), prompt, text, 'stop')


def test_plan_of_the_embedded_model() -> None:
    answer = plan_of(
        '<think>\nthe cube is at [1, 2]\n</think>\n\n1. pick up the red cube [57, 80]\n'
        '2. put the red cube in the blue bowl [120, 260]'
    )
    outside = Point(240, 520, '', in_image=False)
    assert answer.content == TaskPlan(
        'tidy up',
        (
            TaskStep('pick up the red cube', 'pick up', 'red cube', '', (Point(114, 160),)),
            TaskStep(
                'put the red cube in the blue bowl', 'put', 'red cube', 'blue bowl', (outside,)
            ),
        ),
    )
    assert answer.outside == (outside,)
    assert answer.reasoning == 'the cube is at [1, 2]'


@pytest.mark.parametrize('text', ['[]', '```json\n[]\n```', '{"steps": []}', r'\boxed{[]}'])
def test_plan_without_steps(text: str) -> None:
    assert plan_of(text).content == TaskPlan('tidy up')


@pytest.mark.parametrize(
    'text',
    [
        'I cannot see a red cube.',
        'There is no red cube. It is not possible.',
        'I can not do that.',
        'yes',
        'The red cube is on the table.',
        'Red cube is missing.',
        '[{"points": [[57, 80]], "label": "red cube"}]',
        '[57, 80]',
        '...',
    ],
)
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises(ParseError):
        plan_of(text)


@pytest.mark.parametrize(
    'text',
    [
        '1. open the drawer\n2. take the spoon',
        '1) open the drawer.\n2) take the spoon.',
        '1- open the drawer 2- take the spoon',
        '(1) open the drawer (2) take the spoon',
        '1-open the drawer\n2-take the spoon',
        'Step 1: open the drawer\nStep 2: take the spoon',
        '### Step 1\nopen the drawer\n\n### Step 2\ntake the spoon',
        'The plan:\n\n1. **open the drawer**\n\n2. **take the spoon**\n\nThen all is done.',
        '1. open the drawer\n2. take the spoon\nThis completes it in 2 steps.',
        '- open the drawer\n- take the spoon',
        '* open the drawer;\n* take the spoon',
        '\u2022 open the drawer\n\u2022 take the spoon',
        'open the drawer. take the spoon.',
        'First, open the drawer. Then take the spoon.',
        'To do so, you should first open the drawer, and then take the spoon. It is then done.',
        'open the drawer\ntake the spoon',
        '["open the drawer", "take the spoon"]',
        '```json\n{"steps": ["open the drawer", {"description": "take the spoon"}]}\n```',
        '{"step": "open the drawer"}\n{"step": "take the spoon"}',
        '[{"step": 1, "action": "open the drawer"}, {"step": 2, "action": "take the spoon"}]',
    ],
)
def test_steps(text: str) -> None:
    steps = plan_of(text).content.steps
    assert [(s.text, s.action, s.object, s.target) for s in steps] == [
        ('open the drawer', 'open', 'drawer', ''),
        ('take the spoon', 'take', 'spoon', ''),
    ]


@pytest.mark.parametrize(
    ('text', 'steps'),
    [
        ('stack the lids together', ['stack the lids together']),
        ('1. drive 1.5 m ahead', ['drive 1.5 m ahead']),
        ('Go to table 1. Then stop.', ['Go to table 1', 'stop']),
        ('1. open it\n   - pull the handle\n2. close it',
         ['open it - pull the handle', 'close it']),
        ('\u62ff\u8d77\u7ea2\u8272\u65b9\u5757', ['\u62ff\u8d77\u7ea2\u8272\u65b9\u5757']),
    ],
)  # fmt: skip
def test_words_of_steps(text: str, steps: list[str]) -> None:
    assert [step.text for step in read_steps(text)] == steps


@pytest.mark.parametrize(
    ('text', 'arguments'),
    [
        ('Pick up the red cube [57, 80].', ('pick up', 'red cube', '')),
        ('pick the red cube up', ('pick', 'red cube', '')),
        ('gently put down an egg onto the plate', ('put down', 'egg', 'plate')),
        ('place it on top of the box', ('place', 'it', 'box')),
        ('put the cup next to the blue bowl', ('put', 'cup', 'next to blue bowl')),
        ('move the cup to the left of the bowl', ('move', 'cup', 'to the left of bowl')),
        ('put the cup in front of the robot', ('put', 'cup', 'in front of robot')),
        ('put the bowl on the table in the kitchen', ('put', 'bowl', 'table in the kitchen')),
        ('pick up the cup on the left', ('pick up', 'cup on the left', '')),
        ('take the spoon from the drawer', ('take', 'spoon', '')),
        ('pick up the cup and place it in the sink', ('pick up', 'cup', '')),
        ('put the cube and the ball in the box', ('put', 'cube and the ball', 'box')),
        ('go to the kitchen', ('go', '', 'kitchen')),
        ('turn left', ('turn', '', '')),
        ('turn on the light', ('turn on', 'light', '')),
        ('open drawer', ('open', 'drawer', '')),
        ('wait', ('wait', '', '')),
        ('do not touch the vase', ('', '', '')),
        ('[57, 80]', ('', '', '')),
    ],
)
def test_arguments(text: str, arguments: tuple[str, str, str]) -> None:
    step = read_step(text)
    assert (step.action, step.object, step.target) == arguments
    assert '[' not in step.text


def test_json_step_with_its_arguments() -> None:
    (step,) = read_steps(
        '[{"action": "put", "object": "red cube", "target": "blue bowl", "point": [3, 4]}]'
    )
    assert step == TaskStep(
        'put red cube blue bowl', 'put', 'red cube', 'blue bowl', (Point(3, 4),)
    )


names = st.lists(
    st.sampled_from(['red', 'blue', 'small', 'cube', 'ball', 'mug', 'bowl']),
    min_size=1,
    max_size=3,
).map(' '.join)
steps = st.tuples(
    st.sampled_from(['pick up', 'put', 'place', 'open', 'wipe', 'stack']),
    names,
    st.one_of(st.just(''), names),
    st.lists(st.tuples(st.integers(0, 223), st.integers(0, 167)), max_size=2),
)
FORMS = (
    lambda lines: '\n'.join(f'{i}. {line}' for i, line in enumerate(lines, 1)),
    lambda lines: '\n\n'.join(f'{i}) {line}.' for i, line in enumerate(lines, 1)),
    lambda lines: ' '.join(f'{i}- {line}' for i, line in enumerate(lines, 1)),
    lambda lines: 'Steps:\n' + '\n'.join(f'Step {i}: {line}' for i, line in enumerate(lines, 1)),
    lambda lines: '\n'.join(f'- {line}' for line in lines),
    '\n'.join,
    lambda lines: '. Then '.join(lines) + '.',
    lambda lines: f'```json\n{json.dumps(lines, indent=2)}\n```',
    lambda lines: json.dumps({'plan': [{'step': line} for line in lines]}),
)


@settings(deadline=None)
@given(st.lists(steps, min_size=1, max_size=7), st.sampled_from(FORMS), st.booleans())
def test_round_trip(
    plan: list[tuple[str, str, str, list[tuple[int, int]]]],
    form: Callable[[list[str]], str],
    think: bool,
) -> None:
    lines, expected = [], []
    for action, thing, target, points in plan:
        moves = target and action in ('put', 'place', 'stack')
        words = f'{action} the {thing}' + (f' in the {target}' if moves else '')
        marks = ''.join(f' [{x}, {y}]' for x, y in points)
        lines.append(words + marks)
        at = tuple(Point(2 * x, 2 * y) for x, y in points)
        expected.append(TaskStep(words, action, thing, target if moves else '', at))
    thought = '<think>\n1. think [1, 2]\n</think>\n\n' if think else ''
    assert plan_of(thought + form(lines)).content.steps == tuple(expected)
