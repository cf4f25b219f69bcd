"""The table of parameters, the node's declarations, and the page in the docs."""

from __future__ import annotations

import gc
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from mimo_embodied_ros.cli import parameter_page
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.execution.executor_node import MimoExecutor
from mimo_embodied_ros.node import settings
from mimo_embodied_ros.node.lifecycle_node import MimoEmbodied
from mimo_embodied_ros.ros import process
from mimo_embodied_ros.ros.arguments import given_parameters
from mimo_embodied_ros.viewer.viewer_node import MimoViewer
from support.paths import CONFIG, DOCS

if TYPE_CHECKING:
    from pathlib import Path

    from mimo_embodied_ros.ros import parameters

# what rclpy declares for every node
ROS = {'use_sim_time', 'start_type_description_service'}


def test_the_page_in_the_docs_is_of_this_table() -> None:
    page = (DOCS / 'parameters.md').read_text('utf-8')
    assert page == parameter_page.page(), 'run make docs'


@pytest.mark.parametrize(('name', 'parameter'), settings.by_name(['camera']).items())
def test_each_is_described_with_its_range_and_unit(
    name: str, parameter: parameters.Parameter
) -> None:
    assert parameter.description.endswith('.')
    assert f'| `{name.removeprefix("camera.")}` |' in parameter_page.page()
    default = parameter.default
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        assert parameter.range is not None
        low, high = parameter.range
        assert low <= default <= high
    assert parameter.unit or not isinstance(default, float)
    assert default in (parameter.choices or [default])
    if parameter.live:
        assert name in {field.name for field in fields(settings.Settings)}


def test_the_node_declares_and_describes_all_of_them(ros: Any) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied, parameter_overrides=[
        Parameter('cameras', value=['left', 'right']), Parameter('autostart', value=False)])
    table = settings.by_name(['left', 'right'])
    declared = set(node.get_parameters_by_prefix('')) - ROS
    assert declared == set(table)
    for name, parameter in table.items():
        descriptor = node.describe_parameter(name)
        assert descriptor.description == parameter.description
        assert parameter.unit in descriptor.additional_constraints
        assert all(choice in descriptor.additional_constraints for choice in parameter.choices)
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert [(r.from_value, r.to_value) for r in ranges] == (
            [parameter.range] if parameter.range else [])


def test_parameters_that_can_be_changed_in_each_state(ros: Any) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied)

    def change(**values: Any) -> str:
        return node.set_parameters_atomically([
            Parameter(name.replace('__', '.'), value=value) for name, value in values.items()
        ]).reason

    assert 'read-only' in change(autostart=False)
    assert 'raw, compressed' in change(camera__image_transport='theora')
    assert change(camera__image_topic='front/image', max_queue=3, timeout=5.0) == ''
    assert ros.call(node.trigger_configure) is TransitionCallbackReturn.SUCCESS
    assert (node.settings.cameras[0].image_topic, node.settings.max_queue) == ('front/image', 3)

    refused = change(camera__image_topic='back/image', device='cpu', timeout=6.0)
    assert 'camera.image_topic, device is read when the node is configured' in refused
    assert node.settings.timeout == 5.0  # all or none
    assert change(timeout=-1.0)  # rclpy says so, by the range
    live = {'timeout': 7.0, 'max_image_age': 0.5, 'wait_for_image': 2.0, 'driving_valid_for': 3.0,
            'wait_for_transform': 1.0, 'max_new_tokens': 20, 'max_steps': 5, 'structured': True,
            'retry_structured': False, 'system_prompt': 'Be kind.', 'thinking_tokens': 100}
    assert change(**live) == ''
    assert {name: getattr(node.settings, name) for name in live} == live
    assert set(live) == {p.name for p in settings.NODE if p.live}

    assert ros.call(node.trigger_cleanup) is TransitionCallbackReturn.SUCCESS
    assert change(camera__image_topic='back/image') == ''


