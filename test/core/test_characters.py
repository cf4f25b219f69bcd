"""Text of any source is made such that UTF-8, messages, files and logs can hold it."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from mimo_embodied_ros.core.characters import TextJoiner, valid_text, valid_values
from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.tasks import known_tasks

if TYPE_CHECKING:
    from pathlib import Path

TEXT = st.text(st.characters() | st.sampled_from('\ud83d\ude00\udcff\0'))


@given(TEXT)
def test_a_text_can_be_encoded_and_what_is_valid_stays(text: str) -> None:
    valid = valid_text(text)
    assert valid.encode().decode() == valid == valid_text(valid)
    assert '\0' not in valid
    if not any(letter == '\0' or '\ud800' <= letter <= '\udfff' for letter in text):
        assert valid == text
    assert str(InvalidRequestError(text)).encode() == valid.encode()


def test_halves_are_joined_or_replaced() -> None:
    assert valid_text('a\ud83d\ude00b') == 'a\U0001f600b'
    assert valid_text('\ude00\ud83d \ud83d') == '\ufffd\ufffd \ufffd'
    assert valid_text('no\0no\ufeff') == 'no\ufffdno\ufeff'


@given(TEXT, st.lists(st.integers(0, 30)))
def test_where_a_text_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    joiner = TextJoiner()
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [joiner.feed(text[start:end]) for start, end in itertools.pairwise(places)]
    assert all(piece == valid_text(piece) for piece in pieces)
    assert ''.join([*pieces, joiner.end()]) == valid_text(text)


@given(st.recursive(
    TEXT | st.integers(), lambda each: st.lists(each) | st.dictionaries(TEXT, each)))
def test_all_texts_of_a_value_are_made_valid(value: object) -> None:
    valid = valid_values(value)
    assert json.dumps(valid, ensure_ascii=False).encode()
    assert valid == valid_values(valid)


def test_what_a_file_repeats_by_aliases_is_done_once() -> None:
    value: list[object] = ['\ud800']
    for _ in range(100):
        value = [value, value]
    copy = valid_values(value)
    assert copy[0] is copy[1]
    circle: list[object] = []
    circle.append(circle)
    assert valid_values(circle)[0][0] is not circle


def test_yaml_may_hold_half_a_pair(tmp_path: Path) -> None:
    file = tmp_path / 'tasks.yaml'
    file.write_text('wave: {prompt: "wave \\ud800 {text}", answer: text}\n')
    assert known_tasks(str(file))['wave'].prompt == 'wave \ufffd {text}'
