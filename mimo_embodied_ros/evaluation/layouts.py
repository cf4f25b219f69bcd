"""Read published benchmarks in the file layouts in which they are published.

Each reader yields places and objects as ``dataset`` describes them. Sources: the repositories
tyb197/RoboAfford, Zhoues/RoboRefer (``Evaluation``; the raw files of RefSpatial-Bench, not its
parquet) and wentaoyuan/RoboPoint (``robopoint/eval``); the questions are taken from their entries
as in ``lmms_eval/tasks`` of XiaomiMiMo/MiMo-Embodied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import parse_json
from mimo_embodied_ros.core.tasks import TASKS

from .dataset import Record, read_lines, read_text, to_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from mimo_embodied_ros.core.tasks import Task

    Lines = Iterator[tuple[str, Any]]

# This asks for another format than the model's; the vendor removes it, too.
_FORMAT = ' Your answer should be formatted as a list of tuples'

_AFFORDANCES = {
    'object reference': 'object affordance recognition',
    'object affordance': 'object affordance prediction',
    'spatial affordance': 'spatial affordance localization',
}


def own(folder: Path) -> Lines:
    """This package's own layout: ``dataset.jsonl``."""
    return read_lines(folder / 'dataset.jsonl')


def roboafford_eval(folder: Path) -> Lines:
    """RoboAfford-Eval: ``annotations_*.json``, ``images/`` and ``masks/``.

    A list of ``category``, ``question``, ``img``, ``mask`` and ``answer``. The benchmark scores by
    the mask and not by the polygons in ``answer``, so that both annotation files are equivalent.
    """
    for place, entry in _entries(min(folder.glob('annotations_*.json'))):
        category = entry['category']
        yield place, {
            'image': f'images/{entry["img"]}', 'question': _description(entry['question']),
            'answer': {'mask': f'masks/{entry["mask"]}'},
            'category': _AFFORDANCES.get(category, category)}


def refspatial(folder: Path) -> Lines:
    """RefSpatial-Bench: ``Location``, ``Placement`` and ``Unseen``, or one of them.

    Each ``question.json`` is a list of ``id``, ``object``, ``prompt``, ``suffix``, ``rgb_path``,
    ``mask_path``, ``category`` and ``step``. The published figure is the mean of Location and
    Placement; Unseen is for models that were trained on RefSpatial.
    """
    files = sorted(folder.glob('*/question.json')) or [folder / 'question.json']
    for file in files:
        split, subfolder = file.parent.resolve().name, file.parent.relative_to(folder)
        for place, entry in _entries(file):
            yield place, {
                'id': f'{split} {entry["id"]}', 'image': str(subfolder / entry['rgb_path']),
                'question': entry['object'], 'category': split,
                'answer': {'mask': str(subfolder / entry['mask_path'])}}


def where2place(folder: Path) -> Lines:
    """Where2Place: ``point_questions.jsonl``, ``images/`` and ``masks/``.

    Lines of ``question_id``, ``image``, ``text`` and ``category``; the mask of the n-th line is
    ``masks/<n>.jpg``, counted from 00. The edges of a mask are blurred; its lighter half counts.
    """
    for number, (place, entry) in enumerate(read_lines(folder / 'point_questions.jsonl')):
        mask = f'masks/{number:02d}.jpg'
        if not (folder / mask).is_file() and (folder / mask).with_suffix('.png').is_file():
            mask = f'masks/{number:02d}.png'  # some copies have PNG files
        yield place, {
            'id': str(entry['question_id']), 'image': f'images/{entry["image"]}',
            'question': _description(entry['text']), 'answer': {'mask': mask},
            'category': entry.get('category', 'where2place')}


LAYOUTS: dict[str, tuple[Callable[[Path], Lines], tuple[str, ...]]] = {
    'own': (own, ('dataset.jsonl',)),
    'roboafford-eval': (roboafford_eval, ('annotations_*.json',)),
    'refspatial': (refspatial, ('*/question.json', 'question.json')),
    'where2place': (where2place, ('point_questions.jsonl',)),
}
"""Readers by name, with the files by which a layout is recognised."""


def read_dataset(
    path: Path, *, thinking: bool | None = None, tasks: Mapping[str, Task] = TASKS
) -> list[Record]:
    """Read a dataset: a file in this package's own layout, or a folder in any layout.

    Raises:
        InvalidRequestError: the layout is unknown, or a record is wrong.

    """
    if path.is_file():
        return to_records(read_lines(path), path.parent, thinking=thinking, tasks=tasks)
    for reader, names in LAYOUTS.values():
        if any(any(path.glob(name)) for name in names):
            return to_records(_checked(reader, path), path, thinking=thinking)
    layouts = '; '.join(f'{name}: {" or ".join(files)}' for name, (_, files) in LAYOUTS.items())
    msg = f'{path} is no dataset; give a file of JSON lines, or a folder with one of {layouts}'
    raise InvalidRequestError(msg)


def _checked(reader: Callable[[Path], Lines], folder: Path) -> Lines:
    try:
        yield from reader(folder)
    except (KeyError, TypeError, AttributeError) as error:
        msg = f'{folder} is not as {reader.__name__} is published: {type(error).__name__} {error}'
        raise InvalidRequestError(msg) from error


def _entries(file: Path) -> Lines:
    """Yield the objects of a JSON list; their places count entries in place of lines."""
    try:
        entries = parse_json(read_text(file))
    except ValueError as error:
        msg = f'{file}: this is no JSON ({error})'
        raise InvalidRequestError(msg) from error
    if not isinstance(entries, list):
        msg = f'{file} holds no list of questions'
        raise InvalidRequestError(msg)
    for number, entry in enumerate(entries, 1):
        yield f'{file}:entry {number}', entry


def _description(question: str) -> str:
    return question.partition(_FORMAT)[0].strip()
