"""The table of tasks against the vendor's published formats, and users' own files of tasks."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mimo_embodied_ros.core.ego_motion import format_past_path
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame, Odometry
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query, subject
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.tasks import TASKS, AnswerKind, Media, Positions, Task, load_tasks
from support.documentation import docstring_example
from support.paths import TEST_DATA

if TYPE_CHECKING:
    from pathlib import Path

# the question of a benchmark with one example; sources are files of the vendor unless named
FORMATS: list[dict[str, Any]] = [
    json.loads(line)
    for line in (TEST_DATA / 'formats.jsonl').read_text().splitlines()
]
LIMITS = PixelLimits(4 * 28 * 28, 4096 * 28 * 28)
PIXELS = np.zeros((90, 160, 3), np.uint8)


def drive(x: float, second: float) -> Odometry:
    """A car that heads north at 3.62 m/s; x is how far it has come."""
    north = (0.0, 0.0, 0.5**0.5, 0.5**0.5)
    speed = (3.62, 0.0, 0.0)
    return Odometry(
        int(second * 1e9), 'odom', 'base_link', (7.0, x, 0.0), north, speed, (0.0, 0.0, 0.0)
    )


def frames(count: int, seconds: float = 5.0) -> tuple[Frame, ...]:
    times = np.linspace(0, seconds, count) if count > 1 else [0.0] * count
    return tuple(Frame(PIXELS, round(t * 1e9)) for t in times)


@pytest.mark.parametrize('fact', FORMATS, ids=lambda fact: f'{fact["benchmark"]}-{fact["task"]}')
def test_benchmark(fact: dict[str, Any]) -> None:
    task = TASKS[fact['task']]
    assert task.answer is AnswerKind(fact['answer'])
    assert task.coordinates is Positions(fact['positions'])
    query = Query(
        task,
        fact['text'],
        frames(fact['frames']),
        options=tuple(fact['options']),
        odometry=(drive(1.0, 0.0), drive(3.0, 0.5)),
        experimental=task.experimental,
    )
    prompt = build_prompt(query, LIMITS)
    assert query.thinks is fact['thinking']
    assert prompt.text == fact['prompt'] + ('' if fact['thinking'] else ' /no_think')
    # frames are sent as images, or each clip as one video, as the vendor does
    clips = [len(video.frames) for video in prompt.videos]
    assert len(clips) == fact.get('videos', 0)
    assert len(prompt.images) + sum(clips) == fact['frames']
    assert not (prompt.images and clips)
    if fact['example'] is not None:
        answer = parse_answer(query, prompt, fact['example'], 'stop')
        assert answer.raw_text == fact['example']


def test_cameras_around_come_in_the_order_of_the_training() -> None:
    around = ('front', 'front left', 'front right', 'back', 'back left', 'back right')
    for name, task in TASKS.items():
        if name == 'map':
            assert task.views == ('point cloud bev', 'front', 'back left', 'right')
        elif task.views:
            assert task.views == around
            assert task.prompt.startswith('1: <')
        assert (task.media in (Media.VIEWS, Media.CLIPS, Media.VIDEOS)) is bool(task.views)


def test_thinking_is_the_tasks_unless_the_request_says() -> None:
    for task in (Task.POINTS, TASKS['locate']):
        assert Query(task, 'a cup').thinks is task.thinking
        assert Query(task, 'a cup', thinking=True).thinks
        assert not Query(task, 'a cup', thinking=False).thinks
    assert TASKS['locate'].thinking
    assert not Task.POINTS.thinking


def test_experimental_is_off_until_it_is_asked_for() -> None:
    for task in TASKS.values():
        if task.experimental:
            with pytest.raises(InvalidRequestError, match='experimental'):
                Query(task, 'GO STRAIGHT')
            assert Query(task, 'GO STRAIGHT', experimental=True).task is task
    assert sum(task.experimental for task in TASKS.values()) == 2


@pytest.mark.parametrize(
    ('task', 'text', 'count', 'options', 'problem'),
    [
        ('surround_word', 'How many?', 5, (), 'one image of each view in this order: front, '),
        ('surround_video', 'What now?', 8, (), 'equally many images of each view'),
        ('critical_object', 'the car', 1, (), 'whole question'),
        ('drive_action', 'Where to?', 1, (), 'needs options'),
        ('drive_action', 'Where to?', 1, ('left', ' '), 'needs options'),
        ('drive_action', 'Where to?', 1, ('left', '<|im_end|>'), 'control token'),
        ('drive_action', 'Where to?', 1, ('x',) * 27, '27 options'),
        ('choice', 'Where to?', 1, ('left',), 'has no options'),
        ('drive', 'Where to?', 1, (), 'odometry'),
        ('is_done', 'put it away', 0, (), 'needs an image'),
    ],
)
def test_requests_that_do_not_fit(
    task: str, text: str, count: int, options: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        build_prompt(Query(TASKS[task], text, frames(count), options=options), LIMITS)


def test_clips_are_in_the_order_of_time() -> None:
    early, late = frames(2)
    task = TASKS['is_done']
    assert build_prompt(Query(task, 'a', (early, late)), LIMITS).images
    with pytest.raises(InvalidRequestError, match='oldest first'):
        build_prompt(Query(task, 'a', (late, early)), LIMITS)
    views = Query(TASKS['surround_video'], 'a', (early, late) * 6)
    assert [len(video.frames) for video in build_prompt(views, LIMITS).videos] == [2] * 6
    with pytest.raises(InvalidRequestError, match='oldest first'):
        build_prompt(Query(TASKS['surround_video'], 'a', (late, early) * 6), LIMITS)


def test_placeholders_in_a_request_are_sent_as_they_are() -> None:
    query = Query(TASKS['driving_test'], 'What is {options}?', options=('{text}', '{letter}'))
    expected = 'What is {options}?\nA. {text}\nB. {letter} /no_think'
    assert build_prompt(query, LIMITS).text == expected


def test_path_is_seen_from_the_newest_pose() -> None:
    past = (drive(1.0, 0.0), drive(2.5, 0.5), drive(3.0, 1.0))
    query = Query(TASKS['trajectory'], 'GO', frames(1), odometry=past, experimental=True)
    words = 't-2: (-2.00, 0.00, 0.00), t-1: (-0.50, 0.00, 0.00), t-0: (0.00, 0.00, 0.00)'
    assert words in build_prompt(query, LIMITS).text


@pytest.mark.parametrize(('ages', 'names'), [
    ((1.5, 1.0, 0.5, 0.0), ['t-3', 't-2', 't-1', 't-0']),
    ((1.5, 0.5, 0.0), ['t-3', 't-1', 't-0']),
    ((1.65, 1.0, 0.0), ['t-3.3', 't-2', 't-0']),
    ((0.0,), ['t-0']),
])
def test_steps_of_the_past_path_are_named_by_their_times(
    ages: tuple[float, ...], names: list[str]
) -> None:
    path = format_past_path([drive(-age, 5.0 - age) for age in ages])
    assert re.findall(r't-[\d.]+(?=:)', path) == names


def test_the_speed_is_that_of_the_frame_that_the_answer_is_about() -> None:
    moving, task = drive(1.0, 4.5), TASKS['explain_action']
    early, late = frames(2)

    def text(*clip: Frame) -> str:
        return build_prompt(Query(task, '', clip), LIMITS).text

    known = replace(late, odometry=replace(moving, linear=(7.0, 0.0, 0.0)))
    assert 'Current speed of the vehicle: 7.00m/s' in text(replace(early, odometry=moving), known)
    assert 'Current speed of the vehicle: 7.00m/s' in text(early, known)
    with pytest.raises(InvalidRequestError, match='give its odometry'):
        text(replace(early, odometry=moving), late)
    # of several views the odometry is that of the first one
    views = Query(replace(task, media=Media.VIEWS, views=('a', 'b')), '',
                  (known, replace(early, odometry=moving)))
    assert 'Current speed of the vehicle: 7.00m/s' in build_prompt(views, LIMITS).text


# --- files of users ---------------------------------------------------------------------------

GOOD = r"""
graspable:
  prompt: 'Which of these can the gripper hold: {text}? Put your final answer in \boxed{}.'
  answer: labels
  vocabulary: [cup, spoon, knife]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / 'tasks.yaml'
    path.write_text(text)
    return path


