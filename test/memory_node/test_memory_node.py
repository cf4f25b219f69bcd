"""The node that remembers what was seen where, beside the node with the embedded model."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

rclpy = pytest.importorskip('rclpy', reason='ROS is not installed')

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import PointStamped
from nav_msgs.msg import Odometry
from std_msgs.msg import Header

from mimo_embodied_ros import action, msg, srv
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.memory_node.memory_node import MimoMemory
from mimo_embodied_ros.ros.stamps import nanoseconds_of
from support.documentation import run_python_blocks
from support.paths import DOCS
from support.robot import FRAME, parameters
from support.seeing_robot import Seeing
from support.tabletop import SCENE, draw_tabletop

if TYPE_CHECKING:
    from pathlib import Path

CUBE, *OTHERS = SCENE.things
AT_REST = (2.0, 2.0)


class Remembering:
    """A robot with a memory.

    Attributes:
        robot: that sees; its odometry stands still.
        node: that remembers.

    """

    def __init__(self, ros: Any, folder: Path, **values: Any) -> None:
        self.robot = Seeing(ros, folder, AT_REST)
        self._values = {'file': str(folder / 'robot' / 'memory.db'), **values}
        self.begin()

    def begin(self) -> None:
        """Start the node that remembers, and wait until it hears all."""
        ros, observations = self.robot.ros, self.robot.node.topics.observations
        self.node = ros.node(
            'mimo_memory', MimoMemory, parameter_overrides=parameters(**self._values))
        ros.wait_for(lambda: observations.get_subscription_count() == 1)
        ros.wait_for(lambda: self.robot.odometry.get_subscription_count() == 2)

    def end(self) -> None:
        """End that node."""
        self.robot.ros.destroy(self.node)
        observations = self.robot.node.topics.observations
        self.robot.ros.wait_for(lambda: not observations.get_subscription_count())

    def see(self, *things: Any) -> Any:
        return self.robot.see_depth(pixels=draw_tabletop(things or SCENE.things).pixels)

    def find(self, frame: str = 'odom', query: str = 'red cube') -> Any:
        """Ask where something is, and wait until that is remembered."""
        affordances = self.robot.ask(
            action.FindAffordances, 'find_affordances', query=query,
            target_frame=frame).result.affordances
        stamp_ns = nanoseconds_of(affordances.header.stamp)
        memory = self.node.memory
        self.robot.ros.wait_for(lambda: stamp_ns in {
            item.stamp_ns for item in (*memory.things(), *memory.searches())})
        return affordances

    def call(self, kind: Any, name: str, **request: Any) -> Any:
        return self.robot.ros.call_service(
            self.robot.other, kind, f'/mimo_memory/{name}', **request)

    def recall(self, what: str = 'where is the red cube?', **request: Any) -> Any:
        return self.call(srv.Recall, 'recall', what=what, **request)


@pytest.fixture
def memory(ros: Any, tmp_path: Path) -> Remembering:
    return Remembering(ros, tmp_path)


def test_what_was_found_is_recalled_with_its_place(memory: Remembering) -> None:
    header = memory.see()
    found = memory.find()
    response = memory.recall(pictures=True)
    thing, = response.things
    assert (thing.name, thing.sightings, thing.missed) == ('red cube', 1, 0)
    assert thing.place_valid
    assert thing.position == found.points[0].position
    assert (thing.header.stamp, thing.header.frame_id) == (header.stamp, 'odom')
    assert (thing.camera, thing.question) == ('camera', 'red cube')
    assert thing.base_pose.pose.position.x == pytest.approx(AT_REST[0])
    assert thing.base_pose.header.frame_id == 'odom'
    assert bytes(thing.picture.data).startswith(b'\xff\xd8')
    assert 0 < thing.fit <= 1
    assert 0 <= thing.age.sec < 600
    assert not response.searches
    bare = memory.recall().things[0]
    assert not bare.picture.data
    assert not memory.recall('the green cube').things
    listed = memory.call(srv.ListMemory, 'list_memory')
    assert [t.name for t in listed.things] == ['red cube']
    assert listed.bytes > 1000


def test_places_are_told_in_the_frame_of_the_base(memory: Remembering) -> None:
    memory.see()
    in_base = memory.find('base_link').points[0].position  # told in odometry's frame
    thing = memory.recall().things[0]
    assert thing.header.frame_id == 'odom'
    # the base looks to the left
    assert (thing.position.x - AT_REST[0], thing.position.y) == pytest.approx(
        (-in_base.y, in_base.x))
    told = memory.recall(target_frame='base_link').things[0]
    assert (told.header.frame_id, told.place_valid) == ('base_link', True)
    assert (told.position.x, told.position.y, told.position.z) == pytest.approx(
        (in_base.x, in_base.y, in_base.z))
    lost = memory.recall(target_frame='frame of nobody').things[0]
    assert not lost.place_valid
    assert 'frame of nobody' in lost.place_problem
    assert math.isnan(lost.position.x)


def test_what_is_gone_is_missed_and_what_moved_is_not_two(memory: Remembering) -> None:
    memory.see()
    first = memory.find().points[0].position
    memory.see(*OTHERS)
    memory.find()
    gone = memory.recall()
    assert [(t.sightings, t.missed) for t in gone.things] == [(1, 1)]
    assert [search.what for search in gone.searches] == ['red cube']
    memory.see(replace(CUBE, x=CUBE.x + 200), *OTHERS)
    memory.find()
    thing, = memory.recall().things
    assert (thing.sightings, thing.missed) == (2, 0)
    assert math.dist((thing.position.x, thing.position.y, thing.position.z),
                     (first.x, first.y, first.z)) > 0.3


def test_points_that_are_followed_are_remembered(memory: Remembering) -> None:
    memory.see()
    handle = memory.robot.send(action.TrackAffordances, 'track_affordances',
                               query='red cube', target_frame='odom')
    memory.robot.ros.wait_for(memory.node.memory.things)
    first = memory.node.memory.things()[0]
    ahead = itertools.chain(range(1, 6), itertools.repeat(5))

    def has_moved() -> bool:
        memory.see(replace(CUBE, x=CUBE.x + 8 * next(ahead)), *OTHERS)  # its depth may be late
        return math.dist(memory.node.memory.things()[0].position, first.position) > 0.05

    memory.robot.ros.wait_for(has_moved)
    thing, = memory.node.memory.things()
    assert thing.sightings > 1
    assert thing.picture
    handle.cancel_goal_async()
    memory.robot.result(handle)


def test_a_place_is_none_after_odometry_has_begun_anew(memory: Remembering) -> None:
    memory.see()
    memory.find()
    robot = memory.robot
    robot.ros.call(robot.other.destroy_publisher, robot.odometry)
    robot.odometry = robot.ros.call(robot.other.create_publisher, Odometry, 'odom', 10)
    robot.ros.wait_for(lambda: robot.odometry.get_subscription_count() == 2)
    thing = robot.ros.wait_for(
        lambda: next((t for t in memory.recall().things if not t.place_valid), None))
    assert thing.name == 'red cube'
    assert math.isnan(thing.position.x)
    assert not thing.base_pose.header.frame_id
    assert 'odom' in thing.place_problem
    assert not memory.recall(
        near=PointStamped(header=Header(frame_id='odom')), within=100.0).things
    memory.see()  # it is seen again, and has a place again
    memory.find()
    assert [t.place_valid for t in memory.recall().things] == [True, False]


def test_a_broken_message_of_odometry_changes_no_place(memory: Remembering) -> None:
    memory.see()
    memory.find()
    stamp = memory.robot.other.get_clock().now().to_msg()
    for frame, x, w in (('odom', math.nan, 1.0), ('odom', 40.0, 0.0), ('', 2.0, 1.0),
                        ('odom', 2.0, 1.0)):  # the last one is right
        message = Odometry(
            header=Header(stamp=stamp, frame_id=frame), child_frame_id='base_link')
        message.pose.pose.position.x, message.pose.pose.orientation.w = x, w
        memory.robot.odometry.publish(message)
    memory.robot.ros.wait_for(
        lambda: memory.node._odometry.newest.stamp_ns == nanoseconds_of(stamp))
    assert memory.recall().things[0].place_valid


def test_a_base_that_is_put_elsewhere_has_a_new_odometry(memory: Remembering) -> None:
    memory.see()
    memory.find()
    assert memory.recall().things[0].place_valid
    memory.robot.drives = (40.0, 40.0)
    memory.see()
    memory.robot.ros.wait_for(lambda: not memory.recall().things[0].place_valid)


def test_places_outlive_the_node_but_not_odometry(memory: Remembering) -> None:
    memory.see()
    position = memory.find().points[0].position
    memory.end()
    memory.begin()
    memory.see()  # odometry is heard
    memory.robot.ros.wait_for(lambda: memory.recall().things[0].place_valid)
    assert memory.recall().things[0].position == position
    memory.end()
    robot = memory.robot
    robot.ros.call(robot.other.destroy_publisher, robot.odometry)
    robot.odometry = robot.ros.call(robot.other.create_publisher, Odometry, 'odom', 10)
    memory.begin()
    memory.see()
    assert 'odom' in memory.recall().things[0].place_problem


@pytest.mark.parametrize(('map_id', 'valid'), [('', False), ('hall', True)])
def test_places_in_a_map_hold_as_long_as_its_name(
    ros: Any, tmp_path: Path, map_id: str, valid: bool
) -> None:
    memory = Remembering(ros, tmp_path, map_id=map_id, fixed_frames=[FRAME])
    memory.see()
    memory.find(FRAME)
    assert memory.recall().things[0].place_valid
    memory.end()
    memory.begin()
    assert memory.recall().things[0].place_valid is valid


def test_what_has_no_fixed_place_is_not_remembered(
    memory: Remembering, capfd: pytest.CaptureFixture[str]
) -> None:
    memory.see()
    robot = memory.robot
    robot.find(FRAME)  # of a camera on a robot that moves
    said = ''

    def is_said() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return 'is not remembered' in said

    robot.ros.wait_for(is_said)
    assert f"of 'red cube' are in '{FRAME}', a frame that moves or is not known" in said
    assert 'there are map, odom' in said
    assert not memory.recall('').things


def test_recall_is_limited_to_what_is_near_new_and_in_view(memory: Remembering) -> None:
    memory.see()
    at = memory.find().points[0].position
    for near, count in ((at.x + 0.1, 1), (at.x + 0.5, 0)):
        point = PointStamped(header=Header(frame_id='odom'))
        point.point.x, point.point.y, point.point.z = near, at.y, at.z
        assert len(memory.recall(near=point, within=0.3).things) == count
    assert len(memory.recall(max_age=Duration(sec=600)).things) == 1
    assert not memory.recall(max_age=Duration(nanosec=1)).things
    assert len(memory.recall(in_view='camera').things) == 1
    unknown = memory.recall(in_view='rear')
    assert unknown.error_code == ResultCode.INVALID_REQUEST
    assert "'rear'" in unknown.error_msg
    assert 'camera' in unknown.error_msg
    assert memory.recall(within=-1.0).error_code == ResultCode.INVALID_REQUEST


def test_what_is_forgotten_is_gone(memory: Remembering) -> None:
    memory.see()
    memory.find()
    assert memory.call(srv.Forget, 'forget').error_code == ResultCode.INVALID_REQUEST
    assert memory.call(srv.Forget, 'forget', what='blue bowl').forgotten == 0
    id_ = memory.recall().things[0].id
    assert memory.call(srv.Forget, 'forget', ids=[id_]).forgotten == 1
    assert not memory.recall().things
    memory.find()
    assert memory.call(srv.Forget, 'forget', everything=True).forgotten == 1


def test_all_things_are_published_when_they_change(memory: Remembering) -> None:
    memory.see()
    memory.find()
    heard: list[Any] = []
    memory.robot.ros.call(
        memory.robot.other.create_subscription, msg.RememberedThings, '/mimo_memory/things',
        heard.append, MimoMemory.LATCHED)
    memory.robot.ros.wait_for(lambda: heard and heard[-1].things)
    assert heard[-1].things[0].name == 'red cube'
    assert heard[-1].header.stamp.sec
    assert not heard[-1].things[0].picture.data


def test_a_file_that_cannot_be_used_is_named(ros: Any, tmp_path: Path) -> None:
    file = tmp_path / 'notes.txt'
    file.write_text('the shopping list' * 100)
    with pytest.raises(InvalidRequestError, match=r'notes\.txt.*another file'):
        ros.node('mimo_memory', MimoMemory, parameter_overrides=parameters(file=str(file)))
    assert file.read_text() == 'the shopping list' * 100


def test_the_examples_of_the_page_are_right(memory: Remembering, tmp_path: Path) -> None:
    memory.see()
    printed = run_python_blocks(
        DOCS / 'memory.md', memory.robot.ros.environment, tmp_path)
    assert printed.splitlines() == ['red cube 1 0 True', '1.7 0.4 True']
