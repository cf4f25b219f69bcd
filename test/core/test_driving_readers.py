"""Decisions, tags and paths in many words, and short answers in many forms."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimo_embodied_ros.core.answers import Behavior, ObjectReference
from mimo_embodied_ros.core.driving_readers import read_decision, read_tags, read_trajectory
from mimo_embodied_ros.core.errors import MimoError
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

MESSAGE = ROOT / 'msg' / 'DrivingDecision.msg'


def test_behaviors_are_those_of_the_message() -> None:
    constants = re.findall(r'^uint16 ([A-Z_]+)=(\d+)', MESSAGE.read_text(), re.MULTILINE)
    assert {name: int(value) for name, value in constants} == {b.name: b.value for b in Behavior}


def test_sections_without_a_decision() -> None:
    decision = read_decision('Slow down.\n\n### Hazards\n- a cyclist\n- a bus\n\nReason: it is wet')
    assert decision is not None
    assert (decision.decision, decision.behavior) == ('Slow down', Behavior.SLOW_DOWN)
    assert [hazard.label for hazard in decision.hazards] == ['a cyclist', 'a bus']
    assert decision.rationale == 'it is wet'


def test_a_reason_may_come_first() -> None:
    decision = read_decision('The light is red, so the ego car should stop.')
    assert decision is not None
    assert decision.decision == 'the ego car should stop'
    assert decision.rationale == 'The light is red'


@pytest.mark.parametrize(
    'text',
    [
        '[{"bbox_2d": [8, 29, 93, 70], "caption": "a "red" light"}]',
        '```json\n[{"bbox_2d": [8, 29, 93, 70], "caption": "a "red" light"}]\n```',
        '{"action": "stop"', '{"action": "stop"}', '["stop"]', '[stop]', '{stop}',
        '\\boxed{stop, justification: {red} light',
    ],
)  # fmt: skip
def test_json_is_no_sentence(text: str) -> None:
    decision = None
    with contextlib.suppress(MimoError):
        decision = read_decision(text)
    assert decision is None


numbers = st.integers(-99_999, 99_999).map(lambda n: n / 100)
names = st.integers(1, 99).map(lambda n: f'c{n}')
cameras = st.sampled_from(['CAM_FRONT', 'CAM_BACK_LEFT'])


@given(
    st.lists(st.tuples(names, cameras, numbers, numbers), max_size=4, unique_by=lambda tag: tag[0]),
    st.text(max_size=9),
)
def test_tags_round_trip(tags: list[tuple[str, str, float, float]], between: str) -> None:
    between = between.replace('<', '').replace('>', '')
    text = between.join(f'<{name},{camera},{x},{y}>' for name, camera, x, y in tags)
    assert read_tags(text) == tuple(
        ObjectReference(*tag, in_image=0 <= tag[2] < 1600 and 0 <= tag[3] < 900) for tag in tags
    )


@pytest.mark.parametrize(
    'text',
    [
        '<c1,CAM_ROOF,10,10>', '<c1,CAM_BACK_UP,10,10>', '<c1,CAM,10,10>', '<c1,cam_back,10,10>',
        '<car,CAM_BACK,10,10>', '<c0,CAM_BACK,10,10>', '<1,CAM_BACK,10,10>', '<c1,CAM_BACK,10>',
        '<c1,CAM_BACK,10,10,20>', '<c1,CAM_BACK,1,088,10>', '<c1,CAM_BACK,\u221210,10>',
        '<c1,CAM_BACK,1e2,10>', '<c1,CAM_BACK,10.,10>', '<c1,CAM_BACK,+10,10>',
        '<c1,CAM_BACK,10,10', '<c1,CAM_BACK,10,10> or <c1,CAM_BACK,20,20>',
    ],
)  # fmt: skip
def test_other_tags_are_no_references(text: str) -> None:
    assert read_tags(text) == ()


# Steps of a road vehicle in half a second.
steps = st.tuples(st.integers(-300, 3000), st.integers(-999, 999), st.integers(-314, 314))
paths = st.lists(steps, min_size=1, max_size=9).map(
    lambda path: [
        (sum(x for x, _, _ in path[:n]) / 100, sum(y for _, y, _ in path[:n]) / 100, heading / 100)
        for n, (_, _, heading) in enumerate(path, 1)
    ]
)
leads = st.sampled_from(['', 'Here is the planning trajectory ', 'The trajectory is: ', 'It is '])


def written(points: Sequence[Sequence[float]], comma: str = ', ') -> str:
    values = (comma.join(f'{value:+.2f}' for value in point) for point in points)
    return f'[PT{comma}{comma.join(f"({value})" for value in values)}]'


@given(paths, st.booleans(), leads, st.sampled_from([', ', ',', ',\n ']), st.booleans())
def test_path_round_trip(
    path: list[tuple[float, float, float]], with_heading: bool, lead: str, comma: str, minus: bool
) -> None:
    points = [point if with_heading else point[:2] for point in path]
    text = f'{lead}{written(points, comma)}.'
    trajectory = read_trajectory(text.replace('-', '\u2212') if minus else text, 0.5)
    assert trajectory is not None
    assert [p.time for p in trajectory.points] == [0.5 * (n + 1) for n in range(len(points))]
    assert [(p.x, p.y, p.heading)[: 2 + with_heading] for p in trajectory.points] == points
    assert with_heading or all(p.heading is None for p in trajectory.points)


@given(paths, paths, st.sampled_from([' or ', '\n', ', ', '. ', ' ', '. No, ', ' and ', ' not ']))
def test_two_joined_paths_are_none(first: Any, second: Any, join: str) -> None:
    assert read_trajectory(written(first) + join + written(second), 0.5) is None


@given(
    paths,
    st.sampled_from([
        'I cannot give {}', 'Do not drive {}.', 'The trajectory is not {}.', 'If it is clear: {}',
        '{} is wrong', '{}?', 'The path of the truck is {}.', '{} or stop', 'Is it {}', '{} 2',
        '[{}]', '{} and', 'The past trajectory was {}.', 'e.g. {}', 'trajectory \u2260 {}',
    ]),
)  # fmt: skip
def test_a_path_with_more_words_is_none(path: Any, frame: str) -> None:
    assert read_trajectory(frame.format(written(path)), 0.5) is None


@pytest.mark.parametrize(
    'points',
    [
        '(1,5, 2)', '(1, 2), (3, 4),', '(1, 2) (3, 4)', '(1 m, 2 m)', '(1, 2, 3, 4)', '(1)',
        '(.5, 1)', '(1., 2)', '(1e1, 2)', '(--1, 2)', '(+-1, 2)', '(\u20131, 2)', '(1/2, 2)',
        '(1, 2), (3, 4',
        '(1, 2), (3, 4), ...', '(1, 2), (3, nan)', '(640, 360), (700, 300)', '(4, 0), (830, 0)',
        '(1, 2, 90)', '(1, 2, 0), (3, 4)', '(1, 2); (3, 4)', '(1 , 2)(3 , 4)', '1, 2', '',
    ],
)  # fmt: skip
def test_damaged_paths_are_none(points: str) -> None:
    assert read_trajectory(f'[PT, {points}]', 0.5) is None
