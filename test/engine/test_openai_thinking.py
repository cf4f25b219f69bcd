"""A budget for the reasoning of a model on a server: two requests make one answer.

The servers here write a fixed text, token by token, and count as real ones do; they continue a turn
that the model has begun, or do what servers do that cannot.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mimo_embodied_ros.core.errors import BackendUnreachableError, InvalidRequestError
from mimo_embodied_ros.core.grammar import grammar_of
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.engine.answering import State, answer_query
from support.openai_server import connect
from support.prompts import make_prompt
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.engine import Engine, Reply
    from support.openai_server import Handler, Server

    Serve = Callable[..., Server]

TEXT = '<think>\nit is red and round\n</think>\n\n\\boxed{yes}'
SMALL = {'min_pixels': 4 * 784, 'max_pixels': 60 * 784}
LONGEST = 40


def tokens_of(text: str) -> list[str]:
    """Words, with the space before them, and everything else letter by letter."""
    return re.findall(r' ?\w+|\s+|[^\w\s]', text)


class Model:
    """The behaviour of a server.

    Attributes:
        text: what the model writes.
        kind: what becomes of a turn that the model has begun: 'vllm' continues it where the fields
            say so, 'llama' always, 'deaf' begins a new turn behind it, 'strict' refuses the fields,
            'echo' continues it and repeats it, 'silent' continues it and counts nothing.
        splits: the reasoning is split off, as servers with a reasoning parser do.

    """

    def __init__(self, kind: str = 'vllm', text: str = TEXT, *, splits: bool = False) -> None:
        self.kind, self.text, self.splits = kind, text, splits

    def __call__(self, handler: Handler) -> None:
        body, kind = handler.body, self.kind
        begun = body['messages'][-1]['content'] if len(body['messages']) > 1 else ''
        if begun:
            fields = body['continue_final_message'], body['add_generation_prompt']
            assert fields == (True, False)
            if kind == 'strict':
                handler.start(422, 'application/json')
                handler.send('{"detail": "Unexpected fields: {\'continue_final_message\'}"}')
                return
        continued = begun * (kind != 'deaf')
        prompt_tokens = 20 + len(tokens_of(begun)) + 5 * (begun != continued)
        after = continued.rpartition('</think>')[2]
        rest = self.text if not continued else self.text.partition('</think>')[2].lstrip()
        assert not continued or not after.strip()  # the closed reasoning, and nothing behind it
        written = tokens_of(rest)[: body['max_tokens']]
        handler.start()
        is_reasoning = self.splits and (bool(continued) or written[:3] == ['<', 'think', '>'])
        for word in [continued] * (kind == 'echo' and bool(begun)) + written:
            if self.splits and ''.join(written).startswith('<think>') and word in '<think>\n':
                continue
            handler.say(**{'reasoning_content' if is_reasoning else 'content': word})
        handler.say(finish='stop' if len(tokens_of(rest)) == len(written) else 'length')
        if kind != 'silent':
            handler.send_json({'choices': [], 'usage': {
                'prompt_tokens': prompt_tokens, 'completion_tokens': len(written)}})
        handler.send('data: [DONE]\n\n')


def wait_for_close(handler: Handler) -> None:
    handler.connection.settimeout(WAIT_S)
    if not handler.connection.recv(1):
        handler.server.broken.set()


def ask(engine: Engine, budget: int, **changes: Any) -> tuple[Reply, str]:
    """Return the reply, and what was told while it was written."""
    pieces: list[tuple[str, int]] = []
    reply = engine.generate(
        replace(make_prompt(), thinking_tokens=budget, **changes), max_new_tokens=LONGEST,
        on_text=lambda *piece: pieces.append(piece))
    counts = [count for _, count in pieces]
    assert counts == sorted(counts)
    return reply, ''.join(text for text, _ in pieces)


@pytest.mark.parametrize('splits', [False, True])
@pytest.mark.parametrize('kind', ['vllm', 'llama'])
def test_a_reasoning_is_closed_at_its_budget_and_the_answer_follows(
    serve: Serve, kind: str, splits: bool
) -> None:
    server = serve(Model(kind, splits=splits))
    engine = connect(server.url, **SMALL)
    reply, told = ask(engine, 6)
    assert reply.text == told == '<think>\nit is\n</think>\n\n\\boxed{yes}'
    assert (reply.finish_reason, reply.stats.prompt_tokens) == ('stop', 20)
    assert reply.stats.completion_tokens == 6 + len(tokens_of('\\boxed{yes}'))
    first, second = (request.body for request in server.requests[-2:])
    assert (first['max_tokens'], second['max_tokens']) == (6, LONGEST - 6)
    assert second['messages'] == [
        *first['messages'], {'role': 'assistant', 'content': '<think>\nit is\n</think>\n\n'}]
    number = len(server.requests)
    ask(engine, 6)
    assert len(server.requests) == number + 2  # it is not tried again


def test_a_budget_that_is_not_reached_needs_one_request(serve: Serve) -> None:
    server = serve(Model())
    engine = connect(server.url, **SMALL)
    assert ask(engine, 30)[0].text == TEXT
    server.behaviour = Model('deaf')
    other = connect(server.url, **SMALL)
    number = len(server.requests)
    for budget in (LONGEST, 4000, 0):  # the limit of all tokens is as strict: nothing is tried
        assert ask(other, budget)[0].text == TEXT
    assert [r.body['max_tokens'] for r in server.requests[number:]] == [LONGEST] * 3


@pytest.mark.parametrize('kind', ['deaf', 'strict', 'echo', 'silent'])
def test_a_server_that_continues_no_turns_is_found_out(serve: Serve, kind: str) -> None:
    """A budget that cannot be kept is no budget; other requests are answered."""
    server = serve(Model(kind))
    engine = connect(server.url, **SMALL)
    with pytest.raises(InvalidRequestError, match=r'does not continue .* thinking_tokens to 0'):
        ask(engine, 6)
    number = len(server.requests)
    with pytest.raises(InvalidRequestError, match='thinking_tokens'):
        ask(engine, 6)
    assert len(server.requests) == number
    assert ask(engine, 0)[0].text == TEXT
    assert engine.health()[0].healthy is not False


def test_a_budget_goes_to_the_server_that_can_keep_it(serve: Serve) -> None:
    deaf, able = serve(Model('deaf')), serve(Model())
    engine = connect(deaf.url, able.url, **SMALL)
    assert '</think>' in ask(engine, 6)[0].text
    assert len(able.requests) == 5  # three to try it, two to ask


def test_a_server_in_the_place_of_one_that_was_lost_is_tried_again(serve: Serve) -> None:
    deaf = serve(Model('deaf'))
    engine = connect(deaf.url, **SMALL)
    with pytest.raises(InvalidRequestError):
        ask(engine, 6)
    deaf.stop()
    with pytest.raises(BackendUnreachableError):
        ask(engine, 0)
    serve(Model(), deaf.server_port)
    assert ask(engine, 6)[0].finish_reason == 'stop'


def test_a_held_answer_that_the_first_request_cuts_off_is_written_anew(serve: Serve) -> None:
    """Its grammar would have to begin in the middle; what was told stays true."""
    grammar = grammar_of(Query(Task.POINTS, 'the cup', thinking=True))

    def behave(handler: Handler) -> None:
        (Model(text='held') if 'Is it held' in handler.prompt else Model())(handler)

    server = serve(behave)
    engine = connect(server.url, structured_style='vllm', **SMALL)
    reply, told = ask(engine, len(tokens_of(TEXT)) - 3, grammar=grammar)
    assert reply.text == told == TEXT
    first, second = (request.body for request in server.requests[-2:])
    assert first['structured_outputs']['grammar'] == grammar
    held = second['structured_outputs']['grammar']
    assert held.startswith('start: GAP? answer')
    assert held.partition('\n')[2] == grammar.partition('\n')[2]
    assert second['messages'][-1]['content'] == TEXT.partition('\\')[0]


def test_a_reasoning_in_circles_is_closed_where_it_has_a_budget(serve: Serve) -> None:
    text = '<think>\n' + 'it is red, ' * 200 + '\n</think>\n\n\\boxed{yes}'
    engine = connect(serve(Model(text=text)).url, **SMALL)
    options: dict[str, Any] = {'max_new_tokens': 3000}
    endless = engine.generate(make_prompt(), **options)
    assert endless.finish_reason == 'repetition'
    reply = engine.generate(replace(make_prompt(), thinking_tokens=2500), **options)
    assert reply.finish_reason == 'stop'
    assert reply.text.endswith('</think>\n\n\\boxed{yes}')
    assert len(reply.text) < 500


def test_a_request_is_cancelled_in_its_second_half_too(serve: Serve) -> None:
    server = serve(Model())
    engine = connect(server.url, **SMALL)
    ask(engine, 6)
    told: list[str] = []

    def hang(handler: Handler) -> None:
        if handler.body['messages'][-1]['role'] == 'user':
            Model()(handler)
            return
        handler.start()
        handler.say('\\boxed')
        wait_for_close(handler)

    server.behaviour = hang
    reply = engine.generate(
        replace(make_prompt(), thinking_tokens=6), max_new_tokens=LONGEST,
        on_text=lambda text, _: told.append(text), cancelled=lambda: 'boxed' in ''.join(told))
    assert reply.finish_reason == 'cancelled'
    assert reply.text == ''.join(told) == '<think>\nit is\n</think>\n\n\\boxed'
    assert server.broken.wait(WAIT_S)


def test_a_failure_in_the_second_half_keeps_what_was_written(serve: Serve) -> None:
    server = serve(Model())
    engine = connect(server.url, **SMALL)
    ask(engine, 6)

    def break_down(handler: Handler) -> None:
        if handler.body['messages'][-1]['role'] == 'assistant':
            handler.start(500)
        else:
            Model()(handler)

    server.behaviour = break_down
    with pytest.raises(Exception, match='failed') as error:
        ask(engine, 6)
    assert getattr(error.value, 'raw_text', '').startswith('<think>\nit is\n</think>')


def test_a_question_is_answered_within_its_budget(serve: Serve) -> None:
    engine = connect(serve(Model()).url, **SMALL)
    states = []
    query = Query(Task.ASK, 'Is it red?', thinking=True, thinking_tokens=6)
    answer, _ = answer_query(engine, query, on_progress=lambda state, *_: states.append(state))
    assert (answer.reasoning, answer.content.text) == ('it is', 'yes')
    assert states[0] is State.THINKING
    assert states[-1] is State.ANSWERING