def test_a_number_may_be_written_either_way(ros: Any) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied, parameter_overrides=[
        Parameter('timeout', value=60), Parameter('max_queue', value=3.0),
        Parameter('camera.clip_rate', value=2), Parameter('servers', value=[]),
        Parameter('autostart', value=False)])
    assert (node.settings.timeout, type(node.settings.timeout)) == (60.0, float)
    assert (node.settings.max_queue, type(node.settings.max_queue)) == (3, int)
    assert node.settings.engine.servers == ()
    types = {name: node.describe_parameter(name).type for name in
             ('timeout', 'max_queue', 'camera.clip_rate', 'servers')}
    assert types == {
        'timeout': ParameterType.PARAMETER_DOUBLE, 'max_queue': ParameterType.PARAMETER_INTEGER,
        'camera.clip_rate': ParameterType.PARAMETER_DOUBLE,
        'servers': ParameterType.PARAMETER_STRING_ARRAY}


@pytest.mark.parametrize(('value', 'expected'), [
    (ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=60), 60.0),
    (ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=61.5), 61.5),
    (ParameterValue(type=ParameterType.PARAMETER_INTEGER, integer_value=-1), 'out of range'),
    (ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=True), 'Wrong parameter type'),
    (ParameterValue(type=ParameterType.PARAMETER_STRING, string_value='60'), 'Wrong parameter'),
    (ParameterValue(), 'cannot be undeclared'),
])
def test_a_running_node_takes_an_integer_for_a_number(
    ros: Any, value: ParameterValue, expected: float | str
) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied)
    response = ros.call_service(
        ros.node('caller'), SetParameters, '/mimo_embodied/set_parameters',
        parameters=[ParameterMessage(name='timeout', value=value)])
    if isinstance(expected, str):
        assert expected in response.results[0].reason
        assert node.settings.timeout == 30.0
    else:
        assert response.results[0].successful
        assert node.settings.timeout == expected
        assert type(node.settings.timeout) is float


@pytest.mark.parametrize(('name', 'value', 'good'), [
    ('max_steps', ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=5.0), True),
    ('max_steps', ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=5.5), False),
    ('max_steps', ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=True), False),
    ('servers', ParameterValue(type=ParameterType.PARAMETER_BOOL_ARRAY), True),  # [] of ros2 param
    ('servers', ParameterValue(type=ParameterType.PARAMETER_INTEGER_ARRAY,
                               integer_array_value=[1]), False),
])
def test_a_running_node_takes_what_changes_nothing(
    ros: Any, name: str, value: ParameterValue, good: bool
) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied)
    before = node.get_parameter(name).type_
    response = ros.call_service(
        ros.node('caller'), SetParameters, '/mimo_embodied/set_parameters',
        parameters=[ParameterMessage(name=name, value=value)])
    assert response.results[0].successful is good, response.results[0].reason
    assert node.get_parameter(name).type_ is before


@pytest.mark.parametrize(('name', 'value', 'text'), [
    ('timeout', 'abc', "timeout is 'abc'; give a number"),
    ('timeout', True, 'timeout is True; give a number'),
    ('timeout', -1, r'timeout is -1\.0; give a value from 0\.001 to 86400\.0 s'),
    ('timeout', float('nan'), r'timeout is nan; give a value from 0\.001'),
    ('max_queue', 2.5, r'max_queue is 2\.5; give a whole number'),
    ('stop_early', 1, 'stop_early is 1; give true or false'),
    ('model', 7, 'model is 7; give a text, in quotation marks'),
    ('cameras', 'front', "cameras is 'front'; give a list of texts"),
    ('cameras', [1, 2], r'cameras is \[1, 2\]; give a list of texts'),
    ('cameras', [], r'cameras is \[\]; give one or more'),
    ('camera.image_transport', 'theora', "camera.image_transport is 'theora'; give one of raw"),
    ('tasks_file', '~no_such_user/a', 'home folder of this user is not known'),
    ('cameras', ['front left'], "cameras is .'front left'.; give one or more, .*without spaces"),
    ('cameras', ['a-b'], "name of the camera, gives the topic 'a-b/image_raw': .*another name"),
    ('camera.depth_topic', 'a//b', "camera.depth_topic.* gives the topic 'a//b': "),
    ('odometry_topic', '1 2', "odometry_topic gives the topic '1 2': "),
])
def test_a_wrong_value_is_refused_with_what_is_expected(
    ros: Any, name: str, value: Any, text: str
) -> None:
    with pytest.raises(InvalidRequestError, match=text):
        MimoEmbodied(context=ros.context, parameter_overrides=[Parameter(name, value=value)])


