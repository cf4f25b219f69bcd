"""Labelled pictures, rendered once: ``python -m mimo_embodied_ros.embedded.renders``.

They are kept in shards: the pictures as JPEG, and a file of JSON lines with what is in them, which
is written last. A run that was stopped goes on with the shards that are missing; each shard depends
on the seed and its own number only. Training reads them with `Renders`, each time with other light,
noise and focus, and mirrored half of the time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import random
import re
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from mimo_embodied_ros.worlds.drawing import add_lighting
from mimo_embodied_ros.worlds.road_scene import VIEWS, Road, RoadObject, Surround
from mimo_embodied_ros.worlds.room_scene import RoomScene
from mimo_embodied_ros.worlds.table_scene import SeenThing, Table

from .curriculum import image_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    Scene = Table | Road | Surround
    Maker = Callable[[random.Random, int, int], Scene | None]

FOLDER = Path('build/renders')
EACH = 8
"""Pictures of a shard."""
_QUALITY = 92  # of JPEG
_TRIES = 60  # pictures of a shard that may be dropped
_OTHER, _SIDES = {'left': 'right', 'right': 'left'}, re.compile('left|right')
_BLURRED, _COMPRESSED = 0.3, 0.3  # shares of the pictures in training


def _tables(rng: random.Random) -> Maker:
    from .rendered_tables import TableStage

    return TableStage(rng).picture


def _rooms(_: random.Random) -> Maker:
    from .rendered_rooms import rendered_room

    return rendered_room


def _roads(_: random.Random) -> Maker:
    from .rendered_roads import rendered_road

    return rendered_road


def _surrounds(_: random.Random) -> Maker:
    from .rendered_roads import rendered_surround

    return rendered_surround


@dataclass(frozen=True)
class Kind:
    """A kind of rendered scenes.

    Attributes:
        prepare: returns what makes the pictures of a shard: a function of a source of random
            choices, width and height that returns a scene, or None to drop it.
        number: of pictures for training.

    """

    prepare: Callable[[random.Random], Maker]
    number: int


KINDS = {'table': Kind(_tables, 8_000), 'room': Kind(_rooms, 2_000),
         'road': Kind(_roads, 1_600), 'surround': Kind(_surrounds, 160)}


def render(
    folder: Path, kind: str, number: int, *, seed: int = 0, processes: int = 2,
    sizes: Sequence[tuple[int, int]] = (), masks: bool = False,
) -> None:
    """Render the pictures of a kind that the folder does not have yet.

    Args:
        folder: where to write.
        kind: one of `KINDS`.
        number: of pictures, rounded up to whole shards.
        seed: other seeds give other pictures.
        processes: that render.
        sizes: (width, height), one for each shard in turn; empty: those that the model gets.
        masks: keep which thing each pixel shows.

    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = (shard for shard in range(-(-number // EACH))
               if not _labels_file(folder, kind, shard).exists())
    jobs = [_Job(folder, kind, shard, seed, sizes[shard % len(sizes)] if sizes else None, masks)
            for shard in missing]
    begin, context = time.monotonic(), multiprocessing.get_context('spawn')
    if processes < 2:
        for job in jobs:
            _render_shard(job)
        return
    with context.Pool(min(processes, max(1, len(jobs)))) as pool:
        for done, _ in enumerate(pool.imap_unordered(_render_shard, jobs), 1):
            if done % 100 == 0 or done == len(jobs):
                print(f'{kind}: {done * EACH} of {len(jobs) * EACH} pictures in '
                      f'{time.monotonic() - begin:.0f} s', flush=True)


@dataclass(frozen=True)
class _Job:
    folder: Path
    kind: str
    shard: int
    seed: int
    size: tuple[int, int] | None
    masks: bool


def _labels_file(folder: Path, kind: str, shard: int) -> Path:
    return folder / f'{kind}-{shard:05d}.jsonl'


def _render_shard(job: _Job) -> None:
    rng = random.Random(f'{job.seed} {job.kind} {job.shard}')
    maker, lines = KINDS[job.kind].prepare(rng), list[str]()
    labels = _labels_file(job.folder, job.kind, job.shard)
    for _ in range(_TRIES):
        scene = maker(rng, *(job.size or image_size(rng)))
        if scene is None:
            continue
        name = f'{labels.stem}-{len(lines)}'
        cv2.imwrite(str(job.folder / f'{name}.jpg'), scene.pixels[:, :, ::-1],
                    [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        if job.masks and isinstance(scene, Table) and scene.labels is not None:
            cv2.imwrite(str(job.folder / f'{name}.png'), scene.labels)
        height, width = scene.pixels.shape[:2]
        fields = {f.name: getattr(scene, f.name) for f in dataclasses.fields(scene)
                  if f.name not in {'pixels', 'labels'}}
        lines.append(json.dumps({'name': name, 'size': (width, height),
                                 'type': type(scene).__name__, **fields},
                                default=dataclasses.asdict))
        if len(lines) == EACH:
            break
    part = labels.with_suffix('.part')
    part.write_text('\n'.join([*lines, '']), 'utf-8')
    part.replace(labels)


class Renders:
    """The rendered scenes of a folder."""

    def __init__(self, folder: Path, kind: str) -> None:
        """Read the labels of a kind, one of `KINDS`."""
        self._folder = folder
        self._by_size: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
        for labels in sorted(folder.glob(f'{kind}-*.jsonl')):
            for line in labels.read_text('utf-8').splitlines():
                record = json.loads(line)
                self._by_size[tuple(record.pop('size'))].append(record)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return sum(map(len, self._by_size.values()))

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The (width, height) of its pictures."""
        return tuple(self._by_size)

    def scenes(self, size: tuple[int, int]) -> list[Scene]:
        """Return all scenes of a size as they were rendered."""
        return [self._load(record) for record in self._by_size.get(size, ())]

    def draw(self, rng: random.Random, number: int, most: int = 99) -> list[Scene]:
        """Choose scenes of one size, each as another photograph, mirrored half of the time.

        Args:
            rng: source of all random choices.
            number: of scenes; they repeat where there are fewer.
            most: largest number of things in a scene.

        """
        sizes = [size for size, records in self._by_size.items() if len(records) >= number]
        sizes = sizes or [max(self._by_size, key=lambda size: len(self._by_size[size]))]
        records = self._by_size[rng.choices(sizes, [len(self._by_size[s]) for s in sizes])[0]]
        few = [record for record in records if len(record.get('things', ())) <= most] or records
        chosen = rng.sample(few, number) if len(few) >= number else rng.choices(few, k=number)
        out = []
        for record in chosen:
            scene = self._load(record)
            scene = mirrored(scene) if rng.random() < 0.5 else scene
            out.append(dataclasses.replace(scene, pixels=photographed(rng, scene.pixels)))
        return out

    def _load(self, record: dict[str, Any]) -> Scene:
        stem = self._folder / record['name']
        pixels = np.ascontiguousarray(_read(stem.with_suffix('.jpg'))[:, :, ::-1])
        fields = {k: v for k, v in record.items() if k not in {'name', 'type'}}
        if record['type'] == 'Road':
            objects = {k: RoadObject(**{**v, 'box': tuple(v['box'])})
                       for k, v in fields.items() if isinstance(v, dict)}
            return Road(pixels, **(fields | objects))
        if record['type'] == 'Surround':
            seen = tuple(tuple(RoadObject(**{**thing, 'box': tuple(thing['box'])})
                               for thing in things) for things in fields.pop('seen'))
            return Surround(pixels, **fields, seen=seen)
        mask = stem.with_suffix('.png')
        fields |= {'things': _seen(fields['things']), 'hidden': _seen(fields['hidden']),
                   'free': fields['free'] and tuple(fields['free'])}
        kind = RoomScene if record['type'] == 'RoomScene' else Table
        return kind(pixels, **fields, labels=_read(mask, cv2.IMREAD_GRAYSCALE)
                     if mask.exists() else None)


def _seen(things: Iterable[dict[str, Any]]) -> tuple[SeenThing, ...]:
    return tuple(SeenThing(**{**t, 'edges': tuple(t['edges']), 'ground': tuple(t['ground'])})
                 for t in things)


def _read(path: Path, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), flags)
    if picture is None:
        msg = f'{path} is missing or no picture; delete the folder {path.parent} and render again'
        raise FileNotFoundError(msg)
    return np.asarray(picture, np.uint8)


def mirrored(scene: Scene) -> Scene:
    """Return a scene with left and right exchanged."""
    width = scene.pixels.shape[1]
    pixels = np.ascontiguousarray(scene.pixels[:, ::-1])

    def flipped(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        return width - box[2], box[1], width - box[0], box[3]

    if isinstance(scene, Surround):
        seen = [tuple(dataclasses.replace(thing, box=flipped(thing.box)) for thing in things)
                for things in scene.seen]
        pictures = np.split(pixels, len(seen))
        other_side = [VIEWS.index(_SIDES.sub(lambda side: _OTHER[side[0]], v)) for v in VIEWS]
        return Surround(np.concatenate([pictures[i] for i in other_side]),
                        _OTHER.get(scene.bend, scene.bend), scene.light,
                        tuple(seen[i] for i in other_side))
    if isinstance(scene, Road):
        return dataclasses.replace(
            scene, pixels=pixels, bend=_OTHER.get(scene.bend, scene.bend),
            **{name: dataclasses.replace(thing, box=flipped(thing.box))
               for name in ('traffic_light', 'pedestrian', 'car')
               if (thing := getattr(scene, name)) is not None})
    things = tuple(dataclasses.replace(t, x=width - t.x, edges=flipped(t.box))
                   if isinstance(t, SeenThing) else t for t in scene.things)
    free = None if scene.free is None else (width - scene.free[0], scene.free[1])
    labels = None if scene.labels is None else np.ascontiguousarray(scene.labels[:, ::-1])
    return dataclasses.replace(scene, pixels=pixels, things=things, free=free, labels=labels)


def photographed(rng: random.Random, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture in another light, out of focus or moved, with noise and JPEG's traces."""
    if rng.random() < _BLURRED:
        if rng.random() < 0.5:
            pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.4, 1.3)).astype(np.uint8)
        else:
            pixels = cv2.filter2D(pixels, -1, _motion(rng)).astype(np.uint8)
    pixels = add_lighting(rng, pixels)
    if rng.random() < _COMPRESSED:
        _, data = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(35, 90)])
        pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return pixels


