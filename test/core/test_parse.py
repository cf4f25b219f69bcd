"""Answers as MiMo-Embodied writes them, and as it might."""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core import place_readers
from mimo_embodied_ros.core.answers import (
    Affordances,
    Answer,
    AnswerType,
    Box,
    Point,
    SpatialAnswer,
    TextAnswer,
)
from mimo_embodied_ros.core.characters import valid_text
from mimo_embodied_ros.core.errors import (
    EmptyAnswerError,
    MimoError,
    OutputTruncatedError,
    ParseError,
)
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import Prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.readers import read_boxes, split_reasoning
from mimo_embodied_ros.core.resize import Resize
from mimo_embodied_ros.core.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Iterator

EMPTY_THINK = '<think>\n</think>\n\n'
GENERAL = (Task.PLAN, Task.POINTS, Task.BOXES, Task.SPATIAL, Task.ASK)
HALF = Resize(448, 336, 224, 168)  # the model saw an image of half the size
NUMBER = re.compile(r'-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?')


def answer_to(
    task: Task, text: str, finish_reason: str = 'stop', resizes: tuple[Resize, ...] = (HALF,)
) -> Answer:
    prompt = Prompt('', (np.zeros((168, 224, 3), np.uint8),), resizes, 100)
    query = Query(task, 'the red cube', experimental=True)
    return parse_answer(query, prompt, text, finish_reason)


def points_of(text: str, task: Task = Task.POINTS) -> list[tuple[float, float, str]]:
    return [(p.x, p.y, p.label) for p in answer_to(task, text).content.points]


# --- reasoning and boxes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('<think>\n</think>\n\nhello', ('', 'hello')),
        ('<think>\nSo, ...\n</think>\n\nhello', ('So, ...', 'hello')),
        ('prefilled</think>hello', ('prefilled', 'hello')),
        ('<think>a</think>\n<think>c</think>d', ('a\nc', 'd')),
        ('<think>a</think>b<think>c</think>d', ('a', 'b<think>c</think>d')),
        ('<think>a</think>b</think>c', ('a', 'b</think>c')),
        ('a <think>b</think>c', ('', 'a <think>b</think>c')),
        ('hello<|im_end|>\n<|endoftext|>', ('', 'hello')),
        ('<think>not closed [[1, 2]]', ('not closed [[1, 2]]', '')),
        ('<think>a</think>b<think>c', ('abc', '')),
        ('hello', ('', 'hello')),
        ('', ('', '')),
    ],
)
def test_reasoning_is_split_off(text: str, expected: object) -> None:
    assert split_reasoning(text) == expected


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        (r'so \boxed{C}', [('C', 3, 12)]),
        (r'\boxed{A} or \boxed{B}', [('A', 0, 9), ('B', 13, 22)]),
        (r'\boxed{\text{red} {and {blue}}}', [('red {and {blue}}', 0, 31)]),
        (r'\boxed{\textbf{No}}', [('No', 0, 19)]),
        (r'\boxed{slow down', [('slow down', 0, -1)]),
        (r'\boxed{stop, justification: the traffic light is red."}',
         [('stop, justification: the traffic light is red.', 0, 55)]),
        (r'\boxed{ }', [('', 0, 9)]),
        ('C', []),
    ],
)  # fmt: skip
def test_boxes_around_answers(text: str, expected: object) -> None:
    assert read_boxes(text) == expected


# --- points ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'text',
    [
        '[{"points": [[57, 80]], "label": "red cube"}]',
        '```json\n[{"points": [[57, 80]], "label": "red cube"}]\n```',
        '```\n[\n\t{"points": [[57, 80]],\n\t"label": "red cube"}\n]\n```\nThere it is.',
        '{"points": [[57, 80]], "caption": "red cube"}',
        'It is here: [{"points": [57, 80], "label": "red cube"}].',
        '[{"points": [{"x": 57, "y": 80}], "label": "red cube"}]',
        '[{"point_2d": ["57", "80.0"], "label": " red cube"}]',
        '[{"x": 57, "y": 80, "label": "red cube"}]',
        '\\boxed{[{"points": [[57, 80]], "label": "red cube"}]}',
        '[{"points": [[57, 80]], "label": "red cube"}, {"points": [], "label": "cup [1, 2]"}]',
    ],
)
def test_labelled_point(text: str) -> None:
    assert points_of(EMPTY_THINK + text) == [(114, 160, 'red cube')]
    assert points_of(text) == [(114, 160, 'red cube')]


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('[[226, 479], [238, 461], ...]', [(452, 958), (476, 922)]),  # paper, Fig. 2
        ('[[237, 296], [245, 484]]', [(474, 592), (490, 968)]),
        ('The handle is at [581,399].', [(1162, 798)]),  # Fig. 7
        ('[(376, 309), (332, 357)]', [(752, 618), (664, 714)]),  # as RoboBrain does
        ('[[-3, 12.5]]', [(-6, 25)]),
    ],
)
def test_bare_points(text: str, expected: list[tuple[float, float]]) -> None:
    assert points_of(EMPTY_THINK + text) == [(x, y, '') for x, y in expected]


