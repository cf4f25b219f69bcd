"""Launch files and parameter files name files, parameters and programs that exist."""

from __future__ import annotations

import ast
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros.bags import describe
from mimo_embodied_ros.cli.main import parser
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.execution import executor_parameters
from mimo_embodied_ros.execution.executor_node import MimoExecutor
from mimo_embodied_ros.launching import server_command
from mimo_embodied_ros.memory_node import memory_parameters
from mimo_embodied_ros.memory_node.memory_node import MimoMemory
from mimo_embodied_ros.node import settings
from mimo_embodied_ros.node.lifecycle_node import MimoEmbodied
from mimo_embodied_ros.simulation.simulation_node import Simulation
from support.launch_files import GAZEBO_LAUNCH, NODE_LAUNCH, constant, parameters_in
from support.paths import CONFIG, LAUNCH, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = sorted(LAUNCH.glob('*.launch.py'))
SERVER = LAUNCH / 'vllm_server.launch.py'
BAG = LAUNCH / 'bag.launch.py'
EXECUTOR = LAUNCH / 'executor.launch.py'
SIMULATE = LAUNCH / 'simulate.launch.py'


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.name)
def test_the_files_that_a_launch_file_names_exist(path: Path) -> None:
    tree = ast.parse(path.read_text('utf-8'))
    assert ast.get_docstring(tree)
    suffixes = ('.launch.py', '.yaml', '.sdf', '.xml')
    named = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)
             and str(n.value).endswith(suffixes) and ' ' not in n.value]
    for name in named:
        matches = [*ROOT.glob(f'launch/{name}'), *ROOT.glob(f'config/{name}'),
                 *ROOT.glob(f'gazebo/{name}')]
        assert matches or name == 'gz_sim.launch.py', name


def test_launch_arguments_are_parameters_of_the_node() -> None:
    arguments = constant('PARAMETERS')
    assert len({argument for argument, *_ in arguments}) == len(arguments)
    parameters = settings.by_name(['camera'])
    for _, name, description, choices in arguments:
        parameter = parameters.get(name)
        assert description.endswith('.')
        if name == 'use_sim_time':  # every node has it
            continue
        assert parameter is not None, name
        if parameter.choices:
            assert set(choices) == {'', *parameter.choices}


@pytest.mark.parametrize(
    'path', sorted({*CONFIG.glob('*.yaml')} - {CONFIG / 'ray_serve.yaml'}), ids=lambda p: p.name)
def test_parameter_files_name_parameters_of_the_node(path: Path) -> None:
    values = parameters_in(path)
    parameters = settings.by_name(values['cameras'])
    for name, value in values.items():
        assert name in parameters
        assert type(value) is type(parameters[name].default), name


def test_the_server_is_what_the_remote_parameters_name() -> None:
    arguments = constant('PROGRAM', SERVER) + constant('FLAGS', SERVER)
    assert all(text.endswith('.') for *_, text in arguments)
    server = {name: default for name, default, _ in arguments}
    assert len(server) == len(arguments)
    node = parameters_in(CONFIG / 'remote.yaml')
    assert node['backend'] == 'openai'
    assert node['servers'] == [f'http://{server["host"]}:{server["port"]}/v1']
    assert node['model'] == server['served_model_name']
    assert node['max_pixels'] <= json.loads(server['mm_processor_kwargs'])['max_pixels']
    assert json.loads(server['limit_mm_per_prompt']) == {'image': 6, 'video': 6}
    assert 'reasoning_parser' not in server


def test_the_cameras_of_the_car_are_in_the_order_of_the_training() -> None:
    cameras = parameters_in(CONFIG / 'car.yaml')['cameras']
    assert tuple(name.replace('_', ' ') for name in cameras) == TASKS['drive_surround'].views


def test_the_parameters_for_the_bag_name_its_topics() -> None:
    recorded = {topic.name: topic.type for topic in describe(ROOT / 'bags' / 'tabletop').topics}
    values = parameters_in(CONFIG / 'tabletop_bag.yaml')
    assert recorded == {
        f'/{values["camera.image_topic"]}': 'sensor_msgs/msg/CompressedImage',
        f'/{values["camera.depth_topic"]}': 'sensor_msgs/msg/Image',
        '/camera/camera_info': 'sensor_msgs/msg/CameraInfo',  # beside the image
        f'/{values["odometry_topic"]}': 'nav_msgs/msg/Odometry'}
    assert values['camera.image_transport'] == 'compressed'


