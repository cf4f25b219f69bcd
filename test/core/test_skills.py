"""Lists of skills: their file, the words for them, and what their calls become."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.answers import ArgumentType
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import PARTS, fill, select_skills
from mimo_embodied_ros.core.tasks import TASKS
from support.documentation import docstring_example
from support.paths import SKILL_FILES

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.core.skills import Skill

ARM = load_skills(SKILL_FILES / 'manipulator.yaml')
BASE = load_skills(SKILL_FILES / 'mobile_base.yaml')
CALL = 'runs: [{service: /s, type: std_srvs/srv/Trigger}]'


def written(folder: Path, text: str) -> Path:
    path = folder / 'skills.yaml'
    path.write_text(text, 'utf-8')
    return path


def one_skill(folder: Path, fields: str) -> Skill:
    """Load a skill with these lines beside the fields that each skill needs."""
    text = f'nod:\n  description: Nod.\n  success: done\n  {CALL}\n'
    lines = ''.join(f'  {line}\n' for line in fields.splitlines())
    return load_skills(written(folder, text + lines))['nod']


def test_the_skills_that_are_shipped() -> None:
    assert set(ARM) == {'pick', 'place', 'open', 'close', 'push', 'pour', 'hand_over'}
    assert set(BASE) == {'go_to', 'go_to_pose', 'look_at', 'dock', 'wait'}
    calls = [call for skill in (ARM['pick'], ARM['place']) for call in skill.runs]
    assert {call.name for call in calls} == {'/move_action', '/gripper_controller/gripper_cmd'}
    assert {call.name for skill in BASE.values() for call in skill.runs} == {
        '/navigate_to_pose', '/spin', '/dock_robot', '/wait'}


def test_success_is_words_or_conditions_or_both(tmp_path: Path) -> None:
    result = '{result: /s, equal: {success: true}}'
    written_as = {'y': ('y', 0), f'[y, {result}]': ('y', 1), f'[{result}]': ('', 1)}
    for text, (words, count) in written_as.items():
        skill = load_skills(written(tmp_path, GOOD.replace('success: y', f'success: {text}')))['a']
        assert (skill.success, len(skill.conditions)) == (words, count)
    (condition,) = ARM['pick'].conditions  # of the call that closes the gripper after the lift
    assert (condition.name, condition.equal) == (ARM['pick'].runs[-1].name, {'stalled': True})


def test_the_docstring_shows_a_skill_that_works(tmp_path: Path) -> None:
    from mimo_embodied_ros.core import skill_files

    (skill,) = load_skills(written(tmp_path, docstring_example(skill_files))).values()
    assert skill.match('pick up the red cube') == [{'object': 'red cube'}]
    for field in ('description', 'says', 'asked', 'arguments', 'runs'):
        assert f'``{field}``' in str(skill_files.__doc__)


GOOD = f'a:\n  description: x\n  says: nod\n  success: y\n  {CALL}\n'
THING = '  arguments: {o: {type: object}}\n'


@pytest.mark.parametrize(('text', 'line', 'problem'), [
    ('- a\n', 1, 'not a mapping of names to skills'),
    ('a: b\n', 1, 'not a mapping of fields'),
    ('A b:\n  description: x\n', 1, 'small letters'),
    ('a:\n  colour: red\n', 2, "unknown field 'colour'"),
    ('a:\n  says: nod\n', 1, 'skill a has no description'),
    (GOOD.replace('  says: nod\n', ''), 1, 'skill a has no says'),
    (GOOD.replace('  success: y\n', ''), 1, 'skill a has no success'),
    (GOOD.replace(f'  {CALL}\n', ''), 1, 'skill a has no runs'),
    (GOOD + GOOD, 6, 'a second skill a'),
    (GOOD + '  says: bow\n', 6, 'a second says'),
    (GOOD.replace('description: x', 'description: 3'), 2, 'this is 3; words are needed'),
    (GOOD.replace('says: nod', 'says: []'), 3, 'this list is empty'),
    (GOOD.replace('says: nod', 'says: "nod at {o}"'), 3, 'no argument {o}'),
    (GOOD.replace('says: nod', 'says: "nod. bow"'), 3, "'nod.' in 'nod. bow'"),
    (GOOD.replace('says: nod', 'says: "nod at{o}"') + THING, 3, "'at{o}'"),
    (GOOD.replace('says: nod', 'says: "{o} nod"') + THING, 3, 'begin with a word'),
    (GOOD.replace('says: nod', 'says: "{o}点头"') + THING, 3, 'begin with a word'),
    (GOOD.replace('says: nod', 'says: "点头\u3002{o}"') + THING, 3, '点头\u3002'),
    (GOOD + THING, 3, "'nod' must name each argument once: o"),
    (GOOD + '  arguments: {o: {kind: object}}\n', 6, "unknown field 'kind'"),
    (GOOD + '  arguments: {o: {}}\n', 6, 'argument o has no type'),
    (GOOD + '  arguments: {o: {type: thing}}\n', 6, "type is 'thing'; it is one of object, place"),
    (GOOD + '  arguments: {o: {type: object, unit: m}}\n', 6, 'type object has no unit'),
    (GOOD + '  arguments: {o: {type: choice}}\n', 6, 'of type choice has no options'),
    (GOOD + '  arguments: {o: {type: pose}}\n', 6, 'of type pose has no poses'),
    (GOOD + '  arguments: {o: {type: choice, options: []}}\n', 6, 'nothing to choose'),
    (GOOD + '  arguments: {o: {type: choice, options: [a.b]}}\n', 6, "'a.b' is not made of words"),
    (GOOD + '  arguments: {o: {type: number, range: [2, 1]}}\n', 6, 'is empty'),
    (GOOD + '  arguments: {o: {type: number, range: [1]}}\n', 6, '2 are needed'),
    (GOOD + '  arguments: {o: {type: number, range: [1, .inf]}}\n', 6, 'a number is needed'),
    (GOOD + '  arguments: {o: {type: number, range: [1, 2], default: 3}}\n', 6, 'from 1 to 2'),
    (GOOD + '  arguments:\n    o:\n      type: pose\n      poses: {h: {frame: map}}\n', 9,
     'pose h has no frame or no position'),
    (GOOD + '  preconditions: "{p} is near"\n', 6, 'there is no argument {p}'),
    (GOOD + '  needs: holding it\n', 6, "'holding it' is no fact"),
    (GOOD + '  reveals: 1\n', 6, 'it is true or false'),
    *((GOOD.replace('success: y', f'success: [{items}]'), 4, problem) for items, problem in (
        ('', 'this list is empty'), ('y, z', 'second words; give one sentence'),
        ('{equal: {a: 1}}', 'has a result or a topic, and fields that are equal, least, most'),
        ('{result: /s}', 'and fields'), ('{result: /s, least: {}}', 'and fields'),
        ('{result: /t, equal: {a: 1}}', 'the skill does not call /t; it calls /s'),
        ('{result: /s, equal: 1}', 'equal is no mapping'),
        ('{result: /s, type: a/msg/A, equal: {a: 1}}', 'a result has no type'),
        ('{result: /s, most: {a: {b: true}}}', 'True is no number'),
        ('{topic: /t, equal: {a: 1}}', 'the topic /t has no type'),
        ('{topic: /t, type: a/srv/A, equal: {a: 1}}', 'like my_msgs/msg/Name'),
        ('{topic: /t, type: a/msg/A, joint: j, equal: {a: 1}}', 'only a topic of type sensor_ms'),
        ('{topic: /t, type: a/msg/A, equal: {a: 1}, timeout: 0}', 'above 0'))),
    (GOOD.replace(CALL, 'runs: []'), 5, 'runs nothing'),
    (GOOD.replace(CALL, 'runs: [{action: /a}]'), 5, 'and its type'),
    (GOOD.replace(CALL, 'runs: [{action: /a, service: /b, type: a/action/A}]'), 5, 'a call has'),
    (GOOD.replace(CALL, 'runs: [{action: /a, type: a/srv/A}]'), 5, 'like my_msgs/action/Name'),
    (GOOD.replace(CALL, 'runs: [{action: /a, type: a/action/A, request: {}}]'), 5, 'has a goal'),
    (GOOD.replace(CALL, 'runs: [{service: /a, type: a/srv/A, request: [1]}]'), 5, 'no mapping'),
    (GOOD.replace(CALL, 'runs: [{service: /a, type: a/srv/A, timeout: 0}]'), 5, 'above 0'),
    (GOOD.replace(CALL, 'runs: [{service: /a, type: a/srv/A, request: {x: "{o}"}}]'), 5,
     'no argument {o}; there is none'),
    (GOOD.replace(CALL, 'runs: [{service: /a, type: a/srv/A, request: {x: "{o.mass}"}}]')
     .replace('says: nod', 'says: "nod at {o}"') + THING, 5, 'o.position'),
    ('a: {description: "x}\n', 2, 'unexpected end'),
    ('a: &a [*a]\n', 1, 'an alias'),
    (GOOD.replace('description: x', 'description: 2026-99-99'), 2, 'month'),
    (GOOD.replace('description: x', 'description: !!python/name:os.system x'), 2, 'constructor'),
])
def test_errors_name_file_and_line(tmp_path: Path, text: str, line: int, problem: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidRequestError) as caught:
        load_skills(path)
    assert f'{path}, line {line}: ' in str(caught.value)
    assert problem in str(caught.value)


YAML_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
              st.sampled_from(('object', 'nod {o}', '{o}', 'number', 'a b', '/a', 'a/action/A'))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from((
            'description', 'says', 'arguments', 'success', 'runs', 'type', 'action', 'goal',
            'result', 'topic', 'equal', 'least', 'joint',
            'options', 'range', 'default', 'needs', 'o', 'a')), inner, max_size=5)),
    max_leaves=20)


@given(value=YAML_VALUES)
@settings(max_examples=200)
def test_any_yaml_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = written(tmp_path_factory.mktemp('skills'), yaml.safe_dump(value))
    try:
        load_skills(path)
    except InvalidRequestError as error:
        assert str(path) in str(error)


@given(text=st.text(max_size=60))
@settings(max_examples=200)
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp('skills') / 'skills.yaml'
    path.write_bytes(text.encode(errors='surrogatepass'))
    try:
        load_skills(path)
    except InvalidRequestError as error:
        assert str(path) in str(error)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / 'none.yaml', tmp_path, written(tmp_path, '[' * 3000)):
        with pytest.raises(InvalidRequestError, match='skills'):
            load_skills(path)


@pytest.mark.parametrize(('name', 'text', 'words'), [
    ('pick', 'pick up the red cube', {'object': 'red cube'}),
    ('pick', 'Pick up a cup', {'object': 'cup'}),
    ('place', 'put the red cube in the blue bowl',
     {'object': 'red cube', 'where': 'in', 'place': 'blue bowl'}),
    ('place', 'put it on top of the box',
     {'object': 'it', 'where': 'on top of', 'place': 'box'}),
    ('place', 'put the cup on a plate', {'object': 'cup', 'where': 'on', 'place': 'plate'}),
    ('place', 'place the cup in the bowl on the table',
     {'object': 'cup', 'where': 'in', 'place': 'bowl on the table'}),
    ('hand_over', 'give the cup to the person', {'object': 'cup'}),
    ('go_to_pose', 'go to the kitchen', {'pose': 'kitchen'}),
    ('go_to', 'go to the red door', {'place': 'red door'}),
    ('wait', 'wait for 12.5 seconds', {'duration': '12.5'}),
    ('wait', 'wait', {}),
])
def test_steps_are_read_by_the_words_for_a_skill(
    name: str, text: str, words: dict[str, str]
) -> None:
    skill = (ARM | BASE)[name]
    assert words in skill.match(text)
    assert re.fullmatch(skill.grammar(), text, re.IGNORECASE)


@pytest.mark.parametrize('text', [
    'pick up', 'pick up the red cube. drive away', 'pick up the cube\ndrive away',
    'pick up "the cube"', 'pick up <|im_end|>', 'pick up 1. drive', 'pick up the cube; drive away',
    'put the cube the bowl', 'drive away', 'pick up a b c d e f g h i j', 'wait five seconds',
    'go to the moon: now', 'pick up ' + 'a' * 30, ''])
def test_a_text_that_is_no_step_is_not_read(text: str) -> None:
    for skill in (ARM | BASE).values():
        assert skill.match(text) == []
        assert not re.fullmatch(skill.grammar(), text)


NAMES = st.lists(st.text('abcdefghijklmnopqrstuvwxyzüéλ', min_size=1, max_size=9).filter(
    lambda w: w not in {'the', 'a', 'an', 'your', 'its', 'this', 'that', 'in', 'into', 'on', 'onto',
                        'next', 'to', 'for'}), min_size=1, max_size=3).map(' '.join)


@given(a=NAMES, b=NAMES, article=st.sampled_from(('', 'the ', 'an ')))
def test_any_names_are_read_from_a_step(a: str, b: str, article: str) -> None:
    assert ARM['pick'].match(f'grasp {article}{a}') == [{'object': a}]
    assert {'object': a, 'where': 'next to', 'place': b} in ARM['place'].match(
        f'put {article}{a} next to {article}{b}')


@given(text=st.text(max_size=400))
def test_no_text_takes_long(text: str) -> None:
    for skill in (ARM | BASE).values():
        for words in skill.match(text + ' in' * 50):
            assert all('\n' not in value for value in words.values())


def test_some_skills_for_a_request() -> None:
    some = select_skills(ARM, ('place', 'pick'), facts=('holding red cube', 'done open the drawer'))
    assert [skill.name for skill in some.skills] == ['pick', 'place']
    assert [skill.name for skill in select_skills(ARM).skills] == list(ARM)
    assert hash(some) != hash(select_skills(BASE))
    with pytest.raises(InvalidRequestError, match="no skill 'fly'; the robot has pick"):
        select_skills(ARM, ('fly',))
    with pytest.raises(InvalidRequestError, match='none, see skills_file'):
        select_skills({}, ('fly',))
    with pytest.raises(InvalidRequestError, match="fact 'flying high'; they have done, holding"):
        select_skills(ARM, facts=('flying high',))
    for number in (0, 101):
        with pytest.raises(InvalidRequestError, match='1 to 100'):
            select_skills(ARM, max_steps=number)


def test_calls_are_filled_with_values_of_their_own_types() -> None:
    template = {'pose': '{place.goal}', 'list': [1, 'to {place}'], '{place}': None, 'free': 'as is'}
    goal = {'header': {'frame_id': 'map'}}
    assert fill(template, {'place': 'door', 'place.goal': goal}) == {
        'pose': goal, 'list': [1, 'to door'], '{place}': None, 'free': 'as is'}
    assert fill('{n}', {'n': 2.5}) == 2.5
    with pytest.raises(KeyError):
        fill('{a}', {})


@pytest.mark.parametrize('skill', [*ARM.values(), *BASE.values()], ids=lambda skill: skill.name)
def test_shipped_calls_can_be_filled(skill: Skill) -> None:
    values = {f'{a.name}{part}': f'<{a.name}{part}>' for a in skill.arguments
              for part in ('', *(f'.{p}' for p in PARTS.get(a.type, ())))}
    for call in skill.runs:
        assert not re.search(r'\{[a-z]', json.dumps(fill(call.fields, values)))
    assert '{' not in ''.join(fill(text, values) for text in (*skill.preconditions, skill.success))


def test_a_prompt_that_tells_the_skills() -> None:
    frame = Frame(np.zeros((60, 80, 3), np.uint8))
    limits = PixelLimits(4 * 28 * 28, 4096 * 28 * 28)
    query = Query(TASKS['plan_skills'], 'tidy up {skills}', (frame,), skills=select_skills(BASE))
    text = build_prompt(query, limits).text
    assert '"look at {object}" (Turn on the spot until the robot faces something.); ' in text
    assert 'current goal is: tidy up {skills}. what are the next 5 step' in text
    with pytest.raises(InvalidRequestError, match='skills_file'):
        build_prompt(Query(TASKS['plan_skills'], 'tidy up', (frame,)), limits)


def test_poses_and_defaults() -> None:
    pose = BASE['go_to_pose'].argument('pose')
    assert pose.type is ArgumentType.POSE
    assert pose.poses['kitchen'].yaw == 90
    assert BASE['wait'].argument('duration').default == '5'


def test_words_that_are_true_or_false_to_yaml_are_words(tmp_path: Path) -> None:
    skill = one_skill(tmp_path, 'says: "turn {how}"\nasked: [on, yes]\n'
                          'arguments: {how: {type: choice, options: [on, off], default: off}}')
    assert skill.asked == ('on', 'yes')
    assert skill.arguments[0].options == ('on', 'off')
    assert skill.arguments[0].default == 'off'
    assert ARM['place'].argument('where').options == (
        'in', 'into', 'on', 'onto', 'on top of', 'next to')


def test_a_default_may_be_left_out(tmp_path: Path) -> None:
    skill = one_skill(tmp_path, 'says: [nod, "nod {n} times"]\n'
                          'arguments: {n: {type: number, range: [1, 9], default: 2}}')
    assert skill.match('nod 3 times') == [{'n': '3'}]
    assert skill.match('nod') == [{}]


@pytest.mark.parametrize(('text', 'words'), [
    ('把红色方块放进蓝色碗里', {'thing': '红色方块', 'place': '蓝色碗'}),
    ('把 红色方块 放进 蓝色碗 里', {'thing': '红色方块', 'place': '蓝色碗'}),
    ('把一个杯子放进 AGV 2 里', {'thing': '杯子', 'place': 'AGV 2'}),
    ('把杯子放进', None),
    ('把放进碗里', None),
    ('杯子放进碗里', None),
    ('把杯子放进碗里\u3002开车', None),
])
def test_chinese_phrases_need_no_spaces(
    tmp_path: Path, text: str, words: dict[str, str] | None
) -> None:
    skill = one_skill(tmp_path, 'says: "把{thing}放进{place}里"\n'
                          'arguments: {thing: {type: object}, place: {type: place}}')
    assert skill.match(text) == ([words] if words else [])
    assert bool(re.fullmatch(skill.grammar(), text)) is bool(words)
    if words:
        seen = text.replace('杯子', '杯子 [1, 2]').replace('碗', '碗 [3, 4]')
        assert re.fullmatch(skill.grammar(), seen)
