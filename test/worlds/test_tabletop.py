"""The simulated tabletop: its things, its gripper and its camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.frames import Frame, Intrinsics
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.geometry.extrinsics import load_extrinsics
from mimo_embodied_ros.geometry.lifting import Lifter, PositionStatus
from mimo_embodied_ros.worlds.table_camera import FOCAL, HEIGHT, OPTICAL_FRAME, WIDTH
from mimo_embodied_ros.worlds.table_scene import (
    MIN_CLEARANCE,
    Table,
    Thing,
    clearance,
    mask,
)
from mimo_embodied_ros.worlds.tabletop import Tabletop, grasp_radius
from mimo_embodied_ros.worlds.things import MOVABLE
from support.paths import CONFIG, SKILL_FILES

CAMERA = load_extrinsics(CONFIG / 'extrinsics' / 'tabletop.yaml').lookup(
    'base_link', OPTICAL_FRAME, 0)
SEEDS = st.integers(0, 10_000)
few = settings(max_examples=12)


def table_of(seed: int, drop: float = 0.0) -> Tabletop:
    return Tabletop(seed, CAMERA, drop)


def called(table: Tabletop, name: str) -> Thing:
    return next(thing for thing in table.things if thing.name == name)


def at(table: Tabletop, name: str) -> Any:
    return table.position(called(table, name))


@few
@given(SEEDS)
def test_a_table_has_the_cube_the_bowl_and_some_others_apart(seed: int) -> None:
    things = table_of(seed).things
    assert [thing.name for thing in things[:2]] == ['red cube', 'blue bowl']
    assert 3 <= len({thing.name for thing in things}) == len(things) <= 5
    for number, thing in enumerate(things):
        assert clearance(thing.x, thing.y, thing.radius, things[:number]) > MIN_CLEARANCE


@few
@given(SEEDS, st.data())
def test_a_pick_gets_the_thing_at_the_point(seed: int, data: Any) -> None:
    table = table_of(seed)
    thing = data.draw(st.sampled_from([t for t in table.things if t.shape in MOVABLE]))
    off = np.array(data.draw(st.tuples(*[st.floats(-1, 1)] * 3)))
    others = [t for t in table.things if t is not thing]
    before = table.pixels
    assert table.pick(table.position(thing) + grasp_radius(thing) / 2 * off) == ''
    assert (table.held, table.things) == (thing, tuple(others))
    assert table.where(thing.name) == f'the gripper holds the {thing.name}'
    # what is not there any more is not seen any more, and nothing else looks different
    y_min, y_max = int(thing.box[1] - thing.radius), int(thing.box[3] + thing.radius)
    changed = (table.pixels != before).any(axis=2)
    assert changed[int(thing.y), int(thing.x)]
    assert not changed[: max(0, y_min)].any()
    assert not changed[y_max + 1:].any()


@few
@given(SEEDS)
def test_a_pick_beside_things_or_of_a_bowl_gets_nothing_and_says_so(seed: int) -> None:
    table = table_of(seed)
    cube = called(table, 'red cube')
    above = table.position(cube) + np.array([0.0, 0.0, 2 * grasp_radius(cube)])
    for point in (at(table, 'blue bowl'), above):
        assert 'closed on nothing' in table.pick(point)
        assert table.held is None
    assert table.steps == 2


@few
@given(SEEDS)
def test_a_thing_placed_over_a_bowl_is_in_it_and_not_visible(seed: int) -> None:
    table = table_of(seed)
    assert not table.done
    table.pick(at(table, 'red cube'))
    assert table.place(at(table, 'blue bowl')) == ''
    assert table.done
    assert table.where('red cube') == 'the red cube is in the blue bowl'
    assert 'red cube' not in {thing.name for thing in table.things}
    assert (table.held, table.drops, table.steps) == (None, 0, 2)


@few
@given(SEEDS, st.floats(50, 590), st.floats(150, 430))
def test_a_thing_placed_elsewhere_lies_there(seed: int, x: float, y: float) -> None:
    table = table_of(seed)
    table.pick(at(table, 'red cube'))
    if clearance(x, y, 80, table.things) <= 1:
        return
    there = table.position(Thing('red', 'cube', x, y, 50))
    assert table.place(there) == ''
    cube = called(table, 'red cube')
    assert (cube.x, cube.y) == (pytest.approx(x), pytest.approx(y))
    assert table.where('red cube') == 'the red cube lies on the table'
    assert table.pick(there) == ''


@few
@given(SEEDS)
def test_depth_and_pixels_agree(seed: int) -> None:
    table = table_of(seed)
    frame = Frame(
        table.pixels, 0, OPTICAL_FRAME, depth=table.depth.astype(np.float32) / 1000,
        intrinsics=Intrinsics(FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2))
    lifter = Lifter(frame, 'base_link', lambda _, __: CAMERA)
    scene = Table(table.pixels, table.things, 0)
    for thing in table.things:
        inside = mask(scene, thing)
        assert np.ptp(table.depth[inside]) == 0
        if inside[int(thing.y), int(thing.x)]:
            point = lifter.point(thing.x, thing.y)
            assert point.status is PositionStatus.OK, point.problem
            assert point.xyz == pytest.approx(table.position(thing), abs=0.003)


def play(table: Tabletop, tries: int = 10) -> list[str]:
    """Put the cube in the bowl with the true positions; return the events."""
    events = []
    for _ in range(tries):
        if table.done:
            break
        for do, name in ((table.pick, 'red cube'), (table.place, 'blue bowl')):
            assert do(at(table, name)) == ''
            events.append(table.event)
            if 'slipped' in table.event:
                break
    return events


@few
@given(SEEDS)
def test_drops_are_seeded_not_noticed_and_end_on_the_table(seed: int) -> None:
    table, again = table_of(seed, drop=0.5), table_of(seed, drop=0.5)
    events = play(table)
    assert events == play(again)
    assert table.things == again.things
    assert table.drops == sum('slipped' in event for event in events)
    assert 0 < table.steps == len(events)
    always = table_of(seed, drop=1.0)
    assert always.pick(at(always, 'red cube')) == ''
    assert always.where('red cube') == 'the red cube lies on the table'
    assert always.place(at(always, 'blue bowl')) == ''
    assert (always.done, always.drops) == (False, 1)


def test_a_gripper_that_picks_again_lets_go_first() -> None:
    table = table_of(1)
    table.pick(at(table, 'red cube'))
    assert 'nothing' in table.pick(at(table, 'blue bowl'))
    assert table.where('red cube') == 'the red cube lies on the table'
    assert 'not on the table' in table.place((-5.0, 0.0, 0.0))


def test_the_skill_file_names_the_skills_of_the_simulation() -> None:
    skills = load_skills(SKILL_FILES / 'tabletop.yaml')
    assert set(skills) == {'pick', 'place'}
    for name, skill in skills.items():
        (call,) = skill.runs
        assert (call.name, call.type) == (
            '/gripper/run_skill', 'mimo_embodied_ros/action/RunSkill')
        assert call.fields['skill'] == name
    assert skills['pick'].preconditions == ('{object} can be reached',)
