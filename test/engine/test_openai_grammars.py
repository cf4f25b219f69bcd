"""Answers of servers that are held to a grammar: how it is sent, and whether it is kept."""

from __future__ import annotations

import base64
import io
import json
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
from mimo_embodied_ros.engine.answering import answer_query
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
FIELDS = {'grammar', 'structured_outputs', 'guided_grammar', 'response_format'}


def owned_by(owner: Any) -> dict[str, Any]:
    return {'object': 'list', 'data': [{'id': 'mimo', 'object': 'model', 'owned_by': owner}]}


def sent_grammar(handler: Handler) -> str:
    """The grammar of a request as llguidance is to get it; empty if there is none."""
    body = handler.body
    grammar = str(body.get('structured_outputs', {}).get('grammar', ''))
    grammar = grammar or str(body.get('guided_grammar', ''))
    return grammar or str(body.get('grammar', '')).removeprefix(LLAMA)


def holding(handler: Handler) -> None:
    """Answer with the only word that a grammar like the one above allows."""
    grammar = sent_grammar(handler)
    handler.start()
    handler.say(grammar.split('"')[1] if grammar else 'It is grey.', finish='stop')


def holding_by(field: str) -> Behaviour:
    """Hold answers by one field only, and ignore all others, as vLLM of an old version does."""
    def behave(handler: Handler) -> None:
        if field in handler.body:
            (holding_schema if field == 'response_format' else holding)(handler)
        else:
            ignoring(handler)

    return behave


def holding_schema(handler: Handler) -> None:
    """Answer with the first text that a schema allows."""
    allowed = handler.body['response_format']['json_schema']['schema']['properties']['answer']
    handler.start()
    handler.say(json.dumps({'answer': allowed['enum'][0]}), finish='stop')


def ignoring(handler: Handler) -> None:
    """Answer as servers do that ignore fields that they do not know."""
    handler.start()
    handler.say('It is grey.', finish='stop')


# What has a schema, a text that it allows, and whether the answer has a type that says so.
SCHEMAS = [
    (Query(Task.POINTS, 'the cup', ()), [{'points': [[1, 2]], 'label': 'cup'}]),
    (Query(Task.POINTS, 'the cup', ()), []),
    (Query(Task.BOXES, 'the cup', ()), [{'bbox_2d': [1, 2, 3, 4], 'label': 'cup'}]),
    (Query(TASKS['critical_object'], '', (), thinking=False),
     [{'bbox_2d': [1, 2, 3, 4], 'caption': 'a pedestrian'}]),
    (Query(TASKS['is_done'], 'put the cup down', ()), 'yes'),
    (Query(TASKS['count'], 'How far?', (), thinking=False), '3.5 m'),
    (Query(TASKS['choice'], 'Which? A. left B. right', (), thinking=False), 'B'),
    (Query(TASKS['scene_choice'], 'Which?', (), options=('left', 'right'), thinking=False), 'A'),
    (Query(TASKS['driving_test'], 'Which?', (), options=('go', 'stop', 'wait')), 'AC'),
    (Query(TASKS['surround_word'], 'What is there?', ()), 'with rider'),
]


def refusing(status: int, message: str) -> Behaviour:
    """Refuse every grammar, and answer other requests."""
    def behave(handler: Handler) -> None:
        if not FIELDS & handler.body.keys():
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
    ('auto', 'vllm', 'guided_grammar', GRAMMAR),  # before 0.12
    ('guided', 'someone', 'guided_grammar', GRAMMAR),
])
@pytest.mark.parametrize('warm_up', [True, False])
def test_a_grammar_is_sent_as_the_server_takes_it(
    server: Server, style: str, owner: str, field: str, value: Any, warm_up: bool
) -> None:
    server.models = owned_by(owner)
    server.behaviour = holding_by(field)
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
    assert not FIELDS & server.requests[-1].body.keys()


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
    with pytest.raises(InvalidRequestError, match='holds no answer to a form'):
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
    with pytest.raises(InvalidRequestError, match='refuses the form of the answer') as caught:
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


def test_a_server_in_the_place_of_one_that_was_lost_is_tried_again(server: Server) -> None:
    """It may ignore the form of the answer, which would then be believed held."""
    engine = connect(server.url, **SMALL)
    engine.warm_up()
    assert ask(engine) == 'yes'
    server.stop()
    with pytest.raises(BackendUnreachableError):
        ask(engine)
    with Server(ignoring, server.server_port) as other:
        other.models = owned_by('vllm')
        with pytest.raises(InvalidRequestError, match='holds no answer'):
            ask(engine)


# -- servers that hold answers to JSON schemas only