@pytest.mark.parametrize('task', [Task.POINTS, Task.BOXES])
@pytest.mark.parametrize(
    'text', ['[]', '```json\n[]\n```', '[{"points": [], "label": "cup"}]', '[ ]', 'None: [].']
)
def test_nothing_found_is_an_answer(task: Task, text: str) -> None:
    assert answer_to(task, EMPTY_THINK + text).content == Affordances()


@pytest.mark.parametrize(
    'text',
    [
        'There is no red cube.',
        '(1, 2) but [57, 80]',
        '[[57, 80], []]',
        '[{"points": [[57, 80]], "label": "the "red" cube"}]',
        'null',
        '{}',
        '[57, 80, 60, 90]',  # two points, or a box: not for us to say
        '[{"points": [57, 80, 60, 90]}]',
        '[{"points": [[57, 80], [60]]}]',
        '[{"points": [[57, NaN]]}]',
        '[{"points": [[Infinity, 80]]}]',
        '[{"points": [[1e400, 80]]}]',
        '[{"points": [[57, ' + '9' * 5000 + ']]}]',
        '[[57, ' + '9' * 5000 + ']]',
        '[{"points": [[true, 80]]}]',
        '[{"points": [[57, null]]}]',
        '[{"points": [["57px", 80]]}]',
        '[{"points": [["\u0665\u0667", 80]]}]',
        '[[\u0665\u0667, 80]]',
        '[{"points": "57, 80"}]',
        '[{"points": null}]',
        '[{"points": [{"x": 57}]}]',
        '[' * 100_000 + ']' * 100_000,
        '[{"points": ' + '[' * 900 + ']' * 900 + '}]',
    ],
)
def test_unreadable_points_are_an_error(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        answer_to(Task.POINTS, '<think>maybe [[1, 2]]</think>' + text)
    assert caught.value.raw_text.endswith(text)
    assert caught.value.reasoning == 'maybe [[1, 2]]'
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize('task', GENERAL)
@pytest.mark.parametrize('text', ['', ' \n', EMPTY_THINK])
def test_an_empty_output(task: Task, text: str) -> None:
    with pytest.raises(EmptyAnswerError):
        answer_to(task, text)


@pytest.mark.parametrize('task', TASKS.values(), ids=lambda task: task.name)
def test_nothing_but_reasoning(task: Task) -> None:
    text = '<think>[[1, 2]] [1, 2, 3, 4] \\boxed{A} [PT, (1, 2)]'
    with pytest.raises(OutputTruncatedError, match='inside of its reasoning'):
        answer_to(task, text)
    with pytest.raises(OutputTruncatedError, match='repeat itself'):
        answer_to(task, text, 'repetition')


def test_points_of_the_reasoning_are_not_the_answer() -> None:
    text = '<think>roughly [[1, 2]]\n</think>\n\n[{"points": [[57, 80]], "label": "cube"}]'
    answer = answer_to(Task.POINTS, text)
    assert [(p.x, p.y) for p in answer.content.points] == [(114, 160)]
    assert answer.reasoning == 'roughly [[1, 2]]'
    assert answer.raw_text == text


def test_points_outside_are_kept_and_reported() -> None:
    answer = answer_to(Task.POINTS, '[[0, 0], [223, 167], [224, 0], [0, 168], [-1, 0]]')
    assert [p.in_image for p in answer.content.points] == [True, True, False, False, False]
    assert answer.outside == (
        Point(448, 0, '', in_image=False),
        Point(0, 336, '', in_image=False),
        Point(-2, 0, '', in_image=False),
    )


def test_half_of_a_surrogate_pair_gets_into_no_label() -> None:
    ((_, _, label),) = points_of(r'[{"points": [[57, 80]], "label": "\ud83d cup \ud83d\ude00"}]')
    assert label == '\ufffd cup \U0001f600'


def test_pixels_without_an_image_mean_nothing() -> None:
    with pytest.raises(ParseError, match='0 images'):
        answer_to(Task.POINTS, '[[1, 2]]', resizes=())
    with pytest.raises(ParseError, match='2 images of 2 sizes'):
        answer_to(Task.SPATIAL, '[[1, 2]]', resizes=(HALF, Resize(224, 168, 224, 168)))
    assert answer_to(Task.SPATIAL, '[[1, 2]]', resizes=(HALF, HALF)).content.points


# --- boxes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'label'),
    [
        ('```json\n[{"bbox_2d": [8, 29, 93, 70],\n"caption_and_explanation": "red"}]\n```', 'red'),
        ('```json\n[\n\t{"bbox_2d": [8, 29, 93, 70], "label": "Poodle"}\n]\n```', 'Poodle'),
        ('[{"bbox_2d": [93, 70, 8, 29], "caption": "a car"}]', 'a car'),
        ('[{"bbox_2d": [[8, 29, 93, 70]]}]', ''),
        ('[8, 29, 93, 70]', ''),
        ('It is (8, 29, 93, 70).', ''),
    ],
)
def test_boxes(text: str, label: str) -> None:
    thought = '<think>\nabout [126, 48, 176, 59]\n</think>\n\n'
    answer = answer_to(Task.BOXES, thought + text)
    assert answer.content == Affordances(boxes=(Box(16, 58, 186, 140, label),))


