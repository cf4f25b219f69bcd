"""Decoding of image messages: every encoding with known values, and malformed messages."""

from __future__ import annotations

import array
import io
import os
import struct
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mimo_embodied_ros.core.errors import BadEncodingError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.resize import PixelLimits, Resize
from mimo_embodied_ros.pictures import Levels
from mimo_embodied_ros.ros import images
from mimo_embodied_ros.ros.colour_conversion import colour_converter
from mimo_embodied_ros.ros.images import (
    decode_compressed,
    decode_compressed_depth,
    decode_depth,
    decode_image,
    decode_raw,
    decode_reduced,
    encode_image,
)
from support.programs import run_python

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LIBRARIES = ['rosbags-image']
if colour_converter().__module__.startswith('cv_bridge'):
    LIBRARIES.append('cv_bridge')


@pytest.fixture(params=LIBRARIES, autouse=True, scope='module')
def library(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run every test with each library that is installed."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == 'rosbags-image':
            patch.setenv('AMENT_PREFIX_PATH', '/nonexistent')
        colour_converter.cache_clear()
        assert colour_converter().__module__.startswith(request.param.split('-')[0])
        yield request.param
    colour_converter.cache_clear()


def message(
    encoding: str, samples: NDArray[Any], padding: int = 0, big_endian: bool = False
) -> Image:
    """Build a message from (height, width[, n]) samples, with junk at the end of each row."""
    height, width = samples.shape[:2]
    samples = samples.astype(samples.dtype.newbyteorder('>' if big_endian else '<'))
    rows = samples.reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xA5)
    msg = Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    msg.is_bigendian = int(big_endian)
    msg.data.frombytes(rows.tobytes())
    return msg


RGB = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[1, 2, 3], [128, 64, 32], [250, 251, 252]]],
    np.uint8,
)
ALPHA = np.full((2, 3, 1), 9, np.uint8)
RGBA = np.concatenate([RGB, ALPHA], axis=2)
BGRA = np.concatenate([RGB[..., ::-1], ALPHA], axis=2)
GREY = np.array([[0, 1, 127], [128, 254, 255]], np.uint8)
GREY_RGB = np.repeat(GREY[..., np.newaxis], 3, axis=2)


def wide(samples: NDArray[Any]) -> NDArray[np.uint16]:
    """Make 16-bit samples of 8-bit ones, with noise in the lower bits."""
    return samples.astype(np.uint16) * 256 + 77


EXACT = {
    'rgb8': (RGB, RGB),
    'bgr8': (RGB[..., ::-1], RGB),
    'rgba8': (RGBA, RGB),
    'bgra8': (BGRA, RGB),
    'rgb16': (wide(RGB), RGB),
    'bgr16': (wide(RGB[..., ::-1]), RGB),
    'rgba16': (wide(RGBA), RGB),
    'bgra16': (wide(BGRA), RGB),
    'mono8': (GREY, GREY_RGB),
    'mono16': (wide(GREY), GREY_RGB),
    '8UC1': (GREY, GREY_RGB),
    '8UC3': (RGB[..., ::-1], RGB),
    '8UC4': (BGRA, RGB),
}
BAYER = [
    f'bayer_{pattern}{bits}' for pattern in ('rggb', 'bggr', 'gbrg', 'grbg') for bits in (8, 16)
]
YUV = {'yuv422': 'uyvy', 'uyvy': 'uyvy', 'yuv422_yuy2': 'yuyv', 'yuyv': 'yuyv'}


@pytest.mark.parametrize('padding', [0, 1, 13])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding', EXACT)
def test_colours_and_grey_are_exact(encoding: str, big_endian: bool, padding: int) -> None:
    samples, expected = EXACT[encoding]
    pixels = decode_image(message(encoding, samples, padding, big_endian))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding', BAYER)
