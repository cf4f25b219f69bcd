"""Answers of servers that are held to a grammar: how it is sent, and whether it is kept."""

from __future__ import annotations

import base64
import io
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('httpx2')

from mimo_embodied_ros.core.errors import (
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotReadyError,
)
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import Prompt, build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.skill_files import load_skills
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.core.tasks import TASKS, Task
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.share import embedded_model
from mimo_embodied_ros.worlds import table_scene
from support.openai_server import Handler, Server, connect
from support.paths import SKILL_FILES
from support.prompts import make_prompt

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.engine import Engine
    from support.openai_server import Behaviour

    Serve = Callable[..., Server]

GRAMMAR = 'start: "yes"\n'
SMALL = {'max_pixels': 100 * 784}  # the pictures of the warm-up
LLAMA = '%llguidance {}\n'


def owned_by(owner: Any) -> dict[str, Any]:
    return {'object': 'list', 'data': [{'id': 'mimo', 'object': 'model', 'owned_by': owner}]}


def sent_grammar(handler: Handler) -> str:
    """The grammar of a request as llguidance is to get it; empty if there is none."""
    body = handler.body
    grammar = str(body.get('structured_outputs', {}).get('grammar', ''))
    return grammar or str(body.get('grammar', '')).removeprefix(LLAMA)


def holding(handler: Handler) -> None:
    """Answer with the only word that a grammar like the one above allows."""
    grammar = sent_grammar(handler)
    handler.start()
    handler.say(grammar.split('"')[1] if grammar else 'It is grey.', finish='stop')


def ignoring(handler: Handler) -> None:
    """Answer as servers do that ignore fields that they do not know."""
    handler.start()
    handler.say('It is grey.', finish='stop')


def refusing(status: int, message: str) -> Behaviour:
    """Refuse every grammar, and answer other requests."""
    def behave(handler: Handler) -> None:
        if not sent_grammar(handler):
            ignoring(handler)
            return
        handler.start(status, 'application/json')
        handler.send(f'{{"error": {{"message": "{message}", "code": {status}}}}}')

    return behave


@pytest.fixture
def server(serve: Serve) -> Server:
    server = serve(holding)
    server.models = owned_by('vllm')
    return server


def ask(engine: Engine, grammar: str = GRAMMAR) -> str:
    prompt = replace(make_prompt(), grammar=grammar)
    return engine.generate(prompt, max_new_tokens=9).text


@pytest.mark.parametrize(('style', 'owner', 'field', 'value'), [
    ('auto', 'vllm', 'structured_outputs', {'grammar': GRAMMAR}),
    ('auto', 'llamacpp', 'grammar', LLAMA + GRAMMAR),
    ('vllm', 'someone', 'structured_outputs', {'grammar': GRAMMAR}),
    ('llama', 'someone', 'grammar', LLAMA + GRAMMAR),
])
@pytest.mark.parametrize('warm_up', [True, False])
def test_a_grammar_is_sent_as_the_server_takes_it(
    server: Server, style: str, owner: str, field: str, value: Any, warm_up: bool
) -> None:
    server.models = owned_by(owner)
    engine = connect(server.url, structured_style=style, **SMALL)
    assert not engine.holds_grammars  # not known yet
    if warm_up:
        engine.warm_up()
        assert engine.holds_grammars
    assert ask(engine) == 'yes'
    assert engine.holds_grammars
    assert server.requests[-1].body[field] == value
    number = len(server.requests)
    assert ask(engine, '') == 'It is grey.'
    assert len(server.requests) == number + 1  # it is not tried again
    assert not {'grammar', 'structured_outputs'} & server.requests[-1].body.keys()


@pytest.mark.parametrize('models', [
    None, {}, [], 5, {'data': None}, {'data': [None]}, {'data': [{'id': 'mimo'}]}, owned_by(None),
    owned_by(['vllm']), owned_by('sglang'), owned_by('organization_owner'),
])
def test_a_server_that_takes_no_grammars_is_not_sent_one(serve: Serve, models: Any) -> None:
    server = serve(holding)
    server.models = models
    engine = connect(server.url, **SMALL)
    engine.warm_up()
    assert not engine.holds_grammars
    number = len(server.requests)
    with pytest.raises(InvalidRequestError, match=r'holds no answer.*structured_style'):
        ask(engine)
    assert len(server.requests) == number
    assert engine.health()[0].healthy
    assert ask(engine, '') == 'It is grey.'


