"""Launch file and parameter files agree with the node's parameters."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros.nodes import parameters

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / 'launch' / 'mimo_embodied.launch.py'
SERVER = ROOT / 'launch' / 'vllm_server.launch.py'


def known(name: str, cameras: tuple[str, ...] = ('camera',)) -> parameters.Parameter | None:
    """The node's parameter of that name; None where it has none."""
    tables = {p.name: p for p in (
        *parameters.MODEL, *parameters.REQUESTS, *parameters.SENSORS, *parameters.RECORDING,
        *parameters.LIFE)}
    for camera in cameras:
        tables |= {f'{camera}.{p.name}': p for p in parameters.CAMERA}
    return tables.get(name)


def literal(name: str, path: Path = LAUNCH) -> Any:
    """A constant of a launch file, read without the launch packages."""
    for statement in ast.parse(path.read_text('utf-8')).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    pytest.fail(f'{path} has no {name}')


def test_launch_arguments_are_parameters_of_the_node() -> None:
    compile(LAUNCH.read_text('utf-8'), str(LAUNCH), 'exec')
    arguments = literal('PARAMETERS')
    assert len({argument for argument, *_ in arguments}) == len(arguments)
    for _, name, description, choices in arguments:
        parameter = known(name)
        assert description.endswith('.')
        if name == 'use_sim_time':  # every node has it
            continue
        assert parameter is not None, name
        if parameter.choices:
            assert set(choices) == {'', *parameter.choices}


@pytest.mark.parametrize('path', sorted((ROOT / 'config').glob('*.yaml')), ids=lambda p: p.name)
def test_parameter_files_name_parameters_of_the_node(path: Path) -> None:
    (values,) = yaml.safe_load(path.read_text('utf-8')).values()
    values = values['ros__parameters']
    for name, value in values.items():
        if name in values['cameras']:
            for inner, inner_value in value.items():
                parameter = known(f'{name}.{inner}', (name,))
                assert parameter is not None, inner
                assert type(inner_value) is type(parameter.default), inner
        else:
            parameter = known(name)
            assert parameter is not None, name
            assert type(value) is type(parameter.default), name


def test_the_server_is_what_the_remote_parameters_name() -> None:
    compile(SERVER.read_text('utf-8'), str(SERVER), 'exec')
    arguments = literal('PROGRAM', SERVER) + literal('FLAGS', SERVER)
    assert all(text.endswith('.') for *_, text in arguments)
    server = {name: default for name, default, _ in arguments}
    assert len(server) == len(arguments)
    (values,) = yaml.safe_load((ROOT / 'config' / 'remote.yaml').read_text('utf-8')).values()
    node = values['ros__parameters']
    assert node['backend'] == 'openai'
    assert node['servers'] == [f'http://{server["host"]}:{server["port"]}/v1']
    assert node['model'] == server['served_model_name']
    assert node['max_pixels'] <= json.loads(server['mm_processor_kwargs'])['max_pixels']
    assert json.loads(server['limit_mm_per_prompt']) == {'image': 6, 'video': 0}
    assert 'reasoning_parser' not in server


def started(path: Path) -> Any:
    """What a launch file starts, with all arguments at their defaults."""
    import importlib.util

    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    from launch import LaunchContext

    spec = importlib.util.spec_from_file_location('mimo_launch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    context = LaunchContext()
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.description
            entity.execute(context)
    (start,) = (e for e in entities if isinstance(e, OpaqueFunction))
    (action,) = start.execute(context)
    return action


def test_the_launch_descriptions_hold_node_and_server() -> None:
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS distribution')
    server, node = started(SERVER), started(LAUNCH)
    flags = len([default for _, default, _ in literal('FLAGS', SERVER) if default])
    assert len(server.cmd) == 3 + 2 * flags
    assert node.node_executable == 'mimo_embodied'
