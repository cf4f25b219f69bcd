"""Evaluation on one's own data: metrics, datasets, runs that are killed, and reports."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mimo_embodied_ros.cli.main import main
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import load_tasks
from mimo_embodied_ros.embedded import plan_questions, table_questions
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.evaluation import metrics, report, run
from mimo_embodied_ros.evaluation.ground_truth import KINDS
from mimo_embodied_ros.evaluation.layouts import read_dataset
from mimo_embodied_ros.share import embedded_model
from mimo_embodied_ros.worlds import table_scene
from support.paths import ROOT
from support.programs import COMMAND_LINE
from support.tabletop import SCENE
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mimo_embodied_ros.embedded.question import Question
    from mimo_embodied_ros.engine import Engine

# how fast a machine is that others use, too, is not what is tested
UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])
LIMITS = PixelLimits(4 * 28 * 28, 1280 * 28 * 28)
COORDINATES = st.integers(-200, 200).map(lambda v: v / 4)
PAIRS = st.tuples(COORDINATES, COORDINATES)
BOXES = st.tuples(PAIRS, st.integers(1, 40), st.integers(1, 40)).map(
    lambda b: (b[0][0], b[0][1], b[0][0] + b[1], b[0][1] + b[2]))


# --- metrics ---------------------------------------------------------------------------------


def test_points_count_on_the_pixel_that_they_are_in() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    points = [(2, 1), (2.99, 1.99), (3, 1), (1.99, 1), (2, 2), (-0.1, 1), (4, 1), (2, 1e6)]
    assert metrics.in_mask(points, mask).tolist() == [True, True] + [False] * 6
    assert metrics.hit_rate(metrics.in_mask(points, mask)) == 0.25
    assert metrics.hit_rate(metrics.in_mask([], mask)) == 0
    mask[0, 3] = True  # the pixel that an index of -1 would find
    assert not metrics.in_mask([(-1, 0)], mask).any()


@UNHURRIED
@given(polygon=st.lists(PAIRS, min_size=3, max_size=8), point=PAIRS)
def test_polygons_as_opencv_has_them(
    polygon: list[tuple[float, float]], point: tuple[float, float]
) -> None:
    distance = cv2.pointPolygonTest(np.array(polygon, np.float32), point, True)
    if abs(distance) > 1e-3:  # on the edge either is right
        assert metrics.in_polygons([point], [polygon]).tolist() == [distance > 0]


def test_a_point_in_any_polygon_counts() -> None:
    square = [(0, 0), (4, 0), (4, 4), (0, 4)]
    other = [(x + 10, y) for x, y in square]
    inside = metrics.in_polygons([(1, 1), (11, 1), (6, 1)], [square, other])
    assert inside.tolist() == [True, True, False]
    assert metrics.in_polygons([], [square]).shape == (0,)


@UNHURRIED
@given(a=BOXES, b=BOXES)
def test_overlap(a: metrics.Corners, b: metrics.Corners) -> None:
    overlap = metrics.iou(a, b)
    assert 0 <= overlap <= 1
    assert overlap == pytest.approx(metrics.iou(b, a))
    assert metrics.iou(a, a) == pytest.approx(1)


def test_boxes_count_once_and_at_half() -> None:
    assert metrics.iou((0, 0, 2, 1), (1, 0, 3, 1)) == pytest.approx(1 / 3)
    assert metrics.boxes_f1([(0, 0, 2, 1)], [(0, 0, 1, 1)]) == 1  # exactly one half
    assert metrics.boxes_f1([(0, 0, 2.01, 1)], [(0, 0, 1, 1)]) == 0
    twice = [(0, 0, 4, 4), (0, 0, 4, 3.9)]
    assert metrics.boxes_f1(twice, [(0, 0, 4, 4)]) == pytest.approx(2 / 3)
    assert metrics.boxes_f1(twice, [(0, 0, 4, 4), (9, 9, 10, 10)]) == 0.5
    assert metrics.boxes_f1([], [(0, 0, 4, 4)]) == 0
    assert metrics.boxes_f1([], []) == 1


@pytest.mark.parametrize(('answered', 'true', 'score'), [
    (2.0, 2.0, 1.0), (1.0, 2.0, 0.1), (0.99, 2.0, 0.0), (4.0, 2.0, 0.0), (2.48, 2.0, 0.6),
    (2.12, 2.0, 0.9), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (-2.0, -2.0, 1.0)])
def test_relative_accuracy_as_published(answered: float, true: float, score: float) -> None:
    assert metrics.relative_accuracy(answered, true) == pytest.approx(score)


def test_words_and_metres() -> None:
    assert metrics.exact_match(' The  Cup.\n', ['a cup', 'the cup'])
    assert not metrics.exact_match('cup', ['the cup'])
    assert metrics.displacement([(0, 0), (3, 5)], [(0, 1), (3, 1)]) == pytest.approx(2.5)


# --- datasets --------------------------------------------------------------------------------


def write(folder: Path, *lines: Any, name: str = 'data.jsonl') -> Path:
    """A dataset of these lines, with a picture ``a.png`` of 8x6 and a mask ``m.png`` of it."""
    Image.new('RGB', (8, 6)).save(folder / 'a.png')
    Image.new('L', (8, 6), 255).save(folder / 'm.png')
    file = folder / name
    file.write_text(''.join(
        (line if isinstance(line, str) else json.dumps(line)) + '\n' for line in lines))
    return file


def line(answer: object, **more: object) -> dict[str, object]:
    return {'image': 'a.png', 'question': 'what?', 'answer': answer, **more}


def test_every_kind_of_answer_is_read(tmp_path: Path) -> None:
    values: dict[str, object] = {
        'mask': 'm.png', 'polygons': [[[0, 0], [5, 0], [5, 5]]], 'boxes': [[0, 0, 4, 4]],
        'choice': 'B', 'yes': False, 'number': 2.5, 'text': ['a', 'b'], 'steps': ['go'],
        'trajectory': [[1, 0], [2, 0.5]], 'hidden': True}
    assert values.keys() == KINDS.keys()
    file = write(tmp_path, *(line({kind: value}) for kind, value in values.items()))
    records = read_dataset(file)
    assert [type(r.truth) for r in records] == [*KINDS.values()]
    assert [r.task.name for r in records] == [kind.task for kind in KINDS.values()]
    assert [r.id for r in records] == [f'data.jsonl:{i}' for i in range(1, 11)]
    assert {r.images for r in records} == {(tmp_path / 'a.png',)}


def test_optional_fields_of_a_question(tmp_path: Path) -> None:
    file = write(
        tmp_path, line({'yes': True}, task='ask', id=7, category='safety', thinking=True), '',
        {'images': ['a.png', 'm.png'], 'question': 'same?', 'answer': {'text': 'no\u2028way'}})
    first, second = read_dataset(file)
    assert (first.task, first.id, first.category, first.thinking) == (Task.ASK, '7', 'safety', True)
    assert [image.name for image in second.images] == ['a.png', 'm.png']
    assert (second.category, second.thinking) == ('ask', None)
    assert [r.thinking for r in read_dataset(file, thinking=False)] == [False, False]


@pytest.mark.parametrize(('bad', 'says'), [
    ('{"image": ', 'no JSON'),
    ('[1]', 'no JSON object'),
    (line({'yes': 'no'}), "yes is 'no'; give true or false"),
    (line({'mask': 'none.png'}), 'there is no mask'),
    (line({'mask': ''}), 'the name of a picture'),
    (line({'polygons': [[[0, 0], [1, 1]]]}), 'three corners'),
    (line({'polygons': [[[0, 0, 0], [1, 1, 1]]]}), 'lists of 2 numbers'),
    (line({'boxes': [[4, 0, 0, 4]]}), 'not empty'),
    (line({'boxes': [0, 0, 4, 4]}), 'a list'),
    (line({'choice': 'the first'}), 'one letter or several'),
    (line({'number': True}), 'a finite number'),
    (line({'number': math.inf}), 'a finite number'),
    (line({'text': []}), 'words'),
    (line({'steps': 'go'}), 'a list'),
    (line({'trajectory': []}), 'at least one'),
    (line({'color': 'red'}), 'one of mask, polygons'),
    (line({'yes': True, 'number': 1}), 'one of mask, polygons'),
    (line({'yes': True}, task='juggle'), "task 'juggle' is not known; use one of plan"),
    (line({'yes': True}, thinking='no'), 'thinking'),
    (line({'yes': True}, question=' '), 'question'),
    (line({'yes': True}, image='none.png'), 'there is no picture'),
    (line({'yes': True}, images=[]), 'the name of a picture'),
    (line({'yes': True}, answers=1), 'answers is not known'),
    (line({'choice': 'A'}, options='cup, bowl'), 'a list of words'),
])
def test_errors_name_file_and_line(tmp_path: Path, bad: object, says: str) -> None:
    file = write(tmp_path, line({'yes': True}), '', bad)
    with pytest.raises(InvalidRequestError) as error:
        read_dataset(file)
    assert str(error.value).startswith(f'{file}:3: ')
    assert says in str(error.value)


def test_a_users_own_task_with_options(tmp_path: Path) -> None:
    tasks = tmp_path / 'tasks.yaml'
    tasks.write_text("""
