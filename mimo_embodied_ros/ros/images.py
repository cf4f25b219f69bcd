"""Decodes image messages, ``sensor_msgs/Image`` and ``CompressedImage``, to pixels and depth.

A message is checked first and brought into one plain form (no row padding, native byte order,
8 bits a sample), because no library does this for all encodings. Colours are then converted by
cv_bridge or, where there is none, by rosbags-image; ``colour_conversion`` chooses. Messages may
come from rclpy (``array.array`` data) or from rosbags (numpy data). JPEG and PNG are read as files
are, by ``pictures``.
"""

from __future__ import annotations

import array
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from mimo_embodied_ros.core.errors import BadEncodingError
from mimo_embodied_ros.pictures import (
    FULL_RANGE,
    Picture,
    deep_samples,
    eight_bits,
    likely_white,
    open_picture,
    picture_of,
)

from .colour_conversion import colour_converter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

    from mimo_embodied_ros.core.resize import PixelLimits
    from mimo_embodied_ros.pictures import Levels

_FILE_FORMATS = ('JPEG', 'PNG')


class _Layout(NamedTuple):
    """How one encoding lies in memory."""

    samples: int  # per pixel
    dtype: str  # of a sample
    colour: str  # the libraries' name for it with 8 bits per sample; '': values without a colour


# As in sensor_msgs/image_encodings.hpp, and nv12, but for nv24.
_LAYOUTS = {
    'rgb8': _Layout(3, 'u1', 'rgb8'),
    'bgr8': _Layout(3, 'u1', 'bgr8'),
    'rgba8': _Layout(4, 'u1', 'rgba8'),
    'bgra8': _Layout(4, 'u1', 'bgra8'),
    'rgb16': _Layout(3, 'u2', 'rgb8'),
    'bgr16': _Layout(3, 'u2', 'bgr8'),
    'rgba16': _Layout(4, 'u2', 'rgba8'),
    'bgra16': _Layout(4, 'u2', 'bgra8'),
    'mono8': _Layout(1, 'u1', 'mono8'),
    'mono16': _Layout(1, 'u2', 'mono8'),
    'bayer_rggb8': _Layout(1, 'u1', 'bayer_rggb8'),
    'bayer_bggr8': _Layout(1, 'u1', 'bayer_bggr8'),
    'bayer_gbrg8': _Layout(1, 'u1', 'bayer_gbrg8'),
    'bayer_grbg8': _Layout(1, 'u1', 'bayer_grbg8'),
    'bayer_rggb16': _Layout(1, 'u2', 'bayer_rggb8'),
    'bayer_bggr16': _Layout(1, 'u2', 'bayer_bggr8'),
    'bayer_gbrg16': _Layout(1, 'u2', 'bayer_gbrg8'),
    'bayer_grbg16': _Layout(1, 'u2', 'bayer_grbg8'),
    'yuv422': _Layout(2, 'u1', 'yuv422'),
    'uyvy': _Layout(2, 'u1', 'yuv422'),
    'yuv422_yuy2': _Layout(2, 'u1', 'yuv422_yuy2'),
    'yuyv': _Layout(2, 'u1', 'yuv422_yuy2'),
    # OpenCV's names say nothing about colour; these are read as RViz and OpenCV read them
    '8UC1': _Layout(1, 'u1', 'mono8'),
    '8UC3': _Layout(3, 'u1', 'bgr8'),
    '8UC4': _Layout(4, 'u1', 'bgra8'),
    '16UC1': _Layout(1, 'u2', ''),
    '32FC1': _Layout(1, 'f4', ''),
}
# A plane of brightness, and below it one of colours with half its rows: pairs of values, each for
# four pixels. Neither library converts them correctly.
_PLANAR = {'nv12': cv2.COLOR_YUV2RGB_NV12, 'nv21': cv2.COLOR_YUV2RGB_NV21}
_DEPTH_ENCODINGS = ('16UC1', 'mono16', '32FC1')
_DEPTH_HEADER = struct.Struct('<iff')  # of compressedDepth: format and two parameters


