"""Writes files of made-up benchmarks: tables, pictures of drawn scenes, texts of a model."""

from __future__ import annotations

import io
import json
import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from mimo_embodied_ros.worlds.road_scene import draw_road
from mimo_embodied_ros.worlds.table_scene import Thing, draw_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHARD = 'data/{}-00000-of-00001.parquet'
# 168 x 112: the model sees these sizes as they are
THINGS = (Thing('red', 'cube', 50, 76, 16), Thing('blue', 'ball', 116, 70, 15))


class Files:
    """Writes below one folder, and keeps what is expected."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.expected: list[dict[str, Any]] = []

    def write(self, name: str, data: bytes | str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Write parquet, JSON or JSON lines."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == '.parquet':
            parquet.write_table(pa.Table.from_pylist(rows), path, compression='zstd')
        elif path.suffix == '.jsonl':
            path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
        else:
            path.write_text(json.dumps(rows, indent=1))

    def expect(self, benchmark: str, scored: Mapping[str, tuple[str, float | None]],
               total: float | None = None) -> None:
        """Keep texts and scores by id, and the benchmark's figure, in percent.

        The score is None where the rule has one for all texts together.
        """
        self.expected += [{'benchmark': benchmark, 'id': name, 'output': text, 'score': score}
                          for name, (text, score) in scored.items()]
        if total is not None:
            self.expected.append({'benchmark': benchmark, 'total': total})


def encoded(pixels: Any, form: str = 'JPEG') -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, quality=85)
    return out.getvalue()


def hub(data: bytes) -> dict[str, Any]:
    """A picture as the library "datasets" keeps it."""
    return {'bytes': data, 'path': None}


def table(things: tuple[Thing, ...] = THINGS, width: int = 168, height: int = 112) -> Any:
    return draw_table(random.Random(7), width, height, things=things)


def road(seed: int) -> bytes:
    return encoded(draw_road(random.Random(seed), 168, 112).pixels)


def points(*found: tuple[int, int]) -> str:
    listed = [list(point) for point in found]
    return f'<think>\nI look.\n</think>\n\n```json\n[{{"points": {listed}, "label": "it"}}]\n```'


def boxed(word: str) -> str:
    return f'<think>\nI look.\n</think>\n\n\\boxed{{{word}}}'


def shard(number: int, split: str = 'test', folder: str = '') -> str:
    """Id of a row, where the benchmark has none."""
    return f'{folder}{SHARD.format(split)}:row {number}'