which:
  prompt: 'Which one?{options}'
  answer: choice
  options: "\\n{letter}) {option}"
""")
    file = write(tmp_path, {'image': 'a.png', 'task': 'which', 'options': ['cup', 'bowl'],
                            'answer': {'choice': 'B'}})
    (record,) = read_dataset(file, tasks=load_tasks(tasks))
    query = Query(record.task, record.question, (Frame(np.zeros((6, 8, 3), np.uint8)),),
                  options=record.options)
    prompt = build_prompt(query, PixelLimits(784, 10_000))
    assert 'Which one?\nA) cup\nB) bowl' in prompt.text


def test_errors_of_whole_datasets(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r'data.jsonl:2: the id .* is that of .*jsonl:1'):
        read_dataset(write(tmp_path, line({'yes': True}, id='x'), line({'yes': True}, id='x')))
    with pytest.raises(InvalidRequestError, match='no questions'):
        read_dataset(write(tmp_path))
    with pytest.raises(InvalidRequestError, match=r'no dataset; .*point_questions.jsonl'):
        read_dataset(tmp_path)
    with pytest.raises(InvalidRequestError, match='nowhere'):
        read_dataset(tmp_path / 'nowhere')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12)


@UNHURRIED
@given(value=JSON, kind=st.sampled_from([*KINDS]))
def test_any_answer_is_read_or_refused(
    value: object, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = write(tmp_path_factory.getbasetemp(), line({kind: value}))
    try:
        assert len(read_dataset(file)) == 1
    except InvalidRequestError as error:
        assert str(error).startswith(f'{file}:1: ')


# --- published layouts -----------------------------------------------------------------------

TAIL = (' Your answer should be formatted as a list of tuples, i.e. [(x1, y1), (x2, y2), ...], '
        'where each tuple contains the x and y coordinates of a point.')


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new('L', (8, 6), 255).save(folder / name)


@pytest.mark.parametrize('annotations', ['annotations_absxy.json', 'annotations_normxy.json'])
def test_roboafford_eval(tmp_path: Path, annotations: str) -> None:
    pictures(tmp_path, 'images/00.jpg', 'masks/object_affordance_img_00_anno_1.png')
    (tmp_path / annotations).write_text(json.dumps([{
        'category': 'object affordance', 'question': 'What part of a mug should be gripped?' + TAIL,
        'answer': [[[0.1, 0.2], [0.3, 0.4], [0.1, 0.4]]], 'img': '00.jpg',
        'mask': 'object_affordance_img_00_anno_1.png'}]))
    (record,) = read_dataset(tmp_path)
    assert record.question == 'What part of a mug should be gripped?'
    assert record.category == 'object affordance prediction'
    assert record.task is Task.POINTS
    assert score(record, '[{"points": [[3, 3]], "label": "x"}]') == 1


def test_refspatial(tmp_path: Path) -> None:
    for split in ('Location', 'Placement'):
        pictures(tmp_path / split, 'image/0.png', 'mask/0.png')
        (tmp_path / split / 'question.json').write_text(json.dumps([{
            'id': 0, 'object': 'the orange box', 'prompt': 'Please point out the orange box.',
            'suffix': TAIL, 'rgb_path': 'image/0.png', 'mask_path': 'mask/0.png',
            'category': 'x', 'step': 1}]))
    records = read_dataset(tmp_path)
    assert [(r.id, r.category, r.question) for r in records] == [
        ('Location 0', 'Location', 'the orange box'),
        ('Placement 0', 'Placement', 'the orange box')]
    (alone,) = read_dataset(tmp_path / 'Location')
    assert alone.id == 'Location 0'


@pytest.mark.parametrize('end', ['.jpg', '.png'])
def test_where2place(tmp_path: Path, end: str) -> None:
    pictures(tmp_path, 'images/00.jpg', 'images/01.jpg', f'masks/00{end}', f'masks/01{end}')
    (tmp_path / 'point_questions.jsonl').write_text('\n'.join(json.dumps({
        'question_id': i, 'image': f'0{i}.jpg', 'text': 'Find free space.' + TAIL,
        'category': 'seen'}) for i in range(2)))
    records = read_dataset(tmp_path)
    assert [(r.id, r.question, r.category) for r in records] == [
        ('0', 'Find free space.', 'seen'), ('1', 'Find free space.', 'seen')]
    assert records[1].images[0].name == '01.jpg'
    assert f'01{end}' in str(records[1].truth)


def test_a_layout_that_is_not_as_published(tmp_path: Path) -> None:
    (tmp_path / 'annotations_normxy.json').write_text('[{"category": "x"}]')
    with pytest.raises(InvalidRequestError, match=r"entry 1.*roboafford-eval is published.*'img'"):
        read_dataset(tmp_path)
    (tmp_path / 'annotations_normxy.json').write_text('"x"')
    with pytest.raises(InvalidRequestError, match='no list of questions'):
        read_dataset(tmp_path)


# --- known replies, through the parser ---------------------------------------------------------


def outcome(record: Any, text: str, finish: str = 'stop') -> run.Outcome:
    frame = Frame(np.asarray(Image.open(record.images[0]).convert('RGB')))
    reply = run.Prediction(record.key, record.id, text, finish, '', '', 0.5)
    return run.judge(record, reply, Query(record.task, record.question, (frame,)), LIMITS)


def score(record: Any, text: str) -> float | None:
    return outcome(record, text).score


@pytest.mark.parametrize(('answer', 'more', 'text', 'expected'), [
    ({'choice': 'B'}, {}, '\\boxed{B}', 1), ({'choice': 'B'}, {}, '\\boxed{C}', 0),
    ({'choice': 'AC'}, {'task': 'ask'}, 'C, A', 1), ({'choice': 'AC'}, {'task': 'ask'}, 'A', 0),
    ({'choice': 'B'}, {}, 'B. the bowl', 1), ({'choice': 'b'}, {'task': 'ask'}, 'b.', 1),
    ({'choice': 'B'}, {}, 'the bowl', 0),
    ({'yes': True}, {}, '\\boxed{Yes}', 1), ({'yes': True}, {}, 'no', 0),
    ({'yes': False}, {'task': 'ask'}, 'No.', 1), ({'yes': True}, {}, 'perhaps', 0),
    ({'number': 2.0}, {}, '\\boxed{2.0}', 1), ({'number': 2.0}, {}, '\\boxed{2.48 m}', 0.6),
    ({'number': 2.0}, {'task': 'ask'}, '2 metres', 1), ({'number': 2.0}, {}, 'two', 0),
    ({'text': ['a cup', 'a mug']}, {}, 'A mug.', 1), ({'text': 'a cup'}, {}, 'a bowl', 0),
    ({'text': 'go on'}, {}, 'So \\boxed{go on}', 1),
    ({'polygons': []}, {}, '[]', 1), ({'polygons': []}, {}, '[{"points": [[2, 3]]}]', 0),
    ({'polygons': []}, {'task': 'spatial'}, '\\boxed{[]}', 1),
    ({'polygons': []}, {'task': 'spatial'}, '\\boxed{yes}', 0),
    ({'boxes': []}, {}, '[]', 1), ({'boxes': []}, {}, '[{"bbox_2d": [0, 0, 9, 9]}]', 0),
    ({'boxes': [[0, 0, 4, 6]]}, {}, '[{"bbox_2d": [0, 0, 28, 56]}]', 1),
    ({'boxes': [[0, 0, 4, 6]]}, {}, 'nothing', 0),
    ({'steps': ['pick up the cup', 'wait']}, {}, '1. pick up the cup [3, 4]\n2. Wait.', 1),
    ({'steps': ['wait', 'pick up the cup']}, {}, '1. pick up the cup\n2. wait', 0),
    ({'steps': []}, {}, '[]', 1),
    ({'trajectory': [[1, 0], [2, 0]]}, {}, 'It is [PT, (+1.00, +0.50, 0.1), (2.0, 0.5, 0)].', 0.5),
    ({'trajectory': [[1, 0], [2, 0]]}, {}, '[PT, (1.0, 0.0)]', None),
    ({'trajectory': [[1, 0]]}, {}, 'straight on', None),
])
def test_scores_of_answers(
    tmp_path: Path, answer: object, more: dict[str, object], text: str, expected: float | None
) -> None:
    (record,) = read_dataset(write(tmp_path, line(answer, **more)))
    judged = outcome(record, f'<think>\n</think>\n\n{text}')
    assert judged.score == (None if expected is None else pytest.approx(expected))
    assert (judged.badness == 0) is (expected == 1)
    assert bool(judged.code) == (expected is None or judged.content is None)


def test_an_answer_that_cannot_be_read_scores_zero(tmp_path: Path) -> None:
    (record,) = read_dataset(write(tmp_path, line({'mask': 'm.png'})))
    for text, finish, code in (
        ('<think>hm', 'length', 'OUTPUT_TRUNCATED'), ('<think></think>', 'stop', 'EMPTY_ANSWER'),
        ('there', 'stop', 'PARSE_FAILED'), ('', 'stop', 'EMPTY_ANSWER')):
        judged = outcome(record, text, finish)
        assert (judged.score, judged.code, judged.content) == (0, code, None)


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, line({'mask': 'm.png'}))
    Image.new('L', (6, 8), 255).save(tmp_path / 'm.png')
    (record,) = read_dataset(file)
    with pytest.raises(InvalidRequestError, match=r'data.jsonl:1: .* 6x8 pixels and the image 8x6'):
        outcome(record, '[{"points": [[3, 3]]}]')


def test_masks_of_zero_and_one_and_of_greys(tmp_path: Path) -> None:
    (record,) = read_dataset(write(tmp_path, line({'mask': 'm.png'})))
    grey = np.zeros((6, 8), np.uint8)
    grey[0, :3] = 1
    Image.fromarray(grey).save(tmp_path / 'm.png')
    assert record.truth.pixels().sum() == 3  # type: ignore[attr-defined]
    grey[5, 0], grey[5, 1] = 127, 128
    Image.fromarray(grey).save(tmp_path / 'm.png')
    assert record.truth.pixels().sum() == 1  # type: ignore[attr-defined]


# --- drawn scenes ------------------------------------------------------------------------------


def truth_of(
    scene: table_scene.Table, question: Question, folder: Path, name: str
) -> object:
    if question.kind == 'point':
        mask = table_scene.mask(scene, question.things[0])
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f'{name}_mask.png')
        return {'mask': f'{name}_mask.png'}
    if question.kind == 'absent':
        return {'polygons': []}
    if question.kind == 'box':
        return {'boxes': [question.things[0].box]}
    if question.kind == 'count':
        return {'number': int(question.short)}
    if question.kind == 'choice':
        return {'choice': question.short}
    if question.task is Task.PLAN:
        lines = [] if question.kind == 'plan_absent' else question.answer.splitlines()
        return {'steps': [words.split('. ', 1)[1].split(' [')[0] for words in lines]}
    if question.short in {'yes', 'no'}:
        return {'yes': question.short == 'yes'}
    return {'text': question.short}


def draw_dataset(folder: Path, number: int) -> tuple[Path, list[Question]]:
    """Scenes of the model's own size, so that its pixels are those of the picture."""
    rng = random.Random(5)
    makers = (
        table_questions.point, table_questions.absent, table_questions.box, table_questions.count,
        table_questions.which_nearest, plan_questions.plan, table_questions.exists,
        table_questions.listing)
    drawn_questions: list[Question] = []
    lines = []
    while len(drawn_questions) < number:
        scene = table_scene.draw_table(rng, 336, 252)
        question = makers[len(drawn_questions) % len(makers)](rng, scene)
        if question is None:
            continue
        name = f'{len(drawn_questions):03d}'
        Image.fromarray(scene.pixels).save(folder / f'{name}.png')
        lines.append({
            'id': name, 'image': f'{name}.png', 'question': question.text,
            'task': question.task.name, 'category': question.kind,
            'answer': truth_of(scene, question, folder, name)})
        drawn_questions.append(question)
    return write(folder, *lines), drawn_questions


