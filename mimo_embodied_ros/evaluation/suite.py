"""The 29 benchmarks of MiMo-Embodied's report, and their records.

``suite.yaml`` is the table; its first lines explain the fields, the metrics, and how parts are put
together. The folders ``DATA/<name>`` hold the files as they are published.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.yaml_tables import YamlNode, load_table

from . import published
from .dataset import to_records
from .published.source import Source, cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .dataset import Record
    from .published.source import Row


@dataclass(frozen=True)
class Part:
    """One part of a benchmark, whose score is computed by itself.

    Attributes:
        name: category of its records.
        metric: name of a rule of the vendor's.
        task: name of a task in ``tasks.yaml``.

    """

    name: str
    metric: str
    task: str


@dataclass(frozen=True)
class Benchmark:
    """A row of the report's tables.

    Attributes:
        name: also of its folder.
        title: in the report.
        field: embodied or driving.
        published: percent, of the report's tables.
        medium: image, images, clip (frames as images), video, videos, any.
        thinking: whether the vendor lets the model reason.
        parts: of its records.
        combine: how the parts' scores become one figure.
        files: patterns of its files in each form in which they are published.
        source: where this was read.

    """

    name: str
    title: str
    field: str
    published: float
    medium: str
    thinking: bool
    parts: tuple[Part, ...]
    combine: str
    files: Mapping[str, tuple[str, ...]]
    source: str


@cache
def load_suite() -> tuple[Benchmark, ...]:
    """Return the benchmarks in the order of the report's tables."""
    table = load_table(
        Path(__file__).with_name('suite.yaml'), 'benchmark', _benchmark, 'the head of the file')
    return tuple(table.values())


def read_benchmark(
    benchmark: Benchmark, data: Path, *, limit: int = 0, unpacked: Path | None = None
) -> list[Record]:
    """Read the records of a benchmark; none where its folder is absent or empty.

    The category of a record is the name of its part, and records of no part are left out.

    Args:
        benchmark: of the table.
        data: folder of the benchmarks' folders.
        limit: records of each part, the first ones; 0: all.
        unpacked: folder for pictures that lie inside of other files; None: the user's cache.

    Raises:
        InvalidRequestError: the files are there and wrong; the message has the file and the entry.

    """
    folder = data / benchmark.name
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    form, files = _files(benchmark, folder)
    reader = published.READERS[benchmark.name][form]
    lines = published.read(reader, Source(folder, files), benchmark.title)
    chosen = _of_parts(lines, benchmark, folder, limit)
    pictures = unpacked or cache_folder()
    return to_records(
        ((place, published.unpack(fields, place, pictures)) for place, fields in chosen), folder,
        thinking=benchmark.thinking)


def _files(benchmark: Benchmark, folder: Path) -> tuple[str, list[Path]]:
    """Return the form in which the files are there, and the files that it consists of."""
    for form, patterns in benchmark.files.items():
        if files := sorted({file for pattern in patterns for file in folder.glob(pattern)}):
            return form, files
    forms = '; or '.join(' and '.join(patterns) for patterns in benchmark.files.values())
    msg = f'{folder} has none of the files of {benchmark.title}; put {forms} there'
    raise InvalidRequestError(msg)


def _of_parts(
    lines: Iterator[tuple[str, Row]], benchmark: Benchmark, folder: Path, limit: int
) -> Iterator[tuple[str, Row]]:
    """Yield the lines that belong to a part, at most ``limit`` of each, with unique ids."""
    parts = {part.name: part for part in benchmark.parts}
    counts = Counter[str]()
    ids = Counter[str]()
    for place, fields in lines:
        name = fields['category'] if len(parts) > 1 else benchmark.parts[0].name
        if name not in parts or (limit and counts[name] >= limit):
            continue
        counts[name] += 1
        own = fields.get('id', str(Path(place).relative_to(folder)))
        ids[own] += 1
        yield place, {
            'task': parts[name].task, **fields, 'category': name,
            'id': own if ids[own] == 1 else f'{own} #{ids[own]}'}
        if limit and all(counts[part] >= limit for part in parts):
            return


def _benchmark(name: str, _key: YamlNode, node: YamlNode) -> Benchmark:
    names = [field.name for field in dataclasses.fields(Benchmark)][1:]
    values = {key: value.value() for key, value in node.fields(names).items()}
    if absent := set(names) - set(values):
        raise node.error(f'{name} has no {", ".join(sorted(absent))}')
    parts = tuple(Part(**part) for part in values.pop('parts'))
    files = {form: tuple(patterns) for form, patterns in values.pop('files').items()}
    return Benchmark(name, parts=parts, files=files, **values)
