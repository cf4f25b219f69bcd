"""The package's own server, asked by the package's own client, against the model in process."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

httpx2 = pytest.importorskip('httpx2')
pytest.importorskip('uvicorn')

from replica import START_S, Replica

from mimo_embodied_ros.cli.main import main
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import build_prompt, text_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.tasks import TASKS, Task
from mimo_embodied_ros.engine import Engine, EngineConfig, load_engine
from mimo_embodied_ros.engine.openai_request import png
from mimo_embodied_ros.share import embedded_model
from mimo_embodied_ros.worlds import table_scene
from support.waiting import WAIT_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mimo_embodied_ros.core.prompts import Prompt

KEY = {'MIMO_TEST_KEY': 'a-key-of-this-test'}
# An answer of a known length that takes some seconds: the grammar allows no other.
NUMBERS = ' '.join(map(str, range(1, 400)))
COUNTING = replace(text_prompt('Count.', 4000), grammar=f'start: "{NUMBERS}"')


@pytest.fixture(scope='module')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    os.environ.update(KEY)
    replica = Replica(tmp_path_factory.mktemp('server') / 'log', '--max-requests', '4',
                      '--api-key-env', *KEY)
    replica.start()
    yield replica
    replica.kill()


@pytest.fixture(scope='module')
def local() -> Iterator[Engine]:
    engine = load_engine(EngineConfig(embedded_model(), device='cpu'))
    yield engine
    engine.close()


@pytest.fixture
def remote(server: Replica, local: Engine) -> Engine:
    return load_engine(EngineConfig(
        'mimo_tiny', backend='openai', servers=(server.url,), api_key_env=next(iter(KEY)),
        min_pixels=local.limits.min_pixels, max_pixels=local.limits.max_pixels,
        first_token_timeout=START_S, token_timeout=START_S))


def post(server: Replica, body: Any, **headers: str) -> Any:
    authorization = {'Authorization': f'Bearer {KEY["MIMO_TEST_KEY"]}', **headers}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx2.post(f'{server.url}/chat/completions', content=content, headers=authorization,
                       timeout=WAIT_S)


def figures(server: Replica) -> dict[str, float]:
    """The figures of the server by their names with labels."""
    page = httpx2.get(server.url.replace('/v1', '/metrics'), timeout=WAIT_S).text
    return {name: float(value) for name, value in (
        line.rsplit(' ', 1) for line in page.splitlines() if not line.startswith('#'))}


def scene(width: int, height: int, seed: int) -> Frame:
    things = (table_scene.Thing('red', 'cube', width * 0.3, height * 0.6, 40),
              table_scene.Thing('blue', 'bowl', width * 0.7, height * 0.4, 50),
              table_scene.Thing('green', 'ball', width * 0.6, height * 0.8, 40))
    drawn = table_scene.draw_table(random.Random(seed), width, height, things=things)
    return Frame(drawn.pixels, stamp_ns=1 + seed * 500_000_000)


def prompts(engine: Engine) -> Iterator[Prompt]:
    table, small = scene(640, 480, 1), scene(196, 196, 2)
    for task, text in ((Task.PLAN, 'put the red cube in the blue bowl'),
                       (Task.POINTS, 'the green ball'), (Task.BOXES, 'the blue bowl'),
                       (Task.SPATIAL, 'Is the red cube left of the blue bowl?')):
        for more in ({}, {'thinking': True}, {'structured': task != Task.PLAN},
                     {'thinking': True, 'thinking_tokens': 6}):
            query = Query(task, text, (table,), max_new_tokens=200, **more)
            yield build_prompt(query, engine.limits, engine.profile)
    for query in (Query(Task.ASK, 'What do you see?', (small, table)),
                  Query(Task.ASK, '机器人, où est-il?', (small,), system='Be kind.'),
                  Query(Task.ASK, 'What do you see?', (), max_new_tokens=3)):
        yield build_prompt(query, engine.limits, engine.profile)


def outcome(engine: Engine, prompt: Prompt) -> tuple[Any, ...]:
    pieces: list[str] = []
    reply = engine.generate(prompt, max_new_tokens=prompt.max_new_tokens,
                            on_text=lambda text, _: pieces.append(text))
    assert ''.join(pieces) == reply.text
    stats = reply.stats
    return (reply.text, reply.finish_reason, stats.prompt_tokens, stats.image_tokens,
            stats.completion_tokens)


def test_answers_are_the_same_as_in_process(remote: Engine, local: Engine) -> None:
    """Texts, finish reasons and counts, of all forms of prompts, after the client's own trials."""
    remote.warm_up()
    assert remote.holds_grammars
    assert remote.info.takes_video
    texts = set()
    for prompt in prompts(local):
        here, there = outcome(local, prompt), outcome(remote, prompt)
        if prompt.thinking_tokens:  # its prompt is counted in two requests, its closing tag not
            here, there = here[:2], there[:2]
        assert there == here
        texts.add(here[0])
    assert len(texts) > 8, 'the model must see its images for this test to mean anything'


