"""What a view shows, and in which part of space that is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimo_embodied_ros.geometry.extrinsics import Transform
from support.sightings import view

depths = st.floats(0.2, 20)
metres = st.floats(-10, 10)
positions = st.tuples(metres, metres, metres)
orientations = st.tuples(*4 * [st.floats(-1, 1)]).filter(lambda q: np.linalg.norm(q) > 0.1).map(
    lambda q: tuple(float(value) for value in np.divide(q, np.linalg.norm(q))))
inside = st.tuples(st.floats(0.5, 639.5), st.floats(0.5, 479.5))


def seen_from(
    position: tuple[float, ...], orientation: tuple[float, ...], pixel: tuple[float, float],
    depth: float,
) -> np.ndarray:
    """The place that is at a pixel and a depth."""
    ray = np.array([(pixel[0] - 320) / 500, (pixel[1] - 240) / 500, 1.0])
    return Transform.of(position, orientation).apply(depth * ray)


@given(position=positions, orientation=orientations, pixel=inside, depth=depths,
       behind=st.none() | st.floats(0, 5))
def test_what_is_inside_the_image_with_nothing_before_it_is_shown(
    position: tuple[float, float, float], orientation: tuple[float, float, float, float],
    pixel: tuple[float, float], depth: float, behind: float | None,
) -> None:
    there = view(() if behind is None else depth + behind, position=position,
                 orientation=orientation)
    place = seen_from(position, orientation, pixel, depth)
    assert there.shows(place)
    low, high = there.bounds(30.0)
    assert (low - 1e-6 <= place).all()
    assert (place <= high + 1e-6).all()


@given(position=positions, orientation=orientations, pixel=inside, depth=depths,
       surface=st.just(()) | depths)
def test_what_is_behind_the_camera_is_not_shown(
    position: tuple[float, float, float], orientation: tuple[float, float, float, float],
    pixel: tuple[float, float], depth: float, surface: float | tuple[()],
) -> None:
    there = view(surface, position=position, orientation=orientation)
    assert not there.shows(seen_from(position, orientation, pixel, -depth))


@given(pixel=inside, depth=depths, nearer=st.floats(0.1, 0.9))
def test_what_is_hidden_is_not_shown(
    pixel: tuple[float, float], depth: float, nearer: float
) -> None:
    there = view(nearer * depth - 0.05)
    assert not there.shows(seen_from((0, 0, 0), there.pose.orientation, pixel, depth))


@pytest.mark.parametrize(('place', 'shown'), [
    ((1.0, 0.63, 0.0), True), ((1.0, 0.65, 0.0), False),
    ((1.0, -0.63, 0.0), True), ((1.0, -0.65, 0.0), False),
    ((1.0, 0.0, 0.47), True), ((1.0, 0.0, 0.49), False),
    ((1.0, 0.0, -0.47), True), ((1.0, 0.0, -0.49), False),
    ((0.0, 0.0, 0.0), False), ((math.nan,) * 3, False),
])
def test_the_image_ends_at_its_edges(place: tuple[float, float, float], shown: bool) -> None:
    assert view().shows(place) is shown


def test_depth_is_that_of_the_pixel() -> None:
    """The grid covers the whole image: left a wall at 0.5 m, right one at 2 m, below unknown."""
    there = view([[0.5, 2.0], [math.nan, math.nan]])
    left, right = 0.3, -0.3
    assert [there.shows((1.0, y, 0.2)) for y in (left, right)] == [False, True]
    assert not there.shows((2.5, right, 0.2))
    assert not any(there.shows((0.4, y, -0.05)) for y in (left, right))  # nobody can tell


def test_bounds_end_at_the_farthest_surface_or_at_the_reach() -> None:
    low, high = view([[1.0, 4.0], [math.nan, math.nan]]).bounds(30.0)
    assert 4.0 < high[0] < 4.2
    assert low[0] == pytest.approx(0.0)
    assert view().bounds(30.0)[1][0] == pytest.approx(30.0)
    assert view(50.0).bounds(30.0)[1][0] == pytest.approx(30.0)
    assert view(math.nan).bounds(30.0)[1][0] < 0.1
