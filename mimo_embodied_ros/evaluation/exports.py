"""Files of answers in the forms that the benchmarks' own judges take."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.files import reason

from .vendor_text import answer_in_box

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .answered import Answered


def write(name: str, answers: Sequence[Answered], folder: Path) -> list[Path]:
    """Write the files that a benchmark's judge takes.

    Args:
        name: of the benchmark; only codalm and drivelm have such files.
        answers: in the order of the benchmark.
        folder: of the files; it is there.

    Returns:
        The files.

    Raises:
        InvalidRequestError: one cannot be written.

    """
    files = {'codalm': _codalm, 'drivelm': _drivelm}.get(name, lambda _: {})(answers)
    try:
        for file, text in files.items():
            (folder / file).write_text(text, 'utf-8')
    except OSError as error:
        raise InvalidRequestError(reason(error)) from error
    return [folder / file for file in files]


def _codalm(answers: Sequence[Answered]) -> dict[str, str]:
    """Make a file of JSON lines for each of CODA-LM's parts, as its ``evaluation`` reads them."""
    lines: dict[str, list[str]] = defaultdict(list)
    for answered in answers:
        extra = answered.record.extra
        lines[answered.record.category].append(json.dumps({
            'question_id': extra['id'], 'image': extra['image_paths'][0],
            'question': extra['question'], 'answer': answer_in_box(answered.text)}))
    return {f'{part}_answer.jsonl': '\n'.join(own) + '\n' for part, own in lines.items()}


def _drivelm(answers: Sequence[Answered]) -> dict[str, str]:
    """Make the ``submission.json`` of the DriveLM challenge; who sends it fills in who it is."""
    results = [{'id': answered.record.extra['id'], 'question': answered.record.extra['question'],
                'answer': answer_in_box(answered.text)} for answered in answers]
    who: dict[str, Any] = {
        'method': '', 'team': '', 'authors': [''], 'email': '', 'institution': '', 'country': ''}
    return {'submission.json': json.dumps({**who, 'results': results}, indent=4) + '\n'}
