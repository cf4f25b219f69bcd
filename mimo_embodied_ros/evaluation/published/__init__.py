"""Readers of the benchmarks' files, as they are published.

Each reader takes a `Source` and yields places and objects as ``dataset`` describes them; pictures
inside of other files are `Embedded`. The task is that of the part in ``suite.yaml`` unless the
reader names another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError

from . import choices, driving, points, videos
from .source import Embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .source import Row, Source

    Reader = Callable[[Source], Iterator[tuple[str, Row]]]

READERS: dict[str, dict[str, Reader]] = {
    **points.READERS, **choices.READERS, **videos.READERS, **driving.READERS}
"""By benchmark and form, the names in ``suite.yaml``."""


def read(reader: Reader, source: Source, title: str) -> Iterator[tuple[str, Row]]:
    """Yield what a reader reads.

    Raises:
        InvalidRequestError: an entry is not as it is published; the message has its place.

    """
    try:
        yield from reader(source)
    except InvalidRequestError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OSError, StopIteration) as error:
        msg = (f'{source.place or source.folder}: this is not as {title} is published: '
               f'{type(error).__name__} {error}')
        raise InvalidRequestError(msg) from error


def unpack(fields: Row, place: str, folder: Path) -> Row:
    """Write the embedded pictures of an object to a folder, and name these files in their place.

    Raises:
        InvalidRequestError: one is no picture, or the folder cannot be written.

    """
    def named(value: Any) -> Any:
        if isinstance(value, Embedded):
            return value.unpack(folder)
        if isinstance(value, dict):
            return {key: named(item) for key, item in value.items()}
        return [named(item) for item in value] if isinstance(value, list) else value

    try:
        return {key: named(value) for key, value in fields.items()}
    except OSError as error:
        msg = f'{place}: this picture cannot be read ({error}); download the file again'
        raise InvalidRequestError(msg) from error
