"""Which names fit which questions."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mimo_embodied_ros.memory.words import detail, fit, subject_words

names = st.lists(st.sampled_from((
    'red', 'blue', 'cup', 'cups', 'boxes', '红色方块', '方块', 'where', 'is', 'café', '7',
)), max_size=4).map(' '.join) | st.text(max_size=12)


@pytest.mark.parametrize(('text', 'words'), [
    ('Where is the red cup?', {'red', 'cup'}),
    ("Where's my mug", {'mug'}),
    ('have you seen the boxes', {'box'}),
    ('Where did you last see the batteries?', {'batteri'}),
    ('Did you find any of the glasses?', {'glass'}),
    ('the screwdriver', {'screwdriv'}),
    ('screwdrivers', {'screwdriv'}),
    ('Can you see the soda can?', {'soda', 'can'}),
    ('can you find the cup', {'cup'}),
    ('cans', {'can'}),
    ('What have you seen?', set()),
    ('红色杯子在哪里?', {'红色杯子'}),
    ('你上次在哪里看到过我的杯子', {'杯子'}),
    ('有没有看到红色的方块', {'红色方块'}),
    ('', set()),
])
def test_a_question_is_about_its_content(text: str, words: set[str]) -> None:
    assert subject_words(text) == words


@pytest.mark.parametrize(('wanted', 'name', 'expected'), [
    ('red cup', 'red cup', 1.0),
    ('Where are the red cups?', 'a red cup', 1.0),
    ('cup', 'red cup', 2 / 3),
    ('red cup', 'cup', 2 / 3),
    ('red cup', 'blue cup', 0.0),
    ('red cube', 'cube', 2 / 3),
    ('cup on the table', 'red cup', 0.0),
    ('mug', 'cup', 0.0),
    ('方块', '红色方块', 2 / 3),
    ('红色方块在哪里', '红色方块', 1.0),
    ('红色方块', '蓝色方块', 0.0),
    ('杯子', '方块', 0.0),
    ('', 'cup', 1.0),
    ('cup', '', 0.0),
])
def test_a_name_fits_as_far_as_its_words_do(wanted: str, name: str, expected: float) -> None:
    assert fit(wanted, name) == pytest.approx(expected)


@given(one=names, other=names)
def test_fit_is_a_similarity(one: str, other: str) -> None:
    assert fit(one, one) == 1
    assert 0 <= fit(one, other) <= 1
    assume(subject_words(one) and subject_words(other))
    assert fit(one, other) == fit(other, one)


def test_more_words_say_more() -> None:
    assert detail('the red cup') > detail('the cup') == detail('cups')
    assert detail('红色方块') > detail('方块')
