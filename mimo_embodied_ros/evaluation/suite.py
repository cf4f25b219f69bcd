"""The 29 benchmarks of MiMo-Embodied's report, and their records.

``suite.yaml`` is the table; its first lines explain the fields, the metrics, and how parts are put
together. The folders ``DATA/<name>`` hold the files as they are published.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.yaml_tables import YamlNode, load_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .dataset import Record


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


def read_benchmark(benchmark: Benchmark, data: Path, *, limit: int = 0) -> list[Record]:
    """Read the records of a benchmark; none where its folder is absent or empty.

    Args:
        benchmark: of the table.
        data: folder of the benchmarks' folders.
        limit: records of each part, the first ones; 0: all.

    Raises:
        InvalidRequestError: the files are there and wrong; the message has the file and the entry.

    """
    folder = data / benchmark.name
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    raise NotImplementedError(limit)


def _benchmark(name: str, _key: YamlNode, node: YamlNode) -> Benchmark:
    names = [field.name for field in dataclasses.fields(Benchmark)][1:]
    values = {key: value.value() for key, value in node.fields(names).items()}
    if absent := set(names) - set(values):
        raise node.error(f'{name} has no {", ".join(sorted(absent))}')
    parts = tuple(Part(**part) for part in values.pop('parts'))
    files = {form: tuple(patterns) for form, patterns in values.pop('files').items()}
    return Benchmark(name, parts=parts, files=files, **values)
