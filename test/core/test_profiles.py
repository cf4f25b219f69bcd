"""Profiles of models: found by name, asked in their words, and read in their unit of positions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mimo_embodied_ros.core import profiles
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.grammar import grammar_of
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.profiles import (
    MIMO_EMBODIED,
    PROFILES,
    find_profile,
    known_profiles,
    load_profiles,
)
from mimo_embodied_ros.core.prompts import Prompt, build_prompt
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.schemas import schema_of
from mimo_embodied_ros.core.tasks import TASKS, AnswerKind
from support.documentation import docstring_example

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = PixelLimits(4 * 28 * 28, 4096 * 28 * 28)
FRAME = Frame(np.zeros((480, 640, 3), np.uint8))


def prompt_of(
    profile: str, task: Task = Task.POINTS, text: str = 'the red cube', *, thinking: bool = False
) -> Prompt:
    model = PROFILES[profile]
    limits = replace(LIMITS, factor=model.factor)
    return build_prompt(Query(task, text, (FRAME,), thinking=thinking), limits, model)


@pytest.mark.parametrize(('model', 'profile'), [
    ('XiaomiMiMo/MiMo-Embodied-7B', 'mimo-embodied'),
    ('mimo_tiny', 'mimo-embodied'),
    ('BAAI/RoboBrain2.0-7B', 'robobrain-2.0'),
    ('RoboBrain2.0-32B', 'robobrain-2.0'),
    ('BAAI/RoboBrain2.0-3B', 'robobrain-2.0-3b'),
    ('BAAI/RoboBrain2.5-8B-NV', 'robobrain-2.5'),
    ('Qwen/Qwen2.5-VL-7B-Instruct-AWQ', 'qwen2.5-vl'),
    ('qwen2_5_vl', 'qwen2.5-vl'),
    ('Qwen/Qwen3-VL-8B-Instruct', 'qwen3-vl'),
    ('Qwen/Qwen3-VL-30B-A3B-Thinking-FP8', 'qwen3-vl-thinking'),
    ('nvidia/Cosmos-Reason1-7B', 'cosmos-reason1'),
    ('nvidia/cosmos-reason2-8b', 'cosmos-reason2'),
    ('gemini-robotics-er-2-preview', 'gemini-robotics-er'),
    ('meta-llama/Llama-4-Scout', None),
])
def test_a_profile_is_found_by_the_name_of_the_model(model: str, profile: str | None) -> None:
    found = find_profile('', model)
    assert (found and found.name) == profile
    assert find_profile('cosmos-reason2', model).name == 'cosmos-reason2'  # a name goes before


@pytest.mark.parametrize('task', TASKS.values(), ids=TASKS.keys())
def test_mimo_embodied_is_asked_in_the_words_of_its_tasks(task: Task) -> None:
    assert MIMO_EMBODIED.worded(task) is task
    assert MIMO_EMBODIED.mode(thinks=True).suffix == ''
    assert MIMO_EMBODIED.mode(thinks=False).suffix == ' /no_think'
    for mode in (MIMO_EMBODIED.thinking, MIMO_EMBODIED.answering):
        assert mode is not None
        assert (mode.system, mode.prefill, mode.request) == ('', '', {})


@pytest.mark.parametrize(('profile', 'task', 'words'), [
    ('robobrain-2.0', 'points', (
        'Identify several spots within the red cube. Your answer should be formatted as a list of '
        'tuples, i.e. [(x1, y1), (x2, y2), ...], where each tuple contains the x and y coordinates '
        'of a point satisfying the conditions above. The coordinates should indicate the '
        'normalized pixel locations of the points in the image.')),
    ('robobrain-2.0-3b', 'detect', (
        'Please provide the bounding box coordinate of the region this sentence describes: the '
        'red cube.')),
    ('robobrain-2.5', 'locate', (
        'Identify spot within the red cube. Please provide its 2D coordinates. Your answer should '
        'be formatted as a tuple, i.e. [(x, y)], where the tuple contains the x and y coordinates '
        'of a point satisfying the conditions above.')),
    ('qwen2.5-vl', 'point_out', (
        'point to the red cube, output its coordinates in XML format <points x y>object</points>')),
    ('qwen3-vl', 'points', (
        'Locate the red cube in this image. Output the point coordinates in JSON format.')),
    ('qwen3-vl-thinking', 'detect', (
        'Locate every instance that belongs to the following categories: "the red cube". Report '
        'bbox coordinates in JSON format.')),
    ('cosmos-reason1', 'boxes', (
        'Locate the red cube, output its bbox coordinates using JSON format.')),
    ('cosmos-reason2', 'boxes', 'Locate the bounding box of the red cube. Return a json.'),
    ('gemini-robotics-er', 'points', (
        'Point to the following objects in the provided image: the red cube.\nThe answer should '
        'follow the json format:\n\n[{"point": <point>, "label": <label1>}, ...].\n\nThe points '
        'are in [y, x] format normalized to 0-1000.\nIf no objects are found, return an empty JSON '
        'list [].')),
    ('gemini-robotics-er', 'plan', 'Explain how to the red cube.'),
    ('qwen3-vl', 'plan', 'current goal is: the red cube. what are the next 5 step'),
])
def test_words_of_other_models(profile: str, task: str, words: str) -> None:
    assert prompt_of(profile, TASKS[task]).text == words


def test_a_task_of_the_users_own_keeps_its_words() -> None:
    own = replace(Task.POINTS, prompt='Where is {text}?')
    assert prompt_of('gemini-robotics-er', own).text == 'Where is the red cube?'


def test_how_models_are_made_to_reason_or_not() -> None:
    robobrain = [prompt_of('robobrain-2.0', thinking=wanted) for wanted in (True, False)]
    assert [p.mode.prefill for p in robobrain] == ['<think>', '<think></think><answer>']
    assert robobrain[0].text == robobrain[1].text
    assert not prompt_of('robobrain-2.0-3b', thinking=True).thinks
    assert prompt_of('qwen3-vl-thinking', thinking=False).thinks
    cosmos = [prompt_of('cosmos-reason2', thinking=wanted) for wanted in (True, False)]
    assert cosmos[0].text == cosmos[1].text + (
        '\n\nAnswer the question using the following format:\n\n<think>\nYour reasoning.\n'
        '</think>\n\nWrite your final answer immediately after the </think> tag.')
    assert [p.mode.request for p in (
        prompt_of('gemini-robotics-er', thinking=wanted) for wanted in (True, False))
    ] == [{'reasoning_effort': 'high'}, {'reasoning_effort': 'minimal'}]


def test_the_system_prompt_of_the_profile_is_the_last_that_counts() -> None:
    model = PROFILES['cosmos-reason2']
    query = Query(Task.ASK, 'hello')
    assert build_prompt(query, LIMITS, model).system == 'You are a helpful assistant.'
    assert build_prompt(replace(query, system='Be brief.'), LIMITS, model).system == 'Be brief.'
    added = build_prompt(
        Query(Task.ASK, 'hello', system='Be brief.', thinking=True), LIMITS,
        PROFILES['cosmos-reason1']).system
    assert added.startswith('Be brief.\n\nAnswer the question with provided options')


def test_sides_of_images_are_multiples_of_the_models_own_factor() -> None:
    shapes = {name: prompt_of(name).images[0].shape for name in ('mimo-embodied', 'qwen3-vl')}
    assert shapes == {'mimo-embodied': (476, 644, 3), 'qwen3-vl': (480, 640, 3)}


def test_positions_of_drivelm_stay_pixels_of_the_original_image() -> None:
    task = TASKS['surround_question']
    frames = (FRAME,) * len(task.views)
    for profile in ('gemini-robotics-er', 'mimo-embodied'):
        query = Query(task, 'Where?', frames)
        prompt = build_prompt(query, LIMITS, PROFILES[profile])
        (point,) = parse_answer(query, prompt, '[{"points": [[300, 40]], "label": "a"}]',
                                'stop').content.points
        assert (point.x, point.y) == (300, 40)


@pytest.mark.parametrize(('profile', 'points', 'boxes'), [
    ('mimo-embodied', 'points', 'bbox_2d'),
    ('qwen3-vl', 'point_2d', 'bbox_2d'),
    ('gemini-robotics-er', 'point', 'box_2d'),
    ('qwen2.5-vl', '', 'bbox_2d'),
    ('robobrain-2.0', '', ''),
])
def test_forms_that_answers_are_held_to_have_the_models_keys(
    profile: str, points: str, boxes: str
) -> None:
    model = PROFILES[profile]
    for task, key in ((Task.POINTS, points), (Task.BOXES, boxes)):
        query = Query(task, 'cup', thinking=False)
        grammar, schema = grammar_of(query, model), schema_of(query, model)
        assert (f'"\\"{key}\\":"' in grammar) is bool(key)
        assert bool(grammar) is bool(schema) is bool(key)
        if schema:
            entry = schema['properties']['answer']['items']
            assert list(entry['properties']) == [key, 'label']
        else:
            held = replace(query, frames=(FRAME,), structured=True)
            with pytest.raises(InvalidRequestError, match='set structured to false'):
                build_prompt(held, LIMITS, model)
    hazards = Query(TASKS['critical_object'], '', thinking=False)
    assert bool(grammar_of(hazards, model)) is (boxes == 'bbox_2d')


def test_a_reasoning_that_the_prompt_began_is_only_ended_in_the_grammar() -> None:
    query = Query(TASKS['choice'], 'A. left B. right', thinking=True)
    assert 'start: reasoning GAP? answer' in grammar_of(query, PROFILES['robobrain-2.0'])
    assert 'start: reasoning? GAP? answer' in grammar_of(query, PROFILES['cosmos-reason2'])


def test_profiles_of_a_file_go_before_the_packages_own(tmp_path: Path) -> None:
    path = tmp_path / 'profiles.yaml'
    path.write_text(docstring_example(profiles))
    assert find_profile('', 'my-model-7b', str(path)).range == 1000
    path.write_text('qwen3-vl:\n  models: qwen3\n  thinking: {request: {chat_template_kwargs: '
                    '{enable_thinking: true}}}\n')
    own = known_profiles(str(path))
    assert own['qwen3-vl'].mode(thinks=True).request == {
        'chat_template_kwargs': {'enable_thinking': True}}
    assert own.keys() == PROFILES.keys()
    assert next(iter(own)) == 'qwen3-vl'


@pytest.mark.parametrize(('text', 'says'), [
    ('a:\n  range: 1000\n', 'line 1: profile a has no models'),
    ('a:\n  models: x\n  rang: 1\n', "line 3: unknown field 'rang'"),
    ('a:\n  models: x\n  range: 1\n', 'line 3: range is 1; it is 0 for pixels, or 100 or more'),
    ('a:\n  models: x\n  factor: 0\n', 'line 3: factor is 0'),
    ('a:\n  models: x\n  y_first: 1\n', 'line 3: y_first is 1; it is of type bool'),
    ('a:\n  models: (\n', r"line 2: '\(' is no regular expression"),
    ('a:\n  models: x*\n', r"line 2: 'x\*' fits also where nothing is"),
    ('a:\n  models: x\n  prompts:\n    pionts: "{text}"\n', 'line 4: pionts is no task'),
    ('a:\n  models: x\n  prompts:\n    points: Point\n', 'line 4: the prompt of points has'),
    ('a:\n  models: x\n  thinking: {sufix: a}\n', "line 3: unknown field 'sufix'"),
    ('a:\n  models: x\n  thinking: {request: a}\n', 'line 3: request is .*; it is a mapping'),
    ('A b:\n  models: x\n', "line 1: the name 'A b'"),
])
def test_what_is_wrong_with_a_file_is_said_with_the_line(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / 'profiles.yaml'
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match=says):
        load_profiles(path)


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidRequestError, match="'qwen9' is not known; use one of mimo-embodied"):
        find_profile('qwen9', 'model')


def test_all_words_of_profiles_are_for_tasks_that_look_for_places_or_plan() -> None:
    for profile in PROFILES.values():
        for name, task in profile.tasks.items():
            assert TASKS[name].answer is task.answer
            assert task.answer in (AnswerKind.POINTS, AnswerKind.BOXES, AnswerKind.PLAN)
