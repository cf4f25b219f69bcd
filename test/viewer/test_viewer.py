"""The viewer: what it draws, on which image, in which frames, and only for subscribers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy', reason='ROS is not installed')

from geometry_msgs.msg import Point
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Path as PathMsg
from rclpy.serialization import serialize_message
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from mimo_embodied_ros import action, msg
from mimo_embodied_ros.core.answers import Affordances, Box, SpatialAnswer, TaskPlan, TaskStep
from mimo_embodied_ros.core.answers import Point as Place
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.ros.images import decode_compressed, decode_image
from mimo_embodied_ros.ros.messages import content_of, duration, seconds
from mimo_embodied_ros.viewer.viewer_node import ImageHistory, MimoViewer
from support.memory_server import MemoryServer, thing
from support.paths import CONFIG
from support.robot import FRAME, Robot, parameters
from support.tabletop import INSTRUCTION, SCENE

if TYPE_CHECKING:
    from collections.abc import Callable

OK, NO_DEPTH = msg.AffordancePoint.OK, msg.AffordancePoint.NO_DEPTH


def image(stamp: int, size: int = 0) -> bytes:
    """A serialised image with a stamp in nanoseconds."""
    header = Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id='camera')
    return bytes(serialize_message(Image(header=header, data=bytes(size))))


def test_the_image_with_the_stamp_is_found() -> None:
    history, images = ImageHistory(10**6), {stamp: image(stamp) for stamp in (5, 7, 8, 9)}
    for stamp in (5, 7, 9):
        history.store('left', Image, images[stamp])
    history.store('right', CompressedImage, images[8])
    assert history.find('left', 7, 0.0) == (Image, images[7])
    assert history.find('right', 8, 0.0) == (CompressedImage, images[8])
    history.store('right', CompressedImage, images[8][:4] + b'\xff' * 8)  # its stamp is no time
    assert history.newest() == (CompressedImage, images[8])
    for camera, stamp in (('left', 8), ('left', 4), ('right', 7), ('back', 7)):
        assert history.find(camera, stamp, 0.0) is None
    history.clear()
    assert history.newest() is None


@given(st.lists(st.integers(0, 3000), min_size=1), st.integers(1, 10_000))
def test_the_history_keeps_to_its_capacity(sizes: list[int], capacity: int) -> None:
    history = ImageHistory(capacity)
    for stamp, size in enumerate(sizes):
        history.store('camera', Image, message := image(stamp, size))
        assert history.find('camera', stamp, 0.0) == (Image, message)
        held = [message for *_, message in history._held]
        assert sum(map(len, held)) == history._bytes
        assert history._bytes <= capacity or len(held) == 1


@pytest.mark.parametrize('content', [
    TaskPlan('tidy up', (TaskStep('pick up the cup', 'pick up', 'cup', '', (Place(3, 4, 'cup'),)),
                         TaskStep('put it down'))),
    TaskPlan('fly'),
    Affordances((Place(-1, 2, '', in_image=False), Place(3, 4, 'b')), ()),
    Affordances((), (Box(1, 2, 3, 4, 'a'),)),
    SpatialAnswer('there', points=(Place(3, 4, 'b'),)),
])
def test_a_message_becomes_the_answer_that_it_was_made_of(content: Any) -> None:
    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.ros.messages import answer_message

    text = content.instruction if isinstance(content, TaskPlan) else 'where?'
    assert content_of(answer_message(Query(Task.PLAN, text), Answer(content))) == content


def subscribe(robot: Robot, kind: Any, topic: str) -> tuple[list[Any], Any]:
    """Subscribe to a topic of the viewer; return the list of messages and the subscription."""
    got: list[Any] = []
    return got, robot.other.create_subscription(kind, f'/mimo_viewer/{topic}', got.append, 10)


def test_an_answer_is_drawn_on_its_image_while_there_is_a_subscriber(ros: Any) -> None:
    robot = Robot(ros).start()
    ros.node('mimo_viewer', MimoViewer)
    inputs = ['affordances', 'driving_decision', 'driving_trajectory', 'outcome',
              'spatial_answer', 'task_plan', 'text_answer']

    def listened_to() -> list[str]:
        return [t for t in inputs if robot.other.count_subscribers(f'/mimo_embodied/{t}')]

    ros.wait_for(lambda: robot.other.count_publishers('/mimo_viewer/annotated'))
    robot.see()
    assert robot.ask(action.Ask, 'ask', question='What do you see?').result.error_code == 0
    assert not listened_to()
    assert robot.camera.get_subscription_count() == 1

    raw, raw_subscription = subscribe(robot, Image, 'annotated')
    small, small_subscription = subscribe(robot, CompressedImage, 'annotated/compressed')
    ros.wait_for(lambda: robot.camera.get_subscription_count() == 2)
    ros.wait_for(lambda: len(listened_to()) == len(inputs) - 1)
    header, feedback = robot.see(), list[Any]()
    goal = {'instruction': INSTRUCTION,
            'thinking': action.PlanTask.Goal.THINK_ON}
    handle = robot.send(action.PlanTask, 'plan_task', feedback, **goal)
    ros.wait_for(lambda: any(f.tokens for f in feedback))
    robot.see(np.zeros_like(SCENE.pixels))  # by then the camera sees something else
    plan = robot.result(handle).result
    ros.wait_for(lambda: raw and small)
    assert plan.plan.header == raw[0].header == small[0].header == header
    picture = decode_image(raw[0])
    assert picture.shape[0] > SCENE.pixels.shape[0]  # words below
    same = (picture[:480] == SCENE.pixels).all(axis=2)
    assert 0.7 < same.mean() < 1.0
    for step in plan.plan.steps:
        assert not same[int(step.points[0].y), int(step.points[0].x)]
    assert np.abs(decode_compressed(small[0]).astype(int) - picture).mean() < 8

    robot.ask(action.FindAffordances, 'find_affordances', query='cube', max_new_tokens=3)
    failed = ros.wait_for(lambda: len(raw) > 1 and raw[1])
    assert not decode_image(failed)[:400].any()  # on what the camera sees
    assert decode_image(failed)[480:].std()

    for subscription in (raw_subscription, small_subscription):
        ros.call(robot.other.destroy_subscription, subscription)
    ros.wait_for(lambda: robot.camera.get_subscription_count() == 1 and not listened_to())


def test_an_answer_on_an_image_of_the_request_is_drawn_on_grey(ros: Any) -> None:
    robot = Robot(ros).start()
    ros.node('mimo_viewer', MimoViewer)
    got, _ = subscribe(robot, Image, 'annotated')
    ros.wait_for(lambda: robot.other.count_subscribers('/mimo_embodied/outcome'))
    ros.wait_for(lambda: robot.other.count_subscribers('/mimo_embodied/text_answer'))
    from mimo_embodied_ros.ros.images import encode_image

    robot.ask(action.Ask, 'ask', question='What do you see?',
              images=[encode_image(SCENE.pixels, Header(frame_id='other'))])
    picture = decode_image(ros.wait_for(lambda: got and got[0]))
    assert (picture[:480] == 96).all()
    assert picture.shape[1] == 640


def placed(x: float, status: int = OK) -> Any:
    return msg.AffordancePoint(
        x=1.0, y=2.0, position_status=status, position=Point(x=x, y=0.0, z=0.5))


class Stage:
    """A viewer, and a publisher in place of the node on one of its topics."""

    def __init__(
        self, ros: Any, kind: Any, topic: str, shown: Any, output: str, **values: Any
    ) -> None:
        self.ros = ros
        ros.node('mimo_viewer', MimoViewer, parameter_overrides=parameters(**values))
        node = ros.node('other')
        self.got: list[Any] = []
        node.create_subscription(shown, f'/mimo_viewer/{output}', self.got.append, 10)
        self._out = node.create_publisher(kind, f'/mimo_embodied/{topic}', 10)
        ros.wait_for(lambda: self._out.get_subscription_count() == 1)

    def show(self, message: Any) -> Any:
        self.got.clear()
        self._out.publish(message)
        return self.ros.wait_for(lambda: self.got and self.got[0])


def test_markers_stand_where_the_steps_of_a_plan_are(ros: Any) -> None:
    stage = Stage(ros, msg.TaskPlan, 'task_plan', MarkerArray, 'markers',
                  lifetime=2.5, marker_size=0.1)
    plan = msg.TaskPlan(header=Header(frame_id=FRAME), position_frame_id='odom', steps=[
        msg.TaskStep(id=1, description='pick up the cup', points=[placed(1.0)]),
        msg.TaskStep(id=2, description='go there', points=[placed(9.0, NO_DEPTH)]),
        msg.TaskStep(id=3, description='put it down', points=[placed(2.0)])])
    plan.header.stamp.sec = 12
    markers = stage.show(plan).markers
    assert [(m.type, m.text) for m in markers] == [
        (Marker.SPHERE, ''), (Marker.TEXT_VIEW_FACING, '1. pick up the cup'),
        (Marker.SPHERE, ''), (Marker.TEXT_VIEW_FACING, '3. put it down'), (Marker.ARROW, '')]
    for marker in markers:
        assert (marker.header.frame_id, marker.header.stamp) == ('odom', plan.header.stamp)
        assert (marker.ns, marker.action) == ('task_plan', Marker.ADD)
        assert seconds(marker.lifetime) == 2.5
        assert marker.color.a == 1.0
        assert marker.pose.orientation.w == 1.0
    assert [m.pose.position for m in markers[:4:2]] == [
        Point(x=1.0, z=0.5), Point(x=2.0, z=0.5)]
    assert markers[1].pose.position == Point(x=1.0, z=0.6)
    assert markers[4].points == [Point(x=1.0, z=0.5), Point(x=2.0, z=0.5)]
    plan.steps = plan.steps[:1]
    again = stage.show(plan).markers
    assert [(m.id, m.action) for m in again] == [
        (0, Marker.ADD), (1, Marker.ADD), (2, Marker.DELETE), (3, Marker.DELETE),
        (4, Marker.DELETE)]


def test_markers_of_affordances_in_an_optical_frame(ros: Any) -> None:
    stage = Stage(ros, msg.AffordancePoints, 'affordances', MarkerArray, 'markers',
                  marker_size=0.1)
    affordances = msg.AffordancePoints(
        query='the cup', position_frame_id=FRAME, points=[placed(1.0), placed(2.0, NO_DEPTH)])
    sphere, text = stage.show(affordances).markers
    assert (sphere.header.frame_id, text.text) == (FRAME, 'the cup')
    assert text.pose.position == Point(x=1.0, y=-0.1, z=0.5)  # y goes down


def tracked(query: str, *points: tuple[int, float]) -> Any:
    """Points in a state, at an x."""
    return msg.TrackedAffordances(
        query=query, camera='camera', position_frame_id='odom', header=Header(frame_id=FRAME),
        points=[msg.TrackedPoint(state=state, point=placed(
            x, NO_DEPTH if state else OK)) for state, x in points])


def test_markers_show_tracked_points_until_they_are_occluded_or_lost(ros: Any) -> None:
    stage = Stage(ros, msg.TrackedAffordances, 'tracked_affordances', MarkerArray, 'markers',
                  lifetime=2.5, marker_size=0.1)
    point = msg.TrackedPoint
    both = stage.show(tracked('cup', (point.TRACKED, 1.0), (point.TRACKED, 2.0))).markers
    assert [(m.id, m.type, m.action, m.text) for m in both] == [
        (0, Marker.SPHERE, Marker.ADD, ''), (1, Marker.TEXT_VIEW_FACING, Marker.ADD, 'cup'),
        (2, Marker.SPHERE, Marker.ADD, ''), (3, Marker.TEXT_VIEW_FACING, Marker.ADD, 'cup')]
    assert {(m.ns, m.header.frame_id, seconds(m.lifetime)) for m in both} == {
        ('tracked_affordances', 'odom', 2.5)}
    assert [m.pose.position.x for m in both] == [1.0, 1.0, 2.0, 2.0]
    other = stage.show(tracked('bowl', (point.TRACKED, 3.0))).markers
    assert not {m.id for m in both} & {m.id for m in other}  # of another goal
    one = stage.show(tracked('cup', (point.OCCLUDED, np.nan), (point.TRACKED, 2.5))).markers
    assert [(m.id, m.action) for m in one] == [
        (0, Marker.ADD), (1, Marker.ADD), (2, Marker.DELETE), (3, Marker.DELETE)]
    assert one[0].pose.position.x == 2.5
    none = stage.show(tracked('cup', (point.LOST, np.nan), (point.ASKED_AGAIN, np.nan))).markers
    assert [(m.id, m.action) for m in none] == [(0, Marker.DELETE), (1, Marker.DELETE)]


def test_markers_show_what_is_remembered_fainter_with_age(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mimo_embodied_ros.viewer.viewer_node._REMEMBERED_S', 0.2)
    memory = MemoryServer(
        ros, thing('cup'), thing('bowl', age=600), thing('key', age=7300),
        thing('ball', age=86400 * 3, missed=0), thing('pan', missed=2),
        thing('jar', place_valid=False), name='attic')
    memory.publish()  # before anybody listens
    ros.node('mimo_viewer', MimoViewer, parameter_overrides=parameters(
        memory='attic', marker_size=0.1))
    node, got = ros.node('other'), list[Any]()
    ros.wait_for(lambda: node.count_publishers('/mimo_viewer/markers'))
    assert memory.listeners() == 0
    subscription = node.create_subscription(
        MarkerArray, '/mimo_viewer/markers', got.append, 10)
    markers = ros.wait_for(lambda: got and got[0]).markers
    labels = [m for m in markers if m.type == Marker.TEXT_VIEW_FACING]
    assert [m.text.split(', ')[0] for m in labels] == ['cup', 'bowl', 'key', 'ball', 'pan']
    assert [m.text.split(', ')[1] for m in labels[1:4]] == ['10 min ago', '2 h ago', '3 d ago']
    assert [m.color.a for m in labels] == pytest.approx([1.0, 0.5, 0.25, 0.25, 0.25], abs=0.05)
    for marker in markers:
        assert (marker.ns, marker.header) == ('memory', Header(frame_id='map'))
        assert marker.frame_locked
        assert seconds(marker.lifetime) == 0.0
    assert labels[0].pose.position == Point(x=1.0, y=2.0, z=0.6)
    ros.wait_for(lambda: len(got) > 2)  # told once, and shown anew for those who listen later
    assert [m.id for m in got[-1].markers] == [m.id for m in markers]
    memory.things = [thing('cup', age=119)]
    memory.publish()
    ros.wait_for(lambda: [m.text for m in got[-1].markers] == ['', 'cup, 2 min ago'])
    ros.call(node.destroy_subscription, subscription)
    ros.wait_for(lambda: memory.listeners() == 0)


def test_a_path_is_that_of_the_trajectory(ros: Any) -> None:
    stage = Stage(ros, msg.DrivingTrajectory, 'driving_trajectory', PathMsg, 'path')
    trajectory = msg.DrivingTrajectory(header=Header(frame_id='base_link'), points=[
        msg.DrivingTrajectoryPoint(time_from_start=duration(0.5 * i)) for i in (1, 2, 3)])
    trajectory.header.stamp.sec = 7
    for i, point in enumerate(trajectory.points):
        point.pose.position.x = float(i)
    path = stage.show(trajectory)
    assert path.header == trajectory.header
    assert [p.pose for p in path.poses] == [p.pose for p in trajectory.points]
    assert {p.header.frame_id for p in path.poses} == {'base_link'}
    stamps = [p.header.stamp.sec + p.header.stamp.nanosec / 1e9 for p in path.poses]
    assert stamps == [7.5, 8.0, 8.5]


def rviz() -> dict[str, str]:
    """Topics of the RViz configuration and the types that its displays show."""
    types = {'Image': 'sensor_msgs/msg/Image', 'Path': 'nav_msgs/msg/Path',
             'MarkerArray': 'visualization_msgs/msg/MarkerArray'}
    manager = yaml.safe_load((CONFIG / 'rviz/mimo_embodied.rviz').read_text('utf-8'))[
        'Visualization Manager']
    return {display['Topic']['Value']: types[display['Class'].split('/')[1]]
            for display in manager['Displays'] if 'Topic' in display}


def foxglove() -> dict[str, str]:
    """The same of the Foxglove layout; empty where a panel shows any type."""
    layout = json.loads((CONFIG / 'foxglove/mimo_embodied.json').read_text('utf-8'))
    topics: dict[str, str] = {}
    for name, panel in layout['configById'].items():
        if name.startswith('Image!'):
            topics[panel['imageMode']['imageTopic']] = 'sensor_msgs/msg/CompressedImage'
        elif name.startswith('3D!'):
            topics |= dict.fromkeys(panel['topics'], '')
        elif name.startswith('RawMessages!'):
            topics[panel['topicPath']] = ''
        elif name.startswith('Diagnostic'):
            topics[panel['topicToRender']] = 'diagnostic_msgs/msg/DiagnosticArray'
    return topics


@pytest.mark.parametrize('shown', [rviz, foxglove])
def test_configurations_show_topics_that_are_published(
    ros: Any, shown: Callable[[], dict[str, str]]
) -> None:
    node = Robot(ros).node
    published: dict[str, list[str]] = {}
    for publisher in (node, ros.node('mimo_viewer', MimoViewer)):
        published |= dict(node.get_publisher_names_and_types_by_node(
            publisher.get_name(), publisher.get_namespace()))
    assert len(shown()) >= 3
    for topic, type_ in shown().items():
        assert [type_ or published[topic][0]] == published[topic], topic


def test_all_panels_of_the_layout_are_shown() -> None:
    layout = json.loads((CONFIG / 'foxglove/mimo_embodied.json').read_text('utf-8'))
    panels = layout['configById']

    def shown(part: Any) -> list[str]:
        if isinstance(part, str):
            inner = [shown(tab['layout']) for tab in panels[part].get('tabs', [])]
            return [part, *(name for names in inner for name in names)]
        return [*shown(part['first']), *shown(part['second'])]

    assert sorted(shown(layout['layout'])) == sorted(panels)