def decode_image(msg: Image) -> NDArray[np.uint8]:
    """Pixels of an image message; see ``decode_raw``."""
    return decode_raw(msg).pixels


def decode_raw(msg: Image, levels: Levels = FULL_RANGE) -> Picture:
    """Picture of an image message; its pixels are independent of the message.

    16-bit colours and grey are reduced to 8 bits. Alpha is dropped, since many drivers leave it
    undefined. ``16UC1`` and ``32FC1`` are values without a colour: they become grey from the
    smallest finite value (black) to the largest (white), what is not finite is black.

    Args:
        msg: the message.
        levels: of 16-bit colours and grey.

    Raises:
        BadEncodingError: the encoding is not known, or the sizes do not fit the data.

    """
    size = int(msg.width), int(msg.height)
    if msg.encoding in _PLANAR:
        rgb = cv2.cvtColor(_planes(msg), _PLANAR[msg.encoding])
        return Picture(np.asarray(rgb, np.uint8), size)
    layout = _layout(msg)
    samples, white = _samples(msg, layout), 0
    if layout.colour and samples.dtype == np.uint16:
        samples, white = eight_bits(samples, levels), likely_white(samples, levels)
    return Picture(_to_rgb(samples, layout.colour, _describe(msg)), size, white=white)


def decode_depth(msg: Image) -> NDArray[np.float32]:
    """Depth along the optical axis (REP 118).

    ``16UC1`` and ``mono16`` are millimetres with 0 for unknown; ``32FC1`` is metres, where
    anything not finite or not above zero is unknown.

    Returns:
        (height, width) float32, metres, NaN where unknown.

    Raises:
        BadEncodingError: not a depth encoding, or the sizes do not fit the data.

    """
    if msg.encoding not in _DEPTH_ENCODINGS:
        raise BadEncodingError(
            f'{_describe(msg)} is not a depth image: name the topic of the raw depth, which is '
            f'one of {", ".join(_DEPTH_ENCODINGS)}', cause='not depth',
        )
    return _metres(_samples(msg, _layout(msg))[..., 0])


def decode_compressed_depth(msg: CompressedImage) -> NDArray[np.float32]:
    """Depth along the optical axis of a message of image_transport's ``compressedDepth``.

    That is a header of 12 bytes and a PNG with 16 bits a pixel: millimetres, or for ``32FC1``
    quantised inverse metres (compressed_depth_image_transport/src/codec.cpp). A PNG of ``16UC1``
    without the header, of the transport ``compressed``, is read too.

    Returns:
        (height, width) float32, metres, NaN where unknown.

    Raises:
        BadEncodingError: not such depth, truncated, damaged or too large.

    """
    data = bytes(msg.data)
    what = f'compressed depth, format {msg.format!r}, {len(data)} bytes'
    encoding, _, transport = (part.strip() for part in msg.format.partition(';'))
    if 'rvl' in transport:
        raise BadEncodingError(
            f'{what}: RVL is not read; let the driver send PNG (parameter '
            'TOPIC.compressedDepth.format of its image_transport), or use the raw topic',
            cause='not depth')
    quantised = encoding == '32FC1'
    a = b = 0.0
    if 'compressedDepth' in transport:
        if len(data) < _DEPTH_HEADER.size:
            raise BadEncodingError(
                f'{what}: its header alone is {_DEPTH_HEADER.size} bytes; check the camera driver',
                cause='damaged')
        _, a, b = _DEPTH_HEADER.unpack_from(data)
        data = data[_DEPTH_HEADER.size :]
    elif quantised:
        raise BadEncodingError(
            f'{what}: metres are compressed by compressedDepth only; use that topic or the raw one',
            cause='not depth')
    picture, _ = _open_file(data, None, what)
    values = deep_samples(picture)
    if values is None:
        raise BadEncodingError(
            f'{what}: a picture of mode {picture.mode} has no 16 bits a pixel; name the topic of '
            'the depth, compressed as PNG', cause='not depth')
    if not quantised:
        return _metres(values)
    with np.errstate(all='ignore'):  # what is no number is unknown
        return _metres(np.where(values > 0, a / (values - np.float32(b)), np.nan))


