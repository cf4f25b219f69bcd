"""Benchmarks of points and boxes; the truths of boxes are in pixels of the original image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .questions import description

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .source import Embedded, Row, Source

    Lines = Iterator[tuple[str, Row]]

_AFFORDANCES = {
    'object reference': 'object affordance recognition',
    'object affordance': 'object affordance prediction',
    'spatial affordance': 'spatial affordance localization',
}
# What VABench-Point's questions have beside the instruction; the vendor removes it, too.
_VABENCH = ('<image> ', 'The task instruction is: ')
_VABENCH_FORMAT = 'You FIRST think about the reasoning process'


def masked(question: str) -> Callable[[Source], Lines]:
    """Make a reader of rows with ``image``, ``mask`` and a column with the question."""
    def read(source: Source) -> Lines:
        for place, _, row in source.rows():
            yield place, {
                'image': source.picture(row['image']), 'question': description(row[question]),
                'answer': {'mask': source.picture(row['mask'])}}
    return read


def roborefit(source: Source) -> Lines:
    """Read rows of ``image``, ``ref_exp`` and ``normalized_bbox``."""
    for place, _, row in source.rows():
        image = source.picture(row['image'])
        yield place, _in_box(source, image, row['ref_exp'], row['normalized_bbox'])


def roborefit_raw(source: Source) -> Lines:
    """Read ``roborefit_testA.json`` and ``...testB.json``: ``rgb_path``, ``text`` and ``bbox``.

    The corners of the box are in pixels; the paths begin at a folder above the file.
    """
    for place, file, row in source.rows():
        image = _below(file, row['rgb_path'])
        width, height = source.size(image)
        left, top, right, bottom = row['bbox']
        yield place, _in_box(source, image, row['text'], [
            left / width, top / height, right / width, bottom / height])


def vabench_point(source: Source) -> Lines:
    """Read rows of ``image``, ``problem`` and ``normalized_bbox``."""
    for place, _, row in source.rows():
        words = row['problem'].partition(_VABENCH_FORMAT)[0]
        for prefix in _VABENCH:
            words = words.replace(prefix, '')
        image = source.picture(row['image'])
        yield place, _in_box(source, image, words, row['normalized_bbox'])


def where2place_raw(source: Source) -> Lines:
    """Read ``point_questions.jsonl``, ``images/`` and ``masks/``.

    Lines of ``question_id``, ``image``, ``text`` and ``category``; the mask of the n-th line is
    ``masks/<n>.jpg``, counted from 00; some copies have PNG files.
    """
    for number, (place, _, row) in enumerate(source.rows()):
        mask = source.folder / f'masks/{number:02d}.jpg'
        if not mask.is_file() and mask.with_suffix('.png').is_file():
            mask = mask.with_suffix('.png')
        yield place, {
            'id': str(row['question_id']), 'image': source.path(row['image']),
            'question': description(row['text']), 'answer': {'mask': str(mask.resolve())},
            'category': row.get('category', 'where2place')}


def roboafford_raw(source: Source) -> Lines:
    """Read ``annotations_*.json``, ``images/`` and ``masks/``.

    A list of ``category``, ``question``, ``img``, ``mask`` and ``answer``. The benchmark scores by
    the mask and not by the polygons in ``answer``, so that both annotation files are equivalent.
    """
    for place, _, row in source.rows(source.files[0]):
        category = row['category']
        yield place, {
            'image': source.path(row['img']), 'question': description(row['question']),
            'answer': {'mask': source.path(row['mask'], 'masks')},
            'category': _AFFORDANCES.get(category, category)}


def refspatial(source: Source) -> Lines:
    """Read ``location-*.parquet`` and ``placement-*.parquet``: ``image``, ``mask``, ``object``."""
    for place, file, row in source.rows():
        yield place, {
            'image': source.picture(row['image']), 'question': row['object'],
            'answer': {'mask': source.picture(row['mask'])},
            'category': file.name.partition('-')[0].capitalize()}


def refspatial_raw(source: Source) -> Lines:
    """Read ``Location``, ``Placement`` and ``Unseen``, or one of them.

    Each ``question.json`` is a list of ``id``, ``object``, ``prompt``, ``suffix``, ``rgb_path``,
    ``mask_path``, ``category`` and ``step``.
    """
    for place, file, row in source.rows():
        split, folder = file.parent.resolve().name, file.parent.resolve()
        yield place, {
            'id': f'{split} {row["id"]}', 'image': str(folder / row['rgb_path']),
            'question': row['object'], 'category': split,
            'answer': {'mask': str(folder / row['mask_path'])}}


def robospatial(source: Source) -> Lines:
    """Read rows of ``image``, ``question``, and ``answer`` or ``mask``, for each of three parts.

    The part is in the name of the file or of the folder: compatibility, configuration, context.
    RoboSpatial-Home's own rows have ``img`` in the place of ``image``.
    """
    for place, file, row in source.rows():
        name = str(file.relative_to(source.folder))
        part = next(p for p in ('compatibility', 'configuration', 'context') if p in name)
        fields: Row = {'image': source.picture(row['image' if 'image' in row else 'img']),
                       'category': part}
        if part == 'context':
            yield place, fields | {
                'question': description(row['question']),
                'answer': {'mask': source.picture(row['mask'])}}
        else:
            yes = {'yes': True, 'no': False}[row['answer'].strip().lower()]
            yield place, fields | {
                'question': row['question'], 'answer': {'yes': yes}}


def drama(source: Source) -> Lines:
    """Read rows of ``image``, a path after ``combined/``, and ``bbox``: x, y, width, height."""
    for place, _, row in source.rows():
        left, top, width, height = row['bbox']
        yield place, {
            'image': source.path(row['image'].rpartition('combined')[2].lstrip('/')),
            'answer': {'boxes': [[left, top, left + width, top + height]]}}


def _in_box(
    source: Source, image: str | Embedded, words: str, box: list[float]
) -> Row:
    """Make the record of points in a box whose corners are shares of the image's sides."""
    width, height = source.size(image)
    left, top, right, bottom = (float(side) for side in box)
    return {'image': image, 'question': words.strip(),
            'answer': {'boxes': [[left * width, top * height, right * width, bottom * height]]},
            'extra': {'normalized_box': [left, top, right, bottom]}}


def _below(file: Path, name: str) -> str:
    """Return the file that is named from one of the folders above another."""
    parts = Path(name.replace('\\', '/')).parts
    for folder in file.resolve().parents:
        for start in range(len(parts)):
            if (found := folder.joinpath(*parts[start:])).is_file():
                return str(found)
    return str(file.parent / name)


READERS: dict[str, Any] = {
    'roborefit': {'parquet': roborefit, 'raw': roborefit_raw},
    'where2place': {'parquet': masked('question'), 'raw': where2place_raw},
    'vabench_point': {'parquet': vabench_point},
    'part_afford': {'parquet': masked('problem')},
    'roboafford_eval': {'parquet': masked('question'), 'raw': roboafford_raw},
    'refspatial': {'parquet': refspatial, 'raw': refspatial_raw},
    'robospatial': {'parquet': robospatial, 'home': robospatial},
    'drama': {'parquet': drama},
}
"""Readers by benchmark and form."""