def test_box_outside() -> None:
    answer = answer_to(Task.BOXES, '[[0, 0, 224, 168], [8, 29, 225, 70]]')
    assert [box.in_image for box in answer.content.boxes] == [True, False]
    assert answer.outside == (Box(16, 58, 450, 140, '', in_image=False),)


def test_point_is_no_box() -> None:
    with pytest.raises(ParseError):
        answer_to(Task.BOXES, '[8, 29]')


# --- spatial ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'yes'),
    [
        (r'\boxed{yes}', True),
        (r'\boxed{No}', False),
        (r'So \boxed{\text{No}}.', False),
        ('Yes, it is left of the bowl.', True),
        ('no.', False),
    ],
)
def test_yes_and_no(text: str, yes: bool) -> None:
    content = answer_to(Task.SPATIAL, EMPTY_THINK + text).content
    assert (content.type, content.yes) == (AnswerType.YES_NO, yes)


@pytest.mark.parametrize(
    'text',
    [r'The cube. \boxed{C}', 'C', '(C)', 'C.', 'C. red cube', '(C) red cube', r'\boxed{C: cube}',
     'Answer: C', 'The answer is (C).', 'Option C'],
)  # fmt: skip
def test_choice(text: str) -> None:
    content = answer_to(Task.SPATIAL, EMPTY_THINK + text).content
    assert (content.type, content.choice) == (AnswerType.CHOICE, 'C')


@pytest.mark.parametrize(
    ('text', 'number', 'unit'),
    [
        (r'\boxed{3}', 3, ''),
        ('2.4 m', 2.4, 'm'),
        (r'\boxed{2.4\,\text{m}}', 2.4, 'm'),
        ('$-5$', -5, ''),
        ('30cm.', 30, 'cm'),
        ('1.5 m/s', 1.5, 'm/s'),
        ('4 m\u00b2', 4, 'm\u00b2'),
        ('45\u00b0', 45, '\u00b0'),
        (r'\boxed{50\%}', 50, '%'),
        ('3 cubes', 3, 'cubes'),
    ],
)
def test_number(text: str, number: float, unit: str) -> None:
    content = answer_to(Task.SPATIAL, EMPTY_THINK + text).content
    assert (content.type, content.number, content.unit) == (AnswerType.NUMBER, number, unit)


@pytest.mark.parametrize(
    ('text', 'kind'),
    [
        ('[{"points": [[57, 80]], "label": "cube"}]', AnswerType.POINTS),
        (r'\boxed{(57, 80)}', AnswerType.POINTS),
        ('It is at [57, 80].', AnswerType.POINTS),
        ('[]', AnswerType.POINTS),
        ('[{"bbox_2d": [8, 29, 93, 70]}]', AnswerType.BOX),
        ('[8, 29, 93, 70]', AnswerType.BOX),
    ],
)
def test_places(text: str, kind: AnswerType) -> None:
    content = answer_to(Task.SPATIAL, EMPTY_THINK + text).content
    assert content.type is kind
    assert [(p.x, p.y) for p in content.points] == [(114, 160)] * ('57' in text)
    assert [b.x_max for b in content.boxes] == [186] * ('93' in text)


