"""Read and write picture files; those in messages are read here, too."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image

from .core.errors import BadEncodingError, InvalidRequestError
from .core.files import reason
from .core.resize import smart_resize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .core.resize import PixelLimits

MAX_PIXELS = 64_000_000
"""A file whose header announces more is refused before it is decoded."""

# what turns a picture upright, by the orientation in its EXIF data
_TURNS = dict(enumerate((
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90), start=2))
_USED_BITS = (10, 12, 14)  # of sensors that put their values into the lower ones of 16 bits
_PNG_BIT_DEPTH = 24  # place in the file


class Levels(NamedTuple):
    """The values of 16-bit samples that are shown black and white."""

    black: int = 0
    white: int = 65535


FULL_RANGE = Levels()


class Picture(NamedTuple):
    """A picture as the model gets it.

    Attributes:
        pixels: (height, width, 3) uint8, RGB, contiguous.
        size: (width, height) of the original, where ``pixels`` are a smaller copy.
        turned: whether it was turned upright, as its EXIF data say.
        white: the white level that its 16-bit samples suggest, since they use fewer bits; 0: none.

    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    turned: bool = False
    white: int = 0


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture file; see ``picture_of``.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        InvalidRequestError: there is no such file.
        BadEncodingError: the file is no picture, or it is damaged or too large.

    """
    try:
        data = Path(path).read_bytes()
    except (FileNotFoundError, ValueError) as error:  # ValueError: no file can have this name
        msg = f'there is no file {path}'
        raise InvalidRequestError(msg) from error
    except OSError as error:
        msg = f'{path} cannot be read as a picture: {reason(error, named=False)}'
        raise BadEncodingError(msg) from error
    try:
        picture = picture_of(open_picture(data)[0])
    except (OSError, BadEncodingError) as error:
        msg = f'{path} cannot be read as a picture: {error}; save it as PNG or JPEG again'
        raise BadEncodingError(msg, cause=getattr(error, 'cause', '')) from error
    if picture.white:
        logging.getLogger(__name__).warning(
            '%s is nearly black: its 16-bit values seem to end at %d; scale them to 65535',
            path, picture.white)
    return picture.pixels


def open_picture(
    data: bytes, formats: tuple[str, ...] | None = None, limits: PixelLimits | None = None
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a picture file completely; a large JPEG at a reduced size, which saves much time.

    A JPEG is decoded at a half, a quarter or an eighth of its size where the result is at least
    twice as large as the image that a model with these ``limits`` gets.

    Decoded by PIL on every machine: OpenCV 4, which works behind cv_bridge and rosbags-image,
    accepts a truncated JPEG and leaves in the missing rows whatever was in memory, such as an
    earlier frame.

    Args:
        data: the bytes of the file.
        formats: PIL's names of those that are read; None: all that PIL knows.
        limits: image areas of the model; None: decode at full size.

    Returns:
        The picture, and (width, height) in the file's header.

    Raises:
        BadEncodingError: it is no such file, truncated, damaged or too large.

    """
    try:
        return _open(data, formats, limits)
    except Exception as error:  # PIL's parsers raise many types; all of them mean bad data
        too_large = isinstance(error, (Image.DecompressionBombError, _TooManyPixelsError))
        raise BadEncodingError(
            str(error), cause='too many pixels' if too_large else 'damaged') from error


class _TooManyPixelsError(ValueError):
    pass


def _open(
    data: bytes, formats: tuple[str, ...] | None, limits: PixelLimits | None
) -> tuple[Image.Image, tuple[int, int]]:
    """See ``open_picture``.

    Raises:
        Exception: of many types, with the cause as its text.

    """
    picture: Image.Image = Image.open(io.BytesIO(data), formats=formats)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        msg = f'{width}x{height} pixels, the limit is {MAX_PIXELS}'
        raise _TooManyPixelsError(msg)
    if picture.format == 'PNG':
        # load() passes a file that lost its last chunk or has a wrong checksum
        if b'\0\0\0\0IEND\xaeB`\x82' not in data:
            raise ValueError('the end of the PNG is missing')
        picture.verify()
        picture = Image.open(io.BytesIO(data), formats=formats)
    if limits is not None and picture.mode == 'RGB':  # a grey one may be a Bayer mosaic
        with contextlib.suppress(InvalidRequestError):  # the prompt refuses such a size, too
            rows, columns = smart_resize(height, width, limits)
            picture.draft('RGB', (2 * columns, 2 * rows))
    picture.load()
    transparent = picture.info.get('transparency')
    if isinstance(transparent, tuple) and data[_PNG_BIT_DEPTH] == 16:
        # of colours with 16 bits PIL keeps the upper 8, but not of the transparent one
        picture.info['transparency'] = tuple(value >> 8 for value in transparent)
    return picture, (width, height)


