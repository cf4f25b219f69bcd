"""Writes docs/answers.md from the conformance file: which forms of answers are read, and how.

Run it in the folder ``test``: ``python -m support.answers_page``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.tasks import TASKS, AnswerKind
from support.conformance import OTHER_MODELS, RECORDS
from support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / 'docs' / 'answers.md'
_LONGEST = 110  # characters of an example
_SECTIONS = {
    'Points and boxes': (AnswerKind.POINTS, AnswerKind.BOXES),
    'Yes or no': (AnswerKind.YES_NO,),
    'One option': (AnswerKind.CHOICE,),
    'Several options': (AnswerKind.CHOICES,),
    'Numbers': (AnswerKind.NUMBER,),
    'Words of a closed list': (AnswerKind.WORD, AnswerKind.LABELS),
    'Spatial answers': (AnswerKind.SPATIAL,),
    'Plans': (AnswerKind.PLAN,),
    'Driving decisions': (AnswerKind.DECISION,),
    'Trajectories': (AnswerKind.TRAJECTORY,),
    'Free text': (AnswerKind.TEXT,),
}
_INTRODUCTION = """# How answers are read

Made from the table that the tests check (`test/data/conformance.jsonl`) by
`cd test && python -m support.answers_page`; do not edit.

A robot that gets a wrong target moves. So an answer is read only if the whole of it has a form that
was asked for, or one that the model is known to write. What can be read in two ways, or holds more
than the form, is not read: the request ends with `PARSE_FAILED`, the text in `raw_text`, and no
target. These rules hold for all kinds of answers:

- The reasoning is what stands in `<think>` blocks at the start. One that is not closed is
  `OUTPUT_TRUNCATED`. Tags of reasoning within an answer make it unreadable.
- A short answer stands in `\\boxed{}`, if there is one. Boxes that differ, words behind the box and
  another answer before it make it unreadable.
- Answers are read in English and Chinese, the languages of the model's training.
- An answer that was cut by a limit is read only if its list or box was closed before.
- An answer ends early (`stop_early`) only if it is held to a grammar that allows nothing more.

Where an answer cannot be read, the model is asked once more with the grammar of the answer held, if
time allows (`retry_structured`; [request.md](request.md)).

The tables give for each form its first example; `\\n` is a line end.
"""
_OTHER_MODELS = """
# Answers of other models

How answers are read under each [profile](profiles.md). Positions become pixels of the image that
the model sees, x first. It has 1600 x 900 pixels, and 1000 x 500 where the model counts to 1000.
"""


def page() -> str:
    """Return the page as Markdown."""
    parts = [_INTRODUCTION]
    for title, kinds in _SECTIONS.items():
        parts.append(f'\n## {title}\n')
        parts += _tables([r for r in RECORDS if TASKS[r['task']].answer in kinds])
    parts.append(_OTHER_MODELS)
    for profile in dict.fromkeys(record['profile'] for record in OTHER_MODELS):
        parts.append(f'\n## {profile}\n')
        parts += _tables([r for r in OTHER_MODELS if r['profile'] == profile])
    return ''.join(parts)


def _tables(records: list[dict[str, Any]]) -> Iterator[str]:
    """Make the table of the records that are read, and that of those that are refused."""
    for heading, refused in (('Read', False), ('Refused', True)):
        rows: dict[str, dict[str, Any]] = {}
        for record in filter(_form, records):
            if ('error' in record['expect']) is refused:
                rows.setdefault(_form(record), record)
        if rows:
            lines = [f'| {form} | {_code(_example(record))} | {_meaning(record)} |'
                     for form, record in rows.items()]
            yield (f'\n| {heading}: form | example | becomes |\n| --- | --- | --- |\n'
                   + '\n'.join(lines) + '\n')


def _form(record: dict[str, Any]) -> str:
    """Return the name of a record's form; '' for one without a name."""
    source, _, form = record['source'].partition(': ')
    return form if source == 'variation' else record['source']


def _example(record: dict[str, Any]) -> str:
    text = record['text']
    if text.startswith('<think>') and text.count('</think>') == 1:
        text = text.rpartition('</think>')[2].strip() or text
    text = text.replace('\n', '\\n')
    return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 1]}\u2026'


def _meaning(record: dict[str, Any]) -> str:
    expect = record['expect']
    if 'error' in expect:
        return f'`{expect["error"]}`'
    if not expect:
        is_plan = TASKS[record['task']].answer is AnswerKind.PLAN
        return 'no steps' if is_plan else 'nothing there'
    return '; '.join(f'{key} {_code(_short(value))}' for key, value in expect.items())


def _short(value: Any) -> str:
    if value is True or value is False:
        return str(value).lower()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f'{text[: _LONGEST - 1]}\u2026'


def _code(text: str) -> str:
    """Return text as code in a table, whatever marks it holds."""
    text = text.replace('\n', '\\n').replace('\t', '\\t').replace('|', '\\|')
    ticks = '``' if '`' in text else '`'
    space = ' ' if '`' in text else ''
    return f'{ticks}{space}{text}{space}{ticks}' if text else '(nothing)'


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), 'utf-8')


if __name__ == '__main__':
    main()