def test_videos_are_the_same_as_in_process(remote: Engine, local: Engine) -> None:
    frames = tuple(scene(320, 240, seed) for seed in range(1, 6))
    prompt = build_prompt(
        Query(TASKS['ask_video'], 'What happens?', frames, max_new_tokens=20), local.limits,
        local.profile)
    assert prompt.videos
    assert outcome(remote, prompt) == outcome(local, prompt)


def test_a_whole_answer(server: Replica) -> None:
    """Without a stream, and with a picture that the server resizes."""
    body = {'model': 'mimo_tiny', 'max_tokens': 5, 'messages': [{'role': 'user', 'content': 'Hi'}],
            'logprobs': False, 'ignore_eos': False, 'skip_special_tokens': True}  # of vllm-router
    answer = post(server, body).json()
    (choice,) = answer['choices']
    assert (choice['finish_reason'], choice['message']['role']) == ('length', 'assistant')
    assert choice['message']['content']
    assert answer['usage']['completion_tokens'] == 5


def test_a_client_that_goes_away_ends_its_answer(server: Replica, remote: Engine) -> None:
    before = figures(server)
    pieces: list[str] = []
    reply = remote.generate(
        COUNTING, max_new_tokens=COUNTING.max_new_tokens,
        on_text=lambda text, _: pieces.append(text), cancelled=lambda: len(pieces) > 3)
    assert reply.finish_reason == 'cancelled'
    assert NUMBERS.startswith(reply.text)
    wait_for(lambda: figures(server)['mimo_requests_running'] == 0)
    after = figures(server)
    name = 'mimo_completion_tokens_total'
    assert after[name] - before[name] < len(NUMBERS) / 4


def test_too_many_requests_are_refused(server: Replica) -> None:
    body = {'model': 'mimo_tiny', 'max_tokens': 4000, 'stream': True,
            'messages': [{'role': 'user', 'content': 'Count.'}],
            'structured_outputs': {'grammar': COUNTING.grammar}}
    headers = {'Authorization': f'Bearer {KEY["MIMO_TEST_KEY"]}'}
    with httpx2.Client(timeout=WAIT_S) as client:
        streams = [client.stream('POST', f'{server.url}/chat/completions', json=body,
                                 headers=headers) for _ in range(4)]
        for stream in streams:
            assert stream.__enter__().status_code == 200
        refused = post(server, body)
        for stream in streams:
            stream.__exit__(None, None, None)
    assert (refused.status_code, refused.json()['error']['type']) == (429, 'QUEUE_FULL')
    wait_for(lambda: figures(server)['mimo_requests_running'] == 0)


USER = {'role': 'user', 'content': 'Hi'}
PNG = png(np.zeros((28, 56, 3), np.uint8))
IMAGE = {'type': 'image_url', 'image_url': {'url': f'data:image/png;base64,{PNG}'}}
CLIP = {'type': 'video_url', 'video_url': {'url': f'data:video/jpeg;base64,{PNG},{PNG}'}}
BROKEN = {'type': 'image_url', 'image_url': {'url': 'data:image/png;base64,iVBORw0KGgo='}}


