"""Benchmarks of choices over images, whose questions mostly hold the options already."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from .questions import choice_or_text, letters, split_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .source import Row, Source

    Lines = Iterator[tuple[str, Row]]

# What CRPE's and MetaVQA's own questions end with; the vendor's ask for a box in its place.
_FORMATS = ("Answer with the option's letter from the given choices directly.",
            'Please answer directly with only the letter of the correct option and nothing else.')
_DRIVING = ('autonomous_driving', 'autonomous driving')
_MME_LETTER = r'[(\uff08]X[)\uff09]'  # Chinese rows have wide brackets, too
_IDKB_OPTION = r'\n[A-Z]\. '


def choice(question: str = 'question', answer: str = 'answer') -> Callable[[Source], Lines]:
    """Make a reader of rows with ``image``, a question with its options, and the answer."""
    def read(source: Source) -> Lines:
        for place, _, row in source.rows():
            # a column of pictures, or of their paths
            image = row['image' if 'image' in row else 'image_path']
            yield place, {'image': source.picture(image), 'question': row[question],
                          'answer': choice_or_text(row[answer])}
    return read


def cvbench(source: Source) -> Lines:
    """Read rows of ``image``, ``prompt``, ``answer``, such as ``(C)``, and ``type``, 2D or 3D.

    The lines of the raw files name the picture in ``filename``.
    """
    for place, _, row in source.rows():
        image = row['image'] if row.get('image') else row['filename']
        yield place, {
            'image': source.picture(image), 'question': row['prompt'], 'category': row['type'],
            'answer': {'choice': row['answer'].strip('() .')}}


def erqa(source: Source) -> Lines:
    """Read rows of ``images``, ``question_new`` and ``answer``, the number of one of ``options``.

    Rows with ``question`` and a letter are read, too.
    """
    for place, _, row in source.rows():
        answer = row['answer']
        if str(answer).isdigit():
            answer = chr(65 + int(answer))
        yield place, {
            'images': [source.picture(image) for image in row['images']],
            'question': row['question_new' if 'question_new' in row else 'question'],
            'answer': {'choice': answer}}


def embspatial_raw(source: Source) -> Lines:
    """Read ``embspatial_bench.json``: ``image`` in base64, ``question``, ``answer_options``.

    ``answer`` is the number of an option. The options are written as in the other benchmarks,
    since the vendor's text of them is not published.
    """
    for place, _, row in source.rows():
        yield place, {
            'id': str(row['question_id']), 'image': source.picture(row['image']),
            'question': _listed(row['question'], row['answer_options']),
            'answer': {'choice': chr(65 + int(row['answer']))}}


def sat(source: Source) -> Lines:
    """Read rows of ``images``, ``question`` with its options, and ``answer``."""
    for place, _, row in source.rows():
        yield place, {
            'images': [source.picture(image) for image in row['images']],
            'question': row['question'], 'answer': choice_or_text(row['answer'])}


def sat_own(source: Source) -> Lines:
    """Read ``SAT_test.parquet``: ``image_bytes``, ``question``, ``answers``, ``correct_answer``.

    The options are written as in the other benchmarks, since the vendor's text of them is not
    published.
    """
    for place, _, row in source.rows():
        answers = row['answers']
        yield place, {
            'images': [source.picture(image) for image in row['image_bytes']],
            'question': _listed(row['question'], answers),
            'answer': {'choice': chr(65 + answers.index(row['correct_answer']))}}


def crpe_raw(source: Source) -> Lines:
    """Read ``crpe_relation.jsonl``: ``image``, ``text`` with the options, ``correct_option``.

    Images are ``abnormal_images/...`` of the benchmark and ``coco/val2017/...``.
    """
    for place, _, row in source.rows():
        yield place, {
            'id': str(row['question_id']), 'image': source.path(row['image']),
            'question': _without_format(row['text']), 'answer': {'choice': row['correct_option']}}


def metavqa_raw(source: Source) -> Lines:
    """Read ``test.jsonl``: ``question`` with the options, ``answer``, and ``obs``, the picture."""
    for place, _, row in source.rows():
        image = row['obs'] if isinstance(row['obs'], str) else row['obs'][0]
        yield place, {
            'image': source.path(image), 'question': _without_format(row['question']),
            'answer': choice_or_text(row['answer'])}


def mme_realworld(source: Source) -> Lines:
    """Read rows of ``bytes`` in base64, ``question``, ``multi-choice options`` and ``answer``.

    Only questions about driving are read: those whose ``category`` ends with the domain. Chinese
    rows lie in a folder with ``cn`` in its name.
    """
    for place, file, row in source.rows():
        if row['category'].rpartition('/')[2].lower() in _DRIVING:
            folder = str(file.relative_to(source.folder)).lower()
            yield place, _scene(
                f'{row["index"]}', source.picture(row['bytes']), row['question'],
                row['multi-choice options'], row['answer'],
                'chinese' if '-cn-' in folder else 'english')


def mme_realworld_raw(source: Source) -> Lines:
    """Read ``MME_RealWorld.json`` and ``MME_RealWorld_CN.json`` with their pictures.

    Lists of ``Question_id``, ``Image``, ``Text``, ``Answer choices``, ``Ground truth`` and
    ``Subtask``; only those about driving are read.
    """
    for place, file, row in source.rows():
        if row['Subtask'].lower() in _DRIVING:
            yield place, _scene(
                row['Question_id'], source.picture(row['Image']), row['Text'],
                row['Answer choices'], row['Ground truth'],
                'chinese' if '_CN' in file.name else 'english')


def _scene(
    name: str, image: Any, question: str, options: list[str], answer: str, category: str
) -> Row:
    return {'id': f'{category} {name}', 'image': image, 'question': question, 'category': category,
            'options': letters(options, _MME_LETTER), 'answer': {'choice': answer}}


def idkb(source: Source) -> Lines:
    """Read rows of ``question``, ``answer`` and ``image_paths``, for each of six parts.

    The part is in the name of the folder: single, multi or qa, and with or without an image.
    """
    for place, file, row in source.rows():
        folder = str(file.relative_to(source.folder)).lower()
        kind = next(kind for kind in ('single', 'multi', 'qa') if f'{kind}_' in folder)
        pictured = 'with_image' in folder
        fields: Row = {
            'question': row['question'], 'id': f'{folder.partition("/")[0]} {row["id"]}',
            'category': f'{kind}_{"with" if pictured else "no"}_image',
            'answer': {'text': row['answer']}}
        if pictured:
            fields['images'] = [source.path(image) for image in row['image_paths']]
        if kind != 'qa':
            fields['answer'] = {'choice': row['answer'].replace(' ', '')}
            split = split_options(row['question'], 'driving_test', _IDKB_OPTION)
            # without a list of options, the task for words asks with the same words
            fields |= ({'question': split[0], 'options': split[1]} if split
                       else {'task': 'driving_knowledge'})
        yield place, fields


def drive_action(source: Source) -> Lines:
    """Read rows of ``image_0`` to ``image_2``, ``qa_l0`` and ``content``.

    ``content`` has ``question``, ``options`` by letter, and ``answer``.
    """
    for place, _, row in source.rows():
        content = row['content']
        options = content['options']
        if isinstance(options, str):
            options = ast.literal_eval(options)
        options = {letter: option for letter, option in options.items() if option is not None}
        yield place, {
            'id': str(row['question_slice_id']), 'category': row['qa_l0'],
            'images': [source.picture(row[f'image_{i}']) for i in range(3)],
            'question': content['question'], 'answer': {'choice': content['answer']},
            'options': letters([f'{key} {option}' for key, option in options.items()], 'X')}


def _listed(question: str, options: list[str]) -> str:
    """Write options below a question, each with its letter."""
    return question + ''.join(f'\n{chr(65 + i)}. {option}' for i, option in enumerate(options))


def _without_format(question: str) -> str:
    for words in _FORMATS:
        question = question.replace(words, '')
    return question.strip()


READERS: dict[str, Any] = {
    'cvbench': {'parquet': cvbench, 'raw': cvbench},
    'erqa': {'parquet': erqa},
    'embspatial': {'parquet': choice(answer='answer_letter'), 'raw': embspatial_raw},
    'sat': {'parquet': sat, 'own': sat_own},
    'crpe': {'parquet': choice(), 'raw': crpe_raw},
    'metavqa': {'parquet': choice(), 'raw': metavqa_raw},
    'mme_realworld': {'parquet': mme_realworld, 'raw': mme_realworld_raw},
    'idkb': {'parquet': idkb},
    'drive_action': {'parquet': drive_action},
}
"""Readers by benchmark and form."""