@pytest.mark.parametrize(('given', 'changed', 'text'), [
    ({}, {'cameras': ['front left']}, 'cameras is .*without spaces'),
    ({'side.clip_rate': 'fast'}, {'cameras': ['side']}, "side.clip_rate is 'fast'; give a number"),
    ({}, {'device': 'gpu'}, "device 'gpu' is not known"),
])
def test_a_wrong_value_fails_configuring_in_one_sentence(
    ros: Any, capfd: Any, given: dict[str, Any], changed: dict[str, Any], text: str
) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied, parameter_overrides=[
        Parameter(name, value=value) for name, value in given.items()])
    node.set_parameters([Parameter(name, value=value) for name, value in changed.items()])
    assert ros.call(node.trigger_configure) is TransitionCallbackReturn.FAILURE
    sentence, = capfd.readouterr().err.splitlines()
    assert 'not configured, INVALID_REQUEST' in sentence
    assert re.search(text, sentence)


@pytest.mark.parametrize(('kind', 'name', 'value'), [
    (MimoEmbodied, 'timeout', -1), (MimoExecutor, 'settle', -1), (MimoViewer, 'jpeg_quality', -1)])
def test_a_node_that_could_not_be_made_can_be_destroyed(
    ros: Any, kind: type[Any], name: str, value: int
) -> None:
    made = []

    class Kept(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            made.append(self)
            super().__init__(
                context=ros.context, parameter_overrides=[Parameter(name, value=value)])

    with pytest.raises(InvalidRequestError, match=f'{name} is -1'):
        Kept()
    made[0].destroy_node()


class Program:
    """The node as a program in this process, which ends as soon as it could be spun."""

    def __init__(self, ros: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(ros.domain_id))
        self._capfd = capfd
        self.settings: settings.Settings | None = None

    def __call__(self, *arguments: str, make: type[Any] = MimoEmbodied) -> tuple[int, str]:
        """Return the exit code and what was printed."""
        def start(node: MimoEmbodied) -> bool:
            self.settings = getattr(node, 'settings', None)
            raise KeyboardInterrupt

        code = process.run(make, 'mimo_embodied', ['program', '--ros-args', *arguments],
                           start)
        printed = self._capfd.readouterr().err
        gc.unfreeze()  # the next node of this name would warn of one that is still there
        gc.collect()
        return code, printed


@pytest.fixture
def program(ros: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Program:
    return Program(ros, monkeypatch, capfd)


def test_files_and_arguments_are_read_alike(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'my tasks.yaml').write_text('{}')
    (tmp_path / 'robot file.yaml').write_text(
        '/**/mimo_embodied:\n  ros__parameters:\n    timeout: 60\n    servers: []\n'
        '    record_to: ~/records\n    tasks_file: ~/my tasks.yaml\n')
    code, printed = program('--params-file', '~/robot file.yaml', '-p', 'max_image_age:=2')
    assert (code, printed) == (0, '')
    assert program.settings is not None
    assert (program.settings.timeout, program.settings.max_image_age) == (60.0, 2.0)
    assert program.settings.record_to == str(tmp_path / 'records')


@pytest.mark.parametrize(('content', 'text'), [
    ('- a\n', 'it is not a mapping'),
    ('', 'it is not a mapping'),
    ('mimo_embodied:\n  timeout: 3\n', 'mimo_embodied has no ros__parameters'),
    ('mimo_embodied: 3\n', 'mimo_embodied is not a mapping'),
    ('mimo_embodied:\n  ros__parameters:\n    device:\n', 'device has no value'),
    ('mimo_embodied:\n  ros__parameters:\n    cameras: [a, 1]\n', 'give values of one type'),
    ('a: 1\nb: [\n', 'is not YAML: line 3'),
    ('a: \udcff', 'is not YAML'),
    ('/**:\n  ros__parameters:\n    timeout: abc\n', "timeout is 'abc'; give a number"),
])
def test_a_wrong_file_of_parameters_is_refused_in_one_sentence(
    program: Program, tmp_path: Path, content: str, text: str
) -> None:
    file = tmp_path / 'file.yaml'
    file.write_text(content, 'utf-8', 'surrogateescape')
    code, printed = program('--params-file', str(file))
    assert code == 1
    assert text in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--params-file', '/nowhere.yaml'], '/nowhere.yaml: No such file or directory; give one'),
    (['--params-file', '/'], 'Is a directory; give a file'),
    (['--params-file', '~no_such_user/a.yaml'], 'home folder of this user is not known'),
    (['-p', 'timeout'], '-p timeout: give NAME:=VALUE'),
    (['-p', 'model:='], "-p model:=: give NAME:=VALUE ('' for an empty text"),
    (['-r', 'x'], '-r x: give FROM:=TO'),
    (['-r', '__node:=a-b'], "'-r __node:=a-b'"),
    (['-p', 'cameras:=[a'], 'cameras:=[a'),
])
def test_wrong_arguments_are_refused_without_a_traceback(
    program: Program, arguments: list[str], text: str
) -> None:
    code, printed = program(*arguments)
    assert code == 1
    assert text in printed
    assert 'Traceback' not in printed
    assert '.c:' not in printed.splitlines()[-1]