def _metres(values: NDArray[Any]) -> NDArray[np.float32]:
    """Convert depth to metres; 16-bit integers are millimetres, impossible values become NaN."""
    depth = values.astype(np.float32)
    if values.dtype == np.uint16:
        depth /= 1000
    with np.errstate(invalid='ignore'):  # a signalling NaN is unknown like any other
        depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def decode_compressed(msg: CompressedImage) -> NDArray[np.uint8]:
    """All pixels of a JPEG or PNG message; see ``decode_reduced``."""
    return decode_reduced(msg).pixels


def decode_reduced(
    msg: CompressedImage, limits: PixelLimits | None = None, levels: Levels = FULL_RANGE
) -> Picture:
    """Picture of a JPEG or PNG message; of a large JPEG at a reduced size, see ``open_picture``.

    It is read as the same file would be. Single-channel pictures are read as in ``decode_raw`` by
    the encoding that begins ``format`` (as in ``bayer_rggb8; png compressed``), without one as
    grey.

    Args:
        msg: the message.
        limits: image areas of the model; None: decode at full size.
        levels: of 16-bit grey.

    Raises:
        BadEncodingError: neither JPEG nor PNG, truncated, damaged, too large, or depth.

    """
    data = bytes(msg.data)
    what = f'compressed image, format {msg.format!r}, {len(data)} bytes'
    if 'compressedDepth' in msg.format:
        raise BadEncodingError(
            f'{what}: this is depth and not a picture; use the colour topic of the camera here, '
            'and this one as its depth_topic', cause='not a picture',
        )
    picture, size = _open_file(data, limits, what)
    layout = _LAYOUTS.get(msg.format.split(';')[0].strip(), _LAYOUTS['mono8'])
    samples = np.asarray(picture) if picture.mode == 'L' else deep_samples(picture)
    if samples is None or layout.samples > 1 or layout.colour == 'mono8':
        return picture_of(picture, size, levels)
    white = 0
    if layout.colour and samples.dtype == np.uint16:
        samples, white = eight_bits(samples, levels), likely_white(samples, levels)
    return Picture(_to_rgb(samples[..., np.newaxis], layout.colour, what), size, white=white)


def encode_image(rgb: NDArray[np.uint8], header: Header | None = None) -> Image:
    """Make an ``rgb8`` message.

    Args:
        rgb: (height, width, 3) uint8.
        header: stamp and frame of the image; None: an empty header.

    Raises:
        BadEncodingError: the array has another shape or type, or no pixels.

    """
    from sensor_msgs.msg import Image  # here, since decoding works without ROS

    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or not rgb.size:
        raise BadEncodingError(
            f'an array of shape {rgb.shape} and type {rgb.dtype} is no picture: '
            'give (height, width, 3) uint8 with at least one pixel', cause='not a picture',
        )
    height, width, _ = rgb.shape
    msg = Image(height=height, width=width, encoding='rgb8', step=3 * width)
    # the generated setters take an array.array without checking every element
    msg.data = array.array('B', rgb.tobytes())
    if header is not None:
        msg.header = header
    return msg


def _describe(msg: Image) -> str:
    return (
        f'image {msg.width}x{msg.height}, encoding {msg.encoding!r}, step {msg.step}, '
        f'{len(msg.data)} bytes'
    )


def _layout(msg: Image) -> _Layout:
    try:
        return _LAYOUTS[msg.encoding]
    except KeyError:
        raise BadEncodingError(
            f'{_describe(msg)}: the encoding is not known; let the camera publish one of '
            f'{", ".join((*_LAYOUTS, *_PLANAR))}', cause='unknown encoding',
        ) from None