def test_bayer(encoding: str, big_endian: bool, padding: int) -> None:
    # two halves of one colour each: a swapped pattern gives other colours
    colours = np.zeros((6, 12, 3), np.uint8)
    colours[:, :6] = 200, 100, 50
    colours[:, 6:] = 10, 20, 240
    pattern = np.array(['rgb'.index(letter) for letter in encoding[6:10]]).reshape(2, 2)
    channel = np.tile(pattern, (3, 6))
    mosaic = np.take_along_axis(colours, channel[..., np.newaxis], axis=2)[..., 0]
    if encoding.endswith('16'):
        mosaic = wide(mosaic)
    pixels = decode_image(message(encoding, mosaic, padding, big_endian))
    np.testing.assert_array_equal(pixels[:, :4], colours[:, :4])
    np.testing.assert_array_equal(pixels[:, 8:], colours[:, 8:])


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', YUV)
def test_yuv422(encoding: str, padding: int) -> None:
    # ITU-R BT.601, limited range
    colours = {(81, 90, 240): (255, 0, 0), (145, 54, 34): (0, 255, 0), (41, 240, 110): (0, 0, 255)}
    for (y, u, v), rgb in colours.items():
        pair = [u, y, v, y] if YUV[encoding] == 'uyvy' else [y, u, y, v]
        samples = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (3, 2, 1))
        pixels = decode_image(message(encoding, samples, padding))
        assert pixels.shape == (3, 4, 3)
        assert np.abs(pixels.astype(int) - rgb).max() <= 2


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
def test_planar_yuv(encoding: str, padding: int) -> None:
    # ITU-R BT.601, limited range: red above green on the left, blue above white on the right
    yuv = np.array([[(81, 90, 240), (41, 240, 110)], [(145, 54, 34), (235, 128, 128)]], np.uint8)
    rgb = np.array([[(255, 0, 0), (0, 0, 255)], [(0, 255, 0), (255, 255, 255)]])
    bright = yuv[..., 0].repeat(4, 0).repeat(6, 1)  # 8 rows of 12
    pairs = yuv[..., 1:] if encoding == 'nv12' else yuv[..., :0:-1]
    colours = pairs.repeat(2, 0).repeat(3, 1).reshape(4, 12)
    msg = message(encoding, np.concatenate([bright, colours]), padding)
    msg.height = 8
    pixels = decode_image(msg)
    assert (pixels.shape, pixels.dtype) == ((8, 12, 3), np.uint8)
    assert np.abs(pixels.astype(int) - rgb.repeat(4, 0).repeat(6, 1)).max() <= 2


@pytest.mark.parametrize(('width', 'height', 'step', 'size', 'says'), [
    (3, 4, 3, 18, '3x4, .*width and height must be even'),
    (4, 3, 4, 18, '4x3, .*width and height must be even'),
    (4, 4, 3, 24, 'a row needs 4 bytes'),
    (4, 4, 4, 16, '16 bytes: step x 6 rows is 24 bytes'),  # brightness only
    (4, 6, 4, 24, '24 bytes: step x 9 rows is 36 bytes'),  # the rows of both planes as height
    (4, 4, 6, 24, '24 bytes: step x 6 rows is 36 bytes'),
    (4, 4, 4, 48, '48 bytes: step x 6 rows is 24 bytes'),
    (0, 4, 4, 24, 'no pixels'),
    (4, 2**32 - 2, 2**32 - 1, 24, 'step x 6442450941 rows'),
])
@pytest.mark.parametrize('encoding', ['nv12', 'nv21'])
def test_planar_yuv_of_other_sizes_is_refused(
    encoding: str, width: int, height: int, step: int, size: int, says: str
) -> None:
    msg = Image(width=width, height=height, step=step, encoding=encoding, data=bytes(size))
    with pytest.raises(BadEncodingError, match=says):
        decode_image(msg)


DEEP = [encoding for encoding, (samples, _) in EXACT.items() if samples.dtype == np.uint16]


@pytest.mark.parametrize('bits', [10, 12, 14])
@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding', DEEP)
def test_fewer_than_16_used_bits_are_named_and_shown_with_their_white_level(
    encoding: str, big_endian: bool, bits: int
) -> None:
    samples, expected = EXACT[encoding]
    msg = message(encoding, samples >> (16 - bits), big_endian=big_endian)
    picture = decode_raw(msg)
    assert picture.white == 2**bits - 1
    assert picture.pixels.max() < 2**bits / 256
    shown = decode_raw(msg, Levels(0, 2**bits - 1))
    assert shown.white == 0
    np.testing.assert_array_equal(shown.pixels, expected)


