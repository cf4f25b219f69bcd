"""The interfaces: complete, commented, in step with the code, and readable without ROS."""

from __future__ import annotations

import importlib
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mimo_embodied_ros.core.answers import AnswerType
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.engine.answering import State
from support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = 'mimo_embodied_ros'
FILES = sorted(itertools.chain(*(ROOT.glob(f'{kind}/*.{kind}') for kind in
                                 ('msg', 'srv', 'action'))))
MESSAGES = sorted(file.stem for file in ROOT.glob('msg/*.msg'))
ACTIONS = {'PlanTask', 'FindAffordances', 'AnswerSpatial', 'PlanDriving', 'Ask'}
DOING = {'ExecutePlan', 'RunSkill', 'TrackAffordances'}  # not one question of the model
THINKING = ('uint8 THINK_DEFAULT=0', 'uint8 THINK_ON=1', 'uint8 THINK_OFF=2')
SERVICES = {
    'GetTaskPlan': 'PlanTask',
    'GetAffordances': 'FindAffordances',
    'GetSpatialAnswer': 'AnswerSpatial',
}


def parts(path: str) -> list[list[str]]:
    """Declarations of fields and constants between the --- of an interface file."""
    sections: list[list[str]] = [[]]
    for line in (ROOT / path).read_text().splitlines():
        if line == '---':
            sections.append([])
        elif declaration := line.split('#')[0].strip():
            sections[-1].append(' '.join(declaration.split()))
    return sections


def constants(path: str) -> dict[str, str]:
    """Names and values of the constants of an interface file."""
    return {
        match[1]: match[2]
        for line in itertools.chain(*parts(path))
        if (match := re.fullmatch(r'\w+ ([A-Z_]+)=(.+)', line))
    }


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.name)
def test_is_built(file: Path) -> None:
    module = importlib.import_module(f'{PACKAGE}.{file.parent.name}')
    assert getattr(module, file.stem)


@pytest.mark.parametrize('file', FILES, ids=lambda file: file.name)
def test_every_line_has_a_comment(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0].startswith('# '), 'what the whole interface is for'
    for before, line in itertools.pairwise(['', *lines]):
        assert not line or line == '---' or '#' in line or before.startswith('# '), line


def test_result_codes_are_those_of_the_code() -> None:
    from mimo_embodied_ros.msg import ResultCode as Message

    declared = constants('msg/ResultCode.msg')
    assert {name: int(value) for name, value in declared.items()} == ResultCode.__members__
    assert {name: getattr(Message, name) for name in declared} == ResultCode.__members__


def test_answer_types_are_those_of_the_code() -> None:
    assert set(constants('msg/SpatialAnswer.msg')) == set(AnswerType.__members__)


def test_actions_share_names_of_goal_result_and_feedback() -> None:
    assert {file.stem for file in ROOT.glob('action/*.action')} == ACTIONS | DOING
    for name in DOING:
        assert parts(f'action/{name}.action')[1][-2:] == ['uint16 error_code', 'string error_msg']
    goals, results, feedbacks = zip(
        *(parts(f'action/{name}.action') for name in sorted(ACTIONS)), strict=True)
    for goal in goals:
        assert set(THINKING) < set(goal)
        assert goal[-12:] == [
            'string[] cameras', 'sensor_msgs/Image[] images',
            'sensor_msgs/CompressedImage[] compressed_images',
            'builtin_interfaces/Duration max_image_age', 'builtin_interfaces/Duration timeout',
            'uint8 thinking', 'string system_prompt', 'uint32 thinking_tokens',
            'uint32 max_new_tokens', 'bool structured', 'uint8 priority', 'string caller']
    for result in results:
        assert result[-5:] == [
            'GenerationStats stats', 'uint16 error_code', 'string error_msg', 'string reasoning',
            'string raw_text']
    for feedback in feedbacks:
        assert feedback == feedbacks[0]
    assert feedbacks[0][:len(State)] == [f'uint8 {state.name}={state.value}' for state in State]