# What follows builds the launch descriptions, with launch and launch_ros of a ROS distribution.
PROFILES = constant('VARIABLES', LAUNCH / 'large_images.launch.py')


class Process(NamedTuple):
    """A process that a launch description starts; without a package where it is no node's."""

    package: str
    program: str
    arguments: list[str]


def process_of(action: Any, context: Any) -> Process:
    """Return the process that an action of a launch description would start."""
    from launch.utilities import normalize_to_list_of_substitutions as normalized
    from launch.utilities import perform_substitutions
    from launch_ros.actions import Node

    def words(*values: Any) -> list[str]:
        return [perform_substitutions(context, normalized(value)) for value in values]

    arguments = words(*action.cmd[1:])
    if isinstance(action, Node):
        return Process(*words(action.node_package, action.node_executable), arguments)
    return Process('', *words(action.cmd[0]), arguments)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Process]]:
    """Return a function that lists what a launch file would start, with these arguments."""
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS distribution')
    from launch.actions import (
        DeclareLaunchArgument,
        ExecuteLocal,
        IncludeLaunchDescription,
        RegisterEventHandler,
    )
    from launch_ros.actions import Node

    from launch import LaunchContext

    processes: list[Process] = []

    def visit(entity: Any, context: Any) -> None:
        if isinstance(entity, Node):  # not what LifecycleNode adds, which is a node of ROS
            Node.execute(entity, context)
        elif isinstance(entity, RegisterEventHandler):
            for inner in entity.event_handler.entities:
                visit(inner, context)
        else:
            if isinstance(entity, DeclareLaunchArgument):
                assert entity.description
            try:
                inside = entity.visit(context) or []
            except Exception:
                if not isinstance(entity, IncludeLaunchDescription):
                    raise
                # of a package that is not here, such as ros_gz_sim
                arguments = [str(value) for _, value in entity.launch_arguments]
                processes.append(Process('', 'include', arguments))
                inside = []
            for inner in inside:
                visit(inner, context)

    def launch(path: Path, **arguments: str) -> list[Process]:
        processes.clear()
        context = LaunchContext()
        context.launch_configurations.update(arguments)
        visit(IncludeLaunchDescription(str(path)), context)
        return list(processes)

    monkeypatch.setattr(
        ExecuteLocal, 'execute',
        lambda action, context: processes.append(process_of(action, context)))
    for name in PROFILES:  # which are set by launching, and as before at the end of the test
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    return launch


def node_of(ros: Any, started: Process) -> MimoEmbodied:
    """Make the node as its process would, with the arguments of the command line."""
    assert started.package == 'mimo_embodied_ros'
    assert (ROOT / 'scripts' / f'{started.program}.in').is_file()
    return ros.node('another_name', MimoEmbodied, cli_args=started.arguments)


def test_the_node_gets_the_arguments_over_the_files(ros: Any, launched: Any) -> None:
    (alone,) = launched(NODE_LAUNCH)
    node = node_of(ros, alone)
    assert node.get_fully_qualified_name() == '/mimo_embodied'
    assert node.settings.engine.device == 'cpu'

    (started,) = launched(
        NODE_LAUNCH, namespace='robot1', params_file=str(CONFIG / 'mimo_7b.yaml'),
        robot_file=str(CONFIG / 'manipulator.yaml'), model='models/of_mine', device='cuda:1',
        image_topic='/eye/image', image_transport='compressed', camera_info_topic='/eye/info',
        depth_topic='/eye/depth', odometry_topic='wheels', use_sim_time='true', autostart='false')
    node = node_of(ros, started)
    settings, (camera,) = node.settings, node.settings.cameras
    assert node.get_fully_qualified_name() == '/robot1/mimo_embodied'
    assert (settings.engine.model, settings.engine.device) == ('models/of_mine', 'cuda:1')
    assert settings.engine.max_pixels == 1003520  # of the file
    assert (camera.image_topic, camera.compressed) == ('/eye/image', True)
    assert (camera.camera_info_topic, camera.depth_topic) == ('/eye/info', '/eye/depth')
    assert (settings.odometry_topic, settings.autostart) == ('wheels', False)
    assert node.get_parameter('use_sim_time').value is True

    (started,) = launched(LAUNCH / 'manipulator.launch.py', image_topic='/wrist/color/image_raw')
    camera, = node_of(ros, started).settings.cameras
    assert (camera.image_topic, camera.camera_info_topic, camera.depth_topic) == (
        '/wrist/color/image_raw', '/wrist/color/camera_info',
        '/wrist/aligned_depth_to_color/image_raw')


