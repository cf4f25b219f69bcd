"""M-RoPE positions, against frozen numbers and against transformers where it is right."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch')

import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from mimo_embodied_ros.engine.positions import Grid, mrope_positions
from support.random_model import control_ids, make_model, make_tokenizer


def runs(*parts: int | Grid) -> list[tuple[int, ...]]:
    return [tuple(position) for position in mrope_positions(parts).tolist()]


def test_text_counts_on_all_axes() -> None:
    assert runs(3) == [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    assert runs() == runs(0) == []


def test_an_images_time_is_constant_and_text_follows_its_largest_position() -> None:
    assert runs(2, Grid(1, 2, 3), 2) == [
        (0, 0, 0), (1, 1, 1),
        (2, 2, 2), (2, 2, 3), (2, 2, 4), (2, 3, 2), (2, 3, 3), (2, 3, 4),
        (5, 5, 5), (6, 6, 6)]


def test_the_second_image_begins_after_the_first_and_the_text_between_them() -> None:
    assert runs(1, Grid(1, 3, 1), 2, Grid(1, 1, 2), 1) == [
        (0, 0, 0),
        (1, 1, 1), (1, 2, 1), (1, 3, 1),
        (4, 4, 4), (5, 5, 5),
        (6, 6, 6), (6, 6, 7),
        (8, 8, 8)]


@pytest.mark.parametrize(('fps', 'times', 'after'), [
    (0.5, [0, 8, 16, 24], 25),
    (1, [0, 4, 8, 12], 13),
    (2, [0, 2, 4, 6], 7),  # the vendor's rate
    (3, [0, 1, 2, 4], 5),
    (4, [0, 1, 2, 3], 4),
    (10, [0, 0, 0, 1], 3),  # here the columns are the largest
])
def test_a_videos_pairs_have_their_times(fps: float, times: list[int], after: int) -> None:
    """At 2 tokens a second, the published models' number."""
    found = runs(5, Grid(4, 1, 3, 2 * 2 / fps), 1)
    assert found[5:-1] == [(5 + time, 5, 5 + column) for time in times for column in range(3)]
    assert found[-1] == (5 + after,) * 3


def test_a_long_video_at_an_uneven_rate() -> None:
    """Times are cut to whole positions after they are multiplied, so that no error adds up."""
    times = mrope_positions([Grid(128, 1, 1, 2 * 0.7)])[:, 0].tolist()
    assert times[:8] == [0, 1, 2, 4, 5, 7, 8, 9]
    assert times[-1] == 177  # 127 * 1.4 = 177.8


@cache
def library() -> Any:
    tokenizer = make_tokenizer()
    return make_model(tokenizer, 0).model, control_ids(tokenizer)


TRUNCATES = 'torch.as_tensor' in inspect.getsource(
    transformers.Qwen2_5_VLModel.get_rope_index) or transformers.__version__ < '5'
GRIDS = st.builds(Grid, st.just(1), st.integers(1, 6), st.integers(1, 6), st.just(0.0))
VIDEOS = st.builds(
    Grid, st.integers(1, 5), st.integers(1, 6), st.integers(1, 6),
    st.sampled_from([2.0, 4.0]) if TRUNCATES else st.floats(0.05, 5))


@settings(max_examples=60)
@given(media=st.lists(st.tuples(st.integers(1, 4), GRIDS | VIDEOS), max_size=4),
       last=st.integers(1, 5))
def test_positions_are_those_of_transformers_where_it_is_right(
    media: list[tuple[int, Grid]], last: int
) -> None:
    """Version 4 takes whole seconds only; since 5.3 text can begin before the end of a video."""
    model, ids = library()
    parts: list[int | Grid] = []
    tokens: list[int] = []
    right = True
    for text, grid in media:
        parts += [text, grid]
        pad = ids['video_token_id' if grid.step else 'image_token_id']
        tokens += [0] * (text - 1) + [ids['vision_start_token_id']] + [pad] * grid.tokens
        right &= int((grid.pairs - 1) * grid.step) < max(grid.rows, grid.columns)
    if transformers.__version__ >= '5' and not right:
        return
    parts.append(last)
    row = torch.tensor([tokens + [0] * last])
    grids = {step: torch.tensor([[g.pairs, 2 * g.rows, 2 * g.columns]
                                 for _, g in media if bool(g.step) is step] or [[0, 0, 0]])
             for step in (False, True)}
    options: dict[str, Any] = {}
    if 'mm_token_type_ids' in inspect.signature(model.get_rope_index).parameters:
        options['mm_token_type_ids'] = (
            (row == ids['image_token_id']).int() + 2 * (row == ids['video_token_id']).int())
    expected, _ = model.get_rope_index(
        row, image_grid_thw=grids[False], video_grid_thw=grids[True],
        second_per_grid_ts=torch.tensor(
            [g.step / model.config.vision_config.tokens_per_second
             for _, g in media if g.step]), **options)
    assert np.array_equal(mrope_positions(parts), expected[:, 0].T.numpy())
