"""The room with a mobile base: odometry, commands, skills, and what its camera sees."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.worlds.physics.base import RADIUS
from mimo_embodied_ros.worlds.physics.base_room import BaseRoom
from mimo_embodied_ros.worlds.physics.base_skills import STAND_OFF
from mimo_embodied_ros.worlds.physics.room import Room, RoomThing
from mimo_embodied_ros.worlds.world import SkillGoal, complete

SMALL = 160, 120
BOX = RoomThing('yellow', 'box', 0.2, 3.0, 0.3)
WALLS = (-1.5, 5.0, -2.5, 2.5)


def room_of(*things: RoomThing) -> BaseRoom:
    return BaseRoom(room=Room(WALLS, things), size=SMALL)


def seen_point(world: BaseRoom, name: str) -> np.ndarray | None:
    """The point in odom that the middle pixel of a thing shows; None: it is not seen."""
    view, camera = world.look('camera'), world.cameras['camera']
    rows, columns = np.nonzero(view.labels == 1 + world.bodies.index(name))
    if len(rows) < 12:
        return None
    middle = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    row, column = rows[middle], columns[middle]
    ray = [(column + 0.5 - camera.width / 2) / camera.focal,
           (row + 0.5 - camera.height / 2) / camera.focal, 1.0]
    odometry = world.odometry()
    pose = Transform.of(odometry.position, odometry.orientation)
    return (pose @ camera.pose).apply(np.array(ray) * view.depth[row, column])


@pytest.mark.parametrize(('seed', 'in_view'), [(0, True), (7, False)])
def test_the_base_goes_to_what_it_sees_and_looks_around_for_what_it_does_not(
    seed: int, *, in_view: bool
) -> None:
    world = BaseRoom(seed, size=SMALL)
    assert (seen_point(world, 'yellow box') is not None) == in_view
    for _ in range(8):
        point = seen_point(world, 'yellow box')
        if point is not None:
            break
        assert complete(world, world.skills['look_around'](SkillGoal('look_around'))) == ''
    assert point is not None
    goal = SkillGoal('go_to', place='yellow box', place_at=point)
    assert complete(world, world.skills['go_to'](goal)) == ''
    gap, angle = world.gap('yellow box')
    assert gap == pytest.approx(STAND_OFF, abs=0.15)
    assert abs(angle) < math.radians(20)


def test_the_base_drives_around_what_stands_in_its_way() -> None:
    ball = RoomThing('red', 'ball', 0.24, 1.4, 0.1)
    world = room_of(BOX, ball)
    assert complete(world, world.motions.go_to(2.8, 0.3)) == ''
    assert world.gap('yellow box')[0] == pytest.approx(STAND_OFF, abs=0.15)
    red = world.things()[1]
    assert red.name == 'red ball'
    assert math.dist(red.position[:2], (ball.x, ball.y)) < 0.02  # it was not touched


def test_the_base_drives_to_a_pose() -> None:
    world = room_of(BOX)
    assert complete(world, world.motions.go_to_pose(0.8, -1.0, 2.0)) == ''
    odometry = world.odometry()
    assert odometry.position == pytest.approx((0.8, -1.0, 0), abs=0.06)
    assert 2 * math.atan2(*odometry.orientation[2:]) == pytest.approx(2.0, abs=0.06)


def test_a_blocked_way_is_noticed() -> None:
    fence = [RoomThing(colour, 'box', 0.21, 1.5, y) for colour, y in (
        ('red', -2.2), ('green', -1.65), ('blue', -1.1), ('yellow', -0.55), ('purple', 0.0),
        ('orange', 0.55))]
    fence += [RoomThing(colour, 'cylinder', 0.19, 1.5, y) for colour, y in (
        ('red', 1.1), ('green', 1.6), ('blue', 2.1))]
    world = room_of(*fence)
    assert 'blocked' in complete(world, world.motions.go_to(4.0, 0.0))
    assert world.true_pose()[0] < 1.5


def test_a_bump_is_noticed() -> None:
    world = room_of(RoomThing('yellow', 'box', 0.2, 0.6, 0.0))
    assert not world.bumped
    for _ in range(100):
        world.drive(0.5, 0)
        world.step(0.02)
        if world.bumped:
            break
    assert world.bumped


def test_a_motion_that_is_closed_stops_the_base() -> None:
    world = room_of(BOX)
    motion = world.motions.go_to(2.8, 0.3)
    for _ in range(50):
        next(motion)
        world.step(0.02)
    assert world.odometry().linear[0] > 0.2
    motion.close()
    world.step(1.0)
    assert abs(world.odometry().linear[0]) < 0.01


def test_the_base_stops_when_commands_stop() -> None:
    world = room_of(BOX)
    world.drive(0.3, 0)
    world.step(0.45)
    assert world.odometry().linear[0] == pytest.approx(0.3, abs=0.05)
    world.step(1.0)
    assert abs(world.odometry().linear[0]) < 0.01
    assert 0.1 < world.true_pose()[0] < 0.3


def test_odometry_drifts_from_the_truth() -> None:
    world = room_of()
    for _ in range(500):
        world.drive(0.4, 0.4)
        world.step(0.02)
    odometry, truth = world.odometry(), world.true_pose()
    assert math.dist((0, 0), truth[:2]) > 1
    assert 0.003 < math.dist(odometry.position[:2], truth[:2]) < 0.6
    names, positions, velocities = world.joint_states()
    assert names == ('left_wheel_joint', 'right_wheel_joint')
    assert min(positions) > 10
    assert min(velocities) > 4  # radians a second
    assert odometry.stamp_ns == round(world.time * 1e9)


def test_a_room_is_the_same_again_and_another_by_another_seed() -> None:
    world = BaseRoom(1, size=SMALL)
    before = world.look('camera')
    world.drive(0.5, 1.0)
    world.step(0.5)
    assert (world.look('camera').pixels != before.pixels).any()
    world.reset()
    assert world.odometry().position == (0, 0, 0)
    again = world.look('camera')
    assert (again.pixels == before.pixels).all()
    assert (again.depth == before.depth).all()
    things = world.things()
    world.reset(2)
    assert world.things() != things
    above = world.look('overview')
    assert set(range(1, len(world.things()) + 1)) <= set(np.unique(above.labels))


def test_a_camera_may_be_looked_through_while_rooms_are_changed() -> None:
    world, ended = BaseRoom(0, size=(32, 24)), threading.Event()

    def look() -> None:
        while not ended.is_set():
            world.look('camera')

    def change() -> None:
        for seed in range(1, 6):
            world.reset(seed)
        ended.set()

    threads = [threading.Thread(target=target, daemon=True) for target in (look, change)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_the_base_follows_a_point_and_turns_to_where_it_was_when_it_is_not_known() -> None:
    world = room_of(BOX)
    known: list[np.ndarray | None] = [np.array([2.8, 0.3])]
    motion = world.motions.follow(lambda: known[0])
    for _ in range(100):
        next(motion)
        world.step(0.02)
    assert world.twist[0] > 0.3
    known[0] = None
    for ticks, turn in (100, 0.0), (300, 0.1):  # it waits, and then searches
        for _ in range(ticks):
            next(motion)
            world.step(0.02)
        assert abs(world.twist[0]) < 0.01
        assert abs(world.twist[1]) == pytest.approx(turn, abs=0.03)
    known[0] = np.array([2.8, -0.5])
    assert complete(world, motion) == ''
    x, y, yaw = world.pose
    assert math.hypot(2.8 - x, -0.5 - y) == pytest.approx(STAND_OFF + RADIUS, abs=0.05)
    assert yaw == pytest.approx(math.atan2(-0.5 - y, 2.8 - x), abs=0.05)