@pytest.mark.parametrize(
    'text',
    ['red', 'yesterday', 'the answer may be yes', 'A red cube', 'AC', 'nothing', '9' * 400, '3-4',
     '\u0663', 'two steps (2, 3)', 'yes-man', 'between 2 and 3 m'],
)  # fmt: skip
def test_other_words(text: str) -> None:
    assert answer_to(Task.SPATIAL, EMPTY_THINK + text).content == SpatialAnswer(text)


# --- free answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('The **cone** is\nred.', 'The **cone** is\nred.'),
        ('Prose first. \\boxed{never closed', 'Prose first. \\boxed{never closed'),  # Fig. 35
        (
            r'\boxed{The car stops since the light is red.}',
            'The car stops since the light is red.',
        ),
    ],
)
def test_free_answer(text: str, words: str) -> None:
    assert answer_to(Task.ASK, EMPTY_THINK + text).content == TextAnswer(words)


# --- cut short -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('task', 'text'),
    [
        *((task, '<think>so [[1, 2]]') for task in GENERAL),
        *((task, '') for task in GENERAL),
        (Task.POINTS, '[{"points": [[57, 80]], "label": "a"}, {"points": [[6'),
        (Task.POINTS, '[{"points": [[57, 80]], "label": "a []'),
        (Task.POINTS, '[[57, 80], [6, 7]'),
        (Task.POINTS, 'It is at [57, 80]'),
        (Task.BOXES, '[{"bbox_2d": [8, 29, 93'),
        (Task.SPATIAL, r'\boxed{ye'),
        (Task.SPATIAL, 'yes'),
        (Task.PLAN, '1. pick up the cube [57, 80]\n2. put the'),
        (Task.ASK, 'I see a'),
    ],
)
@pytest.mark.parametrize('reason', ['length', 'cancelled'])
def test_truncated(task: Task, text: str, reason: str) -> None:
    with pytest.raises(OutputTruncatedError, match=reason) as caught:
        answer_to(task, text, reason)
    assert caught.value.raw_text == text


@pytest.mark.parametrize(
    ('task', 'text'),
    [
        (Task.POINTS, '```json\n[{"points": [[57, 80]], "label": "a"}]\n``'),
        (Task.POINTS, '[]\nThere is'),
        (Task.BOXES, '[{"bbox_2d": [8, 29, 93, 70]}]'),
        (Task.SPATIAL, r'\boxed{yes}.'),
        (Task.SPATIAL, '[{"points": [[57, 80]]}]'),
    ],
)
def test_complete_before_it_was_cut(task: Task, text: str) -> None:
    assert answer_to(task, text, 'length').content == answer_to(task, text, 'stop').content


# --- anything --------------------------------------------------------------------------------

coordinate = st.integers(-50, 5000)
fragments = st.sampled_from(
    ['[', ']', '{', '}', '(', ')', '"', "'", ',', ', ', ':', ' ', '\n', '\t', '\\', '`', '```json',
     '<think>', '</think>', '\\boxed{', '\\text{', '$', '.', '-', '1. ', '2) ', '- ', 'Step 1: ',
     'yes', 'no', 'C', 'm', 'NaN', 'true', 'null', 'Infinity', '1e400', '-1e3', '7.5', '"12"',
     '"points": ', '"bbox_2d": ', '"label": ', '"x": ', '"y": ', '"steps": ', '"action": ',
     'pick up', 'put', ' the red cube', ' in ', '[57, 80]', '(3, 4)', '[1, 2, 3, 4]', '[]',
     '[{"points": [[57, 80]], "label": "cube"}]', '\u0665', '\ud83d', '\x00', '\u2028']
)  # fmt: skip
pieces = st.one_of(fragments, coordinate.map(str), st.text(max_size=5))
texts = st.one_of(st.text(), st.lists(pieces, max_size=40).map(''.join))


def places_of(content: object) -> Iterator[tuple[float, float]]:
    marks = [*getattr(content, 'points', ()), *getattr(content, 'boxes', ())]
    for step in getattr(content, 'steps', ()):
        marks += step.points
    for mark in marks:
        if isinstance(mark, Point):
            yield mark.x, mark.y
        else:
            yield mark.x_min, mark.y_min
            yield mark.x_max, mark.y_max


