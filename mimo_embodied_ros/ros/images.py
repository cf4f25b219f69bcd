"""Decodes image messages, ``sensor_msgs/Image`` and ``CompressedImage``, to pixels and depth.

A message is checked first and brought into one plain form (no row padding, native byte order,
8 bits a sample), because no library does this for all encodings. Colours are then converted by
cv_bridge or, where there is none, by rosbags-image; ``colour_conversion`` chooses. Messages may
come from rclpy (``array.array`` data) or from rosbags (numpy data).
"""

from __future__ import annotations

import array
import contextlib
import io
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image as PILImage

from mimo_embodied_ros.core.errors import BadEncodingError, InvalidRequestError
from mimo_embodied_ros.core.resize import smart_resize

from .colour_conversion import colour_converter

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sensor_msgs.msg import CompressedImage, Image
    from std_msgs.msg import Header

    from mimo_embodied_ros.core.resize import PixelLimits

MAX_COMPRESSED_PIXELS = 64_000_000
"""A compressed image whose header announces more is refused before it is decoded."""


class _Layout(NamedTuple):
    """How one encoding lies in memory."""

    samples: int  # per pixel
    dtype: str  # of a sample
    colour: str  # the libraries' name for it with 8 bits per sample; '': values without a colour


# As in sensor_msgs/image_encodings.hpp. The planar nv12, nv21 and nv24 are left out: neither
# library converts them correctly, and drivers disagree about what the names mean.
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
_DEPTH_ENCODINGS = ('16UC1', 'mono16', '32FC1')
_DEPTH_HEADER = struct.Struct('<iff')  # of compressedDepth: format and two parameters


def decode_image(msg: Image) -> NDArray[np.uint8]:
    """Pixels of an image message.

    16-bit colours and grey keep their upper 8 bits (0 stays 0, 65535 becomes 255). Alpha is
    dropped. ``16UC1`` and ``32FC1`` are values without a colour: they become grey from the
    smallest finite value (black) to the largest (white), what is not finite is black.

    Returns:
        (height, width, 3) uint8, RGB, contiguous, independent of the message.

    Raises:
        BadEncodingError: the encoding is not known, or the sizes do not fit the data.

    """
    layout = _layout(msg)
    return _to_rgb(_samples(msg, layout), layout.colour, _describe(msg))


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
    picture, _ = _decode_file(data, None, what)
    if not picture.mode.startswith('I'):
        raise BadEncodingError(
            f'{what}: a picture of mode {picture.mode} has no 16 bits a pixel; name the topic of '
            'the depth, compressed as PNG', cause='not depth')
    values = np.asarray(picture).astype(np.uint16)
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
    return decode_reduced(msg, None)[0]


def decode_reduced(
    msg: CompressedImage, limits: PixelLimits | None
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Pixels of a JPEG or PNG message; a large JPEG at a reduced size, which saves much time.

    A JPEG is decoded at a half, a quarter or an eighth of its size where the result is at least
    twice as large as the image that a model with these ``limits`` gets.

    Decoded by PIL on every machine: OpenCV 4, which works behind cv_bridge and rosbags-image,
    accepts a truncated JPEG and leaves in the missing rows whatever was in memory, such as an
    earlier frame. An orientation in the EXIF data is not applied, since CameraInfo speaks
    of the stored rows and columns. Single-channel pictures are read as in :func:`decode_image`
    by the encoding that begins ``format`` (as in ``bayer_rggb8; png compressed``), without one
    as grey.

    Args:
        msg: the message.
        limits: image areas of the model; None: decode at full size.

    Returns:
        (height, width, 3) uint8, RGB, contiguous, independent of the message; and (width, height)
        of the original.

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
    picture, size = _decode_file(data, limits, what)
    if picture.mode == 'L' or picture.mode.startswith('I'):
        samples = np.asarray(picture)[..., np.newaxis]
        layout = _LAYOUTS.get(msg.format.split(';')[0].strip(), _LAYOUTS['mono8'])
        colour = layout.colour if layout.samples == 1 else 'mono8'
        return _to_rgb(samples.astype('u1' if picture.mode == 'L' else 'u2'), colour, what), size
    return np.array(picture.convert('RGB')), size


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
            f'{", ".join(_LAYOUTS)}', cause='unknown encoding',
        ) from None


def _samples(msg: Image, layout: _Layout) -> NDArray[Any]:
    """Check and return the samples, (height, width, samples), unpadded, in native byte order."""
    dtype = np.dtype(layout.dtype)
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    row = width * layout.samples * dtype.itemsize
    fault = ''
    if height < 1 or width < 1:
        fault = 'it has no pixels'
    elif step < row:
        fault = f'a row needs {row} bytes, step is smaller'
    elif len(msg.data) != step * height:
        fault = f'step x height is {step * height} bytes'
    if fault:
        raise BadEncodingError(
            f'{_describe(msg)}: {fault}; check the camera driver', cause='sizes contradict')
    order = dtype.newbyteorder('>' if msg.is_bigendian else '<')
    rows = np.frombuffer(msg.data, np.uint8).reshape(height, step)[:, :row]
    values = np.ascontiguousarray(rows).view(order).reshape(height, width, layout.samples)
    native: NDArray[Any] = values.astype(dtype, copy=False)
    return native


def _to_rgb(samples: NDArray[Any], colour: str, what: str) -> NDArray[np.uint8]:
    """Samples (height, width, n) as RGB; ``colour`` as in :class:`_Layout`."""
    height, width, _ = samples.shape
    if not colour:
        samples, colour = _stretch(samples), 'mono8'
    elif samples.dtype == np.uint16:
        samples = (samples >> 8).astype(np.uint8)
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


def _decode_file(
    data: bytes, limits: PixelLimits | None, what: str
) -> tuple[PILImage.Image, tuple[int, int]]:
    """Decode a JPEG or PNG completely; returns it, and (width, height) in the file's header."""
    try:
        return _open_picture(data, limits)
    except Exception as error:  # PIL's parsers raise many types; all of them mean bad data
        too_large = isinstance(error, (PILImage.DecompressionBombError, _TooManyPixelsError))
        raise BadEncodingError(
            f'{what}, starting with {data[:8].hex(" ") or "nothing"}: not a complete JPEG or PNG '
            f'({error}); check the camera driver or the image_transport republisher',
            cause='too many pixels' if too_large else 'damaged') from error


class _TooManyPixelsError(ValueError):
    pass


def _open_picture(
    data: bytes, limits: PixelLimits | None
) -> tuple[PILImage.Image, tuple[int, int]]:
    """See ``_decode_file``.

    Raises:
        Exception: of many types, with the cause as its text.

    """
    formats = ('JPEG', 'PNG')
    picture = PILImage.open(io.BytesIO(data), formats=formats)
    width, height = picture.size
    if width * height > MAX_COMPRESSED_PIXELS:
        msg = f'{width}x{height} pixels, the limit is {MAX_COMPRESSED_PIXELS}'
        raise _TooManyPixelsError(msg)
    if picture.format == 'PNG':
        # load() passes a file that lost its last chunk or has a wrong checksum
        if b'\0\0\0\0IEND\xaeB`\x82' not in data:
            raise ValueError('the end of the PNG is missing')
        picture.verify()
        picture = PILImage.open(io.BytesIO(data), formats=formats)
    if limits is not None and picture.mode == 'RGB':  # a grey one may be a Bayer mosaic
        with contextlib.suppress(InvalidRequestError):  # the prompt refuses such a size, too
            rows, columns = smart_resize(height, width, limits)
            picture.draft('RGB', (2 * columns, 2 * rows))
    picture.load()
    return picture, (width, height)
