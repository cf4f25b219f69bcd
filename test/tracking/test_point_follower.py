"""Following of points, in pictures that are made here and whose truth is therefore known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.tracking.point_follower import PointFollower
from mimo_embodied_ros.tracking.small_image import (
    CameraPlace,
    Recording,
    SmallImage,
    small_image,
)
from mimo_embodied_ros.tracking.track import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

STEP_NS = 33_000_000
SIZE = 320, 240
NEAR, FAR = 0.6, 1.0  # metres: the thing, and what is behind it


def texture(seed: int, columns: int, rows: int, grain: int = 6) -> Pixels:
    """Colours without sharp edges."""
    coarse = np.random.default_rng(seed).integers(
        20, 236, (rows // grain + 2, columns // grain + 2, 3), np.uint8)
    fine = cv2.resize(coarse, None, fx=grain, fy=grain, interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine[:rows, :columns], np.uint8)


THING, GROUND = texture(1, 70, 60, 9), texture(2, *SIZE, 20) // 3 * 2
GREEN = (20, 200, 40)


def picture(
    number: int, at: tuple[float, float] | None, *, angle: float = 0.0, size: float = 1.0,
    light: float = 1.0, before: int | None = None, depth: bool = True,
) -> SmallImage:
    """The ground, and the thing with its middle at a place; None: without it.

    Args:
        number: of the picture.
        at: columns and rows.
        angle: by which the thing is turned, degrees.
        size: of the thing, times its own.
        light: times which all is brighter.
        before: left column of a green board before all.
        depth: whether it is measured.

    """
    pixels, metres = GROUND.copy(), np.full(GROUND.shape[:2], FAR, np.float32)
    if at is not None:
        middle = THING.shape[1] / 2, THING.shape[0] / 2
        turn = cv2.getRotationMatrix2D(middle, angle, size)
        turn[:, 2] += np.array(at) - middle
        there = cv2.warpAffine(np.full(THING.shape[:2], 255, np.uint8), turn, SIZE) > 127
        pixels[there] = cv2.warpAffine(THING, turn, SIZE, flags=cv2.INTER_LINEAR)[there]
        metres[there] = NEAR
    if before is not None:
        pixels[:, max(0, before) : before + 90] = GREEN
        metres[:, max(0, before) : before + 90] = 0.3
    bright = np.clip(pixels * light, 0, 255).astype(np.uint8)
    return small_image(bright, number * STEP_NS, depth=metres if depth else None)


def test_a_point_goes_with_its_thing() -> None:
    """The thing moves over ground that stands still, turns and comes nearer."""
    follower = PointFollower(picture(0, (80, 100)), [(90, 105)])
    for number in range(1, 31):
        at, angle, size = (80 + 4 * number, 100 + number), 2.0 * number, 1 + number / 100
        follower.advance(picture(number, at, angle=angle, size=size))
        turn = cv2.getRotationMatrix2D((0, 0), angle, size)
        expected = turn[:, :2] @ (10, 5) + at
        point, = follower.points
        assert point.state is State.TRACKED
        assert np.hypot(*(np.array([point.x, point.y]) - expected)) < 1.0
        assert 0 < point.uncertainty < 2


@given(st.floats(-12, 12), st.floats(-12, 12), st.floats(0.6, 1.2), st.booleans())
@example(0.0, -9.0, 0.640625, False)  # the flow alone was wrong by 3 pixels
def test_a_point_is_where_its_thing_is_or_not_tracked(
    right: float, down: float, light: float, depth: bool
) -> None:
    follower = PointFollower(picture(0, (150, 120), depth=depth), [(145, 115)])
    follower.advance(picture(1, (150 + right, 120 + down), light=light, depth=depth))
    point, = follower.points
    assert point.state is State.TRACKED
    assert np.hypot(point.x - 145 - right, point.y - 115 - down) < 1.0


@pytest.mark.parametrize('depth', [True, False])
def test_a_thing_that_is_gone_is_lost_in_a_fifth_of_a_second(depth: bool) -> None:
    follower = PointFollower(picture(0, (150, 120), depth=depth), [(150, 120)])
    for number in range(1, 7):
        follower.advance(picture(number, None, depth=depth))
        point, = follower.points
        assert point.state is not State.TRACKED
        assert np.isnan([point.x, point.y, point.uncertainty]).all()
    assert point.state is State.LOST
    follower.ask_again()
    follower.advance(picture(8, None, depth=depth))
    assert follower.points[0].state is State.ASKED_AGAIN


@pytest.mark.parametrize('depth', [True, False])
def test_what_passes_before_a_thing_hides_it_for_a_while(depth: bool) -> None:
    follower = PointFollower(picture(0, (150, 120), depth=depth), [(150, 120)])
    states = []
    for number in range(1, 40):
        follower.advance(picture(number, (150, 120), before=-90 + 10 * number, depth=depth))
        states.append(follower.points[0].state)
    hidden = [state for state in states if state is not State.TRACKED]
    assert 8 <= len(hidden) <= 14
    assert hidden[0] is State.OCCLUDED
    if depth:
        assert set(hidden) == {State.OCCLUDED}
    assert states[-1] is State.TRACKED
    assert np.hypot(follower.points[0].x - 150, follower.points[0].y - 120) < 1.0


@pytest.mark.parametrize('side', [100, 180, 260])
def test_a_point_amid_a_large_surface_of_one_colour_is_followed(side: int) -> None:
    """Only its edges, which are far from the point, tell where it is."""
    pixels = texture(3, 800, 480, 20) // 3 * 2
    metres = np.full(pixels.shape[:2], FAR, np.float32)
    pixels[100 : 100 + side, 300 : 300 + side] = GREEN
    metres[100 : 100 + side, 300 : 300 + side] = NEAR

    def seen(left: int) -> SmallImage:
        return small_image(np.ascontiguousarray(pixels[:, left : left + 640]), left * STEP_NS,
                           depth=np.ascontiguousarray(metres[:, left : left + 640]))

    x, y = 300 + side / 2 + 20, 100 + side / 2
    follower = PointFollower(seen(0), [(x, y)])
    for left in range(5, 150, 5):
        follower.advance(seen(left))
        point, = follower.points
        assert point.state is State.TRACKED
        assert abs(point.x + left - x) < 2
        assert abs(point.y - y) < 2


def test_a_thing_that_leaves_the_picture_is_lost_and_found_where_it_comes_back() -> None:
    follower = PointFollower(picture(0, (280, 120)), [(280, 120)])
    columns = [*range(285, 361, 5), *range(360, 279, -5)]
    for number, column in enumerate(columns, 1):
        follower.advance(picture(number, (column, 120)))
        point, = follower.points
        if column > 330:
            assert point.state is State.LOST
        elif point.state is State.TRACKED:
            assert abs(point.x - column) < 1.5
    assert point.state is State.TRACKED


def test_a_twin_beside_is_not_taken_for_the_thing() -> None:
    twins = picture(0, (90, 120)).colours.copy()
    twins[:, 160:] = picture(0, (230, 120)).colours[:, 160:]
    follower = PointFollower(small_image(twins, 0), [(90, 120)])
    for number in range(1, 30):
        follower.advance(picture(number, (230, 120), depth=False))
        assert follower.points[0].state is not State.TRACKED


def test_where_the_camera_was_tells_where_a_point_is_after_a_gap() -> None:
    """The camera turns by 100 columns between two pictures: too far for the flow."""
    matrix = np.array([[300.0, 0, 160], [0, 300, 120], [0, 0, 1]])
    angle = np.arctan2(100, 300)
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])

    def seen(number: int, at: tuple[int, int], rotation: Any) -> SmallImage:
        image = picture(number, at)
        return SmallImage(image.stamp_ns, image.grey, image.colours, image.scale, image.depth,
                          CameraPlace(matrix, Transform(rotation)))

    follower = PointFollower(seen(0, (160, 120), np.eye(3)), [(160, 120)])
    follower.advance(seen(1, (60, 120), turned))
    point, = follower.points
    assert point.state is State.TRACKED
    assert np.hypot(point.x - 60, point.y - 120) < 1.5


@pytest.mark.parametrize(('columns', 'scale'), [(640, 1.0), (1920, 0.5), (3840, 0.25)])
def test_points_are_those_of_the_camera_whatever_its_size(columns: int, scale: float) -> None:
    rows = columns * 9 // 16
    large = texture(3, columns + 40, rows, grain=columns // 80)
    image = small_image(np.ascontiguousarray(large[:, :columns]), 0)
    assert image.scale == scale
    follower = PointFollower(image, [(columns / 2, rows / 3)])
    follower.advance(small_image(np.ascontiguousarray(large[:, 20 : columns + 20]), STEP_NS))
    point, = follower.points
    assert abs(point.x - columns / 2 + 20) < 0.5 / scale
    assert abs(point.y - rows / 3) < 0.5 / scale


def test_a_camera_that_changes_its_size_loses_its_points_for_as_long() -> None:
    follower = PointFollower(picture(0, (150, 120)), [(150, 120)])
    half = small_image(np.ascontiguousarray(picture(0, (150, 120)).colours[::2, ::2]), STEP_NS)
    follower.advance(half)
    assert follower.points[0].state is State.LOST
    follower.advance(picture(2, (153, 120)))
    point, = follower.points
    assert point.state is State.TRACKED
    assert np.hypot(point.x - 153, point.y - 120) < 1.0


@pytest.mark.parametrize('point', [(1920, 1080), (1920.9, 0), (0, 1080.9)])
def test_the_last_of_an_odd_number_of_columns_can_be_followed(point: tuple[float, float]) -> None:
    image = small_image(texture(3, 1921, 1081, grain=24), 0)
    follower = PointFollower(image, [point])
    x, y = follower.points[0].x, follower.points[0].y
    assert np.hypot(x - point[0], y - point[1]) < 3.5


@pytest.mark.parametrize('point', [(-1, 5), (5, 250), (330, 5), (np.nan, 5)])
def test_a_point_outside_of_the_image_is_refused(point: tuple[float, float]) -> None:
    with pytest.raises(InvalidRequestError, match='is outside of the image'):
        PointFollower(picture(0, (150, 120)), [(10, 10), point])


def test_grey_cameras_can_be_followed_too() -> None:
    images = [small_image(cv2.cvtColor(picture(n, (150 + 3 * n, 120)).colours,
                                       cv2.COLOR_RGB2GRAY), n * STEP_NS) for n in range(6)]
    follower = PointFollower(images[0], [(150, 120)])
    for image in images[1:]:
        follower.advance(image)
    assert abs(follower.points[0].x - 165) < 1.0


@given(st.integers(0, 319), st.integers(0, 239))
def test_any_point_in_the_image_can_be_followed(x: int, y: int) -> None:
    follower = PointFollower(picture(0, (150, 120)), [(x, y)])
    for number in (1, 2):
        follower.advance(picture(number, (150, 120)))
        point, = follower.points
        if point.state is State.TRACKED:
            assert np.hypot(point.x - x, point.y - y) < 1.0


def test_a_recording_grows_no_further_and_keeps_its_first_and_newest_image() -> None:
    recording = Recording(picture(0, None), most=20)
    for number in range(1, 200):
        recording.add(picture(number, None))
        kept = [image.stamp_ns for image in recording.images()]
        assert len(kept) <= 20
        assert (kept[0], kept[-1]) == (0, number * STEP_NS)
        assert kept == sorted(set(kept))
    recording.add(picture(199, None))  # a stamp that repeats
    assert [image.stamp_ns for image in recording.images()] == kept
    recording.add(picture(3, None))  # a bag begins anew
    assert recording.images() == []


def test_a_smaller_version_of_an_image_gives_pixels_of_the_image() -> None:
    images = [
        small_image(cv2.resize(picture(number, (150 + 2 * number, 120)).colours, (160, 120)),
                    number * STEP_NS, columns=320) for number in range(3)]
    follower = PointFollower(images[0], [(150, 120)])
    for image in images[1:]:
        follower.advance(image)
    point, = follower.points
    assert abs(point.x - 154) < 1.5