@pytest.mark.parametrize('robot', ['manipulator', 'mobile_base', 'car'])
def test_a_robot_gets_its_cameras_and_odometry(ros: Any, launched: Any, robot: str) -> None:
    for params_file in ('mimo_tiny.yaml', 'mimo_7b.yaml', 'remote.yaml'):
        (started,) = launched(LAUNCH / f'{robot}.launch.py', model='any',
                              params_file=str(CONFIG / params_file))
        node = node_of(ros, started)
        for name, value in parameters_in(CONFIG / f'{robot}.yaml').items():
            assert node.get_parameter(name).value == value, name
        assert node.settings.timeout == parameters_in(CONFIG / params_file)['timeout']
    # a file of the user's own stands in
    (started,) = launched(LAUNCH / f'{robot}.launch.py',
                          robot_file=str(CONFIG / 'tabletop_bag.yaml'))
    assert node_of(ros, started).settings.cameras[0].compressed


def test_the_executor_gets_its_arguments(ros: Any, launched: Any, tmp_path: Path) -> None:
    skills = CONFIG / 'skills' / 'tabletop.yaml'
    (started,) = launched(EXECUTOR, skills_file=str(skills), namespace='robot1',
                          state_file=str(tmp_path / 'plan.json'))
    assert (started.package, started.program) == ('mimo_embodied_ros', 'mimo_executor')
    assert (ROOT / 'scripts' / f'{started.program}.in').is_file()
    node = ros.node('another_name', MimoExecutor, cli_args=started.arguments)
    assert node.get_fully_qualified_name() == '/robot1/mimo_executor'
    assert node.get_parameter('skills_file').value == str(skills)
    assert node.get_parameter('target_frame').value == 'base_link'
    assert node._parameter_overrides.keys() - {'use_sim_time'} <= {
        p.name for p in executor_parameters.PARAMETERS}


def test_the_memory_gets_its_arguments(ros: Any, launched: Any, tmp_path: Path) -> None:
    (started,) = launched(LAUNCH / 'memory.launch.py', file=str(tmp_path / 'memory.db'),
                          namespace='robot1', fixed_frames="['map', 'dock']", map_id='hall')
    assert (ROOT / 'scripts' / f'{started.program}.in').is_file()
    node = ros.node('another_name', MimoMemory, cli_args=started.arguments)
    assert node.get_fully_qualified_name() == '/robot1/mimo_memory'
    assert set(node.memory.sessions.items()) == {('map', 'hall'), ('dock', 'hall')}
    assert node._parameter_overrides.keys() - {'use_sim_time'} <= {
        p.name for p in memory_parameters.PARAMETERS}


def test_a_bag_is_played_in_its_own_time(ros: Any, launched: Any) -> None:
    player, started = launched(BAG, rate='0.5')
    node = node_of(ros, started)
    assert node.get_parameter('use_sim_time').value is True
    for name, value in parameters_in(CONFIG / 'tabletop_bag.yaml').items():
        assert node.get_parameter(name).value == value, name
    if player.program == 'mimo-embodied':
        options = parser().parse_args(player.arguments)
        assert (Path(options.bag), options.rate, options.loop, options.clock) == (
            ROOT / 'bags' / 'tabletop', 0.5, True, True)
    else:
        assert [player.program, *player.arguments[:2]] == ['ros2', 'bag', 'play']
        assert shutil.which('ros2')
        assert {'--clock', '--loop', str(ROOT / 'bags' / 'tabletop')} <= {*player.arguments}
    player, _ = launched(BAG, loop='false')
    assert '--loop' not in player.arguments