def test_levels_are_of_16_bits_only_and_what_is_beyond_them_is_black_or_white() -> None:
    levels = Levels(1000, 1511)
    grey = np.array([[0, 999, 1000, 1002, 1256, 1511, 1512, 65535]], np.uint16)
    pixels = decode_raw(message('mono16', grey), levels).pixels
    assert pixels[0, :, 0].tolist() == [0, 0, 0, 1, 128, 255, 255, 255]
    png = compressed(PILImage.fromarray(grey), 'PNG', 'mono16; png compressed ')
    np.testing.assert_array_equal(decode_reduced(png, None, levels).pixels, pixels)
    for encoding in ('mono8', 'rgb8', 'bgra8'):
        samples, expected = EXACT[encoding]
        picture = decode_raw(message(encoding, samples), levels)
        np.testing.assert_array_equal(picture.pixels, expected)
    depth = message('16UC1', np.array([[1000, 2000, 3000]], np.uint16))
    assert decode_raw(depth, levels).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_a_mosaic_of_12_bits_is_shown_with_its_white_level() -> None:
    mosaic = np.tile(np.array([[200, 100], [100, 50]], np.uint16), (3, 3)) << 4
    png = compressed(PILImage.fromarray(mosaic), 'PNG', 'bayer_rggb16; png compressed ')
    for picture in (decode_raw(message('bayer_rggb16', mosaic)), decode_reduced(png)):
        assert picture.white == 4095
    for picture in (decode_raw(message('bayer_rggb16', mosaic), Levels(0, 4095)),
                    decode_reduced(png, None, Levels(0, 4095))):
        assert (picture.pixels == (200, 100, 50)).all()


@pytest.mark.parametrize(('largest', 'white'), [(0, 0), (255, 0), (16384, 0), (65535, 0)])
def test_a_dark_and_a_full_image_name_no_white_level(largest: int, white: int) -> None:
    assert decode_raw(message('mono16', np.array([[0, largest]], np.uint16))).white == white
    assert decode_raw(message('16UC1', np.array([[0, 1000]], np.uint16))).white == 0


@pytest.mark.parametrize('big_endian', [False, True])
def test_values_without_colour_become_grey_over_their_range(big_endian: bool) -> None:
    depth = np.array([[1000, 2000, 3000]], np.uint16)
    pixels = decode_image(message('16UC1', depth, 2, big_endian))
    assert pixels[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    metres = np.array([[np.nan, -1, 0, 1, np.inf]], np.float32)
    pixels = decode_image(message('32FC1', metres, 4, big_endian))
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255, 0]


@pytest.mark.parametrize('value', [np.nan, np.inf, 0, 3])
def test_values_without_a_range_become_black(value: float) -> None:
    assert not decode_image(message('32FC1', np.full((2, 2), value, np.float32))).any()


def test_extreme_floats_do_not_overflow() -> None:
    limit = np.finfo(np.float32).max
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        pixels = decode_image(message('32FC1', np.array([[-limit, 0, limit]], np.float32)))
    assert pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('encoding', ['16UC1', 'mono16'])
def test_depth_in_millimetres(encoding: str, big_endian: bool) -> None:
    depth = decode_depth(
        message(encoding, np.array([[0, 1, 1500, 65535]], np.uint16), 3, big_endian)
    )
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.array([[np.nan, 0.001, 1.5, 65.535]], np.float32))


@pytest.mark.parametrize('big_endian', [False, True])
def test_depth_in_metres(big_endian: bool) -> None:
    values = np.array([[0, -1, np.nan, np.inf, -np.inf, 1.25]], np.float32)
    depth = decode_depth(message('32FC1', values, 8, big_endian))
    np.testing.assert_array_equal(depth, np.array([[np.nan] * 5 + [1.25]], np.float32))


