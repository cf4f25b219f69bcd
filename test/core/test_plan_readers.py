"""Plans in all the forms in which a model may write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mimo_embodied_ros.core import action_verbs
from mimo_embodied_ros.core.answers import Answer, Point, TaskPlan, TaskStep
from mimo_embodied_ros.core.errors import MimoError, OutputTruncatedError, ParseError
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.plan_readers import list_items, read_step, read_steps
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import Resize
from mimo_embodied_ros.core.skill_files import load_skills

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
        'Wait, that is wrong.',
        'Hold on.',
        'Open drawer is on the left.',
        'Match found.',
        'Set of steps',
        'Look at the image again',
        'Move failed.',
        'Change the plan',
        'pick up the cup, put it on the shelf, I think',
        'pick up the cup", "put it on the shelf',
        'open the drawer -> take the spoon',
        'Turn left/right',
        'put',
        'wait [1, 2]wait',
        'pick up the cup [1, 2] open the drawer [3, 4]',
        'pick up the cup open the drawer',
        'place la tasse',
        'open de lade',
        'Go to table 1. Take the cup 2. Stop.',
        '- open the drawer\n* take the spoon',
        '1. open the drawer\n2) take the spoon',
        '1. open the drawer\n2. ' + 'a-b ' * 150,
        '\n'.join(f'{n}. wait' for n in range(1, 102)),
        '\u6b63\u5728\u6253\u5f00\u62bd\u5c49',
        '\u628a\u676f\u5b50',
        '\u62ff\u8d77\u676f\u5b50\u5931\u8d25',
        '{"steps": ["open the drawer"], "error": "blocked"}',
        '{"step": "open the drawer"} or {"step": "take the spoon"}',
        '{"action": "take", "object": ["spoon", "cup"]}',
        '{"action": "take the spoon", "description": "open the drawer"}',
        '[{"step": "open the drawer", "bbox_2d": [1, 2, 3, 4]}]',
        '["open the drawer"',
    ],
)
def test_what_is_no_plan(text: str) -> None:
    with pytest.raises((ParseError, OutputTruncatedError)):
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
        ('1. open the door, take the cup\n2. wait', ['open the door', 'take the cup', 'wait']),
        ('1. First, open the door.\n2. Then, wait.', ['open the door', 'wait']),
        ('1. pick up the cup, fork and knife', ['pick up the cup, fork and knife']),
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
        ('拿起红色方块', ('拿起', '红色方块', '')),
        ('把红色方块放进蓝色碗里', ('放进', '红色方块', '蓝色碗')),
        ('放进蓝色碗里', ('放进', '', '蓝色碗')),
        ('轻轻地把杯子放到桌子上', ('放到', '杯子', '桌子')),
        ('将一个球递给人', ('递给', '球', '人')),
        ('从抽屉里拿出勺子', ('拿出', '勺子', '')),
        ('移动杯子到碗旁边', ('移动', '杯子', '碗旁边')),
        ('拿起红色方块并放进碗里', ('拿起', '红色方块', '')),
        ('走到厨房', ('走到', '', '厨房')),
        ('把门打开', ('打开', '门', '')),
        ('向左转', ('转', '', '')),
        ('红色方块在桌上', ('', '', '')),
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


ORDERS = st.sampled_from([
    'pick up the cup', 'put it on the shelf', 'open the drawer', 'wait', 'turn left',
    'wipe table 2', 'drive 1.5 m ahead', '拿起红色方块', '把杯子放到桌子上', '打开抽屉',
    '向前走2米'])
PLANS = st.lists(ORDERS, min_size=1, max_size=5)
BEFORE = st.sampled_from([
    '', 'Sure! ', 'Okay. Here is the plan:\n', 'To tidy the table, follow these steps:\n\n',
    '## Plan\n\n', '好的\uff0c以下是步骤\uff1a\n'])
BEHIND = st.sampled_from([
    '', '\n\nNote: do not hurry. Wait for the human.', '\n\nLet me know if you need help.',
    '\n\nThis completes it.', '\n\n注意\uff1a不要着急。'])
REFUSALS = st.sampled_from([
    'I cannot do this.', 'Sorry, there is no cup.', 'As an AI model, I have no arms.', 'Done.',
    'The cup is on the table.', 'Which cup?', 'Do not do this:', 'or', '抱歉\uff0c我无法完成。',
    '任务完成。', 'Ich kann das nicht.', 'If the cup is full:', 'Instead:', 'Never do this:',
    'Steps to avoid:', 'Steps taken:', 'Completed steps:', '错误的步骤\uff1a'])
NUMBERED = FORMS[0]
LISTS = (
    *FORMS[:5],
    lambda lines: '\n'.join(f'{i}、{line}' for i, line in enumerate(lines, 1)),
    lambda lines: '\n'.join(f'\uff08{i}\uff09{line}' for i, line in enumerate(lines, 1)),
    lambda lines: '\n'.join(f'{chr(0x245F + i)}{line}' for i, line in enumerate(lines, 1)),
    lambda lines: '\n'.join(f'第{"一二三四五"[i]}步\uff1a{line}' for i, line in enumerate(lines)),
    lambda lines: f'```\n{NUMBERED(lines)}\n```',
    FORMS[-2],
)


def words_of(text: str) -> list[str] | None:
    """Return the words of the steps; None if the text is no plan."""
    try:
        steps = read_steps(text)
    except MimoError:
        return None
    return None if steps is None else [step.text for step in steps]


@given(PLANS, st.sampled_from((*LISTS, '\n'.join)), BEFORE, BEHIND)
def test_steps_between_remarks_are_read_exactly(
    lines: list[str], form: Callable[[list[str]], str], before: str, behind: str
) -> None:
    assert words_of(before + form(lines) + behind) == lines


@given(PLANS, st.sampled_from((*LISTS, '\n'.join)), REFUSALS)
def test_a_plan_beside_other_words_is_not_read(
    lines: list[str], form: Callable[[list[str]], str], refusal: str
) -> None:
    assert words_of(f'{refusal}\n{form(lines)}') is None
    assert words_of(f'{form(lines)}\n\n{refusal}') is None


@given(PLANS, PLANS, st.sampled_from(LISTS), st.sampled_from(LISTS),
       st.sampled_from(['\n', '\n\n', '\nor\n', '\nAlternatively:\n', '\nPlan:\n', '\n---\n']))
def test_two_plans_are_never_read_as_one_of_them(
    first: list[str], second: list[str], form: Callable[[list[str]], str],
    other: Callable[[list[str]], str], between: str,
) -> None:
    words = words_of(form(first) + between + other(second))
    assert words is None or words == first + second


@given(PLANS, st.integers(0, 200))
def test_a_cut_list_has_no_step_that_can_be_seen_to_be_cut(lines: list[str], end: int) -> None:
    words = words_of(NUMBERED(lines)[:end])
    if words:
        assert words[:-1] == lines[: len(words) - 1]
        assert lines[len(words) - 1].startswith(words[-1])
        assert words[-1] not in ('pick up the', 'pick up', 'pick', 'put', 'put it on the', 'open',
                                 'open the', 'wipe', '把杯子', '把杯子放到', '把')


@example('turn left``pick up the cup')
@given(st.lists(st.one_of(ORDERS, REFUSALS, BEFORE, BEHIND, st.text(max_size=5), st.sampled_from([
    '1. ', '2. ', '\n', '\n- ', '①', '1、', ', ', ' and ', ' then ', '. ', '。', '["', '", "', '"]',
    '{', ' [1, 2]', '**', '```'])), max_size=9).map(''.join))
def test_no_step_has_words_that_are_not_in_the_text(text: str) -> None:
    plain = ' '.join(text.replace('**', '').replace('[1, 2]', ' ').split())
    for words in words_of(text) or ():
        assert ' '.join(words.split()[:2]) in plain
        assert words[-1:] in plain


def test_a_list_whose_numbers_are_all_1_keeps_its_items() -> None:
    assert list_items('1. slow down\n1. stop') == ['slow down', 'stop']
    assert list_items('The limit is\n30. Keep going.') == []
    assert list_items('①减速②停车') == ['减速', '停车']


def test_steps_may_begin_with_the_words_of_the_skills(tmp_path: Path) -> None:
    path = tmp_path / 'skills.yaml'
    path.write_text(
        'zorb:\n  description: x\n  says: ["zorb {object}", "возьми {object}", "nimm {object}"]\n'
        '  success: y\n'
        '  arguments: {object: {type: object}}\n'
        '  runs: [{service: /s, type: std_srvs/srv/Trigger}]\n', 'utf-8')
    skills = tuple(load_skills(path).values())
    for text in ('zorb the cup', 'возьми чашку', 'nimm die Tasse'):
        plan = f'Here is the plan:\n1. {text}\n2. wait'
        assert read_steps(plan) is None
        assert [step.text for step in read_steps(plan, skills)] == [text, 'wait']
        assert [step.text for step in read_steps(f'{text}. wait.', skills)] == [text, 'wait']
    assert read_steps('1. zorb the cup if it is full', skills) is None
    assert read_steps('1. zorb the cup\n2. Done.', skills) is None


def test_every_verb_of_the_table_begins_an_order() -> None:
    table = yaml.safe_load((Path(action_verbs.__file__).with_suffix('.yaml')).read_text('utf-8'))
    lists = {key: words.split() for key, words in table.items() if isinstance(words, str)}
    for key, words in lists.items():
        assert words == sorted(set(words)), key
        if key != 'english_adverbs':
            assert set(words) <= set(lists[key.split('_')[0]]), key
    english, chinese = lists['english'], [*lists['chinese'], *table['chinese_short']]
    assert [v for v in english if words_of(f'{v} the cup') != [f'{v} the cup']] == []
    assert [v for v in english if words_of(f'the {v}') or words_of(f'{v} of cups')] == []
    assert [v for v in chinese if words_of(f'{v}杯子') != [f'{v}杯子']] == []
    assert [v for v in chinese if words_of(f'{v}了杯子') or words_of(f'机械臂{v}杯子')] == []
