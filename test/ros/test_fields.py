"""Fields of any message, action or service by their names, as skill files give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, PoseWithCovariance
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
from shape_msgs.msg import SolidPrimitive
from std_msgs.msg import ColorRGBA
from type_description_interfaces.msg import FieldType
from visualization_msgs.msg import Marker

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.ros.fields import (
    FieldError,
    fields_of,
    interface_class,
    mismatch,
    set_fields,
)


def test_an_interface_is_found_by_its_name() -> None:
    assert interface_class('mimo_embodied_ros/action/RunSkill') is action.RunSkill
    for name, remedy in (('absent_msgs/action/Do', 'source its workspace'),
                         ('std_msgs/msg/Absent', '"ros2 interface package std_msgs" lists'),
                         ('std_msgs/msg/Strin', 'String may be meant')):
        with pytest.raises(InvalidRequestError, match=f'{name} is not installed.*{remedy}'):
            interface_class(name)


def test_fields_are_set_through_messages_and_lists() -> None:
    pose = set_fields(PoseStamped(), {
        'header': {'frame_id': 'map'}, 'pose': {'position': {'x': 1, 'y': 2.5}}})
    assert (pose.header.frame_id, pose.pose.position.x, pose.pose.position.y) == ('map', 1.0, 2.5)
    plan = set_fields(msg.TaskPlan(), {'steps': [
        {'id': 1, 'depends_on': [], 'preconditions': ['near']}, msg.TaskStep(id=2)]})
    assert [step.id for step in plan.steps] == [1, 2]
    assert plan.steps[0].preconditions == ['near']
    info = set_fields(CameraInfo(), {'d': [1, 2, 3], 'k': [1] * 9})
    assert list(info.d) == [1.0, 2.0, 3.0]
    assert list(info.k) == [1.0] * 9


@pytest.mark.parametrize(('fields', 'says'), [
    ({'colour': 'red'}, 'sensor_msgs/msg.* has no field colour; it has header, height'),
    ({'d': ['far']}, "d of sensor_msgs/msg.*: item 0 is 'far': give a number"),
    ({'header': {'stamp': True}}, 'give the fields of a builtin_interfaces/msg/Time: sec, nanos'),
    ({'width': 2**32}, 'width of .* is 4294967296: give one from 0 to 4294967295'),
    ({'height': float('nan')}, 'height of .* is nan: give a whole number'),
    ({'distortion_model': ['x']}, 'give a text'),
])
def test_what_does_not_fit_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        set_fields(CameraInfo(), fields)


def test_bounds_and_constants_of_types_hold() -> None:
    assert set_fields(SolidPrimitive(), {'type': 2.0}).type == SolidPrimitive.SPHERE
    assert set_fields(DiagnosticStatus(), {'level': 2}).level == DiagnosticStatus.ERROR
    for message, fields, says in (
            (SolidPrimitive(), {'dimensions': [1, 2, 3, 4]}, 'give at most 3 items'),
            (SolidPrimitive(), {'SPHERE': 2}, 'has no field SPHERE'),
            (FieldType(), {'nested_type_name': 'x' * 256}, 'give at most 255 characters'),
            (ColorRGBA(), {'r': 1e39}, 'a float32 cannot hold that'),
            (PoseWithCovariance(), {'covariance': [0] * 35}, 'give 36 items')):
        with pytest.raises(FieldError, match=says) as caught:
            set_fields(message, fields)
        assert caught.value.path == tuple(fields)


def test_seconds_are_a_duration() -> None:
    assert set_fields(Duration(), {'sec': 5.0}) == Duration(sec=5)
    marker = set_fields(Marker(), {'lifetime': 2.5, 'header': {'stamp': 1}})
    assert marker.lifetime == Duration(sec=2, nanosec=500_000_000)
    serialize_message(marker)  # what rclpy cannot send fails here


def test_fields_become_json_and_messages_again() -> None:
    pose = PoseWithCovariance()
    pose.pose.position.x, pose.covariance[0] = 1.5, 0.25
    fields = fields_of(pose)
    assert fields['pose']['position'] == {'x': 1.5, 'y': 0.0, 'z': 0.0}
    assert fields['covariance'][:2] == [0.25, 0.0]
    assert set_fields(PoseWithCovariance(), fields) == pose
    assert fields_of(msg.TaskPlan(steps=[msg.TaskStep(id=3)]))['steps'][0]['id'] == 3
    assert fields_of(np.array([1, 2])) == [1, 2]


def test_the_first_field_that_is_not_as_expected_is_named() -> None:
    pose = PoseStamped()
    pose.header.frame_id = 'map'
    assert mismatch(pose, {'header': {'frame_id': 'map'}}) == ''
    assert mismatch(pose, {'header': {'frame_id': 'odom'}}) == (
        "header.frame_id is 'map' instead of 'odom'")
    info = CameraInfo(d=[0.5, 1.0])
    assert mismatch(info, {'d': [0.5, 1]}) == ''
    assert mismatch(info, {'d': [0.5]}) == 'd is [0.5, 1.0] instead of [0.5]'
