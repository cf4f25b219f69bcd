"""Launch file and parameter files agree with the node's parameters."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS is not installed')

from mimo_embodied_ros.nodes import parameters

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / 'launch' / 'mimo_embodied.launch.py'


def known(name: str, cameras: tuple[str, ...] = ('camera',)) -> parameters.Parameter | None:
    """The node's parameter of that name; None where it has none."""
    tables = {p.name: p for p in (
        *parameters.MODEL, *parameters.REQUESTS, *parameters.SENSORS, *parameters.LIFE)}
    for camera in cameras:
        tables |= {f'{camera}.{p.name}': p for p in parameters.CAMERA}
    return tables.get(name)


def literal(name: str) -> Any:
    """A constant of the launch file, read without the launch packages."""
    for statement in ast.parse(LAUNCH.read_text('utf-8')).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name:
            return ast.literal_eval(statement.value)
    pytest.fail(f'{LAUNCH} has no {name}')


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


def test_the_launch_description_holds_the_node() -> None:
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS distribution')
    import importlib.util

    from launch.actions import DeclareLaunchArgument, OpaqueFunction

    from launch import LaunchContext

    spec = importlib.util.spec_from_file_location('mimo_launch', LAUNCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entities = module.generate_launch_description().entities
    context = LaunchContext()
    for entity in entities:
        if isinstance(entity, DeclareLaunchArgument):
            assert entity.description
            entity.execute(context)
    (start,) = (e for e in entities if isinstance(e, OpaqueFunction))
    (node,) = start.execute(context)
    assert node.node_executable == 'mimo_embodied'