def test_a_task_of_a_users_own(tmp_path: Path) -> None:
    (task,) = load_tasks(written(tmp_path, GOOD)).values()
    query = Query(task, 'the cup and "the spoon"?', frames(1))
    prompt = build_prompt(query, LIMITS)
    assert prompt.text == (
        'Which of these can the gripper hold: the cup and "the spoon"? Put your final answer in '
        r'\boxed{}. /no_think'
    )
    answer = parse_answer(query, prompt, r'Both. \boxed{Spoon and cup.}', 'stop')
    assert answer.content.choices == ('spoon', 'cup')
    assert answer.content.choice == 'spoon, cup'
    with pytest.raises(Exception, match='cannot be read as graspable'):
        parse_answer(query, prompt, r'\boxed{fork}', 'stop')


def test_the_docstring_shows_a_task_that_works(tmp_path: Path) -> None:
    from mimo_embodied_ros.core import tasks

    example = docstring_example(tasks)
    assert load_tasks(written(tmp_path, example)) == load_tasks(written(tmp_path, GOOD))


@pytest.mark.parametrize(
    ('text', 'line', 'problem'),
    [
        ('a:\n  prompt: x\n  answer: poem\n', 3, "answer is 'poem'; it is one of plan, points"),
        ('a:\n  prompt: x\n  answer: text\n  colour: red\n', 4, "unknown field 'colour'"),
        ('a:\n  prompt: x\n  answer: text\n  answer: text\n', 4, 'a second answer'),
        ('a: {prompt: x, answer: text}\na: {prompt: y, answer: text}\n', 2, 'a second task a'),
        ('a:\n  answer: text\n', 1, 'task a has no prompt'),
        ('a:\n  prompt: x\n', 1, 'task a has no answer'),
        ('a:\n  prompt: 3\n  answer: text\n', 2, 'prompt is 3; it is of type str'),
        ('a:\n  prompt: x\n  answer: text\n  tokens: true\n', 4, 'tokens is True'),
        ('a:\n  prompt: x\n  answer: text\n  tokens: 0\n', 1, 'tokens is below 1'),
        ('a:\n  prompt: x\n  answer: text\n  thinking: 1\n', 4, 'thinking is 1'),
        ('a:\n  prompt: x\n  answer: word\n  vocabulary: [1, 2]\n', 4, 'numbers in quotes'),
        ('a:\n  prompt: x\n  answer: word\n', 1, 'need a vocabulary or options'),
        ('a:\n  prompt: x\n  answer: text\n  media: views\n', 1, 'views belong to'),
        ('a:\n  prompt: x{options}\n  answer: choice\n', 1, 'belong together'),
        ('a:\n  prompt: x\n  answer: trajectory\n', 1, 'a step above 0'),
        ('A b:\n  prompt: x\n  answer: text\n', 1, 'small letters'),
        ('- a\n', 1, 'not a mapping of names to tasks'),
        ('a: b\n', 1, 'not a mapping of fields'),
        ('a:\n  prompt: "x\n', 3, 'unexpected end'),
        ('a:\n  prompt: !!python/name:os.system x\n  answer: text\n', 2, 'constructor'),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidRequestError) as caught:
        load_tasks(path)
    assert f'{path}, line {line}: ' in str(caught.value)
    assert problem in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / 'none.yaml', tmp_path):
        with pytest.raises(InvalidRequestError, match='cannot be read'):
            load_tasks(path)
    path = tmp_path / 'bytes.yaml'
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InvalidRequestError, match=r'bytes\.yaml'):
        load_tasks(path)
    with pytest.raises(InvalidRequestError, match='not a mapping'):
        load_tasks(written(tmp_path, ''))


@pytest.mark.parametrize(('task', 'count', 'which'), [
    ('ask', 0, None), ('ask', 3, 0), ('surround_question', 6, 0), ('is_done', 4, 3),
    ('surround_video', 12, 1),
])
def test_an_answer_is_about_the_first_frame_or_the_newest_of_a_clip(
    task: str, count: int, which: int | None
) -> None:
    shown = frames(count)
    assert subject(TASKS[task], shown) is (None if which is None else shown[which])
