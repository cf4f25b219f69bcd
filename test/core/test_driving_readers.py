"""Decisions, tags and paths in many words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.answers import Behavior, ObjectReference
from mimo_embodied_ros.core.driving_readers import (
    read_behavior,
    read_decision,
    read_speed,
    read_tags,
    read_trajectory,
)
from support.paths import ROOT

MESSAGE = ROOT / 'msg' / 'DrivingDecision.msg'


def test_behaviors_are_those_of_the_message() -> None:
    constants = re.findall(r'^uint16 ([A-Z_]+)=(\d+)', MESSAGE.read_text(), re.MULTILINE)
    assert {name: int(value) for name, value in constants} == {b.name: b.value for b in Behavior}


@pytest.mark.parametrize(
    ('words', 'behavior'),
    [
        ('Stop at the red light', Behavior.STOP),
        ('come to a complete stop', Behavior.STOP),
        ('The car remains stopped', Behavior.STOP),
        ('stopped', Behavior.STOP),
        ('wait for the pedestrian', Behavior.STOP),
        ('slow down and stop', Behavior.STOP),
        ('brake gently', Behavior.SLOW_DOWN),
        ('decelerate', Behavior.SLOW_DOWN),
        ('reduce your speed', Behavior.SLOW_DOWN),
        ('yield to the bus', Behavior.SLOW_DOWN),
        ('slow down near the stop sign', Behavior.SLOW_DOWN),
        ('slow down; at the junction, after the bridge, stop', Behavior.SLOW_DOWN),
        ('move to the left lane', Behavior.SHIFT_LEFT),
        ('the car pulls over to the right', Behavior.SHIFT_RIGHT),
        ('steer slightly left', Behavior.SHIFT_LEFT),
        ('make a right turn', Behavior.TURN_RIGHT),
        ('turn left slowly', Behavior.TURN_LEFT),
        ('move forward and turn left', Behavior.TURN_LEFT),
        ('continue straight', Behavior.NONE),
        ('The car is driving forward', Behavior.NONE),
        ('keep your lane', Behavior.NONE),
        ('continue, then stop', Behavior.STOP),
        ("don't stop", Behavior.UNKNOWN),
        ('there is no need to slow down', Behavior.UNKNOWN),
        ('be ready to brake', Behavior.UNKNOWN),
        ('accelerate', Behavior.UNKNOWN),
        ('a red light', Behavior.UNKNOWN),
        ('turn signal on', Behavior.UNKNOWN),
        ('', Behavior.UNKNOWN),
    ],
)
def test_behavior(words: str, behavior: Behavior) -> None:
    assert read_behavior(words) is behavior


@pytest.mark.parametrize(
    ('words', 'speed'),
    [
        ('drive at 36 km/h', 10.0),
        ('5 m/s', 5.0),
        ('10 mph', 4.4704),
        ('from 50 km/h to 36 km/h', 10.0),
        ('30 km/h or 40 km/h', None),
        ('the speed limit is 50 km/h', None),
        ('13.5.2 km/h', None),
        ('fast', None),
    ],
)
def test_target_speed(words: str, speed: float | None) -> None:
    target = read_speed(words)
    assert target == (None if speed is None else pytest.approx(speed))


def test_sections_without_a_decision() -> None:
    decision = read_decision('Slow down.\n\n### Hazards\n- a cyclist\n- a bus\n\nReason: it is wet')
    assert decision is not None
    assert (decision.decision, decision.behavior) == ('Slow down', Behavior.SLOW_DOWN)
    assert [hazard.label for hazard in decision.hazards] == ['a cyclist', 'a bus']
    assert decision.rationale == 'it is wet'


numbers = st.integers(-99_999, 99_999).map(lambda n: n / 100)
names = st.from_regex(r'[a-z]\d{1,2}', fullmatch=True)
cameras = st.sampled_from(['CAM_FRONT', 'CAM_BACK_LEFT'])


@settings(deadline=None)
@given(st.lists(st.tuples(names, cameras, numbers, numbers), max_size=4), st.text(max_size=9))
def test_tags_round_trip(tags: list[tuple[str, str, float, float]], between: str) -> None:
    between = between.replace('<', '').replace('>', '')
    text = between.join(f'<{name},{camera},{x},{y}>' for name, camera, x, y in tags)
    assert read_tags(text) == tuple(
        ObjectReference(*tag, in_image=0 <= tag[2] < 1600 and 0 <= tag[3] < 900) for tag in tags
    )


@settings(deadline=None)
@given(
    st.integers(2, 3).flatmap(lambda n: st.lists(st.tuples(*[numbers] * n), min_size=1)),
    st.sampled_from([', ', ',', ',\n ']),
)
def test_path_round_trip(points: list[tuple[float, ...]], comma: str) -> None:
    written = comma.join(f'({comma.join(f"{v:+.2f}" for v in point)})' for point in points)
    trajectory = read_trajectory(f'Here is the planning trajectory [PT{comma}{written}].', 0.5)
    assert trajectory is not None
    assert [p.time for p in trajectory.points] == [0.5 * (n + 1) for n in range(len(points))]
    with_heading = len(points[0]) == 3
    assert [(p.x, p.y, p.heading)[: 2 + with_heading] for p in trajectory.points] == points
    assert with_heading or all(p.heading is None for p in trajectory.points)
