"""What the launch files share, and what a user sees of launches that go wrong."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.launching import end_failed_launch, existing_file, follow_image, misspelt
from support.launch_files import constant
from support.paths import CONFIG, LAUNCH
from support.programs import run_python

if TYPE_CHECKING:
    from pathlib import Path

    from support.ros import Ros

MANIPULATOR = str(CONFIG / 'manipulator.yaml')
REALSENSE = 'camera/camera/color/image_raw', 'camera/camera/aligned_depth_to_color/image_raw'
LAUNCH_FILE = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
arguments = [text.split(':=', 1) for text in sys.argv[2:]]
service = LaunchService(argv=sys.argv[2:])
service.include_launch_description(LaunchDescription(
    [IncludeLaunchDescription(sys.argv[1], launch_arguments=arguments)]))
sys.exit(service.run())
"""


def followed(files: list[str], **given: str) -> dict[str, Any]:
    """The parameters over those of the files, with two underscores for each dot."""
    parameters: dict[str, Any] = {name.replace('__', '.'): topic for name, topic in given.items()}
    follow_image(parameters, files)
    return parameters


def test_camera_info_follows_a_topic_that_is_given() -> None:
    assert followed([MANIPULATOR]) == {}
    assert followed([MANIPULATOR], camera__image_topic='/a/image') == {
        'camera.image_topic': '/a/image', 'camera.camera_info_topic': ''}
    both = {'camera__image_topic': '/a/image', 'camera__camera_info_topic': '/b/info'}
    assert followed([MANIPULATOR], **both)['camera.camera_info_topic'] == '/b/info'
    assert followed([MANIPULATOR], camera__depth_topic='/a/depth') == {
        'camera.depth_topic': '/a/depth', 'camera.depth_info_topic': ''}


@pytest.mark.parametrize('colour', ['/wrist/color/image_raw', '/wrist/color/image_raw/compressed'])
def test_depth_follows_where_realsense_has_named_the_topics(tmp_path: Path, colour: str) -> None:
    parameters = followed([str(CONFIG / 'mimo_tiny.yaml'), MANIPULATOR], camera__image_topic=colour)
    assert parameters['camera.depth_topic'] == '/wrist/aligned_depth_to_color/image_raw'
    assert parameters['camera.depth_info_topic'] == ''
    given = followed([MANIPULATOR], camera__image_topic=colour, camera__depth_topic='/d')
    assert given['camera.depth_topic'] == '/d'
    # no depth is made up where the files have none, or another one
    no_depth, other = tmp_path / 'no_depth.yaml', tmp_path / 'other.yaml'
    no_depth.write_text('/**:\n  ros__parameters:\n    camera.depth_topic: ""\n')
    other.write_text('a:\n  b:\n    ros__parameters:\n      camera: {depth_topic: /tof/depth}\n')
    for files in ([str(CONFIG / 'mimo_tiny.yaml')], [MANIPULATOR, str(no_depth)], [str(other)]):
        assert 'camera.depth_topic' not in followed(files, camera__image_topic=colour)


@pytest.mark.parametrize('name', ['mimo_7b', 'remote', 'manipulator', 'mobile_base'])
def test_the_topics_of_realsense_are_those_of_its_present_driver(name: str) -> None:
    text = (CONFIG / f'{name}.yaml').read_text('utf-8')
    assert all(f'{topic}\n' in text.replace('   #', '\n') for topic in REALSENSE)
    assert 'camera_info_topic' not in text  # else it would not follow the image


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert existing_file('params_file', MANIPULATOR) == MANIPULATOR
    for name, text in (('/nowhere.yaml', 'No such file or directory; give one that exists'),
                       (str(tmp_path), 'Is a directory; give a file')):
        with pytest.raises(InvalidRequestError, match=f'params_file: {name}: {text}'):
            existing_file('params_file', name)


def test_a_launch_ends_when_a_process_fails_and_not_when_it_crashes_or_is_ended() -> None:
    going_on, ending = (SimpleNamespace(is_shutdown=value) for value in (False, True))
    for code in (1, 2):
        event = SimpleNamespace(returncode=code, process_name='mimo_embodied-1')
        with pytest.raises(RuntimeError, match='mimo_embodied-1 has failed'):
            end_failed_launch(event, going_on)
        end_failed_launch(event, ending)
    for code in (0, -2, -11, 137):
        end_failed_launch(SimpleNamespace(returncode=code, process_name='a'), going_on)


def test_a_misspelt_argument_of_a_launch_file_is_told() -> None:
    names = ['params_file', 'robot_file', *(name for name, *_ in constant('PARAMETERS'))]
    sentence, = misspelt(['param_file:=a', 'device:=cpu', 'rate:=2', 'bag:=b'], names)
    assert 'no launch argument param_file here' in sentence
    assert sentence.endswith('params_file may be meant')


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('files')
    (folder / 'misspelt.yaml').write_text(
        '/**/mimo_embodied:\n  ros__parameters:\n    max_image_agee: 1.0\n')
    return folder


@pytest.mark.parametrize(('file', 'arguments', 'says'), [
    ('mimo_embodied', ['params_file:=/nowhere.yaml'], 'params_file: /nowhere.yaml: No such file'),
    ('manipulator', ['robot_file:=/nowhere.yaml'], 'robot_file: /nowhere.yaml: No such file'),
    ('car', ['robot_file:=misspelt.yaml'], 'there is no parameter max_image_agee; max_image_age'),
    ('car', ['image_topic:=/a'], 'there is no parameter camera.image_topic'),
    ('mobile_base', ['device:=gpu'], "device 'gpu' is not known"),
    ('memory', ['file:=/proc/memory.db'], 'memory /proc/memory.db: No such file'),
    ('executor', ['skills_file:=/nowhere'], '/nowhere cannot be read as skills'),
    ('bag', ['bag:=/nowhere'], '/nowhere does not exist'),
    ('vllm_server', ['vllm:=no_vllm'], 'there is no program no_vllm; run `pip install vllm`'),
    ('vllm_server', ['vllm:=false', 'respawn:=false'], 'vllm-1 has failed'),
])
def test_a_launch_that_goes_wrong_ends_with_an_error_code_and_without_a_traceback(
    ros: Ros, files: Path, file: str, arguments: list[str], says: str
) -> None:
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS distribution')
    done = run_python(LAUNCH_FILE, LAUNCH / f'{file}.launch.py', *arguments,
                      folder=files, environment=ros.environment, succeeds=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 1, printed
    assert says in printed
    assert 'Traceback' not in printed
