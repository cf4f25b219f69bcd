"""Read datasets: in this package's own layout, or in that of a published benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.tasks import TASKS

from . import published
from .dataset import Record, read_lines, to_records
from .published.points import refspatial_raw, roboafford_raw, where2place_raw
from .published.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mimo_embodied_ros.core.tasks import Task

_OWN = 'dataset.jsonl'

LAYOUTS: dict[str, tuple[published.Reader, tuple[str, ...]]] = {
    'roboafford-eval': (roboafford_raw, ('annotations_*.json',)),
    'refspatial': (refspatial_raw, ('*/question.json', 'question.json')),
    'where2place': (where2place_raw, ('point_questions.jsonl',)),
}
"""Readers of published layouts by name, with the files by which each is recognised."""


def read_dataset(
    path: Path, *, thinking: bool | None = None, tasks: Mapping[str, Task] = TASKS
) -> list[Record]:
    """Read a dataset: a file in this package's own layout, or a folder in any layout.

    Raises:
        InvalidRequestError: the layout is unknown, or a record is wrong.

    """
    if (path / _OWN).is_file():
        path /= _OWN
    if path.is_file():
        return to_records(read_lines(path), path.parent, thinking=thinking, tasks=tasks)
    for name, (reader, patterns) in LAYOUTS.items():
        for pattern in patterns:
            if files := sorted(path.glob(pattern)):
                lines = published.read(reader, Source(path, files), name)
                return to_records(lines, path, thinking=thinking)
    layouts = '; '.join(f'{name}: {" or ".join(files)}' for name, (_, files) in LAYOUTS.items())
    msg = (f'{path} is no dataset; give a file of JSON lines, or a folder with one of own: {_OWN}; '
           f'{layouts}')
    raise InvalidRequestError(msg)