def test_a_name_that_ros_does_not_allow_is_refused_without_a_traceback(
    program: Program
) -> None:
    code, printed = program('-p', 'node:=a-b', make=MimoViewer)
    assert code == 1
    sentence, = printed.splitlines()
    assert "'a-b/" in sentence
    assert 'must not contain characters' in sentence


def test_a_parameter_of_ros_itself_is_refused_without_a_traceback(program: Program) -> None:
    code, printed = program('-p', 'use_sim_time:=1')
    assert code == 1
    sentence = printed.splitlines()[-1]
    assert "'use_sim_time' to '1' of type 'INTEGER', expecting type 'BOOL'" in sentence
    assert 'Traceback' not in printed


def test_a_quality_of_service_that_is_not_known_is_told(ros: Any, capfd: Any) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied, parameter_overrides=[Parameter(
        'qos_overrides./camera/image_raw.subscription.reliability', value='certain')])
    assert ros.call(node.trigger_configure) is TransitionCallbackReturn.SUCCESS
    assert ros.call(node.trigger_activate) is TransitionCallbackReturn.ERROR
    printed = capfd.readouterr().err
    assert 'not activated: Unexpected QoS override for policy `reliability`: `certain`' in printed
    assert 'see qos_overrides' in printed
    assert 'Traceback' not in printed


FOR_ALL = '/**:\n  ros__parameters:\n'
OURS = '/**/mimo_embodied:\n  ros__parameters:\n'


def test_a_file_whose_parameters_the_node_does_not_have_ends_it_in_one_sentence(
    program: Program, tmp_path: Path
) -> None:
    file = tmp_path / 'file.yaml'
    for content, text in (
        (f'{OURS}    max_image_agee: 1.0\n',
         'there is no parameter max_image_agee; max_image_age may be meant'),
        (f'{OURS}    xyz: 1\n', 'there is no parameter xyz; see docs/parameters.md'),
        (f'{OURS}    cameras: [front]\n    frnt:\n      image_topic: a\n',
         'there is no parameter frnt.image_topic; front.image_topic may be meant'),
        (f'{OURS}    camera:\n      image_topics: a\n', 'camera.image_topic may be meant'),
        ('mimo_embodid:\n  ros__parameters:\n    timeout: 3.0\n',
         'is for /mimo_embodid, and this node is /mimo_embodied; write /**/mimo_embodied'),
        ('/robot2/mimo_embodied:\n  ros__parameters:\n    timeout: 3.0\n',
         'is for /robot2/mimo_embodied, and this node is /mimo_embodied'),
        ('a:\n  ros__parameters:\n    b: 3\n/c/*:\n  ros__parameters:\n    d: 3\n',
         'is for /a, /c/*'),
    ):
        file.write_text(content)
        code, printed = program('--params-file', str(file))
        assert code == 1, content
        sentence, = printed.splitlines()
        assert text in sentence
        assert str(file) in sentence