def picture_of(
    picture: Image.Image, size: tuple[int, int] | None = None, levels: Levels = FULL_RANGE
) -> Picture:
    """Make what the model gets of a decoded file.

    It is turned as its EXIF data say, because phones store the rotation there. What is transparent
    is laid on white, as the model's vendor does. 16-bit grey is reduced to 8 bits.

    Args:
        picture: as ``open_picture`` returns it.
        size: (width, height) in the file's header; None: that of ``picture``.
        levels: of 16-bit grey.

    Raises:
        BadEncodingError: its values have no colour.

    """
    width, height = size or picture.size
    turn = _TURNS.get(_orientation(picture))
    if turn is not None:
        if turn in (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE,
                    Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270):
            width, height = height, width
        picture = picture.transpose(turn)
    samples, white = deep_samples(picture), 0
    if samples is not None:
        pixels = np.repeat(eight_bits(samples, levels)[..., np.newaxis], 3, axis=2)
        if isinstance(transparent := picture.info.get('transparency'), int):
            pixels[samples == transparent] = 255
        white = likely_white(samples, levels)
    else:
        pixels = np.array(_on_white(picture).convert('RGB'))
    return Picture(pixels, (width, height), turn is not None, white)


def _orientation(picture: Image.Image) -> int:
    with contextlib.suppress(Exception):  # EXIF data that cannot be read say nothing
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def _on_white(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture
    if picture.mode == 'La':  # grey that is multiplied by its alpha; PIL converts it to LA only
        picture = picture.convert('LA')
    picture = picture.convert('RGBA')
    out = Image.new('RGB', picture.size, 'white')
    out.paste(picture, mask=picture.getchannel('A'))
    return out


def deep_samples(picture: Image.Image) -> NDArray[np.uint16] | None:
    """Return the samples, (height, width), of a picture with 16-bit grey; None for all others.

    Raises:
        BadEncodingError: its values are wider than 16 bits.

    """
    if not picture.mode.startswith(('I', 'F')):
        return None
    values = np.asarray(picture)
    if values.dtype.kind == 'f' or values.min() < 0 or values.max() > FULL_RANGE.white:
        msg = (f'a picture of mode {picture.mode} holds values without a colour; save it with 8 or '
               '16 bits')
        raise BadEncodingError(msg, cause='not a picture')
    return values.astype(np.uint16)


def eight_bits(samples: NDArray[np.uint16], levels: Levels = FULL_RANGE) -> NDArray[np.uint8]:
    """Reduce 16-bit samples of any shape to 8 bits: the upper ones, with the full range."""
    if levels == FULL_RANGE:
        return (samples >> 8).astype(np.uint8)
    span = levels.white - levels.black
    values = np.clip(samples.astype(np.int32) - levels.black, 0, span)
    return (values * 256 // (span + 1)).astype(np.uint8)


def likely_white(samples: NDArray[Any], levels: Levels = FULL_RANGE) -> int:
    """Return the white level of 16-bit samples that use the lower 10, 12 or 14 bits only.

    Returns:
        0 where more bits are used, where nearly none are, as in the dark, and where ``levels``
        are not the full range, so that somebody has set them.

    """
    largest = int(samples.max(initial=0))
    if levels != FULL_RANGE or largest < 256:
        return 0
    return next((2**bits - 1 for bits in _USED_BITS if largest < 2**bits), 0)


def jpeg(
    pixels: NDArray[np.uint8], quality: int = 95, size: tuple[int, int] | None = None
) -> bytes:
    """Encode a picture as JPEG.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        quality: 1 to 100.
        size: (width, height) to scale it to; None keeps its size.

    Returns:
        The bytes of the file.

    """
    picture, file = Image.fromarray(pixels), io.BytesIO()
    if size is not None and size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    picture.save(file, 'JPEG', quality=quality)
    return file.getvalue()


def write_animation(
    path: Path, pictures: Sequence[NDArray[np.uint8]], seconds: float
) -> None:
    """Write an animated GIF that plays again and again.

    Args:
        path: of the file.
        pictures: (height, width, 3) uint8, RGB, of one size.
        seconds: that each picture is shown.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # one palette for all, or colours flicker
    sample = Image.fromarray(np.vstack(pictures[:: max(1, len(pictures) // 8)]))
    palette = sample.quantize(255, Image.Quantize.MEDIANCUT)
    frames = [Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE)
              for p in pictures]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 * seconds),
                   loop=0, optimize=True)


def write_picture(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write RGB pixels to a file.

    Raises:
        InvalidRequestError: the file cannot be written.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    except (OSError, ValueError) as error:
        cause = (reason(error, named=False) if isinstance(error, OSError)
                 else f'{error}; give a name that ends with .png or .jpg')
        msg = f'{path} cannot be written: {cause}'
        raise InvalidRequestError(msg) from error