def _rows(msg: Image, row: int, rows: int, fault: str = '') -> NDArray[np.uint8]:
    """Check the sizes of a message, and return its rows without padding.

    Args:
        msg: the message.
        row: bytes of a row without padding.
        rows: number of rows of all planes together.
        fault: what contradicts in it otherwise.

    """
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    if height < 1 or width < 1:
        fault = 'it has no pixels'
    elif not fault and step < row:
        fault = f'a row needs {row} bytes, step is smaller'
    elif not fault and len(msg.data) != step * rows:
        times = 'height' if rows == height else f'{rows} rows'
        fault = f'step x {times} is {step * rows} bytes'
    if fault:
        raise BadEncodingError(
            f'{_describe(msg)}: {fault}; check the camera driver', cause='sizes contradict')
    return np.ascontiguousarray(np.frombuffer(msg.data, np.uint8).reshape(rows, step)[:, :row])


def _samples(msg: Image, layout: _Layout) -> NDArray[Any]:
    """Check and return the samples, (height, width, samples), unpadded, in native byte order."""
    dtype = np.dtype(layout.dtype)
    height, width = int(msg.height), int(msg.width)
    rows = _rows(msg, width * layout.samples * dtype.itemsize, height)
    order = dtype.newbyteorder('>' if msg.is_bigendian else '<')
    values = rows.view(order).reshape(height, width, layout.samples)
    native: NDArray[Any] = values.astype(dtype, copy=False)
    return native


def _planes(msg: Image) -> NDArray[np.uint8]:
    """Check and return both planes of a planar image, one below the other, unpadded."""
    height, width = int(msg.height), int(msg.width)
    fault = ''
    if height % 2 or width % 2:
        fault = 'four pixels share their colour, so width and height must be even'
    return _rows(msg, width, height * 3 // 2, fault)


def _to_rgb(samples: NDArray[Any], colour: str, what: str) -> NDArray[np.uint8]:
    """Samples (height, width, n), of 8 bits where they have a ``colour`` of a layout, as RGB."""
    height, width, _ = samples.shape
    if not colour:
        samples, colour = _stretch(samples), 'mono8'
    if colour.startswith('bayer') and min(height, width) < 3:
        # OpenCV would return black instead of an error
        raise BadEncodingError(
            f'{what}: a Bayer image needs 3x3 pixels at least', cause='sizes contradict')
    if colour.startswith('yuv') and width % 2:
        raise BadEncodingError(
            f'{what}: two pixels share their colour, so width must be even',
            cause='sizes contradict')
    plain = SimpleNamespace(
        height=height,
        width=width,
        encoding=colour,
        is_bigendian=0,
        step=width * samples.shape[2],
        data=np.ascontiguousarray(samples),
    )
    convert = colour_converter()
    try:
        return np.array(convert(plain, 'rgb8'), np.uint8)
    except Exception as error:  # whatever the library raises, the values are the cause
        raise BadEncodingError(
            f'{what}: cannot be converted to RGB ({error})', cause='not convertible') from error


def _stretch(samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale the range of the finite values to grey; all black where the range is empty."""
    finite = np.isfinite(samples)
    # float64, since the range of float32 values can overflow float32
    values = np.where(finite, samples, 0).astype(np.float64)
    low = values.min(where=finite, initial=np.inf)
    high = values.max(where=finite, initial=-np.inf)
    if not high > low:
        return np.zeros(samples.shape, np.uint8)
    share = (np.where(finite, values, low) - low) / (high - low)
    grey: NDArray[np.uint8] = np.rint(share * 255).astype(np.uint8)
    return grey


def _open_file(
    data: bytes, limits: PixelLimits | None, what: str
) -> tuple[PILImage, tuple[int, int]]:
    """Decode a JPEG or PNG; see ``open_picture``."""
    try:
        return open_picture(data, _FILE_FORMATS, limits)
    except BadEncodingError as error:
        raise BadEncodingError(
            f'{what}, starting with {data[:8].hex(" ") or "nothing"}: not a complete JPEG or PNG '
            f'({error}); check the camera driver or the image_transport republisher',
            cause=error.cause) from error