def test_right_replies_about_drawn_scenes_are_right_and_others_wrong(tmp_path: Path) -> None:
    file, drawn_questions = draw_dataset(tmp_path, 24)
    records = read_dataset(file)
    right = [outcome(r, q.reply()) for r, q in zip(records, drawn_questions)]
    assert [o.record.id for o in right if o.score != 1] == []
    assert report.contact_sheet(right, 5) is None
    figures = report.summary(right)
    assert figures['overall'] == {
        metric: {'mean': 1.0, 'questions': n, 'failed': 0}
        for metric, n in sorted(Counter(r.truth.metric for r in records).items())}
    # each question gets the reply to the next one of its kind: about another scene
    wrong = [outcome(r, drawn_questions[(i + 8) % 24].reply()) for i, r in enumerate(records)]
    assert sum(o.score or 0 for o in wrong) < 0.5 * len(wrong)
    sheet = report.contact_sheet(wrong, 5)
    assert sheet is not None
    assert sheet.shape[1] == 3 * 480
    text = report.table(report.summary(wrong))
    assert [words.split()[0] for words in text.splitlines()[1:]] == [
        *sorted({q.kind for q in drawn_questions}), *['all'] * 4]


def test_the_contact_sheet_shows_truth_and_answer(tmp_path: Path) -> None:
    Image.new('RGB', (480, 360), (128, 128, 128)).save(tmp_path / 'grey.png')
    (record,) = read_dataset(write(tmp_path, {
        'image': 'grey.png', 'question': 'the cup', 'task': 'points',
        'answer': {'polygons': [[[100, 100], [200, 100], [200, 200], [100, 200]]]}}))
    width, height = 476, 364  # what the model saw
    at = [round(300 * width / 480), round(250 * height / 360)]
    sheet = report.contact_sheet([outcome(record, json.dumps([{'points': [at]}]))], 4)
    assert sheet is not None
    green, pink = sheet[100, 150], sheet[250, 300]
    assert green[1] > 180 > green[0]
    assert pink[0] > 200 > pink[1]
    assert (sheet[20, 20] == 128).all()
    assert (sheet[360:] > 200).any(), 'words stand below'


