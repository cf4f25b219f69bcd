"""What the points of a model are: any marks, moved in any of the known ways, are told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.profiles import PROFILES as KNOWN
from mimo_embodied_ros.core.profiles import Profile
from mimo_embodied_ros.engine.grounding_verdict import Sight, Verdict, conclude, judge

# pixels; 0 to 1000; 0 to 1000, y first
PROFILES = tuple(KNOWN[name] for name in ('mimo-embodied', 'qwen3-vl', 'gemini-robotics-er'))
SIDES = st.integers(6, 70).map(lambda tokens: 28 * tokens)
BANDS = (0.2, 0.5, 0.8)  # of a side, in which one mark lies each
NOISE = 2.0  # pixels


@st.composite
def sights(draw: st.DrawFn, picture: str = 'one') -> Sight:
    """Three marks that are apart in x and y, and off the diagonal, found with a little noise."""
    size = draw(SIDES), draw(SIDES)
    columns, rows = (draw(st.permutations(BANDS)) for _ in range(2))
    spread = st.floats(-0.05, 0.05)
    marks = np.array([(x + draw(spread), y + draw(spread))
                      for x, y in zip(columns, rows, strict=True)]) * size
    # else x and y may change places and nobody would see it
    for x, y in (marks.T, (marks / size).T * min(size)):
        assume(np.median(np.abs(x - y)) > 30)
    noise = np.array([(draw(st.floats(-NOISE, NOISE)), draw(st.floats(-NOISE, NOISE)))
                      for _ in range(3)])
    return Sight(picture, size, marks, marks + noise)


def write(marks: np.ndarray, size: np.ndarray, unit: int, y_first: bool) -> np.ndarray:
    """The numbers that a model writes of marks."""
    return (marks / size * unit if unit else marks)[:, :: -1 if y_first else 1]


def read(numbers: np.ndarray, size: np.ndarray, profile: Profile) -> np.ndarray:
    """The places that numbers are by a profile."""
    numbers = numbers[:, :: -1 if profile.y_first else 1]
    return numbers / profile.range * size if profile.range else numbers


def expected(profile: Profile, unit: int, y_first: bool) -> tuple[Verdict, str]:
    order = f'{"y" if y_first else "x"} first' * (y_first is not profile.y_first)
    if unit == profile.range:
        return (Verdict.SWAPPED, order) if order else (Verdict.RIGHT, '')
    if not unit:
        return Verdict.NOT_NORMALISED, order
    return Verdict.NORMALISED, f'to 0 to {unit}' + f', {order}' * bool(order)


def moved(sight: Sight, answers: np.ndarray, **changes: object) -> Sight:
    return Sight(sight.picture, sight.size, sight.marks, answers, **changes)


@settings(max_examples=60, derandomize=True)
@given(sights(), st.data())
def test_each_way_to_be_wrong_is_told(sight: Sight, data: st.DataObject) -> None:
    size, true = np.array(sight.size), sight.answers
    found = judge(sight)
    assert found.verdict is Verdict.RIGHT
    assert found.error <= 2**0.5 * NOISE
    # near 1000 pixels, both units are the same
    if (np.abs(np.log(size / 1000)) > 0.3).all():
        for profile in PROFILES:
            for written in itertools.product((0, 1000, 1), (False, True)):
                finding = judge(moved(
                    sight, read(write(sight.marks, size, *written), size, profile),
                    profile=profile))
                assert (finding.verdict, finding.detail) == expected(profile, *written)
    shift = np.array([data.draw(st.integers(28, 100)) * data.draw(st.sampled_from((-1, 1)))
                      for _ in range(2)])
    finding = judge(moved(sight, true + shift))
    assert finding.verdict is Verdict.SHIFTED
    x, y = (float(word) for word in finding.detail.split() if word[0] in '+-')
    assert np.abs(np.array([x, y]) - shift).max() <= NOISE + 1
    scale = data.draw(st.floats(0.45, 0.6))
    # else it is the same as coordinates from 0 to 1000, or as pixels read as such
    for same in size * scale, size / scale:
        assume((np.abs(np.log(same / 1000)) > 0.1).all())
    finding = judge(moved(sight, true * scale))
    assert finding.verdict is Verdict.SCALED
    assert abs(float(finding.detail.split()[1]) - scale) < 0.05


@settings(max_examples=30, derandomize=True)
@given(sights(), sights('two'))
def test_only_the_second_image_is_wrong(one: Sight, two: Sight) -> None:
    decoys = two.marks[::-1] * 0.5
    wrong = moved(two, decoys, decoys=decoys)
    verdict, sentence = conclude([one, wrong], [judge(one), judge(wrong)])
    assert verdict is Verdict.SECOND_IMAGE
    assert 'and the first one answered' in sentence
    assert 'install another release' in sentence


def test_points_without_rule_and_of_another_model() -> None:
    marks = np.array([(150.0, 60.0), (50.0, 120.0), (110.0, 160.0)])
    nowhere = np.full((3, 2), np.nan)

    def told(*answers: np.ndarray, unread: int = 0) -> tuple[Verdict, str]:
        seen = [Sight(f'picture {i}', (196, 196), marks, points, unread)
                for i, points in enumerate(answers)]
        return conclude(seen, [judge(sight) for sight in seen])

    verdict, sentence = told(np.array([(20.0, 180.0), (180.0, 30.0), (10.0, 20.0)]))
    assert verdict is Verdict.SCATTERED
    assert 'one-dimensional' in sentence
    assert told(nowhere)[0] is Verdict.SCATTERED
    verdict, sentence = told(nowhere, unread=3)
    assert (verdict, 'cannot be read' in sentence) == (Verdict.OTHER_MODEL, True)
    same = np.full((3, 2), 90.0)
    verdict, sentence = told(same, same)
    assert (verdict, 'all answers are the same point' in sentence) == (Verdict.OTHER_MODEL, True)
    verdict, sentence = told(np.stack([marks[:, 1][::-1] * 0.3, marks[:, 1]], 1))
    assert 'in x, and right in y' in sentence


@pytest.mark.parametrize(('name', 'unit', 'y_first', 'words'), [
    ('mimo-embodied', 0, True, 'the model writes y before x, and its profile says otherwise'),
    ('gemini-robotics-er', 1000, False, 'the model writes x before y, and its profile'),
    ('qwen3-vl', 0, False, 'the model answers in pixels, and its profile says 0 to 1000')])
def test_the_cause_is_told_by_the_profile(
    name: str, unit: int, y_first: bool, words: str
) -> None:
    size = np.array([392, 224])
    marks = np.array([(0.8, 0.3), (0.2, 0.6), (0.6, 0.8)]) * size
    sight = Sight('one', (392, 224), marks, read(
        write(marks, size, unit, y_first), size, KNOWN[name]), profile=KNOWN[name])
    assert words in conclude([sight], [judge(sight)])[1]


@pytest.mark.parametrize('missing', [1, 2])
def test_one_of_three_marks_may_be_missed(missing: int) -> None:
    marks = np.array([(150.0, 60.0), (50.0, 120.0), (110.0, 160.0)])
    answers = marks.copy()
    answers[:missing] = np.nan
    finding = judge(Sight('one', (196, 196), marks, answers))
    assert (finding.verdict is Verdict.RIGHT) is (missing == 1)
