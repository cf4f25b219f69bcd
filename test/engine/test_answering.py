"""Answers that cannot be read: when the same question is asked once more, and what comes of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('httpx2')

from mimo_embodied_ros.core.answers import Grounding, SpatialAnswer, TaskPlan
from mimo_embodied_ros.core.errors import (
    CancelledError,
    EmptyAnswerError,
    MimoError,
    OutputTruncatedError,
    ParseError,
)
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.answering import State, answer_query
from mimo_embodied_ros.engine.grounding import answer_grounded
from mimo_embodied_ros.engine.openai_engine import OpenAIEngine
from support.paths import EMBEDDED_MODEL, SKILL_FILES
from support.stubborn_server import Says, StubbornServer
from support.tabletop import SCENE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mimo_embodied_ros.engine import Engine
    from support.openai_server import Handler

FRAME = Frame(SCENE.pixels)
QUERY = Query(TASKS['yes_no'], 'Is it red?', (FRAME,), retry=True)
MAYBE, YES = '<think>\nhm\n</think>\n\nmaybe', '<think>\nhm\n</think>\n\n\\boxed{yes}'


class Stubborn:
    """An engine that asks a stubborn server."""

    def __init__(self, server: StubbornServer) -> None:
        self.server = server
        self.engine = load_engine(EngineConfig('mimo', 'openai', servers=(server.url,)))

    def ask(self, query: Query, *answers: Says, **options: Any) -> Any:
        self.server.answers = list(answers)
        return answer_query(self.engine, query, **options)


@pytest.fixture
def stubborn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubborn]:
    monkeypatch.setattr(OpenAIEngine, 'holds_grammars', True)
    with StubbornServer() as server:
        made = Stubborn(server)
        yield made
        made.engine.close()


@pytest.mark.parametrize('first', [
    MAYBE,
    '\\boxed{maybe}',
    '',
    '<think>\nhm\n</think>\n\n',
    '<think>\nhm',
    (MAYBE, 'length'),
    ('<think>\nhm\n</think>\n\n\\boxed{maybe} or', 'length'),
    '<think>\nhm\n</think>\n\n' + 'It may be so. ' * 300,  # ended for its repetition
])
def test_an_answer_that_cannot_be_read_is_asked_for_again(stubborn: Stubborn, first: Says) -> None:
    answer, reply = stubborn.ask(QUERY, first, YES)
    one, two = stubborn.server.asked
    assert one.prompt == two.prompt
    assert answer.content.yes is True
    assert (answer.raw_text, reply.text, reply.attempts) == (YES, YES, 2)
    said = first if isinstance(first, str) else first[0]
    assert said.startswith(reply.unread[0])


@pytest.mark.parametrize(('query', 'first'), [
    (QUERY, YES),
    (replace(QUERY, retry=False), MAYBE),
    (replace(QUERY, structured=True), MAYBE),  # it was held at once
    (replace(QUERY, task=Task.PLAN), '?'),  # it has no grammar
    (QUERY, ('<think>\nhm', 'length')),  # the reasoning would be the same again
    (QUERY, ('<think>\nhm\n</think>\n\n', 'length')),
    (QUERY, '<think>\n' + 'It may be so. ' * 300),
])
def test_a_question_is_asked_once_where_a_second_try_cannot_help(
    stubborn: Stubborn, query: Query, first: Says
) -> None:
    try:
        _, reply = stubborn.ask(query, first, YES)
    except MimoError as error:
        reply = error.reply
    assert len(stubborn.server.asked) == reply.attempts == 1


def test_a_model_that_cannot_be_held_is_asked_once(
    stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenAIEngine, 'holds_grammars', False)
    with pytest.raises(ParseError):
        stubborn.ask(QUERY, MAYBE, YES)
    assert len(stubborn.server.asked) == 1


@pytest.mark.parametrize(('seconds', 'attempts'), [(5.5, 1), (60.0, 2)])
def test_a_second_try_needs_as_much_time_as_the_first_one_took(
    stubborn: Stubborn, seconds: float, attempts: int
) -> None:
    def slow(handler: Handler) -> None:
        time.sleep(3.0)
        handler.start()
        handler.say(MAYBE, finish='stop')

    query = replace(QUERY, deadline=time.monotonic() + seconds)
    with pytest.raises(ParseError) as caught:
        stubborn.ask(query, slow, MAYBE)
    assert caught.value.reply.attempts == len(stubborn.server.asked) == attempts


@pytest.mark.parametrize(('second', 'kind'), [
    ('or not', ParseError),
    ('<think>\n</think>', EmptyAnswerError),
    (('or', 'length'), OutputTruncatedError),
])
def test_of_two_answers_that_cannot_be_read_none_is_lost(
    stubborn: Stubborn, second: Says, kind: type[MimoError]
) -> None:
    with pytest.raises(kind) as caught:
        stubborn.ask(QUERY, MAYBE, second)
    error = caught.value
    assert type(error) is kind
    text = second if isinstance(second, str) else second[0]
    assert (error.raw_text, error.reply.text) == (text, text)
    assert (error.reply.unread, error.reply.attempts) == ((MAYBE,), 2)
    assert "'maybe' cannot be read as yes_no" in str(error)
    assert 'asked once more' in str(error)


def test_the_first_answer_stands_where_the_second_one_does_not_come(stubborn: Stubborn) -> None:
    with pytest.raises(ParseError) as caught:
        stubborn.ask(QUERY, MAYBE, lambda handler: handler.start(500))
    error = caught.value
    assert (error.raw_text, error.reasoning) == (MAYBE, 'hm')
    assert '500' in str(error)
    assert error.reply.attempts == 2
    assert error.reply.stats.completion_tokens == 1  # of the first answer


def test_a_second_try_that_is_cancelled_ends_as_cancelled(stubborn: Stubborn) -> None:
    def long(handler: Handler) -> None:
        handler.start()
        for number in range(1000):
            handler.say(f'{number} ')
            time.sleep(0.02)

    with pytest.raises(CancelledError) as caught:
        stubborn.ask(QUERY, MAYBE, long, cancelled=lambda: len(stubborn.server.asked) == 2)
    assert caught.value.reply.attempts == 2


def test_a_second_try_begins_with_a_state_of_its_own(stubborn: Stubborn) -> None:
    heard: list[tuple[State, str, int]] = []
    stubborn.ask(QUERY, MAYBE, YES, on_progress=lambda *news: heard.append(news))
    (begin,) = (number for number, news in enumerate(heard) if news[0] is State.PREPROCESSING)
    assert heard[begin] == (State.PREPROCESSING, '', 0)
    assert ''.join(text for _, text, _ in heard[:begin]) == MAYBE
    assert ''.join(text for _, text, _ in heard[begin:]) == YES
    assert heard[begin + 1][2] == 1


def test_the_things_of_a_plan_are_asked_for_again_too(stubborn: Stubborn) -> None:
    skills = select_skills(load_skills(SKILL_FILES / 'manipulator.yaml'), open_ended=True)
    query = Query(Task.PLAN, 'pick up', (FRAME,), skills=skills, retry=True)
    stubborn.server.answers = [
        '1. pick up the red cube', 'over there', '[{"points": [[5, 6]], "label": "red cube"}]']
    content = answer_grounded(stubborn.engine, query)[0].content
    assert isinstance(content, TaskPlan)
    assert content.steps[0].arguments[0].grounding is Grounding.SEEN
    assert len(stubborn.server.asked) == 3


@pytest.fixture(scope='module')
def embedded() -> Iterator[Engine]:
    pytest.importorskip('llguidance')
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), threads=1))
    yield engine
    engine.close()


@pytest.mark.parametrize(('task', 'options'), [
    ('yes_no', ()), ('space_number', ()), ('count', ()), ('space_choice', ('a dog', 'a cube')),
    ('driving_test', ('a dog', 'a cube'))])
def test_the_embedded_model_answers_in_the_form_at_the_second_try(
    embedded: Engine, task: str, options: tuple[str, ...]
) -> None:
    query = Query(TASKS[task], 'Is the green ball in the top or in the bottom half?', (FRAME,),
                  options=options)
    with pytest.raises((ParseError, OutputTruncatedError)) as caught:
        answer_query(embedded, query)
    first, (held, second) = caught.value.reply, answer_query(
        embedded, replace(query, structured=True))
    answer, reply = answer_query(embedded, replace(query, retry=True))
    assert isinstance(answer.content, SpatialAnswer)
    assert answer == held
    assert (reply.text, reply.unread, second.attempts) == (second.text, (first.text,), 1)
    for count in ('prompt_tokens', 'image_tokens', 'completion_tokens'):
        sum_of_both = getattr(first.stats, count) + getattr(second.stats, count)
        assert getattr(reply.stats, count) == sum_of_both > 0
    assert 0 < reply.stats.first_token_s < reply.stats.total_s