# --- the program, with the embedded model ------------------------------------------------------


def lines_on_disk(out: Path) -> list[dict[str, Any]]:
    """Return the header and the replies that are on disk."""
    file = out / 'replies.jsonl'
    return [json.loads(text) for text in file.read_text().splitlines()] if file.exists() else []


def start(arguments: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND_LINE, 'eval', *map(str, arguments)], cwd=ROOT / 'test',
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_a_run_that_was_killed_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('torch')
    file, _ = draw_dataset(tmp_path, 12)
    out = tmp_path / 'out'
    process = start([file, '--out', out])
    try:
        wait_for(lambda: len(lines_on_disk(out)) >= 3 or process.poll() is not None)
        assert process.poll() is None, process.stdout and process.stdout.read()
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    before = (out / 'replies.jsonl').read_bytes()
    kept = before[: before.rfind(b'\n') + 1]
    assert kept.count(b'\n') < 12, 'it was killed too late'
    # as if it had been killed in the middle of a line
    (out / 'replies.jsonl').write_bytes(kept + b'{"key": "half')
    assert main(['eval', str(file), '--out', str(out)]) == 0
    after = (out / 'replies.jsonl').read_bytes()
    assert after.startswith(kept), 'nothing is asked twice'
    replies = lines_on_disk(out)[1:]
    assert [reply['id'] for reply in replies] == [f'{i:03d}' for i in range(12)]
    assert all(reply['text'].startswith('<think>') for reply in replies)
    assert '\npoint ' in capsys.readouterr().out
    figures = json.loads((out / 'report.json').read_text())
    assert figures['model'] == 'mimo_tiny'
    assert [q['id'] for q in figures['questions']] == [f'{i:03d}' for i in range(12)]
    assert figures['categories']['point']['in_region']['questions'] == 2
    wrong = any(q['score'] != 1 for q in figures['questions'])
    assert (out / 'worst.png').exists() is wrong
    # a third time nothing is left to ask, and the figures are the same
    assert main(['eval', str(file), '--out', str(out), '--json']) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == {key: value for key, value in figures.items() if key != 'questions'}
    assert (out / 'replies.jsonl').read_bytes() == after


