r"""Datasets of questions with ground truth.

A dataset is a file of JSON lines, one question each; file names are relative to its folder::

    {"image": "a.png", "question": "the cup", "answer": {"mask": "a_mask.png"}}
    {"image": "a.png", "question": "the cup", "answer": {"polygons": [[[4, 5], [9, 5], [6, 9]]]}}
    {"image": "a.png", "question": "the cup", "answer": {"boxes": [[4, 5, 90, 50]]}}
    {"image": "a.png", "question": "Which one?\nA. cup\nB. bowl", "answer": {"choice": "B"}}
    {"image": "a.png", "question": "Is it full?", "answer": {"yes": false}}
    {"image": "a.png", "question": "How many metres is it to the wall?", "answer": {"number": 2.4}}
    {"image": "a.png", "question": "What is it?", "answer": {"text": ["a cup", "a mug"]}}
    {"image": "a.png", "question": "lift the cup", "answer": {"steps": ["pick up the cup"]}}
    {"image": "a.png", "question": "Where to?", "answer": {"trajectory": [[0.9, 0], [1.8, 0.1]]}}

Polygons and boxes are in pixels of the image, a trajectory in metres, x forward and y left; ``[]``
as polygons, boxes or steps means that the thing is not in the image, or that the instruction cannot
be carried out. Optional keys are ``images``, a list, in place of ``image``; ``task``, the name of
another task than the default for the answer; ``options``, a list of choices, for tasks that list
them; ``id`` and ``category`` for the report; ``extra``, an object for the rules of a benchmark;
``thinking``, true or false, in place of the task's default; ``recorded``, written by the recorder
of the node. A task that is a whole question needs no ``question``, and one of any media no image.

Tasks about clips and videos take frames with their times::

    {"video": "a.mp4", "task": "video_choice", "question": "...", "answer": {"choice": "B"}}
    {"video": ["a0.png", "a1.png"], "fps": 2, "task": "is_done", "question": ..., "answer": ...}
    {"videos": ["front.mp4", "left.mp4"], "task": "your_task", "question": ..., "answer": ...}

``video`` is a file or a list of pictures, oldest first, and ``videos`` has one of each of the
task's views. ``fps`` is how many frames a second the model sees of a file (default: 2), and the
rate at which the pictures were taken; ``stamps`` are the times of the pictures instead, seconds.
``frames`` is the number of frames to choose from a file in place of a rate. Pictures of a recorded
answer have the stamps that are recorded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import parse_json
from mimo_embodied_ros.core.tasks import TASKS, Task

from . import media
from .ground_truth import Truth, read_truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_KEYS = media.KEYS | {
    'id', 'task', 'question', 'options', 'answer', 'category', 'thinking', 'recorded',
    'extra'}


@dataclass(frozen=True)
class Record:
    """One question and its ground truth.

    Attributes:
        id: of the record in the report.
        place: file and line of the record.
        images: files, in the order in which the model sees them.
        task: decides the prompt and the parser.
        question: text of the request.
        truth: the right answer.
        category: group in the report.
        thinking: let the model write its reasoning; None is the task's default.
        options: choices of the question.
        stamps_ns: of the images, where they are frames of a camera; empty: unknown.
        videos: files in the order of the views, in place of images.
        fps: frames a second that the model sees of ``videos``; 0: as the vendor's evaluation.
        frames: number of frames to choose from each of ``videos``; 0: as ``fps`` says.
        extra: what the rules and exports of a benchmark need beside these.

    """

    id: str
    place: str
    images: tuple[Path, ...]
    task: Task
    question: str
    truth: Truth
    category: str = ''
    thinking: bool | None = None
    options: tuple[str, ...] = ()
    stamps_ns: tuple[int, ...] = ()
    videos: tuple[Path, ...] = ()
    fps: float = 0.0
    frames: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def key(self) -> str:
        """Hash of the request, equal for records that send the same request to the model."""
        images = [str(image.resolve()) for image in self.images]
        request: list[Any] = [self.task.name, self.question, self.options, self.thinking, images]
        if self.videos or self.stamps_ns:  # else as in runs of older versions
            videos = [str(video.resolve()) for video in self.videos]
            request += [self.stamps_ns, videos, self.fps, self.frames]
        return hashlib.sha256(json.dumps(request).encode(errors='replace')).hexdigest()[:16]


def read_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """Read the JSON of each line that is not blank, with its place, ``file:line``.

    Raises:
        InvalidRequestError: the file or one of its lines cannot be read.

    """
    for number, line in enumerate(read_text(file).split('\n'), 1):
        if line.strip():
            place = f'{file}:{number}'
            try:
                yield place, parse_json(line)
            except ValueError as error:
                msg = f'{place}: this is no JSON ({error}); write one object a line'
                raise InvalidRequestError(msg) from error


def read_text(file: Path) -> str:
    """Read a file of the dataset.

    Raises:
        InvalidRequestError: the file cannot be read.

    """
    try:
        return file.read_text('utf-8')
    except (OSError, ValueError) as error:
        msg = f'the dataset {file} cannot be read: {error}'
        raise InvalidRequestError(msg) from error


def to_records(
    lines: Iterable[tuple[str, Any]], folder: Path, *, thinking: bool | None = None,
    tasks: Mapping[str, Task] = TASKS,
) -> list[Record]:
    """Check all records of a dataset, before the first question is asked.

    Args:
        lines: places and objects as the module describes them.
        folder: folder of the files that the records name.
        thinking: for all records, in place of their own; None keeps theirs.
        tasks: by name.

    Raises:
        InvalidRequestError: a record is not as described (the message has its place), two records
            have the same id, or there are no records.

    """
    records: dict[str, Record] = {}
    for place, fields in lines:
        try:
            record = _record(place, fields, folder, thinking, tasks)
        except ValueError as error:
            msg = f'{place}: {error}'
            raise InvalidRequestError(msg) from error
        if record.id in records:
            msg = f'{place}: the id {record.id!r} is that of {records[record.id].place} already'
            raise InvalidRequestError(msg)
        records[record.id] = record
    if not records:
        msg = f'the dataset in {folder} has no questions'
        raise InvalidRequestError(msg)
    return list(records.values())


def _record(
    place: str, fields: Any, folder: Path, thinking: bool | None, tasks: Mapping[str, Task]
) -> Record:
    if not isinstance(fields, dict):
        msg = f'{fields!r:.60} is no JSON object'
        raise ValueError(msg)  # noqa: TRY004 a reader's only error
    if unknown := fields.keys() - _KEYS:
        msg = f'{", ".join(sorted(unknown))} is not known; use {", ".join(sorted(_KEYS))}'
        raise ValueError(msg)
    truth = read_truth(fields.get('answer'), folder)
    if not isinstance(own_thinking := fields.get('thinking'), bool | None):
        msg = f'thinking is {own_thinking!r}; give true or false'
        raise ValueError(msg)  # noqa: TRY004 a reader's only error
    name = _string(fields, 'task', truth.task)
    if name not in tasks:
        msg = f'task {name!r} is not known; use one of {", ".join(tasks)}'
        raise ValueError(msg)
    task = tasks[name]
    # some tasks are whole questions
    question = _string(fields, 'question') if task.uses('text') else fields.get('question', '')
    options = fields.get('options', [])
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        msg = f'options is {options!r:.60}; give a list of words'
        raise ValueError(msg)
    return Record(
        id=str(fields.get('id', place.rpartition('/')[2])), place=place, task=task,
        question=question, truth=truth, category=_string(fields, 'category', task.name),
        thinking=own_thinking if thinking is None else thinking, options=tuple(options),
        extra=fields.get('extra', {}), **media.read_media(fields, folder, task))


def _string(fields: dict[str, Any], key: str, default: str = '') -> str:
    value = fields.get(key, default)
    if not isinstance(value, str) or not value.strip():
        msg = f'{key} is {value!r:.60}; give words'
        raise ValueError(msg)
    return value
