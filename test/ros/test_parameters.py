"""The table of parameters, the node's declarations, and the page in the docs."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from mimo_embodied_ros.cli import parameter_page
from mimo_embodied_ros.node import settings
from mimo_embodied_ros.node.lifecycle_node import MimoEmbodied
from support.paths import DOCS

if TYPE_CHECKING:
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
            'max_new_tokens': 20, 'max_steps': 5, 'structured': True,
            'retry_structured': False}
    assert change(**live) == ''
    assert {name: getattr(node.settings, name) for name in live} == live
    assert set(live) == {p.name for p in settings.NODE if p.live}

    assert ros.call(node.trigger_cleanup) is TransitionCallbackReturn.SUCCESS
    assert change(camera__image_topic='back/image') == ''