def test_only_on_request_are_questions_asked_twice_and_do_answers_end_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('torch')
    pytest.importorskip('llguidance')
    ends_early: list[bool] = []

    def load(config: EngineConfig, *arguments: Any) -> Engine:
        ends_early.append(config.stop_early)
        assert config.deterministic
        return load_engine(config, *arguments)

    monkeypatch.setattr('mimo_embodied_ros.cli.eval_dataset.load_engine', load)
    Image.fromarray(SCENE.pixels).save(tmp_path / 'table.png')
    file = write(tmp_path, {'image': 'table.png', 'question': 'What do you see?', 'task': 'yes_no',
                            'answer': {'yes': False}})
    replies = []
    for number, more in enumerate(([], ['--retry'], ['--no-stop-early'])):
        out = tmp_path / f'out{number}'
        assert main(['eval', str(file), '--out', str(out), *more]) == 0
        about, reply = lines_on_disk(out)
        replies.append((
            reply['attempts'], reply['code'], about.get('retry'), about.get('stop_early')))
    assert replies == [
        (1, 'PARSE_FAILED', None, None), (2, '', True, None), (1, 'PARSE_FAILED', None, False)]
    assert ends_early == [True, True, False]
    capsys.readouterr()
    assert main(['eval', str(file), '--out', str(tmp_path / 'out0'), '--retry']) == 1
    assert 'another folder' in capsys.readouterr().err