def test_signalling_nan_is_unknown_without_a_warning() -> None:
    samples = np.array([[0x7FA00000, 0x3F800000, 0x40000000]], np.uint32).view(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        depth = decode_depth(message('32FC1', samples))
        pixels = decode_image(message('32FC1', samples))
    np.testing.assert_array_equal(depth, np.array([[np.nan, 1, 2]], np.float32))
    assert pixels[0, :, 0].tolist() == [0, 0, 255]


def test_depth_of_a_colour_image_is_refused() -> None:
    with pytest.raises(BadEncodingError, match=r"3x2, encoding 'rgb8'.* 16UC1, mono16, 32FC1"):
        decode_depth(message('rgb8', RGB))


@pytest.mark.parametrize(
    ('change', 'values'),
    [
        (
            {'encoding': 'rgb10'},
            "3x2, encoding 'rgb10', step 9, 18 bytes: the encoding is not known",
        ),
        ({'encoding': ''}, "encoding ''"),
        ({'encoding': 'nv24'}, "encoding 'nv24', .* not known.*nv12, nv21"),
        ({'encoding': 'NV12'}, "encoding 'NV12', .* not known"),
        ({'width': 0}, '0x2, .*no pixels'),
        ({'height': 0}, '3x0, .*no pixels'),
        ({'width': 4}, '4x2, .*step 9, .*needs 12 bytes'),
        ({'step': 0}, 'step 0, .*needs 9 bytes'),
        ({'step': 8}, 'step 8, .*needs 9 bytes'),
        ({'step': 10}, 'step 10, 18 bytes: step x height is 20 bytes'),
        ({'height': 3}, '3x3, .*18 bytes: step x height is 27'),
        ({'height': 1}, '3x1, .*18 bytes: step x height is 9'),
        ({'height': 2**32 - 1, 'step': 2**32 - 1}, '3x4294967295, .*step 4294967295'),
        ({'data': []}, '0 bytes: step x height is 18'),
        ({'data': bytes(17)}, '17 bytes: step x height is 18'),
        ({'encoding': 'rgb16'}, 'needs 18 bytes'),
        ({'encoding': 'yuv422'}, 'width must be even'),
        ({'encoding': 'bayer_rggb8'}, '3x3 pixels at least'),
    ],
)
def test_a_message_that_contradicts_itself_is_refused(change: dict[str, Any], values: str) -> None:
    msg = message('rgb8', RGB)
    for field, value in change.items():
        setattr(msg, field, value)
    with pytest.raises(BadEncodingError, match=values):
        decode_image(msg)


def test_messages_of_rosbags_are_read_too() -> None:
    store = get_typestore(Stores.ROS2_JAZZY)
    stamp = store.types['builtin_interfaces/msg/Time'](sec=1, nanosec=2)
    header = store.types['std_msgs/msg/Header'](stamp=stamp, frame_id='camera')
    ours = message('bgr8', RGB[..., ::-1], 3)
    data = np.frombuffer(ours.data, np.uint8)
    theirs = store.types['sensor_msgs/msg/Image'](header, 2, 3, 'bgr8', 0, 12, data)
    np.testing.assert_array_equal(decode_image(theirs), RGB)
    png = np.frombuffer(compressed(RGB, 'PNG').data, np.uint8)
    theirs = store.types['sensor_msgs/msg/CompressedImage'](header, 'png', png)
    np.testing.assert_array_equal(decode_compressed(theirs), RGB)


@pytest.mark.parametrize(('side', 'decoded'), [(56, 112), (112, 224), (448, 896), (896, 896)])
def test_a_jpeg_is_decoded_as_large_as_the_model_needs(side: int, decoded: int) -> None:
    """At twice the model's size; points are still of the original."""
    rows, columns = np.mgrid[:896, :896]
    smooth = np.stack([rows // 4, columns // 4, (rows + columns) // 8], -1).astype(np.uint8)
    msg, limits = compressed(smooth, 'JPEG'), PixelLimits(28 * 28, side * side)
    pixels, size, *_ = decode_reduced(msg, limits)
    assert (pixels.shape, size) == ((decoded, decoded, 3), (896, 896))
    frame = Frame(pixels, size=size)
    assert (frame.width, frame.height) == (896, 896)
    seen, scale = frame.resized(limits)
    assert seen.shape == (side, side, 3)
    assert scale == Resize(896, 896, side, side)
    whole, _ = Frame(decode_compressed(msg)).resized(limits)
    assert np.abs(seen.astype(int) - whole).max() <= 6


def test_other_files_than_colour_jpegs_are_decoded_at_full_size() -> None:
    limits = PixelLimits(28 * 28, 28 * 28)
    for msg in (compressed(photo(), 'PNG'), compressed(photo()[..., 0], 'JPEG', 'mono8; jpeg ')):
        pixels, size, *_ = decode_reduced(msg, limits)
        assert pixels.shape[1::-1] == size == photo().shape[1::-1]


def test_the_pixels_do_not_share_memory_with_the_message() -> None:
    msg = message('rgb8', RGB)
    pixels = decode_image(msg)
    msg.data[0] = 17
    np.testing.assert_array_equal(pixels, RGB)


def test_encode_image_is_read_back() -> None:
    header = Header(frame_id='camera_optical')
    header.stamp.sec = 7
    msg = encode_image(RGB, header)
    assert (msg.height, msg.width, msg.encoding, msg.step) == (2, 3, 'rgb8', 9)
    assert msg.header == header
    np.testing.assert_array_equal(decode_image(msg), RGB)
    np.testing.assert_array_equal(decode_image(encode_image(RGB[:, ::-1])), RGB[:, ::-1])


@pytest.mark.parametrize(
    'array', [GREY, RGBA, RGB.astype(np.float32), np.zeros((0, 4, 3), np.uint8)], ids=str
)
def test_encode_image_refuses_other_arrays(array: NDArray[Any]) -> None:
    with pytest.raises(BadEncodingError, match='give \\(height, width, 3\\) uint8'):
        encode_image(array)


def compressed(pixels: Any, kind: str, form: str | None = None, **options: Any) -> CompressedImage:
    """Build a compressed message; the format is PIL's name unless given."""
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, PILImage.Image) else PILImage.fromarray(pixels)
    picture.save(file, kind, **options)
    msg = CompressedImage(format=kind.lower() if form is None else form)
    msg.data.frombytes(file.getvalue())
    return msg


def photo() -> NDArray[np.uint8]:
    """Draw a smooth image with detail, large enough for several JPEG blocks."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, 128 + 60 * np.sin(x / 5)], axis=2).astype(np.uint8)


@pytest.mark.parametrize('form', ['jpeg', 'rgb8; jpeg compressed bgr8', '', 'png'])
@pytest.mark.parametrize('progressive', [False, True])
def test_jpeg(form: str, progressive: bool) -> None:
    msg = compressed(photo(), 'JPEG', form, quality=95, subsampling=0, progressive=progressive)
    assert np.abs(decode_compressed(msg).astype(int) - photo()).max() <= 12


def test_png_is_exact_whatever_its_mode() -> None:
    np.testing.assert_array_equal(decode_compressed(compressed(RGB, 'PNG')), RGB)
    for picture in (PILImage.fromarray(GREY), PILImage.fromarray(GREY).convert('P')):
        np.testing.assert_array_equal(decode_compressed(compressed(picture, 'PNG')), GREY_RGB)


def test_grey_jpeg_has_three_channels() -> None:
    pixels = decode_compressed(compressed(photo()[..., 0], 'JPEG', 'mono8; jpeg compressed '))
    assert pixels.shape == (48, 64, 3)


def test_single_channel_png_is_read_by_its_original_encoding() -> None:
    deep = PILImage.fromarray(wide(GREY))
    np.testing.assert_array_equal(
        decode_compressed(compressed(deep, 'PNG', 'mono16; png compressed ')), GREY_RGB
    )
    depth = PILImage.fromarray(np.array([[1000, 2000, 3000]], np.uint16))
    pixels = decode_compressed(compressed(depth, 'PNG', '16UC1; png compressed '))
    assert pixels[0, :, 0].tolist() == [0, 128, 255]
    mosaic = np.tile(np.array([[200, 100], [100, 50]], np.uint8), (3, 3))
    pixels = decode_compressed(compressed(mosaic, 'PNG', 'bayer_rggb8; png compressed '))
    assert (pixels == (200, 100, 50)).all()


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_every_truncated_file_is_refused(kind: str) -> None:
    whole = bytes(compressed(photo(), kind).data)
    for length in [*range(0, len(whole), 37), *range(len(whole) - 40, len(whole))]:
        msg = CompressedImage(format=kind.lower())
        msg.data.frombytes(whole[:length])
        with pytest.raises(BadEncodingError, match=rf"format '{kind.lower()}', {length} bytes"):
            decode_compressed(msg)


def test_a_damaged_png_is_refused() -> None:
    msg = compressed(photo(), 'PNG')
    msg.data[len(msg.data) // 2] ^= 1
    with pytest.raises(BadEncodingError, match='not a complete JPEG or PNG'):
        decode_compressed(msg)


def test_other_data_are_refused_by_name() -> None:
    msg = CompressedImage(format='h264')
    msg.data.frombytes(bytes.fromhex('00000001674d0028'))
    with pytest.raises(BadEncodingError, match=r"'h264', 8 bytes.* 00 00 00 01 67 4d 00 28"):
        decode_compressed(msg)


def test_compressed_depth_is_refused_with_the_remedy() -> None:
    msg = compressed(wide(GREY), 'PNG', '16UC1; compressedDepth png')
    with pytest.raises(BadEncodingError, match='as its depth_topic'):
        decode_compressed(msg)


def compressed_depth(
    samples: NDArray[np.uint16], form: str, header: bytes = bytes(12)
) -> CompressedImage:
    """Build a message of image_transport's compressedDepth."""
    msg = compressed(samples, 'PNG', form)
    msg.data[:0] = array.array('B', header)
    return msg


@pytest.mark.parametrize('form', ['16UC1; compressedDepth', '16UC1; compressedDepth png'])
def test_compressed_depth_in_millimetres(form: str) -> None:
    samples = np.array([[0, 1, 1500, 65535]], np.uint16)
    depth = decode_compressed_depth(compressed_depth(samples, form))
    assert depth.dtype == np.float32
    np.testing.assert_array_equal(depth, np.array([[np.nan, 0.001, 1.5, 65.535]], np.float32))
    plain = decode_compressed_depth(compressed(samples, 'PNG', '16UC1; png compressed '))
    np.testing.assert_array_equal(plain, depth)


def test_compressed_depth_in_metres_is_inverse_and_quantised() -> None:
    # as compressed_depth_image_transport writes it, with its default parameters
    metres, z0, longest = np.array([[0.4, 1.0, 4.0, 9.5]]), 100.0, 10.0
    a = z0 * (z0 + 1)
    b = 1 - a / longest
    samples = np.concatenate([[[0]], np.rint(a / metres + b)], 1).astype(np.uint16)
    depth = decode_compressed_depth(compressed_depth(
        samples, '32FC1; compressedDepth png', struct.pack('<iff', 0, a, b)))
    assert np.isnan(depth[0, 0])
    np.testing.assert_allclose(depth[:, 1:], metres, rtol=0.005)


@pytest.mark.parametrize(('msg', 'says', 'cause'), [
    (compressed_depth(wide(GREY), '16UC1; compressedDepth rvl'), 'RVL is not read', 'not depth'),
    (compressed(wide(GREY), 'PNG', '32FC1; png compressed'), 'compressedDepth only', 'not depth'),
    (compressed_depth(GREY, '16UC1; compressedDepth'), 'mode L has no 16 bits', 'not depth'),
    (compressed(RGB, 'JPEG', '16UC1; jpeg'), 'mode RGB has no 16 bits', 'not depth'),
    (CompressedImage(format='16UC1; compressedDepth', data=b'abc'), 'header alone', 'damaged'),
    (CompressedImage(format='16UC1; compressedDepth', data=bytes(40)), 'not a complete', 'damaged'),
    (CompressedImage(format='32FC1; compressedDepth', data=b''), 'header alone', 'damaged'),
])
def test_messages_without_compressed_depth_are_refused(
    msg: CompressedImage, says: str, cause: str
) -> None:
    with pytest.raises(BadEncodingError, match=says) as caught:
        decode_compressed_depth(msg)
    assert caught.value.cause == cause


def test_nonsense_in_the_header_of_compressed_depth_makes_depth_unknown() -> None:
    for numbers in ((np.nan, 1.0), (np.inf, -np.inf), (-1.0, 0.0), (0.0, 333.0)):
        msg = compressed_depth(
            wide(GREY), '32FC1; compressedDepth png', struct.pack('<iff', 0, *numbers))
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            assert np.isnan(decode_compressed_depth(msg)).all()


@pytest.mark.parametrize('side', [8001, 15000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    bomb = compressed(PILImage.new('1', (side, side)), 'PNG')
    assert len(bomb.data) < 100_000
    with pytest.raises(BadEncodingError, match=r'pixels.* limit'):
        decode_compressed(bomb)


sizes = st.integers(0, 12) | st.integers(0, 2**32 - 1)
encodings = st.sampled_from(sorted({*images._LAYOUTS, *images._PLANAR})) | st.text(max_size=12)


@st.composite
def lies(draw: Any) -> Image:
    """Draw messages whose fields may contradict each other; in many they agree."""
    msg = Image(width=draw(sizes), height=draw(sizes), step=draw(sizes), encoding=draw(encodings))
    msg.is_bigendian = draw(st.integers(0, 255))
    if draw(st.booleans()) and msg.width <= 12 and msg.height <= 12:
        msg.step = msg.width * draw(st.integers(1, 8)) + draw(st.integers(0, 3))
        rows = msg.height * 3 // 2 if msg.encoding in images._PLANAR else msg.height
        msg.data.frombytes(draw(st.binary(min_size=1, max_size=8)) * (msg.step * rows))
        del msg.data[msg.step * rows :]
    else:
        msg.data.frombytes(draw(st.binary(max_size=200)))
    return msg


@settings(max_examples=400)
@given(msg=lies())
def test_any_image_gives_pixels_or_bad_encoding(msg: Image) -> None:
    try:
        pixels = decode_image(msg)
    except BadEncodingError as error:
        assert f'{msg.width}x{msg.height}, encoding {msg.encoding!r}' in str(error)
    else:
        assert pixels.shape == (msg.height, msg.width, 3)
        assert pixels.dtype == np.uint8
    try:
        depth = decode_depth(msg)
    except BadEncodingError as error:
        assert f'{msg.width}x{msg.height}' in str(error)
    else:
        assert depth.shape == (msg.height, msg.width)
        assert not (depth <= 0).any()
        assert not np.isinf(depth).any()


@settings(max_examples=200)
@given(
    form=st.sampled_from(['jpeg', 'png', 'bayer_rggb8; png compressed', ''])
    | st.text(max_size=20),
    kind=st.sampled_from(['JPEG', 'PNG']),
    cuts=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), max_size=4),
)
def test_any_compressed_data_give_pixels_or_bad_encoding(
    form: str, kind: str, cuts: list[tuple[int, bytes]]
) -> None:
    data = bytearray(compressed(photo(), kind).data)
    for anywhere, replacement in cuts:
        position = anywhere % len(data)
        data[position : position + len(replacement)] = replacement
    msg = CompressedImage(format=form)
    msg.data.frombytes(bytes(data))
    try:
        pixels = decode_compressed(msg)
    except BadEncodingError as error:
        assert f'{len(data)} bytes' in str(error)
    else:
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


GOOD = """
class CvBridge:
    def imgmsg_to_cv2(self, msg, encoding):
        import numpy as np
        return np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, 3)[..., ::-1]
"""


@pytest.mark.parametrize(
    ('source', 'in_index', 'chosen'),
    [
        (GOOD, True, 'cv_bridge'),
        (GOOD, False, 'rosbags'),  # as the one of ROS 1 on PyPI
        ("raise AttributeError('_ARRAY_API not found')", True, 'rosbags'),
        ('import os; os.abort()', True, 'rosbags'),
        (GOOD.replace('::-1', '::1'), True, 'rosbags'),
    ],
    ids=['clean', 'not in the index', 'other numpy', 'crashes', 'converts wrongly'],
)
def test_cv_bridge_is_used_only_where_it_is_ros_2s_and_works(
    tmp_path: Path, source: str, in_index: bool, chosen: str
) -> None:
    package = tmp_path / 'lib' / 'cv_bridge'
    package.mkdir(parents=True)
    (package / '__init__.py').write_text(source)
    index = tmp_path / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    if in_index:
        (index / 'cv_bridge').touch()
    path = os.pathsep.join([str(package.parent), *filter(None, sys.path)])
    environment = {**os.environ, 'AMENT_PREFIX_PATH': str(tmp_path), 'PYTHONPATH': path}
    program = ('from mimo_embodied_ros.ros.colour_conversion import colour_converter; '
               'print(colour_converter().__module__)')
    printed = run_python(program, environment=environment).stdout
    assert printed.split('.')[0].strip() == chosen