@pytest.mark.parametrize(('query', 'content'), SCHEMAS, ids=str)
def test_an_answer_of_a_schema_is_read(serve: Serve, query: Query, content: Any) -> None:
    """The schema allows the answer, and what it allows is read like the bare answer."""
    llguidance = pytest.importorskip('llguidance')
    tokenizer = llguidance.LLTokenizer('byte')
    count = max(1, len(query.task.views))
    query = replace(query, frames=(Frame(np.zeros((280, 280, 3), np.uint8)),) * count,
                    structured=True)
    server = serve(holding_by('response_format'))
    engine = connect(server.url, **SMALL)
    engine.warm_up()
    assert not engine.holds_grammars
    assert engine.holds_schemas

    def answer(handler: Handler) -> None:
        assert handler.body['response_format']['json_schema']['strict'] is True
        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(handler.body['response_format']['json_schema']['schema']))
        for said in (content, 'perhaps', [{'points': [1]}], {}):
            tokens = tokenizer.tokenize_str(json.dumps({'answer': said}))
            matcher = llguidance.LLMatcher(tokenizer, grammar)
            allowed = matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()
            assert allowed is (said == content)
        handler.start()
        handler.say(json.dumps({'answer': content}), finish='stop')

    server.behaviour = answer
    held, _ = answer_query(engine, query)
    bare = content if isinstance(content, str) else json.dumps(content)
    server.behaviour = lambda handler: (handler.start(), handler.say(bare, finish='stop'))
    free, _ = answer_query(engine, replace(query, structured=False))
    assert replace(held, raw_text='') == replace(free, raw_text='')


def test_what_has_no_schema_is_refused_by_such_a_server(serve: Serve) -> None:
    server = serve(holding_by('response_format'))
    engine = connect(server.url, structured_style='openai', **SMALL)
    engine.warm_up()
    number = len(server.requests)
    plan = replace(QUESTIONS[-1], structured=True)
    thinking = Query(TASKS['yes_no'], 'Is it red?', (), structured=True)
    for query in (plan, thinking):
        frames = (Frame(np.zeros((280, 280, 3), np.uint8)),)
        with pytest.raises(InvalidRequestError, match=r'schemas only.*without thinking, or set'):
            answer_query(engine, replace(query, frames=frames))
    assert len(server.requests) == number
    # two servers of different kinds: what one cannot hold, the other does
    other = serve(holding_by('structured_outputs'))
    other.models = owned_by('vllm')
    both = connect(server.url, other.url, **SMALL)
    both.warm_up()
    assert not both.holds_grammars
    assert both.holds_schemas
    assert ask(both) == 'yes'
    assert 'structured_outputs' in other.requests[-1].body


def test_an_answer_that_cannot_be_read_is_asked_for_again_with_its_schema(serve: Serve) -> None:
    server = serve(holding_by('response_format'))
    engine = connect(server.url, **SMALL)
    engine.warm_up()
    query = Query(TASKS['is_done'], 'go', (Frame(np.zeros((280, 280, 3), np.uint8)),), retry=True)
    answer, reply = answer_query(engine, query)
    assert (answer.content.yes, reply.attempts, reply.unread) == (True, 2, ('It is grey.',))


@pytest.mark.parametrize('field', sorted(FIELDS))
@pytest.mark.parametrize('status', [400, 422])
def test_a_server_that_refuses_the_field_of_its_style_gives_way_to_the_next(
    serve: Serve, field: str, status: int
) -> None:
    style = {'grammar': 'llama', 'structured_outputs': 'vllm', 'guided_grammar': 'guided',
             'response_format': 'openai'}[field]
    first, second = serve(holding_by(field)), serve(holding_by(field))
    engine = connect(first.url, second.url, structured_style=style, **SMALL)
    engine.warm_up()
    first.behaviour = refuse = refusing(status, f'unexpected field {field}: a grammar or schema')
    prompt = replace(make_prompt(), grammar=GRAMMAR, schema={
        'type': 'object', 'properties': {'answer': {'type': 'string', 'enum': ['yes']}}})
    assert 'yes' in engine.generate(prompt, max_new_tokens=9).text
    assert first.ended < second.ended
    second.behaviour = refuse
    with pytest.raises(InvalidRequestError, match=f'refuses the form of.*{field}') as caught:
        engine.generate(prompt, max_new_tokens=9)
    assert first.url in str(caught.value)
    assert second.url in str(caught.value)


# -- a model behind it

QUESTIONS = [
    Query(Task.POINTS, 'the red cube', ()),
    Query(Task.BOXES, 'the blue bowl', ()),
    Query(TASKS['yes_no'], 'Is the red cube left of the blue bowl?', ()),
    Query(TASKS['yes_no'], 'Is the red cube in the top or in the bottom half?', ()),
    Query(TASKS['drive_action'], 'Which is left?', (), options=('red cube', 'blue bowl')),
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