def test_replies_under_another_system_prompt_or_budget_are_not_mixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('torch')
    Image.fromarray(SCENE.pixels).save(tmp_path / 'table.png')
    file = write(tmp_path, {
        'image': 'table.png', 'question': 'Is the red cube left of the blue bowl?',
        'task': 'yes_no', 'thinking': True, 'answer': {'yes': True}})
    options = ['--system', 'You are a helpful assistant.', '--thinking-tokens', '2']
    assert main(['eval', str(file), '--out', str(tmp_path / 'out'), *options]) == 0
    about, reply = lines_on_disk(tmp_path / 'out')
    assert (about['system'], about['thinking_tokens']) == (options[1], 2)
    assert reply['text'].startswith('<think>\n</think>')
    for number in (0, 2):
        some = options[number : number + 2]
        assert main(['eval', str(file), '--out', str(tmp_path / 'out'), *some]) == 1
        assert 'another folder' in capsys.readouterr().err
    assert main(['eval', str(file), '--thinking-tokens', '-1']) == 1
    assert '--thinking-tokens is -1' in capsys.readouterr().err


def test_replies_in_bfloat16_are_not_mixed_with_those_that_other_questions_may_change(
    tmp_path: Path
) -> None:
    pytest.importorskip('torch')
    file, _ = draw_dataset(tmp_path, 1)
    records = read_dataset(file)
    for dtype, deterministic, noted in (('float32', True, None), ('bfloat16', True, True),
                                        ('bfloat16', False, None)):
        engine = load_engine(EngineConfig(
            embedded_model(), device='cpu', dtype=dtype, deterministic=deterministic))
        out = tmp_path / dtype
        if deterministic:
            run.evaluate(engine, records, out)
            assert lines_on_disk(out)[0].get('deterministic') is noted
        else:
            with pytest.raises(InvalidRequestError, match='another folder'):
                run.evaluate(engine, records, out)
        engine.close()