def _motion(rng: random.Random) -> NDArray[np.float32]:
    """A kernel that moves the picture along a line of 2 to 5 pixels."""
    kernel = np.zeros((7, 7), np.float32)
    angle, half = rng.uniform(0, np.pi), rng.uniform(1, 2.5)
    for along in np.linspace(-half, half, 11):
        kernel[round(3 + along * np.sin(angle)), round(3 + along * np.cos(angle))] += 1
    return kernel / kernel.sum()


def read_all(folder: Path) -> dict[str, Renders]:
    """Return the rendered scenes of a folder by their kind, without kinds that it has not."""
    kinds = ((kind, Renders(folder, kind)) for kind in KINDS)
    return {kind: renders for kind, renders in kinds if len(renders)}


def main() -> None:
    """Render what training needs."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('--out', type=Path, default=FOLDER,
                        help='folder of the pictures (default: %(default)s)')
    parser.add_argument('--share', type=float, default=1.0,
                        help='share of the pictures that training needs (default: all)')
    parser.add_argument('--processes', type=int, default=2)
    options = parser.parse_args()
    for name, kind in KINDS.items():
        render(options.out, name, round(options.share * kind.number), processes=options.processes)
        print(f'{options.out}: {len(Renders(options.out, name))} pictures of kind {name}')


if __name__ == '__main__':
    main()
