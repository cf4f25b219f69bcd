"""Loops are noticed early, and what only looks like one is left alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.engine.repetition import COPIES, LONGEST, SPAN, RepetitionDetector


def fed(text: str) -> int:
    """Characters after which the text was found to repeat itself; 0 for never."""
    detector = RepetitionDetector()
    return next((n for n, c in enumerate(text, 1) if detector.feed(c)), 0)


@pytest.mark.parametrize(
    'piece',
    [
        '!',
        'no ',
        '[581, 399], ',
        'The car is moving. ',
        '\u673a\u5668\u4eba',
        'So I need to find the cup. Wait, let me look at the picture again to be sure.\n' * 4,
    ],
)
def test_loop_is_found_once_it_is_long_enough(piece: str) -> None:
    lead = '<think>\nSo, the cup is left of the bowl. '
    at = fed(lead + piece * 300)
    assert 0 < at - len(lead) <= max(SPAN, COPIES * len(piece)) + len(piece)


@pytest.mark.parametrize(
    'text',
    [
        # a car that stands, as ReCogDrive would write it
        'Here is the planning trajectory [PT, ' + '(+0.00, +0.00, +0.00), ' * 8 + ']',
        str([[20 * n, 13 * n + 7] for n in range(200)]),
        '\n'.join(f'{n}. pick up the cube and put it in the bowl' for n in range(1, 60)),
        '| a | b |\n|' + '-' * 100 + '|' + '-' * 100 + '|\n',
        ' '.join(random.Random(1).choices(['red', 'cube', 'left', 'of', 'the', 'bowl'], k=2000)),
        '',
    ],
)
def test_what_is_no_loop(text: str) -> None:
    assert fed(text) == 0


@settings(max_examples=30)
@given(st.text(max_size=50), st.text(min_size=1, max_size=LONGEST), st.integers(1, 50))
def test_any_piece_in_any_portions(lead: str, piece: str, portion: int) -> None:
    text = lead + piece * (COPIES + SPAN // len(piece) + 1)
    detector = RepetitionDetector()
    portions = [text[at : at + portion] for at in range(0, len(text), portion)]
    assert [detector.feed(part) for part in portions][-1]
