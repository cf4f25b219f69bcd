"""Rows of published files: parquet, lists in JSON, and JSON lines."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import expand, parse_json, reason
from mimo_embodied_ros.evaluation.dataset import read_lines, read_text
from mimo_embodied_ros.share import import_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]
_ROWS = 16  # of a parquet file in memory at a time; a row may hold several pictures
_SUFFIXES = {'PNG': '.png', 'JPEG': '.jpg', 'WEBP': '.webp', 'GIF': '.gif', 'BMP': '.bmp'}


@dataclass(frozen=True)
class Embedded:
    """A picture inside of a parquet or JSON file.

    Attributes:
        data: bytes of the picture's file.

    """

    data: bytes

    def unpack(self, folder: Path) -> str:
        """Write the picture to a folder, once, and return its path.

        Raises:
            InvalidRequestError: it is no picture, or the folder cannot be written.

        """
        with Image.open(io.BytesIO(self.data)) as picture:
            suffix = _SUFFIXES.get(picture.format or '', '')
        file = folder / f'{hashlib.sha256(self.data).hexdigest()[:32]}{suffix}'
        try:
            if not file.is_file():
                folder.mkdir(parents=True, exist_ok=True)
                part = file.with_name(f'{file.name}.{os.getpid()}')
                part.write_bytes(self.data)
                part.replace(file)  # whole, though several may unpack it at once
        except OSError as error:
            msg = f'pictures cannot be unpacked: {reason(error)}'
            raise InvalidRequestError(msg) from error
        return str(file.resolve())


@dataclass
class Source:
    """The files of a benchmark in one form.

    Attributes:
        folder: of the benchmark.
        files: that the form consists of, sorted.
        place: file and entry that were read last, for messages.

    """

    folder: Path
    files: list[Path]
    place: str = field(default='', init=False)

    def rows(self, *files: Path) -> Iterator[tuple[str, Path, Row]]:
        """Yield the rows of some files, or of all, each with its place and file.

        Raises:
            InvalidRequestError: a file cannot be read, or is none of rows.

        """
        for file in files or self.files:
            self.place = str(file)
            for self.place, row in _READERS.get(file.suffix, _json)(file):
                if not isinstance(row, dict):
                    msg = f'{self.place}: this is no object with the names of its values'
                    raise InvalidRequestError(msg)
                yield self.place, file, row

    def path(self, name: str, *roots: str) -> str:
        """Return the path of a file that a row names.

        It is looked for in the benchmark's folder, in ``roots`` in it, in folders named as media
        usually are, and in the folder of the rows; where it is nowhere, the first of these is
        returned.
        """
        name = name.replace('\\', '/').removeprefix('./')
        beside = Path(self.place.rpartition(':')[0] or self.place).parent
        places = [self.folder, *(self.folder / root for root in roots),
                  *(self.folder / root for root in ('images', 'image', 'videos', 'data')), beside]
        found = (str(place / name) for place in places if (place / name).is_file())
        return str(Path(next(found, str(self.folder / name))).resolve())

    def picture(self, value: Any, *roots: str) -> str | Embedded:
        """Return a picture of a row: its bytes, as they are or in base64, or the name of a file.

        Raises:
            ValueError: it is none of these.

        """
        if isinstance(value, dict):  # as the library "datasets" writes it
            value = value['bytes'] or value['path']
        if isinstance(value, bytes):
            return Embedded(value)
        if not isinstance(value, str) or not value:
            msg = f'{value!r:.60} is no picture'
            raise ValueError(msg)
        if len(value) < 200:
            return self.path(value, *roots)
        try:
            return Embedded(base64.b64decode(value, validate=True))
        except binascii.Error as error:
            msg = f'{value[:40]!r}... is no picture in base64'
            raise ValueError(msg) from error

    def size(self, picture: str | Embedded) -> tuple[int, int]:
        """Return (width, height) of a picture.

        Raises:
            OSError: it cannot be read.

        """
        data = io.BytesIO(picture.data) if isinstance(picture, Embedded) else picture
        with Image.open(data) as opened:
            return opened.width, opened.height


def cache_folder() -> Path:
    """Return the folder of the user's cache for pictures that lie inside of other files."""
    return expand(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'mimo_embodied_ros' / 'pictures'


def _parquet(file: Path) -> Iterator[tuple[str, Any]]:
    pyarrow = import_extra('pyarrow', f'{file} is parquet, which is read by pyarrow', 'eval')
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f'{file}:row {number}', row
    except (pyarrow.ArrowException, OSError) as error:
        msg = f'{file} cannot be read as parquet ({error}); download it again'
        raise InvalidRequestError(msg) from error


def _json(file: Path) -> Iterator[tuple[str, Any]]:
    """Read a list, or lines of objects, which some benchmarks name ``.json``, too."""
    if read_text(file).lstrip().startswith('{'):
        yield from read_lines(file)
        return
    for number, entry in enumerate(read_json(file, list), 1):
        yield f'{file}:entry {number}', entry


def read_json(file: Path, kind: type[list[Any] | dict[str, Any]]) -> Any:
    """Read a JSON file that holds a list or an object.

    Raises:
        InvalidRequestError: it cannot be read, or holds something else.

    """
    try:
        value = parse_json(read_text(file))
    except ValueError as error:
        msg = f'{file}: this is no JSON ({error})'
        raise InvalidRequestError(msg) from error
    if not isinstance(value, kind):
        msg = f'{file} holds no {"list of questions" if kind is list else "object"}'
        raise InvalidRequestError(msg)
    return value


_READERS = {'.parquet': _parquet, '.jsonl': read_lines}