@pytest.mark.parametrize('behaviour', [
    ignoring, refusing(400, 'extra fields not permitted: structured_outputs'),
    refusing(500, 'no such field'), lambda handler: handler.start(),
])
def test_a_server_that_does_not_hold_its_answers_is_found_out(
    server: Server, behaviour: Behaviour
) -> None:
    """Servers of an old version ignore the field, and a grammar would be believed held."""
    server.behaviour = lambda handler: (
        behaviour if sent_grammar(handler) else ignoring)(handler)
    engine = connect(server.url, **SMALL)
    engine.warm_up()
    assert not engine.holds_grammars
    with pytest.raises(InvalidRequestError, match='holds no answer to a grammar'):
        ask(engine)
    with pytest.raises(ModelNotReadyError, match='way of vllm; set structured_style to auto'):
        connect(server.url, structured_style='vllm', **SMALL).warm_up()
    connect(server.url, structured_style='none', **SMALL).warm_up()


@pytest.mark.parametrize(('status', 'message'), [
    (400, 'Grammar error: unknown rule'),
    (422, 'body.structured_outputs: extra fields'),
    (400, 'guided decoding is off'),
    (500, 'failed to compile with llguidance'),
])
def test_a_grammar_that_a_server_refuses_is_a_clear_error(
    server: Server, status: int, message: str
) -> None:
    engine = connect(server.url, **SMALL)
    engine.warm_up()
    server.behaviour = refusing(status, message)
    with pytest.raises(InvalidRequestError, match='refuses the grammar of the answer') as caught:
        ask(engine)
    assert message in str(caught.value)
    assert 'structured_style' in str(caught.value)


def test_one_server_without_grammars_is_enough_to_ask_without(
    server: Server, serve: Serve
) -> None:
    """A request that moves on to it would fail there; one that must be held is still answered."""
    other = serve(holding)
    engine = connect(other.url, server.url, **SMALL)
    engine.warm_up()
    assert not engine.holds_grammars
    assert ask(engine) == 'yes'
    assert sent_grammar(server.requests[-1])


def test_a_server_that_comes_later_is_tried_with_its_first_grammar(server: Server) -> None:
    engine = connect(server.url, **SMALL)
    port = server.server_port
    server.stop()
    with pytest.raises(BackendUnreachableError):
        ask(engine)
    assert not engine.holds_grammars
    with Server(holding, port) as again:
        again.models = owned_by('vllm')
        assert ask(engine) == 'yes'
        assert engine.holds_grammars


# -- a model behind it

QUESTIONS = [
    Query(Task.POINTS, 'the red cube', ()),
    Query(Task.BOXES, 'the blue bowl', ()),
    Query(TASKS['yes_no'], 'Is the red cube left of the blue bowl?', ()),
    Query(next(task for task in TASKS.values() if task.uses('options') and task.uses('text')),
          'Which is left?', (), options=('red cube', 'blue bowl')),
    Query(Task.PLAN, 'put the red cube in the blue bowl', (), skills=select_skills(
        load_skills(SKILL_FILES / 'manipulator.yaml'))),
]


def test_an_answer_that_a_server_holds_is_the_one_of_this_process(serve: Serve) -> None:
    """The package's own grammars and model, with the grammar on its way over HTTP."""
    pytest.importorskip('torch')
    pytest.importorskip('llguidance')
    local = load_engine(EngineConfig(embedded_model()))
    assert local.holds_grammars

    def behave(handler: Handler) -> None:
        *pictures, words = handler.body['messages'][0]['content']
        images = tuple(np.asarray(Image.open(io.BytesIO(base64.b64decode(
            picture['image_url']['url'].partition(',')[2])))) for picture in pictures)
        prompt = Prompt(words['text'], images, (), 1, sent_grammar(handler))
        reply = local.generate(prompt, max_new_tokens=handler.body['max_tokens'])
        handler.start()
        handler.say(reply.text, finish=reply.finish_reason)

    server = serve(behave)
    server.models = owned_by('vllm')
    remote = connect(server.url, min_pixels=local.limits.min_pixels,
                     max_pixels=local.limits.max_pixels)
    picture = Frame(table_scene.draw_table(random.Random(1), 280, 196).pixels)
    held = 0
    for question in QUESTIONS:
        query = replace(question, frames=(picture,), structured=True, max_new_tokens=120)
        prompt = build_prompt(query, local.limits)
        here = local.generate(prompt, max_new_tokens=120)
        there = remote.generate(prompt, max_new_tokens=120)
        assert (there.text, there.finish_reason) == (here.text, here.finish_reason)
        free = local.generate(replace(prompt, grammar=''), max_new_tokens=120)
        held += free.text != here.text
    assert held  # else nothing shows that the grammar has arrived
    assert remote.holds_grammars
    local.close()
