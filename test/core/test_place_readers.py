"""Places in answers that are damaged, doubled or explained: all of them are read, or none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.json_values import split_values
from mimo_embodied_ros.core.place_readers import read_bare, read_entries, read_places

if TYPE_CHECKING:
    from mimo_embodied_ros.core.answers import Affordances

pixels = st.integers(2, 1500)
pairs = st.tuples(pixels, pixels)
# labels hold what else could be taken for a place
labels = st.lists(
    st.sampled_from(['red', 'cup', 'at', '[7, 9]', '(8, 9)', '"', "'", '}', ']', 'no', '\u676f',
                     ',', '</think>', '```', '[[1, 2]]', ':', '{"points": [[3, 4]]}']),
    max_size=5).map(' '.join)
entries = st.lists(
    st.tuples(st.lists(pairs, min_size=1, max_size=3), labels), min_size=1, max_size=3)
things = st.sampled_from(['The cup', 'the lid of the pot', 'It', 'The third orange from the left'])


def written(listed: list[tuple[list[tuple[int, int]], str]]) -> str:
    return json.dumps([{'points': points, 'label': label} for points, label in listed])


labelled = entries.map(written)
bare = st.lists(pairs, min_size=1, max_size=3).map(json.dumps)
sentence = st.tuples(things, pairs).map(lambda it: f'{it[0]} is at [{it[1][0]}, {it[1][1]}].')
answers = st.one_of(
    labelled, bare, sentence, st.just('[]'), labelled.map(lambda text: f'```json\n{text}\n```'))


def places(text: str) -> Affordances | None:
    """Read a text as the tasks that ask for points do."""
    try:
        found = read_entries(text)
        return read_bare(text, boxes=False) if found is None else found
    except MimoError:
        return None


def pixels_of(found: Affordances) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in found.points]


@given(entries)
def test_labels_are_never_places(listed: list[tuple[list[tuple[int, int]], str]]) -> None:
    found = places(written(listed))
    assert found is not None
    assert pixels_of(found) == [point for points, _ in listed for point in points]


@settings(max_examples=300)
@given(entries, st.data())
def test_a_list_that_is_cut_is_not_read(
    listed: list[tuple[list[tuple[int, int]], str]], data: st.DataObject
) -> None:
    text = written(listed)
    assert places(text[: data.draw(st.integers(0, len(text) - 1))]) is None


@settings(max_examples=500)
@given(entries, st.data())
def test_damage_never_makes_other_places(
    listed: list[tuple[list[tuple[int, int]], str]], data: st.DataObject
) -> None:
    text = written(listed)
    at = data.draw(st.integers(0, len(text) - 1))
    assume(not text[at].isdigit())  # other digits are other places, which nobody can tell
    piece = data.draw(st.sampled_from(
        ['', '"', "'", ']', '[', '}', '{', ',', ' (3, 4) ', '#', '\\']))
    found = places(text[:at] + piece + text[at + data.draw(st.integers(0, 1)) :])
    if found is not None and (found.points or found.boxes):
        expected = {point for points, _ in listed for point in points}
        assert {(point.x, point.y) for point in found.points} == expected


@settings(max_examples=300)
@given(answers, answers, st.sampled_from(
    ['', '\n', ' ', ', ', ' or ', ' and ', '\nWait, ', '\n\nCorrected: ', '. No, ']))
def test_two_answers_are_none(first: str, second: str, joint: str) -> None:
    one, other = places(first), places(second)
    assert one is not None
    assert other is not None
    found = places(first + joint + second)
    if one != other:
        assert found is None
    assert found in (None, one)


@given(sentence, st.sampled_from([
    'There is no cup; {}', 'Not sure, but {}', '{} Or at the left.', 'Perhaps {}',
    '{} I am not sure.', '2 cups: {}', '{} (blurry)', '{} Or so.', 'If the cup is meant, {}',
    'Nein. {}', '{} The plate is 3 m away.']))
def test_a_sentence_with_more_than_a_place_is_not_read(text: str, around: str) -> None:
    assert places(around.format(text)) is None


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.99)), min_size=1, max_size=3))
def test_shares_of_the_image_are_no_pixels(shares: list[tuple[float, float]]) -> None:
    shares = [(round(x, 3), round(y, 3)) for x, y in shares]
    assert places(json.dumps(shares)) is None
    assert places(written(shares and [(shares, 'cup')])) is None  # type: ignore[list-item]


@pytest.mark.parametrize('text', [
    'Image size: [1280, 720]', 'The image is [1280, 720].', 'The size of the cup is [30, 40].',
    'Previous answer: [1, 2]', 'No: [57, 80]', 'Not [57, 80].', 'Is it at [57, 80]?',
    'The cup is near [57, 80].', 'The cup is at [57, 80], near the edge.', '[57, 80], [90, 100]',
    '{57, 80}', '[8, - 93]', '[[8, .93], [1, 2]]', '[[8, 93.]]', '[[8, --93]]',
    f'[[8, {"9" * 400}],]', 'Here:\n```x\n[[57, 80]]\n```',
    '\u676f\u5b50\u4e0d\u5728[57, 80]', 'The cup or the mug is at [57, 80].',
    '[{"points": [[57, 80]], "label": "cup", "visible": "no"}]',
    '[{"points": [[57, 80]], "label": "cup"}, ...]', '[57, 80] [57, 80] [1, 2]'])
def test_numbers_that_are_no_answer_are_not_read(text: str) -> None:
    assert places(text) is None


@pytest.mark.parametrize('text', [
    'The mug [see below]', 'red [x, y]', 'two steps (2, 3)', 'red', ''])
def test_words_with_brackets_are_no_places(text: str) -> None:
    assert read_places(text) is None


@pytest.mark.parametrize('text', [
    '[{"points": [[1, 2]], "label": "a "b""}]', '```json\n[{"a": 1}, [2, 3]\n```',
    '[1, 2] or [3, 4]'])
def test_brackets_that_cannot_be_read_are_no_words(text: str) -> None:
    with pytest.raises(MimoError):
        read_places(text)


@pytest.mark.parametrize(('text', 'values'), [
    ('a [57, 80] b', []),
    ('{"steps": []} [1, 2]', [{'steps': []}]),
    ("['a', 'b',]", [['a', 'b']]),
    ('[[1, 2], ...]', [[[1.0, 2.0]]]),
    ('["a"] then {"b": 1}', [['a'], {'b': 1.0}]),
])
def test_json_values(text: str, values: object) -> None:
    assert split_values(text, json_only=True)[0] == values


@pytest.mark.parametrize('text', [
    '["a" "b"', '{"a": 1, "a": 2}', "['a', __import__('os')]", '["a", 1_000]', "['a', 0x10]",
    "['a'] # ['b']", "['a' 'b']", "['a''b']", "['a', b'c']", '{1: "a"} {"a"}', "{'a': 1, 'a': 2}"])
def test_damaged_json_values(text: str) -> None:
    with pytest.raises(MimoError):
        split_values(text, json_only=True)
