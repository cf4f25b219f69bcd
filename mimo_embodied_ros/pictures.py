"""Read and write picture files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .core.errors import BadEncodingError, InvalidRequestError
from .core.files import reason

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture, rotated as its EXIF data says, because phones store the rotation there.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        InvalidRequestError: there is no such file.
        BadEncodingError: the file is no picture.

    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))
    except FileNotFoundError as error:
        msg = f'there is no file {path}'
        raise InvalidRequestError(msg) from error
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        msg = f'{path} cannot be read as a picture: {error}'
        raise BadEncodingError(msg) from error


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