def test_servers_are_asked_as_many_questions_at_once_as_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('httpx2')
    from support.openai_server import ANSWER, Handler
    from support.stubborn_server import StubbornServer

    three = threading.Barrier(3, timeout=WAIT_S)

    def together(handler: Handler) -> None:
        three.wait()
        handler.answer()

    file, _ = draw_dataset(tmp_path, 6)
    with StubbornServer(together) as server:
        arguments = ['eval', str(file), '--out', str(tmp_path / 'out'), '--url', server.url,
                     '--model', 'mimo', '--parallel', '3']
        assert main(arguments) == 0
        replies = lines_on_disk(tmp_path / 'out')[1:]
        assert sorted(reply['id'] for reply in replies) == [f'{i:03d}' for i in range(6)]
        assert {reply['text'] for reply in replies} == {ANSWER}
        questions = json.loads((tmp_path / 'out' / 'report.json').read_text())['questions']
        assert [question['id'] for question in questions] == [f'{i:03d}' for i in range(6)]
        assert main(arguments) == 0  # nothing is asked again
        assert len(server.asked) == 6
    assert main([*arguments[:4], '--parallel', '3']) == 1
    assert '--parallel is for servers' in capsys.readouterr().err


def test_a_changed_question_is_asked_again_and_another_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('torch')
    file, _ = draw_dataset(tmp_path, 2)
    out = tmp_path / 'out'
    arguments = ['eval', str(file), '--out', str(out)]
    assert main([*arguments, '--limit', '1']) == 0
    assert len(lines_on_disk(out)) == 2
    file.write_text(file.read_text().replace('"question": "', '"question": "my '))
    assert main(arguments) == 0
    assert len(lines_on_disk(out)) == 4
    replies = out / 'replies.jsonl'
    replies.write_text(replies.read_text().replace('mimo_tiny', 'another', 1))
    assert main(arguments) == 1
    assert 'another folder' in capsys.readouterr().err
    replies.write_text('no JSON\n')
    assert main(arguments) == 1
    assert str(replies) in capsys.readouterr().err
    assert main([*arguments, '--limit', '-1']) == 1
    assert '--limit is -1' in capsys.readouterr().err