def test_arguments_with_parameters_that_the_node_does_not_have_end_it_in_one_sentence(
    program: Program
) -> None:
    code, printed = program('-p', 'timeot:=3.0', '-p', 'other:timeout:=1.0', '-p', 'max_steps:=3')
    assert code == 1
    sentence, = printed.splitlines()
    assert '-p timeot:=3.0: there is no parameter timeot; timeout may be meant' in sentence
    assert '-p other:timeout:=1.0 is for other, and this node is /mimo_embodied' in sentence


def test_other_nodes_refuse_parameters_that_they_do_not_have(program: Program) -> None:
    skills = f'skills_file:={CONFIG}/skills/tabletop.yaml'
    for make, arguments in ((MimoExecutor, ['-p', skills]), (MimoViewer, [])):
        code, printed = program('-p', 'nod:=a', *arguments, make=make)
        assert code == 1
        assert 'there is no parameter nod; node may be meant' in printed
        assert len(printed.splitlines()) == 1


def test_parameters_of_other_nodes_in_a_shared_file_are_told_and_passed_over(
    program: Program, tmp_path: Path
) -> None:
    shared, own = tmp_path / 'shared.yaml', tmp_path / 'own.yaml'
    shared.write_text(f'{FOR_ALL}    max_image_agee: 1.0\n    use_sim_time: true\n'
                      'amcl:\n  ros__parameters:\n    alpha: 1.0\n')
    # the cameras of a file that another one replaces are parameters, too
    own.write_text('/mimo_embodied:\n  ros__parameters:\n    cameras: [front]\n'
                   f'{OURS}    front:\n      image_topic: a\n'
                   '    qos_overrides./a.subscription.reliability: reliable\n')
    code, printed = program('--params-file', str(shared), '--params-file', str(own),
                            '-p', 'cameras:=[back]', '-p', 'model:=2020-13-45')
    assert code == 0
    warning, = printed.splitlines()
    assert f'{shared}: there is no parameter max_image_agee; max_image_age may' in warning
    assert warning.endswith('it has no effect on this node')


@pytest.mark.parametrize('namespace', ['/', '/robot1'])
def test_a_section_is_for_the_nodes_that_ros_gives_it_to(
    ros: Any, tmp_path: Path, namespace: str
) -> None:
    file = tmp_path / 'file.yaml'
    for name in ('mimo_embodied', '/robot1/mimo_embodied', '/**', '/*', '/*/*', '/robot2/**',
                 '/**/mimo_embodied', '/*/mimo_embodied', '/robot1/**', '/robot1/*', '/*/**/*'):
        file.write_text(f'{name}:\n  ros__parameters:\n    here: 1\n')
        arguments = ['--ros-args', '--params-file', str(file), '-r', f'__ns:={namespace}']
        node = ros.node('mimo_embodied', cli_args=arguments)
        section, = given_parameters(arguments)
        given = 'here' in node._parameter_overrides
        assert section.is_for(node.get_fully_qualified_name()) is given, name


def test_an_active_node_names_itself_and_qualities_that_no_topic_has(
    ros: Any, capfd: Any
) -> None:
    node = ros.node('mimo_embodied', MimoEmbodied, parameter_overrides=[
        Parameter('qos_overrides./camera/image_rw.subscription.reliability', value='reliable')])
    assert ros.call(node.trigger_configure) is TransitionCallbackReturn.SUCCESS
    assert ros.call(node.trigger_activate) is TransitionCallbackReturn.SUCCESS
    printed = capfd.readouterr().err
    assert ('qos_overrides./camera/image_rw.subscription.reliability; '
            'qos_overrides./camera/image_raw.subscription.reliability may be meant') in printed
    assert 'active: model mimo_tiny, cameras camera, actions /mimo_embodied/plan_task, ' in printed