@settings(max_examples=500)
@given(st.sampled_from(GENERAL), texts, st.sampled_from(['stop', 'length']))
@example(Task.POINTS, '[{"points": [["1", "-1e3"]]}]', 'stop')
def test_any_output_is_refused_or_read(task: Task, text: str, finish_reason: str) -> None:
    try:
        answer = answer_to(task, text, finish_reason)
    except MimoError as error:
        assert error.raw_text == text
        return
    assert answer.raw_text == text
    numbers = [float(n) for n in NUMBER.findall(text.rpartition('</think>')[2])]
    for place in places_of(answer.content):
        for value in HALF.to_model(*place):
            assert any(value == pytest.approx(n, abs=1e-6) for n in numbers)
    for mark in answer.outside:
        assert not mark.in_image


# but for labels of things that are not there
words = st.text(max_size=20).filter(
    lambda s: '<' not in s and not place_readers._ABSENT.fullmatch(s.strip().rstrip('.')))


def rendered(value: list[dict[str, Any]]) -> list[str]:
    """Return a value in each of the forms in which the model writes JSON."""
    first_or_all = value[0] if len(value) == 1 else value
    compact, unicode_ = json.dumps(value), json.dumps(value, ensure_ascii=False)
    return [
        compact,
        f'```json\n{unicode_}\n```',
        '```\n' + json.dumps(value, indent='\t') + '\n```',
        f'Here: {json.dumps(value, indent=2, ensure_ascii=False)}',
        json.dumps(first_or_all),
        EMPTY_THINK + compact,
        f'<think>perhaps [[1, 2]] or [3, 4, 5, 6]\n</think>\n\n{unicode_}',
        compact.replace(', ', ',\n'),
    ]


@given(
    st.lists(st.tuples(st.lists(st.tuples(coordinate, coordinate), max_size=3), words), max_size=3)
)
def test_points_round_trip(entries: list[tuple[list[tuple[int, int]], str]]) -> None:
    value = [{'points': points, 'label': label} for points, label in entries]
    expected = [(2 * x, 2 * y, valid_text(label).strip()) for points, label in entries
                for x, y in points]
    for text in rendered(value):
        if ',\n' not in text or all(', ' not in label for _, label in entries):
            assert points_of(text) == expected
            assert points_of(text, Task.SPATIAL) == expected


@given(st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate).filter(
    lambda quad: not all(0 <= value <= 1 for value in quad)), max_size=3))
def test_boxes_round_trip(quads: list[tuple[int, int, int, int]]) -> None:
    boxes = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in quads]
    for text in rendered([{'bbox_2d': box, 'label': 'car'} for box in boxes]):
        read_boxes = answer_to(Task.BOXES, text).content.boxes
        assert [(b.x_min, b.y_min, b.x_max, b.y_max) for b in read_boxes] == [
            tuple(2 * v for v in box) for box in boxes
        ]
    if boxes:
        assert len(answer_to(Task.BOXES, str([list(box) for box in boxes])).content.boxes) == len(
            boxes
        )


@pytest.mark.parametrize(
    'piece',
    ['[', '{', '(', '"', '["', '{"', '[{', '["\\"', '[]', ' ', '\n', '\t', '[ ', '1', '[1', '[1,',
     '[1, 2], ', '[1,2', '1.', '1. ', '1- ', '1. 1. ', '- ', '- \n', '\\boxed{', '\\boxed{}',
     '\\text{', '}', '<think>', '</think>', 'then ', ', and then', 'first, ', 'to ', '*', '**',
     'step 1\n', 'a, b, ', '[{"points": [[57, 80]], "label": "', '"a": 1, ', 'C. ', '1 \\',
     'put the cup ', 'a ', '$', '[x', 'A', 'A, ', 'A and ', 'A. b\n', '<c1,', '[PT, ', 'stop ',
     '[PT, (1, 2), ', 'move ', 'reduce the ', 'Scene: \n', '. ', ' because ', '1 km/h ', '# ',
     'answer is ', 'if '],
)  # fmt: skip
@pytest.mark.no_cover  # which takes as long as the reading itself
def test_long_answers_are_read_in_linear_time(piece: str) -> None:
    text = (piece * (60_000 // len(piece)))[:60_000]
    names = ('plan', 'boxes', 'spatial', 'driving_test', 'count', 'drive', 'trajectory')
    for task in (TASKS[name] for name in names):
        for whole in (text, 'put ' + text + '!', f'Here: [[57, 80]] {text}1'):
            start = time.process_time()
            with contextlib.suppress(MimoError):
                answer_to(task, whole)
            assert time.process_time() - start < 5  # some tenths on a slow machine; minutes if not
