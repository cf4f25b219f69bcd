"""Two robots in one graph: a node each, in a namespace, with its own camera."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='ROS is not installed')

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient, get_action_server_names_and_types_by_node
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.errors import ResultCode
from mimo_embodied_ros.node.lifecycle_node import MimoEmbodied
from mimo_embodied_ros.ros.images import encode_image
from mimo_embodied_ros.worlds import table_scene
from support.waiting import WAIT_S

# what robots share on purpose
SHARED = {'/diagnostics', '/rosout', '/parameter_events'}


class Robot:
    """A node and a camera in one namespace; the camera sees one thing."""

    def __init__(self, ros: Any, name: str, thing: table_scene.Thing, image_topic: str) -> None:
        self.name, self.thing, self.ros = name, thing, ros
        self.scene = table_scene.draw_table(random.Random(7), 640, 480, things=(thing,))
        self.node = ros.node(
            'mimo_embodied', MimoEmbodied, namespace=name,
            cli_args=['--ros-args', '-r', f'camera/image_raw:={image_topic}'],
            parameter_overrides=[Parameter('camera.reliable', value=True),
                                 Parameter('max_image_age', value=0.0)])
        self.other = ros.node('robot', namespace=name)
        self.camera = self.other.create_publisher(Image, image_topic, 1)
        assert self.camera.topic_name == f'/{name}/{image_topic}'
        self.published: list[Any] = []
        self.other.create_subscription(
            msg.AffordancePoints, 'mimo_embodied/affordances', self.published.append, 10)
        self.client = ros.call(
            ActionClient, self.other, action.FindAffordances, 'mimo_embodied/find_affordances')

    def start(self) -> None:
        assert self.ros.call(self.node.trigger_configure) is TransitionCallbackReturn.SUCCESS
        assert self.ros.call(self.node.trigger_activate) is TransitionCallbackReturn.SUCCESS
        self.ros.wait_for(self.camera.get_subscription_count)
        self.camera.publish(encode_image(self.scene.pixels, Header(frame_id=f'{self.name}_camera')))
        self.ros.wait_for(lambda: self.node.session.intake.status('camera').image_valid)
        assert self.client.wait_for_server(WAIT_S)

    def find(self, query: str) -> Any:
        sent = self.ros.call(self.client.send_goal_async, action.FindAffordances.Goal(query=query))
        self.ros.wait_for(sent.done)
        result = self.ros.call(sent.result().get_result_async)
        self.ros.wait_for(result.done)
        assert result.result().result.error_code == ResultCode.NONE
        return result.result().result.affordances


@pytest.fixture
def robots(ros: Any) -> list[Robot]:
    robots = [
        Robot(ros, 'robot1', table_scene.Thing('red', 'cube', 180, 320, 48), 'camera/image_raw'),
        Robot(ros, 'robot2', table_scene.Thing('green', 'ball', 400, 200, 45), 'front/image_rect')]
    for robot in robots:
        robot.start()
    return robots


def test_each_robot_answers_on_its_own_camera(ros: Any, robots: list[Robot]) -> None:
    for robot in robots:
        assert robot.camera.get_subscription_count() == 1
        affordances = robot.find(robot.thing.name)
        assert affordances.header.frame_id == f'{robot.name}_camera'
        (point,) = affordances.points
        assert table_scene.mask(robot.scene, robot.scene.things[0])[int(point.y), int(point.x)]
    first, second = robots
    assert not first.find(second.thing.name).points
    assert not second.find(first.thing.name).points
    for robot in robots:
        ros.wait_for(lambda r=robot: len(r.published) == 2)
        assert {m.header.frame_id for m in robot.published} == {f'{robot.name}_camera'}


def test_all_names_but_shared_ones_are_in_the_namespace(ros: Any, robots: list[Robot]) -> None:
    for robot in robots:
        node_name = (robot.node.get_name(), f'/{robot.name}')
        watcher = robots[0].other
        ros.wait_for(lambda a=node_name, w=watcher: w.get_service_names_and_types_by_node(*a))
        names = {
            name for interfaces in (
                watcher.get_publisher_names_and_types_by_node(*node_name),
                watcher.get_subscriber_names_and_types_by_node(*node_name),
                watcher.get_service_names_and_types_by_node(*node_name),
                get_action_server_names_and_types_by_node(watcher, *node_name),
            ) for name, _ in interfaces}
        assert f'/{robot.name}/mimo_embodied/find_affordances' in names
        assert not [n for n in names - SHARED if not n.startswith(f'/{robot.name}/')]


def test_diagnostics_of_both_are_told_apart(ros: Any, robots: list[Robot]) -> None:
    heard: dict[str, str] = {}

    def hear(array: DiagnosticArray) -> None:
        for status in array.status:
            assert heard.setdefault(status.name, status.hardware_id) == status.hardware_id

    robots[0].other.create_subscription(DiagnosticArray, '/diagnostics', hear, 10)
    wanted = {f'{robot.name}/mimo_embodied: {what}': f'/{robot.name}/mimo_embodied'
              for robot in robots for what in ('model', 'camera camera')}
    ros.wait_for(lambda: set(heard) >= set(wanted))
    assert heard.items() >= wanted.items()
    assert all(name.startswith(robot[1:]) for name, robot in heard.items())
