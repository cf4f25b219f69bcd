"""Outputs of the model that are known, and variations of them, become the expected answers."""

from __future__ import annotations

from typing import Any

import pytest

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.core.profiles import PROFILES
from mimo_embodied_ros.core.tasks import TASKS
from support import answers_page
from support.conformance import OTHER_MODELS, RECORDS, answer_to, simplified
from support.fuzz_parse import run


@pytest.mark.parametrize(
    'record', [*RECORDS, *OTHER_MODELS],
    ids=lambda r: f'{r.get("profile", "")}{r["task"]}-{r["source"].split(":")[0]}'[:60]
)
def test_record(record: dict[str, Any]) -> None:
    try:
        answer = simplified(answer_to(record))
    except MimoError as error:
        answer = {'error': error.code.name}
        assert error.raw_text == record['text']
    assert answer == record['expect']


def test_every_task_is_covered_and_real_outputs_come_first() -> None:
    assert len(RECORDS) >= 400
    assert {record['task'] for record in RECORDS} == TASKS.keys() - {
        'ask_video', 'drive_surround', 'plan_skills'}
    variations = [record['source'].startswith('variation') for record in RECORDS]
    assert variations == sorted(variations)
    assert variations.count(False) >= 50


def test_every_profile_is_covered_and_what_its_vendor_published_comes_first() -> None:
    names = [record['profile'] for record in OTHER_MODELS]
    assert {*names, 'mimo-embodied'} == PROFILES.keys()
    for name in names:
        own = [r['source'].startswith('variation') for r in OTHER_MODELS if r['profile'] == name]
        assert own == sorted(own)
        # the last two only differ in their reasoning from the profile that is named
        assert len(own) >= 6 or name in ('robobrain-2.0-3b', 'qwen3-vl-thinking')


def test_the_page_in_the_docs_is_of_this_table() -> None:
    assert answers_page.PAGE.read_text('utf-8') == answers_page.page(), 'run make docs'


def test_fuzzed_outputs_become_answers_or_errors() -> None:
    outcomes = run(2000, seed=1)
    assert sum(outcomes.values()) == 2000
    assert len(outcomes) > 6, outcomes
