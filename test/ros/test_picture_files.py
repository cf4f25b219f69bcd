"""Picture files: read alike from a file and from a message, and as the model's vendor does."""

from __future__ import annotations

import io
import json
import logging
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageOps
from sensor_msgs.msg import CompressedImage

from mimo_embodied_ros import pictures
from mimo_embodied_ros.cli.main import main
from mimo_embodied_ros.core.answers import Affordances, Point
from mimo_embodied_ros.core.errors import BadEncodingError, InvalidRequestError
from mimo_embodied_ros.core.resize import PixelLimits
from mimo_embodied_ros.evaluation.regions import Mask
from mimo_embodied_ros.pictures import read_picture
from mimo_embodied_ros.ros.images import decode_compressed, decode_reduced

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6  # of PNG
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3
HALF_RED = (255, 127, 127)  # on white


def png(
    kind: int, bits: int, samples: list[int], palette: bytes = b'', clear: bytes = b''
) -> bytes:
    """Make a PNG of one row; ``clear`` is the chunk tRNS."""
    per_pixel = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}[kind]
    row = ''.join(f'{sample:0{bits}b}' for sample in samples)
    row += '0' * (-len(row) % 8)
    data = bytes([0]) + int(row, 2).to_bytes(len(row) // 8, 'big')

    def chunk(name: bytes, content: bytes) -> bytes:
        return (struct.pack('>I', len(content)) + name + content
                + struct.pack('>I', zlib.crc32(name + content)))

    header = struct.pack('>IIBBBBB', len(samples) // per_pixel, 1, bits, kind, 0, 0, 0)
    return b''.join((
        b'\x89PNG\r\n\x1a\n', chunk(b'IHDR', header), chunk(b'PLTE', palette) if palette else b'',
        chunk(b'tRNS', clear) if clear else b'', chunk(b'IDAT', zlib.compress(data)),
        chunk(b'IEND', b'')))


def message(data: bytes, form: str = '') -> CompressedImage:
    out = CompressedImage(format=form)
    out.data.frombytes(data)
    return out


def read_both(data: bytes, folder: Path) -> NDArray[np.uint8]:
    """Read the bytes as a file and as a message; both must be the same."""
    file = folder / 'picture'
    file.write_bytes(data)
    pixels = read_picture(file)
    np.testing.assert_array_equal(decode_compressed(message(data)), pixels)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels


PNGS: dict[str, tuple[bytes, list[tuple[int, ...]]]] = {
    '1-bit grey': (png(GREY, 1, [0, 1, 0]), [BLACK, WHITE, BLACK]),
    '2-bit grey': (png(GREY, 2, [0, 1, 2, 3]), [BLACK, (85,) * 3, (170,) * 3, WHITE]),
    '4-bit grey': (png(GREY, 4, [0, 8, 15]), [BLACK, (136,) * 3, WHITE]),
    '8-bit grey': (png(GREY, 8, [0, 128, 255]), [BLACK, (128,) * 3, WHITE]),
    '16-bit grey': (png(GREY, 16, [0, 255, 256, 32768, 65535]),
                    [BLACK, BLACK, (1,) * 3, (128,) * 3, WHITE]),
    'grey with one transparent value': (
        png(GREY, 8, [7, 8, 9], clear=b'\0\x08'), [(7,) * 3, WHITE, (9,) * 3]),
    '1-bit grey with a transparent value': (
        png(GREY, 1, [0, 1], clear=b'\0\0'), [WHITE, WHITE]),
    '16-bit grey with a transparent value': (
        png(GREY, 16, [0, 1, 65535], clear=b'\0\x01'), [BLACK, WHITE, WHITE]),
    'grey and alpha': (png(GREY_ALPHA, 8, [0, 255, 0, 128, 0, 0]), [BLACK, (127,) * 3, WHITE]),
    '16-bit grey and alpha': (
        png(GREY_ALPHA, 16, [0, 65535, 0, 32896, 0, 0]), [BLACK, (127,) * 3, WHITE]),
    'colour': (png(COLOUR, 8, [*RED, *BLUE]), [RED, BLUE]),
    'colour with a transparent one': (
        png(COLOUR, 8, [*RED, *BLUE], clear=struct.pack('>3H', *RED)), [WHITE, BLUE]),
    '16-bit colour': (png(COLOUR, 16, [65535, 0, 0, 255, 256, 32768]), [RED, (0, 1, 128)]),
    '16-bit colour with a transparent one': (
        png(COLOUR, 16, [65535, 0, 0, 0, 0, 511], clear=struct.pack('>3H', 65535, 0, 0)),
        [WHITE, (0, 0, 1)]),
    'colour and alpha': (
        png(COLOUR_ALPHA, 8, [*RED, 255, *RED, 128, *RED, 0]), [RED, HALF_RED, WHITE]),
    '16-bit colour and alpha': (
        png(COLOUR_ALPHA, 16, [65535, 0, 0, 65535, 65535, 0, 0, 32896, 0, 0, 0, 0]),
        [RED, HALF_RED, WHITE]),
    'palette': (png(PALETTE, 8, [0, 1, 2], bytes([*RED, *GREEN, *BLUE])), [RED, GREEN, BLUE]),
    '1-bit palette': (png(PALETTE, 1, [1, 0], bytes([*RED, *GREEN])), [GREEN, RED]),
    'palette with a transparent entry': (
        png(PALETTE, 8, [0, 1, 2], bytes([*RED, *GREEN, *BLUE]), clear=b'\xff\0'),
        [RED, WHITE, BLUE]),
    'palette with alpha': (
        png(PALETTE, 4, [0, 1, 2], bytes([*RED, *RED, *BLUE]), clear=b'\xff\x80\0'),
        [RED, HALF_RED, WHITE]),
}


@pytest.mark.parametrize('kind', PNGS)
def test_every_kind_of_png_is_read_alike_from_a_file_and_from_a_message(
    kind: str, tmp_path: Path
) -> None:
    data, expected = PNGS[kind]
    np.testing.assert_array_equal(read_both(data, tmp_path), [expected])


def test_transparency_is_laid_on_white_as_the_vendor_does(tmp_path: Path) -> None:
    """The vendor pastes the picture onto a white one, with its alpha as the mask."""
    rgba = np.random.default_rng(0).integers(0, 256, (40, 60, 4), np.uint8)
    picture, file = PILImage.fromarray(rgba), io.BytesIO()
    picture.save(file, 'PNG')
    white = PILImage.new('RGB', picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.split()[3])
    np.testing.assert_array_equal(read_both(file.getvalue(), tmp_path), np.asarray(white))


def photo() -> NDArray[np.uint8]:
    """Draw a smooth picture whose sides and halves differ."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 4, y * 5, (x + y) * 2], axis=2).astype(np.uint8)


def jpeg(picture: PILImage.Image, orientation: int = 0) -> bytes:
    exif, file = PILImage.Exif(), io.BytesIO()
    if orientation:
        exif[0x0112] = orientation
    picture.save(file, 'JPEG', quality=95, subsampling=0, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize('orientation', range(10))
def test_a_picture_is_turned_upright_as_its_exif_data_say(
    orientation: int, tmp_path: Path
) -> None:
    data = jpeg(PILImage.fromarray(photo()), orientation)
    upright = ImageOps.exif_transpose(PILImage.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read_both(data, tmp_path), np.asarray(upright))
    picture = decode_reduced(message(data), PixelLimits(28 * 28, 28 * 28))
    assert picture.turned is (2 <= orientation <= 8)
    assert picture.size == upright.size
    width, height = picture.size  # the pixels are fewer
    assert picture.pixels.shape[0] * width == picture.pixels.shape[1] * height


def test_exif_data_that_cannot_be_read_say_nothing(tmp_path: Path) -> None:
    file = io.BytesIO()
    PILImage.fromarray(photo()).save(file, 'JPEG', quality=95, exif=b'Exif\0\0nonsense')
    assert np.abs(read_both(file.getvalue(), tmp_path).astype(int) - photo()).mean() < 4


def test_a_cmyk_jpeg_has_its_colours(tmp_path: Path) -> None:
    picture = PILImage.fromarray(np.full((16, 16, 3), (250, 20, 30), np.uint8)).convert('CMYK')
    pixels = read_both(jpeg(picture), tmp_path)
    assert np.abs(pixels.astype(int) - (250, 20, 30)).max() < 8


def test_other_files_than_jpeg_and_png_are_read_from_files_only(tmp_path: Path) -> None:
    file = io.BytesIO()
    PILImage.fromarray(photo()).save(file, 'BMP')
    (tmp_path / 'a.bmp').write_bytes(file.getvalue())
    np.testing.assert_array_equal(read_picture(tmp_path / 'a.bmp'), photo())
    with pytest.raises(BadEncodingError, match='not a complete JPEG or PNG'):
        decode_compressed(message(file.getvalue()))


def test_grey_that_is_multiplied_by_its_alpha_is_laid_on_white(tmp_path: Path) -> None:
    file = tmp_path / 'a.tiff'
    PILImage.new('LA', (1, 1), (0, 128)).save(file)
    # the tag ExtraSamples: one number, 2 (unassociated alpha) or 1 (associated)
    tag = struct.pack('<HHIH', 338, 3, 1, 2)
    file.write_bytes(file.read_bytes().replace(tag, tag[:-2] + b'\1\0'))
    assert PILImage.open(file).mode == 'La'
    assert read_picture(file).tolist() == [[[127] * 3]]


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_a_truncated_file_is_refused(kind: str, tmp_path: Path) -> None:
    whole, path = io.BytesIO(), tmp_path / 'cut'
    PILImage.fromarray(photo()).save(whole, kind)
    data = whole.getvalue()
    for length in (0, 7, 30, len(data) // 2, len(data) - 30, len(data) - 12, len(data) - 4):
        path.write_bytes(data[:length])
        with pytest.raises(BadEncodingError, match=r'cut cannot be read as a picture: .*; save it'):
            read_picture(path)


def test_files_without_a_picture_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r'there is no file .*nowhere'):
        read_picture(tmp_path / 'nowhere')
    with pytest.raises(BadEncodingError, match='cannot be read as a picture'):
        read_picture(tmp_path)
    floats = tmp_path / 'depth.tiff'
    PILImage.fromarray(np.ones((4, 4), np.float32)).save(floats)
    with pytest.raises(BadEncodingError, match='mode F holds values without a colour'):
        read_picture(floats)
    bomb = tmp_path / 'bomb.png'
    PILImage.new('1', (8001, 8001)).save(bomb)
    with pytest.raises(BadEncodingError, match='8001x8001 pixels, the limit is 64000000'):
        read_picture(bomb)


@pytest.mark.parametrize(('largest', 'white'), [
    (100, 0), (255, 0), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383),
    (16383, 16383), (16384, 0), (65535, 0)])
def test_a_file_that_uses_fewer_bits_is_named(
    largest: int, white: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / 'deep.png'
    file.write_bytes(png(GREY, 16, [0, largest]))
    with caplog.at_level(logging.WARNING, pictures.__name__):
        read_picture(file)
    assert bool(caplog.messages) is bool(white)
    assert not white or f'deep.png is nearly black: its 16-bit values seem to end at {white};' in (
        caplog.messages[0])


def test_a_16_bit_file_is_answered_as_the_same_picture_of_8_bits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = np.full((240, 320), 90, np.uint8)
    grey[80:160, 100:220] = 220
    answers = []
    for name, samples in (('8.png', grey), ('16.png', grey.astype(np.uint16) * 256 + 7)):
        PILImage.fromarray(samples).save(tmp_path / name)
        assert main(['point', str(tmp_path / name), 'the red cube', '--json']) == 0
        answers.append(json.loads(capsys.readouterr().out)['raw_text'])
    assert answers[0] == answers[1]


def test_a_16_bit_mask_is_light_where_its_values_are(tmp_path: Path) -> None:
    file = tmp_path / 'mask.png'
    file.write_bytes(png(GREY, 16, [0, 1000, 65535, 40000]))
    assert Mask(file).pixels().tolist() == [[False, False, True, True]]
    for largest in (1, 255):
        file.write_bytes(png(GREY, 16, [0, largest, 0, largest]))
        assert Mask(file).pixels().tolist() == [[False, True, False, True]]
    assert Mask(file).score(Affordances((Point(1.5, 0.5),)), (4, 1)) == 1
    file.write_bytes(png(GREY, 16, [0, 1])[:-8])
    with pytest.raises(ValueError, match=r'mask .*mask.png cannot be read'):
        Mask(file).pixels()