def test_gazebo_gets_world_bridge_frames_and_a_node_for_each_robot(
    ros: Any, launched: Any
) -> None:
    processes = launched(GAZEBO_LAUNCH, headless='true')
    simulator, bridge, *frames = processes[:4]
    assert f'-r -s --headless-rendering {ROOT / "gazebo" / "tabletop.sdf"}' in ' '.join(
        simulator.arguments)
    assert (bridge.package, bridge.program) == ('ros_gz_bridge', 'parameter_bridge')
    values = yaml.safe_load(Path(bridge.arguments[-1]).read_text('utf-8'))
    (values,) = values.values()
    assert Path(values['ros__parameters']['config_file']) == ROOT / 'gazebo' / 'bridge.yaml'
    robots = constant('ROBOTS', GAZEBO_LAUNCH)
    for (robot, file, (x, _, z, _)), frame, started in zip(robots, frames, processes[4:]):
        assert (frame.package, frame.program) == ('tf2_ros', 'static_transform_publisher')
        options = dict(zip(frame.arguments[::2], frame.arguments[1::2]))
        assert options['--frame-id'] == f'{robot}/base_link'
        assert (float(options['--x']), float(options['--z'])) == (x, z)
        node = node_of(ros, started)
        assert node.get_fully_qualified_name() == f'/{robot}/mimo_embodied'
        assert node.get_parameter('use_sim_time').value is True
        for name, value in parameters_in(CONFIG / file).items():
            assert node.get_parameter(name).value == value, name
    assert len(processes) == 4 + len(robots)


def test_a_simulated_world_gets_a_node_that_sees_in_it(ros: Any, launched: Any) -> None:
    for world, cameras in (('drawn', 1), ('road', 6)):
        simulation, started = launched(
            SIMULATE, world=world, seed='3', rate='2.0', namespace='robot1')
        assert (simulation.package, simulation.program) == ('mimo_embodied_ros', 'mimo_simulation')
        assert (ROOT / 'scripts' / f'{simulation.program}.in').is_file()
        world_node = ros.node('another_name', Simulation, cli_args=simulation.arguments)
        assert world_node.get_fully_qualified_name() == '/robot1/simulation'
        assert world_node.runner.rate == 2
        node = node_of(ros, started)
        assert node.get_parameter('use_sim_time').value is True
        published = {name for name, _ in world_node.get_topic_names_and_types()}
        settings = node.settings
        assert len(settings.cameras) == cameras
        for camera in settings.cameras:
            for topic in filter(None, (camera.image_topic, camera.depth_topic)):
                assert f'/robot1/{topic}' in published
        ros.destroy(node)
        ros.destroy(world_node)
    (alone, viewer) = launched(SIMULATE, node='false', viewer='true')
    assert (alone.program, viewer.program) == ('mimo_simulation', 'mimo_viewer')


def test_the_server_is_started_with_its_flags(launched: Any) -> None:
    (server,) = launched(SERVER, vllm='sh', more='--block-size 32')  # which is there
    values = {name: default for name, default, _ in constant('FLAGS', SERVER)}
    model = values['served_model_name']
    assert [server.program, *server.arguments] == server_command(
        'sh', model, values, '--block-size 32')
    (server,) = launched(SERVER, vllm='sh', trust_request_mm_kwargs='')
    assert '--trust-request-mm-kwargs' not in server.arguments


def test_the_command_line_of_the_server() -> None:
    values = {name: default for name, default, _ in constant('FLAGS', SERVER)}
    _, _, module, *command = server_command('vllm', 'a/model', values, "--quantization 'fp8'")
    assert module == 'mimo_embodied_ros.process_group'
    assert command[:3] == ['vllm', 'serve', 'a/model']
    assert command[-2:] == ['--quantization', 'fp8']
    flags = dict(itertools.pairwise(command))
    assert flags['--port'] == '8000'
    assert flags['--trust-request-mm-kwargs'] == '--generation-config'  # without a value
    assert '--distributed-executor-backend' not in flags  # which vLLM decides


def test_large_images_are_carried_in_all_that_is_launched(
    launched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROFILES[0], '/of/mine.xml')
    launched(NODE_LAUNCH)
    assert [os.environ[name] for name in PROFILES] == [
        '/of/mine.xml', str(CONFIG / 'fastdds_large_images.xml')]
