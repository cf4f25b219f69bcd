r"""Datasets of questions with their right answers.

A dataset is a file of JSON lines, a question each; files are relative to its folder::

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
as polygons, boxes or steps means that it is not there or cannot be done. May be added: ``images``,
a list, in place of ``image``; ``task``, by name, where it is not the usual one for the answer;
``options``, a list of choices, where the task writes them itself; ``id`` and ``category`` for the
report; ``thinking``, true or false, where not as the task says; ``recorded``, of the node that
recorded the question, which is not looked at. A task that is a whole question needs no
``question``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.tasks import TASKS, Task

from .ground_truth import Truth, read_truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_KEYS = {'id', 'image', 'images', 'task', 'question', 'options', 'answer', 'category', 'thinking',
         'recorded'}


@dataclass(frozen=True)
class Record:
    """One question and its right answer.

    Attributes:
        id: what the report calls it.
        place: file and line that it comes from.
        images: files, in the order in which the model sees them.
        task: which prompt and parser it goes through.
        question: what the caller says.
        truth: the right answer.
        category: what the report groups it by.
        thinking: let the model reason first; None is the task's default.
        options: what a choice is between.

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

    @property
    def key(self) -> str:
        """The same for two records that ask the model the same."""
        images = [str(image.resolve()) for image in self.images]
        asked = json.dumps(
            [self.task.name, self.question, self.options, self.thinking, images])
        return hashlib.sha256(asked.encode(errors='replace')).hexdigest()[:16]


def read_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """Read the JSON of each line that is not blank, with its place.

    Raises:
        InvalidRequestError: the file or one of its lines cannot be read.

    """
    for number, line in enumerate(read_text(file).split('\n'), 1):
        if line.strip():
            place = f'{file}:{number}'
            try:
                yield place, json.loads(line)
            except (ValueError, RecursionError) as error:
                msg = f'{place}: this is no JSON ({error}); write one object a line'
                raise InvalidRequestError(msg) from error


def read_text(file: Path) -> str:
    """Read a file of the dataset.

    Raises:
        InvalidRequestError: it cannot be read.

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
    """Check the records of a dataset, all before the first question is asked.

    Args:
        lines: places and objects as the module describes them.
        folder: what the names of files are relative to.
        thinking: for all records, whatever they say.
        tasks: that records may name.

    Raises:
        InvalidRequestError: one of them is not as described, with its place; two have the same
            id, or there are none.

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
    names = fields.get('images', [fields['image']] if 'image' in fields else None)
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        msg = 'give image, the name of a picture, or images, a list of them'
        raise ValueError(msg)
    images = tuple(folder / name for name in names)
    if absent := [str(image) for image in images if not image.is_file()]:
        msg = f'there is no picture {", ".join(absent)}'
        raise ValueError(msg)
    truth = read_truth(fields.get('answer'), folder)
    if not isinstance(decided := fields.get('thinking'), bool | None):
        msg = f'thinking is {decided!r}; give true or false'
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
        str(fields.get('id', place.rpartition('/')[2])), place, images, task, question, truth,
        _string(fields, 'category', task.name), decided if thinking is None else thinking,
        tuple(options))


def _string(fields: dict[str, Any], key: str, default: str = '') -> str:
    value = fields.get(key, default)
    if not isinstance(value, str) or not value.strip():
        msg = f'{key} is {value!r:.60}; give words'
        raise ValueError(msg)
    return value
