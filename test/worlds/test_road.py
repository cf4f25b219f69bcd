"""The road with physics: what its cameras show, what is true about it, and how it moves."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip('mujoco', reason='mujoco is not installed')

from mimo_embodied_ros.embedded.road_questions import hazards, next_action
from mimo_embodied_ros.worlds.physics.road import CAMERAS, PhysicalRoad
from mimo_embodied_ros.worlds.physics.road_plan import (
    LANE,
    Course,
    Light,
    RoadPlan,
    Vehicle,
    Walker,
    random_plan,
)
from mimo_embodied_ros.worlds.things import COLOURS
from support.paths import CONFIG

SMALL = (168, 112)


def ego(speed: float = 5.0) -> Vehicle:
    return Vehicle('ego', 'blue', 0.0, speed, speed=speed)


def lead(gap: float, speed: float = 0.0) -> Vehicle:
    return Vehicle('red car', 'red', gap + 4.2, speed, speed=speed)


def seen(plan: RoadPlan) -> Any:
    world = PhysicalRoad(plan=plan, size=SMALL)
    return world.scene(world.look('front'))


def test_the_cameras_are_those_of_the_configuration() -> None:
    parameters = yaml.safe_load((CONFIG / 'car.yaml').read_text('utf-8'))
    (values,) = (robot['ros__parameters'] for robot in parameters.values())
    world = PhysicalRoad(size=SMALL)
    assert list(world.cameras) == list(CAMERAS) == values['cameras']


@pytest.mark.parametrize(('bend', 'action'), [
    ('straight', 'keep going'), ('left', 'turn left'), ('right', 'turn right')])
def test_an_empty_road_is_followed(bend: str, action: str) -> None:
    road = seen(RoadPlan(Course(bend), ego()))
    assert (road.bend, road.things) == (bend, ())
    assert next_action(road)[0] == action
    # the asphalt, far ahead, is on the side that the road bends to
    row = road.pixels[SMALL[1] // 2 + 5].astype(int)
    grey = np.flatnonzero(np.ptp(row, axis=1) < 12)
    aside = grey.mean() / SMALL[0] - 0.5
    assert {'left': aside < -0.1, 'right': aside > 0.1, 'straight': abs(aside) < 0.1}[bend]


@pytest.mark.parametrize(('more', 'action', 'watched'), [
    ({'cars': (lead(6),)}, 'slow down', ['a car is near']),
    ({'cars': (lead(16),)}, 'keep going', ['a car is ahead']),
    ({'walker': Walker('green', 9, 0.5, 1.0)}, 'stop', ['a pedestrian is on the road']),
    ({'walker': Walker('green', -5, 5.0, 1.0)}, 'keep going', []),
    ({'light': Light(14, -LANE - 1, 'red')}, 'stop', ['the traffic light is red']),
    ({'light': Light(14, -LANE - 1, 'green')}, 'keep going', []),
])
def test_what_is_ahead_decides_the_next_action(
    more: dict[str, Any], action: str, watched: list[str]
) -> None:
    road = seen(RoadPlan(Course(), ego(), **more))
    assert next_action(road)[0] == action
    assert [why for _, why in hazards(road)] == watched
    for thing in road.things:
        x0, y0, x1, y1 = (round(v) for v in thing.box)
        inside = road.pixels[y0:y1, x0:x1].reshape(-1, 3).astype(float)
        colour = 'green' if thing.name == 'pedestrian' else thing.colour
        # in some light, which keeps the direction of a colour
        wanted = np.array(COLOURS[colour], float) - np.mean(COLOURS[colour])
        like = (inside - inside.mean(1, keepdims=True)) @ wanted / np.linalg.norm(wanted)
        assert like.max() > 50, thing


def test_a_light_changes_and_a_car_stops_for_what_is_in_its_way() -> None:
    world = PhysicalRoad(plan=RoadPlan(
        Course(), ego(8.0), (lead(40, 2.0),), Walker('red', 20, -5.0, 1.0),
        Light(50, -LANE - 1, 'red', 5.0)), size=SMALL)
    lamps, stopped = set(), False
    for _ in range(60):
        world.step(0.24)
        place = world.plan.ego.along + 2.1
        walker = world.plan.walker
        assert walker is not None
        assert not walker.on_road or place < 20 or place > 23
        assert world.plan.cars[0].along - world.plan.ego.along > 4.5
        stopped = stopped or world.plan.ego.speed < 0.1
        lamps.add(float(world.model.geom('red lamp').rgba[0]))
    assert stopped
    assert len(lamps) == 2
    assert world.time == pytest.approx(14.4)


def test_odometry_follows_the_bend_at_the_speed_that_is_set() -> None:
    world = PhysicalRoad(plan=RoadPlan(Course('left', 5.0, 30.0, 1.2), ego(4.0)), size=SMALL)
    begin = world.odometry()
    assert begin.position == (0, 0, 0)
    world.step(10)
    middle = world.odometry()
    assert middle.linear[0] == pytest.approx(4)
    assert middle.angular[2] == pytest.approx(4 / 30, rel=0.05)
    assert 2 * math.atan2(middle.orientation[2], middle.orientation[3]) == pytest.approx(35 / 30)
    assert middle.position[0] > 20
    assert middle.position[1] > 10
    world.drive(0)
    world.step(4)
    assert world.odometry().linear[0] == 0
    # the cameras are where odometry says
    body = world.data.body('ego')
    assert tuple(body.xpos) == pytest.approx(world.odometry().position)


def test_a_seed_decides_the_road_and_a_reset_begins_it_anew() -> None:
    world = PhysicalRoad(7, size=SMALL)
    first, things = world.look('front'), world.things()
    assert {thing.name for thing in things} == set(world.bodies)
    world.step(2)
    assert not np.array_equal(world.look('front').pixels, first.pixels)
    world.reset()
    assert world.time == 0
    assert np.array_equal(world.look('front').pixels, first.pixels)
    world.reset(8)
    assert not np.array_equal(world.look('front').pixels, first.pixels)
    world.reset(7)
    assert world.things() == things
    given = PhysicalRoad(plan=RoadPlan(Course(), ego()), size=SMALL)
    given.step(1)
    given.reset()
    assert given.odometry().position == (0, 0, 0)


def test_random_roads_have_a_clear_answer() -> None:
    actions = set()
    for seed in range(20):
        plan = random_plan(random.Random(seed))
        world = PhysicalRoad(plan=plan, size=(56, 42))
        view = world.look('front')
        road = world.scene(view)
        actions.add(next_action(road)[0])
        ahead = [car for car in plan.cars if car.along > 0]
        assert len(ahead) <= 1
        assert all(car.near == (ahead[0].along < 13) for car in [road.car] if car)
    assert actions == {'keep going', 'slow down', 'stop', 'turn left', 'turn right'}


def test_a_light_that_changes_is_seen_where_nothing_moves() -> None:
    plan = RoadPlan(Course(), ego(0.0), light=Light(12.0, -LANE, 'red', period=0.5))
    world = PhysicalRoad(plan=plan, size=SMALL)
    before = world.look('front')
    world.step(0.2)
    assert world.look('front').pixels is before.pixels  # not rendered again
    world.step(0.4)
    assert (world.look('front').pixels != before.pixels).any()