@pytest.mark.parametrize(('changes', 'status', 'words'), [
    ({'model': 'another'}, 404, "name 'mimo_tiny'"),
    ({'messages': []}, 400, 'send one of the user'),
    ({'messages': [{'role': 'user', 'content': 5}]}, 400, 'a list of parts'),
    ({'messages': [{'role': 'user', 'content': [{'type': 'input_audio'}]}]}, 400, 'send parts'),
    ({'messages': [USER, USER]}, 400, 'send one of the user'),
    ({'messages': [USER, {'role': 'assistant', 'content': 'Yes'}]}, 400, 'continue_final_message'),
    ({'messages': [{'role': 'user', 'content': '<|im_end|>'}]}, 400, 'control token'),
    ({'messages': [USER, {'role': 'assistant', 'content': '<|im_end|>'}],
      'continue_final_message': True}, 400, 'control token'),
    ({'messages': [{'role': 'user', 'content': [BROKEN]}]}, 400, 'cannot be read'),
    ({'messages': [{'role': 'user', 'content': [{'type': 'text', 'text': 'a'}, IMAGE]}]}, 400,
     'first'),
    ({'messages': [{'role': 'user', 'content': [
        {'type': 'image_url', 'image_url': {'url': 'http://127.0.0.1/a.png'}}]}]}, 400, 'base64'),
    ({'max_tokens': 0}, 400, '1 or more'),
    ({'max_tokens': '9'}, 400, 'of type int'),
    ({'max_tokens': True}, 400, 'of type int'),
    ({'temperature': 0.7}, 400, 'greedy'),
    ({'n': 2}, 400, 'greedy'),
    ({'tools': [{}]}, 400, 'does not take tools'),
    ({'structured_outputs': {'regex': 'a'}}, 400, 'only grammar'),
    ({'structured_outputs': {'grammar': 'start: ('}}, 400, 'grammar of the answer is wrong'),
    ({'response_format': {'type': 'json_object'}}, 400, 'structured_outputs'),
    ({'messages': [{'role': 'user', 'content': [CLIP]}],
      'media_io_kwargs': {'video': {'fps': 0}}}, 400, 'fps is 0'),
    ({'messages': [{'role': 'user', 'content': [CLIP, IMAGE]}]}, 400, 'one of the two'),
])
def test_what_cannot_be_done_is_refused(
    server: Replica, changes: dict[str, Any], status: int, words: str
) -> None:
    answer = post(server, {'model': 'mimo_tiny', 'messages': [USER], 'max_tokens': 2, **changes})
    error = answer.json()['error']
    assert answer.status_code == error['code'] == status
    assert words in error['message']


def test_bodies_and_keys(server: Replica) -> None:
    assert post(server, b'{').status_code == 400
    assert post(server, b'[]').status_code == 400
    assert post(server, b'\xff').status_code == 400
    body = {'model': 'mimo_tiny', 'messages': [USER], 'max_tokens': 1}
    assert post(server, body, Authorization='Bearer another').status_code == 401
    assert httpx2.get(f'{server.url}/models', timeout=WAIT_S).status_code == 401


def test_the_model_and_figures(server: Replica, remote: Engine, local: Engine) -> None:
    answer = httpx2.get(f'{server.url}/models', timeout=WAIT_S,
                        headers={'Authorization': f'Bearer {KEY["MIMO_TEST_KEY"]}'})
    (model,) = answer.json()['data']
    assert (model['id'], model['max_model_len']) == ('mimo_tiny', local.info.context_length)
    before = figures(server)
    _, _, prompt, _, completion = outcome(remote, text_prompt('Hi', 3))
    after = figures(server)
    for name, tokens in (('prompt', prompt), ('completion', completion)):
        full = f'mimo_{name}_tokens_total'
        assert after[full] - before[full] == tokens
    assert after['mimo_request_seconds_count'] == before['mimo_request_seconds_count'] + 1


def test_killed_in_an_answer_and_started_again(server: Replica, remote: Engine) -> None:
    """The robot sees one answer, each word once."""
    pieces: list[str] = []

    def hear(text: str, _: int) -> None:
        pieces.append(text)
        if len(pieces) == 5:
            server.kill()
            server.start(wait=False)

    reply = remote.generate(
        COUNTING, max_new_tokens=COUNTING.max_new_tokens, on_text=hear,
        deadline=time.monotonic() + START_S)
    assert ''.join(pieces) == reply.text == NUMBERS
    assert reply.finish_reason == 'stop'


def test_half_of_a_character_is_answered(server: Replica) -> None:
    """JSON may hold half of a UTF-16 pair, which no tokenizer takes."""
    body = {'model': 'mimo_tiny', 'messages': [{'role': 'user', 'content': '\ud800'}],
            'max_tokens': 1}
    assert post(server, body).status_code == 200


def test_a_port_that_is_taken_and_a_key_that_is_not_set(
    server: Replica, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for port in (server.port, 99999):
        assert main(['serve-openai', '--device', 'cpu', '--port', str(port)]) == 1
        error = capsys.readouterr().err
        assert f'cannot listen at 127.0.0.1, port {port} (' in error
        assert 'give another --host or --port' in error
    other = Replica(tmp_path / 'log', '--api-key-env', 'MIMO_KEY_THAT_IS_NOT_SET')
    with pytest.raises(RuntimeError, match='MIMO_KEY_THAT_IS_NOT_SET, which --api-key-env names'):
        other.start()


def test_an_interrupt_ends_it(server: Replica) -> None:
    assert server.end(signal.SIGINT) == 0
