"""Benchmarks of driving over images: one camera, a few frames, or cameras all around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.tasks import TASKS

from .questions import split_options
from .source import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .source import Row, Source

    Lines = Iterator[tuple[str, Row]]

_CODALM = {'general_perception': 'road_objects', 'region_perception': 'marked_object',
           'driving_suggestion': 'driving_suggestion'}
_CAMERAS = ('CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT',
            'CAM_BACK_RIGHT')  # in the order of the training
_STAGES = ('perception', 'prediction', 'planning', 'behavior')
_DRIVELM_OPTIONS = ' Please select the correct answer from the following options:'
_MAPLM_OPTIONS = ' Your potential answer is:'


def codalm(source: Source) -> Lines:
    """Read rows of ``id``, ``question`` and ``image_paths`` for each of three parts.

    The part is in the name of the folder or file. The raw files are lines of ``question_id``,
    ``image``, ``question`` and ``answer``, where it is published; the pictures of regions have
    their red rectangle already. A question that no task has in its words is sent as it is.
    """
    for place, file, row in source.rows():
        name = str(file.relative_to(source.folder))
        part = next(part for part in _CODALM if part in name)
        paths = row['image_paths'] if 'image_paths' in row else [row['image']]
        number = row['id' if 'id' in row else 'question_id']
        fields: Row = {
            'id': f'{part} {number}', 'images': [source.path(path) for path in paths],
            'category': part, 'answer': _judged(row.get('answer')),
            'extra': {'id': number, 'question': row['question'], 'image_paths': paths}}
        if row['question'] != TASKS[_CODALM[part]].prompt:
            fields |= {'task': 'ask', 'question': row['question']}
        yield place, fields


def drivelm(source: Source) -> Lines:
    """Read rows of ``id``, ``tag``, ``question`` and ``image_paths``, joined by commas."""
    for place, _, row in source.rows():
        images = [source.path(path) for path in row['image_paths'].split(', ')]
        yield place, _drivelm(str(row['id']), row['tag'], row['question'], row.get('answer'),
                              images)


def drivelm_raw(source: Source) -> Lines:
    """Read ``v1_1_val_nus_q_only.json``: scenes, their frames, and the questions of each stage.

    The id of a question is that of the challenge: scene, frame and number in the frame.
    """
    for file in source.files:
        for scene, entry in read_json(file, dict).items():
            for frame, data in entry['key_frames'].items():
                source.place = place = f'{file}:{scene} {frame}'
                images = [source.path(data['image_paths'][camera].replace('../', ''))
                          for camera in _CAMERAS]
                asked = [qa for stage in _STAGES for qa in data['QA'].get(stage, [])]
                for number, qa in enumerate(asked):
                    yield f'{place} question {number}', _drivelm(
                        f'{scene}_{frame}_{number}', qa.get('tag'), qa['Q'], qa.get('A'), images)


def _drivelm(name: str, tag: Any, question: str, answer: str | None, images: list[str]) -> Row:
    fields: Row = {'id': name, 'images': images, 'question': question, 'category': 'words',
                   'answer': _judged(answer), 'extra': {'id': name, 'tag': tag,
                                                        'question': question}}
    head, marked, rest = question.partition(_DRIVELM_OPTIONS)
    split = split_options(rest, 'surround_choice', r' [A-Z]\. ') if marked else None
    if split and not split[0]:
        fields |= {'question': head, 'options': split[1], 'category': 'choice'}
    return fields


def maplm(source: Source) -> Lines:
    """Read rows of ``frame_id``, ``question`` and ``image_paths``, and ``problems.json``.

    The latter has the truths: by frame a list ``qa`` of ``task``, ``question``, ``choices`` and
    ``answer``, the number of a choice. Only these closed questions count.
    """
    frames = read_json(_one(source, 'problems.json'), dict)
    for place, _, row in source.rows():
        frame = str(row['frame_id'])
        closed = [qa for qa in frames[frame]['qa'] if qa['task'] == 'closed choice']
        known = next((qa for qa in closed if _maplm_words(qa['question']) in row['question']), None)
        if known is None:
            continue
        choices, truth = known['choices'], known['answer']
        question, _, rest = row['question'].partition(_MAPLM_OPTIONS)
        as_asked = rest in ('', ''.join(f' {choice}' for choice in choices))
        yield place, {
            'images': [source.path(path) for path in row['image_paths']], 'question': question,
            'options': choices if as_asked else [rest.strip()],
            'answer': {'text': choices[truth]},
            'extra': {'frame': frame, 'choices': choices, 'answer': truth}}


def _maplm_words(question: str) -> str:
    """Return a question of ``problems.json`` as the vendor asks it."""
    return {'How many lanes in current road?': 'How many lanes on the current road?'}.get(
        question, question)


def nuscenes_qa(source: Source) -> Lines:
    """Read rows of ``id``, ``question``, ``answer``, ``type``, ``num_hop``, ``image_paths``."""
    for place, _, row in source.rows():
        yield place, {
            'id': str(row['id']), 'images': [source.path(path) for path in row['image_paths']],
            'question': row['question'], 'answer': {'text': row['answer']},
            'category': row['type'], 'extra': {'num_hop': row['num_hop']}}


def lingoqa(source: Source) -> Lines:
    """Read rows of ``question``, ``answer``, and ``image_1`` to ``image_5``.

    LingoQA's own ``val.parquet`` has the paths ``images`` instead, and two rows for each question,
    an answer in each.
    """
    for place, _, row in source.rows():
        images = row['images'] if 'images' in row else [row[f'image_{i}'] for i in range(1, 6)]
        fields: Row = {
            'images': [source.picture(image) for image in images], 'question': row['question'],
            'answer': {'text': row['answer']}}
        if 'question_id' in row:
            fields['extra'] = {'question_id': row['question_id'],
                               'segment_id': row['segment_id']}
        yield place, fields


def bddx(source: Source) -> Lines:
    """Read rows of ``id``, ``question``, ``answer`` and ``image_paths``, frames of a video.

    The vendor's pictures are PNG files, whatever the paths say.
    """
    for place, _, row in source.rows():
        images = [source.path(path.replace('.jpg', '.png')) for path in row['image_paths']]
        yield place, {
            'id': str(row['id']), 'images': images, 'question': row['question'],
            'answer': {'text': row['answer']}, 'extra': {'id': str(row['id'])}}


def _judged(answer: str | None) -> Row:
    """Return the truth of an answer that a judge reads; it may be kept by the benchmark."""
    return {'text': answer} if answer else {'hidden': True}


def _one(source: Source, name: str) -> Path:
    """Return the file of this name in the benchmark's folder.

    Raises:
        ValueError: there is none.

    """
    file = min(source.folder.rglob(name), default=None)
    if file is None:
        msg = f'there is no {name} with the truths; put it into {source.folder}'
        raise ValueError(msg)
    return file


READERS: dict[str, Any] = {
    'codalm': {'parquet': codalm, 'raw': codalm},
    'drivelm': {'parquet': drivelm, 'raw': drivelm_raw},
    'maplm': {'parquet': maplm},
    'nuscenes_qa': {'parquet': nuscenes_qa},
    'lingoqa': {'parquet': lingoqa, 'raw': lingoqa},
    'bddx': {'parquet': bddx},
}
"""Readers by benchmark and form."""
