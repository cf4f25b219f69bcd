"""What the client asks the node that remembers, against a node that answers as the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from geometry_msgs.msg import Point, PointStamped
from std_msgs.msg import Header

from mimo_embodied_ros import srv
from mimo_embodied_ros.client import MimoClient
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode, SendGoalError
from mimo_embodied_ros.ros.messages import seconds
from support.memory_server import MemoryServer, thing
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from rclpy.node import Node


def test_things_are_recalled_listed_and_forgotten(ros: Any, mimo: MimoClient) -> None:
    memory = MemoryServer(ros, thing('red cup', id=3), thing('blue bowl', id=4), thing('key', id=5))
    near = PointStamped(header=Header(frame_id='map'), point=Point(x=1.0))
    request = mimo.recall('cup', near=near, within=2.0, max_age=1.5, in_view='wrist')
    assert request.name == '/mimo_memory/recall'
    assert [found.id for found in request.result(WAIT_S).things] == [3]
    asked = memory.asked[-1]
    assert (asked.near, asked.within, seconds(asked.max_age), asked.in_view) == (
        near, 2.0, 1.5, 'wrist')
    assert mimo.recall('pump').result(WAIT_S).things == []
    assert len(mimo.recall().result(WAIT_S).things) == 3
    assert len(mimo.remembered(pictures=True).result(WAIT_S).things) == 3
    assert memory.asked[-1].pictures
    for fields in ({'ids': [4, 9]}, {'what': 'key'}, {'everything': True}):
        assert mimo.forget(**fields).result(WAIT_S).forgotten == 1
    assert mimo.result(WAIT_S).forgotten == 1
    assert memory.things == []


def test_an_error_code_is_raised_unless_the_service_is_any_other(
    ros: Any, mimo: MimoClient
) -> None:
    MemoryServer(ros)
    with pytest.raises(InvalidRequestError, match='within is negative; give metres') as failed:
        mimo.recall('cup', within=-1.0).result(WAIT_S)
    assert failed.value.reply.error_code == ResultCode.INVALID_REQUEST
    response = mimo.call(
        srv.Recall, 'mimo_memory/recall', srv.Recall.Request(within=-1.0)).result(WAIT_S)
    assert response.error_code == ResultCode.INVALID_REQUEST


@pytest.mark.parametrize(('ask', 'says'), [
    (lambda mimo: mimo.recall('cup', age=3.0), 'recall has no field age; it has what, near'),
    (lambda mimo: mimo.recall('cup', max_age='3'), "max_age of recall is '3'"),
    (lambda mimo: mimo.remembered(what='cup'), 'list_memory has no field what'),
    (lambda mimo: mimo.forget(ids=[-1]), r'ids of forget is \[-1\]'),
])
def test_a_request_with_a_wrong_field_is_refused_at_once(
    mimo: MimoClient, ask: Any, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        ask(mimo)


def test_the_node_that_remembers_has_the_name_that_is_given(ros: Any, caller: Node) -> None:
    MemoryServer(ros, thing('red cup'), name='attic')
    with MimoClient(caller, memory='attic', wait_s=WAIT_S) as mimo:
        assert mimo.recall('cup').result(WAIT_S).things
    with MimoClient(caller, wait_s=0.2) as mimo, pytest.raises(
            SendGoalError, match=r'/mimo_memory/recall after 0\.2 s.*mimo_memory\).*memory='):
        mimo.recall('cup').result(WAIT_S)
