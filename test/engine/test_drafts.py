"""Drafts: a token is guessed where the last two answers went on with it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mimo_embodied_ros.engine.drafts import CONTEXT, Drafter

ANSWERS = st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=8)


@given(answers=ANSWERS, before=st.lists(st.integers(0, 2), min_size=CONTEXT, max_size=6),
       longest=st.integers(0, 5))
def test_a_draft_is_what_followed_the_last_two_times(
    answers: list[list[int]], before: list[int], longest: int
) -> None:
    drafts = Drafter(longest)
    followers: dict[tuple[int, ...], list[int]] = {}
    for answer in answers:
        drafts.learn(answer)
        for end in range(CONTEXT, len(answer)):
            followers.setdefault(tuple(answer[end - CONTEXT : end]), []).append(answer[end])
    draft = drafts.draft(before)
    assert len(draft) <= longest
    tokens = before + draft
    for end in range(len(before), len(tokens)):
        assert followers[tuple(tokens[end - CONTEXT : end])][-2:] == 2 * [tokens[end]]
    if len(draft) < longest:  # it ended because nothing is sure any more
        last = followers.get(tuple(tokens[-CONTEXT:]), [])[-2:]
        assert len(last) < 2 or last[0] != last[1]
