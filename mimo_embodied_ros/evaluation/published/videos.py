"""Benchmarks of videos."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.tasks import TASKS

from .questions import letters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .source import Row, Source

    Lines = Iterator[tuple[str, Row]]

_FRAMES = 8  # that the vendor sends of RoboVQA's videos, as images
_NUMBERS = {'object_counting', 'object_abs_distance', 'object_size_estimation',
            'room_size_estimation'}
_TAG = re.compile(r'</?[\w:]+>')
_ANSWER = re.compile('<PRED>A:', re.IGNORECASE)
# RoboVQA's short forms of questions, and what the vendor writes in their place; in this order
_QUESTIONS = {
    'immediate next step': 'what is the immediate next step',
    'next 5 step': 'what are the next 5 step',
    'satisfied': 'is it satisfied', 'possible right now': 'is it possible right now'}
_ROBOVQA_TASKS = ('next_step', 'remaining_steps', 'is_done', 'is_possible')


def egoplan2(source: Source) -> Lines:
    """Read rows of ``sample_id``, ``task_goal``, ``choice_a`` to ``_d`` and ``golden_choice_idx``.

    The video of a row is ``<sample_id>.mp4``.
    """
    for place, _, row in source.rows():
        yield place, {
            'id': row['sample_id'], 'video': source.path(f'{row["sample_id"]}.mp4'),
            'question': row['task_goal'], 'options': [row[f'choice_{letter}'] for letter in 'abcd'],
            'answer': {'choice': row['golden_choice_idx']}}


def robovqa(source: Source) -> Lines:
    """Read rows of ``video`` and ``text``, which holds the question, and the answer in a mark.

    The eight frames are chosen from the file at equal distances.
    """
    for place, _, row in source.rows():
        asked, _, rest = _ANSWER.sub('\0', row['text'], count=1).partition('\0')
        question, answer = _plain(asked), _plain(rest.partition('</PRED>')[0])
        for short, full in _QUESTIONS.items():
            for before in ('. Q: ', ' Q: '):
                question = question.replace(before + short, f'. {full}')
        question = question.replace('Q: ', '')
        if '. is it' in question:
            question += ' Please answer yes or no. '
        task, words = _robovqa_task(question)
        yield place, {
            'video': source.path(row['video']), 'frames': _FRAMES, 'question': words,
            'category': task if task in _ROBOVQA_TASKS else 'other', 'answer': {'text': answer}}


def cosmos_reason1(source: Source) -> Lines:
    """Read rows of ``video`` and ``qa_pairs``: ``question``, ``answer``, ``index2ans``.

    The part is the folder of the file.
    """
    for place, file, row in source.rows():
        part = file.relative_to(source.folder).parts[0]
        pairs = row['qa_pairs']
        # parquet has a column for each letter that any row has
        choices = {key: text for key, text in pairs['index2ans'].items() if text is not None}
        yield place, {
            'video': source.path(row['video'], part), 'category': part,
            'question': pairs['question'], 'answer': {'choice': pairs['answer']},
            'options': letters([f'{key} {text}' for key, text in choices.items()], 'X')}


def vsibench(source: Source) -> Lines:
    """Read rows of ``dataset``, ``scene_name``, ``question_type``, ``question``, ``options``.

    ``ground_truth`` is a letter or a number; the video is ``<dataset>/<scene_name>.mp4``.
    """
    for place, _, row in source.rows():
        kind, truth = row['question_type'], row['ground_truth']
        fields: Row = {
            'id': str(row['id']), 'question': row['question'], 'category': kind,
            'video': source.path(f'{row["dataset"]}/{row["scene_name"]}.mp4')}
        if kind in _NUMBERS:
            yield place, fields | {'answer': {'number': float(truth)}}
        else:
            yield place, fields | {
                'answer': {'choice': truth}, 'options': letters(row['options'], r'X\.')}


def surround(source: Source) -> Lines:
    """Read rows of ``video_paths``, six of them, ``question`` and ``answer``."""
    for place, _, row in source.rows():
        yield place, {
            'videos': [source.path(path) for path in row['video_paths']],
            'question': row['question'], 'answer': {'text': row['answer']}}


def _plain(text: str) -> str:
    """Remove RoboVQA's marks, and join what is left to one line."""
    return ' '.join(_TAG.sub('', text).split())


def _robovqa_task(question: str) -> tuple[str, str]:
    """Return the task that asks a question, and its text; ``ask`` where no other one does."""
    for task in _ROBOVQA_TASKS:
        before, _, after = TASKS[task].prompt.partition('{text}')
        if question.startswith(before) and question.endswith(after):
            text = question[len(before): len(question) - len(after)]
            if text == text.strip(' .') != '':
                return task, text
    return 'ask', question


READERS: dict[str, Any] = {
    'egoplan2': {'parquet': egoplan2, 'raw': egoplan2},
    'robovqa': {'parquet': robovqa, 'raw': robovqa},
    'cosmos_reason1': {'parquet': cosmos_reason1, 'raw': cosmos_reason1},
    'vsibench': {'parquet': vsibench, 'raw': vsibench},
    'omnidrive': {'parquet': surround},
    'nuinstruct': {'parquet': surround},
}
"""Readers by benchmark and form."""
