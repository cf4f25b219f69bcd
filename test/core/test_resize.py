"""The model's image sizes, and the way back from them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError
from mimo_embodied_ros.core.resize import FACTOR, PixelLimits, Resize, resize, smart_resize
from mimo_embodied_ros.worlds.table_scene import draw_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = PixelLimits(19600, 38416)
LIMITS = (TINY, PixelLimits(3136, 1003520), PixelLimits(3136, 3211264))
sides = st.integers(1, 5000)


@pytest.mark.parametrize(
    ('width', 'height', 'size', 'tokens'),
    [
        (640, 480, (644, 476), 391),
        (848, 480, (840, 476), 510),
        (1280, 720, (1288, 728), 1196),
        (1600, 900, (1596, 896), 1824),
        (1920, 1080, (1932, 1092), 2691),
        (3840, 2160, (2380, 1344), 4080),
    ],
)
def test_sizes_of_cameras(width: int, height: int, size: tuple[int, int], tokens: int) -> None:
    rows, columns = smart_resize(height, width, PixelLimits(3136, 4096 * FACTOR**2))
    assert (columns, rows) == size
    assert rows * columns / FACTOR**2 == tokens


@given(st.integers(14, 5000), st.integers(14, 5000), st.sampled_from(LIMITS))
@example(14, 14, TINY)
@example(14, 2800, TINY)
def test_agrees_with_transformers(height: int, width: int, limits: PixelLimits) -> None:
    theirs = pytest.importorskip(
        'transformers.models.qwen2_vl.image_processing_pil_qwen2_vl', exc_type=ImportError
    )
    assume(max(height, width) <= 200 * min(height, width))
    expected = theirs.smart_resize(height, width, FACTOR, limits.min_pixels, limits.max_pixels)
    assert smart_resize(height, width, limits) == expected


@pytest.mark.parametrize('size', [(480, 640), (37, 90), (400, 300), (196, 196)])
def test_processor_leaves_the_resized_image_as_it_is(size: tuple[int, int]) -> None:
    theirs = pytest.importorskip(
        'transformers.models.qwen2_vl.image_processing_pil_qwen2_vl', exc_type=ImportError
    )
    processor = theirs.Qwen2VLImageProcessorPil(min_pixels=19600, max_pixels=38416)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    resized, scale = resize(pixels, TINY)
    direct = processor(images=[pixels], return_tensors='np')
    ours = processor(images=[resized], return_tensors='np')
    np.testing.assert_array_equal(ours['image_grid_thw'], direct['image_grid_thw'])
    np.testing.assert_array_equal(ours['pixel_values'], direct['pixel_values'])
    assert resized.shape == (scale.model_height, scale.model_width, 3)


def test_a_far_larger_image_is_reduced_as_well_as_by_the_processor() -> None:
    theirs = pytest.importorskip(
        'transformers.models.qwen2_vl.image_processing_pil_qwen2_vl', exc_type=ImportError
    )
    processor = theirs.Qwen2VLImageProcessorPil(min_pixels=19600, max_pixels=38416)
    scene = draw_table(random.Random(0), 1920, 1080).pixels
    resized, _ = resize(scene, TINY)
    direct = processor(images=[scene], return_tensors='np')['pixel_values']
    ours = processor(images=[resized], return_tensors='np')['pixel_values']
    # pixel values have a deviation of about 1
    assert np.abs(ours - direct).mean() < 0.02
    assert np.abs(ours - direct).max() < 0.5


@given(st.integers(1, 60), st.integers(150, 260), st.integers(0, 59), st.booleans())
@example(short=31, ratio=193, more=17, upright=False)  # 6000x31
def test_a_picture_far_from_square_is_resized_or_refused_by_its_own_size(
    short: int, ratio: int, more: int, upright: bool
) -> None:
    long = short * ratio + more
    width, height = (short, long) if upright else (long, short)
    pixels = np.zeros((1, 1, 3), np.uint8)  # of a smaller copy
    try:
        resized, scale = resize(pixels, PixelLimits(3136, 12_845_056), size=(width, height))
    except InvalidRequestError as error:
        assert f'{width}x{height} pixels' in str(error)
        assert str(error).endswith('crop it')
    else:
        assert max(resized.shape) <= 200 * min(resized.shape[:2])
        assert (scale.width, scale.height) == (width, height)


@given(sides, sides, st.sampled_from(LIMITS))
def test_size_has_the_factor_or_is_refused(height: int, width: int, limits: PixelLimits) -> None:
    try:
        rows, columns = smart_resize(height, width, limits)
    except InvalidRequestError:
        assert max(height, width) > 200 * min(height, width)
    else:
        assert rows % FACTOR == columns % FACTOR == 0
        assert rows >= FACTOR
        assert columns >= FACTOR


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from(LIMITS))
@example(119 // 2, 1458 // 2, TINY)
def test_image_is_stable_or_refused(height: int, width: int, limits: PixelLimits) -> None:
    try:
        resized, scale = resize(np.zeros((height, width, 3), np.uint8), limits)
    except MimoError as error:
        assert f'{width}x{height}' in str(error)
    else:
        assert (scale.width, scale.height) == (width, height)
        assert smart_resize(*resized.shape[:2], limits) == resized.shape[:2]


@given(sides, sides, st.sampled_from(LIMITS), st.data())
def test_there_and_back_within_half_a_pixel(
    height: int, width: int, limits: PixelLimits, data: st.DataObject
) -> None:
    assume(max(height, width) <= 200 * min(height, width))
    rows, columns = smart_resize(height, width, limits)
    scale = Resize(width, height, columns, rows)
    x, y = data.draw(st.tuples(st.floats(0, width), st.floats(0, height)))
    assert scale.to_image(*scale.to_model(x, y)) == pytest.approx((x, y), abs=1e-6)
    there = data.draw(st.tuples(st.integers(0, columns - 1), st.integers(0, rows - 1)))
    back = scale.to_model(*scale.to_image(*there))
    assert (round(back[0]), round(back[1])) == there
    image_x, image_y = scale.to_image(*there)
    assert 0 <= image_x < width
    assert 0 <= image_y < height


def test_image_within_the_limits_is_not_touched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (168, 224, 3), np.uint8)
    resized, scale = resize(pixels, TINY)
    assert resized is pixels
    assert scale == Resize(224, 168, 224, 168)


@pytest.mark.parametrize(
    'pixels',
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        np.zeros((1, 201, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels: NDArray[np.generic]) -> None:
    with pytest.raises(InvalidRequestError):
        resize(pixels, TINY)


@pytest.mark.parametrize('limits', [(0, 10), (-1, 10), (11, 10)])
def test_impossible_limits_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequestError, match='min_pixels'):
        PixelLimits(*limits)