@pytest.mark.parametrize(('service', 'action'), SERVICES.items())
def test_services_ask_and_answer_as_their_actions_do(service: str, action: str) -> None:
    assert parts(f'srv/{service}.srv') == parts(f'action/{action}.action')[:2]


def test_standing_queries_have_the_fields_of_the_actions() -> None:
    request = parts('srv/SetStandingQuery.srv')[0]
    in_actions = set(itertools.chain(*(parts(f'action/{name}.action')[0] for name in ACTIONS)))
    assert set(THINKING) < set(request)
    assert set(request) - in_actions == {
        *(f'uint8 {name}={value}' for value, name in enumerate(
            ('PLAN_TASK', 'FIND_AFFORDANCES', 'ANSWER_SPATIAL', 'ASK'))),
        'string name', 'bool enabled', 'float64 rate', 'string text', 'uint8 affordance_kind'}


@pytest.fixture(scope='module')
def store() -> Any:
    """Types of a distribution and those of this package, from the text of the .msg files."""
    types = get_typestore(Stores.ROS2_JAZZY)
    for name in MESSAGES:
        text = (ROOT / 'msg' / f'{name}.msg').read_text()
        types.register(get_types_from_msg(text, f'{PACKAGE}/msg/{name}'))
    return types


def fill(message: Any, count: itertools.count[int]) -> Any:
    """Give every field of a message a value of its own; two elements to every list."""
    for name, declared in message.get_fields_and_field_types().items():
        kind = re.sub(r'sequence<(.+)>', r'\1', declared)
        values = [value_of(kind, count), value_of(kind, count)]
        if array := re.fullmatch(r'\w+\[(\d+)\]', declared):
            getattr(message, name)[:] = range(int(array[1]))
        else:
            setattr(message, name, values if declared.startswith('sequence') else values[0])
    return message


def value_of(kind: str, count: itertools.count[int]) -> Any:
    if '/' in kind:
        package, name = kind.split('/')
        return fill(getattr(importlib.import_module(f'{package}.msg'), name)(), count)
    number = next(count)
    return {
        'string': f'Grüße {number}', 'boolean': number % 2 == 0,
        'float': number + 0.5, 'double': number + 0.25,
    }.get(kind, number % 128)


def example(name: str) -> Any:
    return fill(getattr(importlib.import_module(f'{PACKAGE}.msg'), name)(), itertools.count(1))


@pytest.mark.parametrize('name', MESSAGES)
def test_rosbags_reads_and_writes_the_messages_of_ros(store: Any, name: str) -> None:
    message = example(name)
    wire = serialize_message(message)
    kind = f'{PACKAGE}/msg/{name}'
    rewritten = bytes(store.serialize_cdr(store.deserialize_cdr(wire, kind), kind))
    assert deserialize_message(rewritten, type(message)) == message


@pytest.mark.parametrize('storage', StoragePlugin)
def test_bag_of_answers_is_read_without_ros(
    store: Any, tmp_path: Path, storage: StoragePlugin,
) -> None:
    bag = tmp_path / 'answers'
    names = [name for name in MESSAGES if name != 'ResultCode']
    with Writer(bag, version=9, storage_plugin=storage) as writer:
        for stamp, name in enumerate(names):
            kind = f'{PACKAGE}/msg/{name}'
            connection = writer.add_connection(f'/{name}', kind, typestore=store)
            writer.write(connection, stamp, bytes(serialize_message(example(name))))
    # no types are handed over: they lie in the bag
    with AnyReader([bag]) as reader:
        read = {c.topic[1:]: reader.deserialize(data, c.msgtype) for c, _, data in
                reader.messages()}
    assert set(read) == set(names)
    plan = example('TaskPlan')
    assert read['TaskPlan'].instruction == plan.instruction
    assert [step.object for step in read['TaskPlan'].steps] == [s.object for s in plan.steps]
    assert read['TaskPlan'].steps[1].points[0].x == plan.steps[1].points[0].x
    assert bytes(read['TaskPlan'].plan_id.uuid) == bytes(range(16))
