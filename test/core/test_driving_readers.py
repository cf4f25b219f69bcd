"""Decisions, tags and paths in many words, and short answers in many forms."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.answers import AnswerType, Behavior, ObjectReference
from mimo_embodied_ros.core.driving_readers import read_decision, read_tags, read_trajectory
from mimo_embodied_ros.core.spatial_readers import (
    read_choice,
    read_choices,
    read_labels,
    read_number,
    read_spatial,
    read_word,
)
from mimo_embodied_ros.core.tasks import TASKS
from support.paths import ROOT

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


@settings(deadline=None)
@given(st.sets(st.sampled_from('ABCDEFGH'), min_size=1), st.data())
def test_letters_round_trip(letters: set[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(letters)))
    join = data.draw(st.sampled_from(['', ', ', ' and ', ',', '; ', ' ']))
    answer = read_choices(join.join(order))
    assert answer is not None
    assert answer.choices == tuple(sorted(letters))
    assert answer.choice == ''.join(sorted(letters))


@settings(deadline=None)
@given(numbers, st.sampled_from(['', ' m', 'cm', ' chairs', ' km/h']))
def test_numbers_round_trip(number: float, unit: str) -> None:
    for text in (f'{number}{unit}', f'about {number}{unit}.', f'The answer is {number}{unit}'):
        answer = read_number(text)
        assert answer is not None
        assert (answer.type, answer.number) == (AnswerType.NUMBER, number)
        assert answer.unit == unit.strip()


@settings(deadline=None)
@given(st.lists(st.sampled_from(TASKS['surround_word'].vocabulary[11:]), min_size=1, unique=True))
def test_labels_round_trip(labels: list[str]) -> None:
    vocabulary = TASKS['surround_word'].vocabulary
    for join in (', ', '\n- ', ' and '):
        answer = read_labels(join.join(label.title() for label in labels), vocabulary)
        assert answer is not None
        assert answer.choices == tuple(labels)
    word = read_word(labels[0].upper() + '.', vocabulary)
    assert word is not None
    assert word.yes is not None or word.choice == labels[0]


@settings(deadline=None)
@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=9), max_size=4))
def test_a_choice_is_one_that_was_offered(words: str, options: list[str]) -> None:
    answer = read_choice(words, options)
    if answer is not None and options:
        assert answer.choice in 'ABCDE'[: len(options)]
    assert read_spatial(words).text == words
