"""Other models behind the engines: what they are sent, and what becomes of their answers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip('httpx2')

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.profiles import MIMO_EMBODIED, PROFILES
from mimo_embodied_ros.core.query import Query, Task
from mimo_embodied_ros.engine import EngineConfig, load_engine
from mimo_embodied_ros.engine.answering import answer_query
from mimo_embodied_ros.engine.openai_engine import DEFAULT_LIMITS
from mimo_embodied_ros.share import embedded_model
from support.prompts import make_prompt
from support.video_server import VideoServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.openai_server import Handler, Server

FRAME = Frame(np.zeros((500, 2000, 3), np.uint8))


def says(text: str) -> Callable[[Handler], None]:
    """Answer with a text, and with counts of tokens that fit no size of an image."""
    def behave(handler: Handler) -> None:
        handler.start()
        handler.say(text)
        handler.say(finish='stop')
        usage = {'prompt_tokens': 70, 'completion_tokens': 12, 'total_tokens': 82}
        handler.send_json({'object': 'chat.completion.chunk', 'choices': [], 'usage': usage})

    return behave


def ask(server: Server, model: str, *, thinking: bool = False, **options: Any) -> Any:
    """Ask for points of the red cube; returns the content of the answer."""
    engine = load_engine(EngineConfig(model, backend='openai', servers=(server.url,), **options))
    query = Query(Task.POINTS, 'the red cube', (FRAME,), thinking=thinking)
    return answer_query(engine, query)[0].content


@pytest.mark.parametrize(('model', 'text', 'point'), [
    ('Qwen/Qwen3-VL-8B-Instruct', '```json\n[{"point_2d": [500, 200], "label": "cube"}]\n```',
     (1000, 100)),
    ('gemini-robotics-er-2-preview', '[{"point": [200, 500], "label": "cube"}]', (1000, 100)),
    ('BAAI/RoboBrain2.5-8B-NV', '[(500, 200)]', (1000, 100)),
    # pixels of the 1988 x 504 that the model sees
    ('BAAI/RoboBrain2.0-7B', '[(497, 252)]</answer>', (500, 250)),
    ('Qwen/Qwen2.5-VL-7B-Instruct', '<points x1="497" y1="252" alt="cube">cube</points>',
     (500, 250)),
])
def test_positions_of_a_model_that_is_found_by_the_servers_name_for_it(
    serve: Callable[..., Server], model: str, text: str, point: tuple[float, float]
) -> None:
    server = serve(says(text))
    (found,) = ask(server, model).points
    assert (found.x, found.y) == point
    assert found.in_image


def test_a_named_profile_goes_before_the_servers_name(serve: Callable[..., Server]) -> None:
    server = serve(says('[{"point_2d": [500, 200], "label": "cube"}]'))
    (found,) = ask(server, 'robot-brain', profile='qwen3-vl').points
    assert (found.x, found.y) == (1000, 100)
    with pytest.raises(InvalidRequestError, match="'qwen4' is not known; use one of mimo"):
        EngineConfig('m', profile='qwen4')


def test_a_begun_turn_and_fields_of_the_profile_are_sent(serve: Callable[..., Server]) -> None:
    server = serve(says('[(497, 252)]</answer>'))
    ask(server, 'RoboBrain2.0-7B')
    body = server.requests[-1].body
    assert body['messages'][-1] == {'role': 'assistant', 'content': '<think></think><answer>'}
    assert (body['add_generation_prompt'], body['continue_final_message']) == (False, True)

    server.behaviour = says('It is here.</think><answer>[(497, 252)]</answer>')
    assert ask(server, 'RoboBrain2.0-7B', thinking=True).points
    assert server.requests[-1].body['messages'][-1]['content'] == '<think>'

    server.behaviour = says('[]')
    ask(server, 'gemini-robotics-er-2-preview', thinking=True)
    body = server.requests[-1].body
    assert body['reasoning_effort'] == 'high'
    assert len(body['messages']) == 1
    assert 'continue_final_message' not in body


def test_the_size_of_images_is_not_compared_where_positions_are_relative(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(says('a'))
    with caplog.at_level(logging.WARNING):
        engine = load_engine(
            EngineConfig('qwen3-vl-plus', backend='openai', servers=(server.url,)))
        engine.warm_up()
    assert engine.info.profile == engine.profile.name == 'qwen3-vl'
    assert engine.limits == replace(DEFAULT_LIMITS, factor=32)
    assert 'profile' not in caplog.text


def test_a_server_is_tried_in_the_words_of_the_profile(serve: Callable[..., Server]) -> None:
    server = serve(says('a'))
    for model, turn in (('qwen3-vl-plus', None), ('RoboBrain2.0-7B', '<think></think><answer>')):
        server.requests.clear()
        load_engine(EngineConfig(model, backend='openai', servers=(server.url,),
                                 min_pixels=224**2, max_pixels=224**2)).warm_up()
        trials = [request for request in server.requests if request.prompt == 'Is it held?']
        assert trials, 'without the mark of another model'
        begun = [m['content'] for m in trials[0].body['messages'] if m['role'] == 'assistant']
        assert begun == ([turn] if turn else [])


def test_videos_are_counted_in_the_tokens_of_the_profile() -> None:
    with VideoServer('jpeg') as server:
        server.side = 32
        engine = load_engine(
            EngineConfig('qwen3-vl-plus', backend='openai', servers=(server.url,),
                         min_pixels=4 * 32**2, max_pixels=16 * 32**2))
        engine.warm_up()
        assert engine.info.takes_video, engine.info.video_problem


def test_a_model_without_a_profile_is_said_once_and_asked_as_mimo_embodied(
    serve: Callable[..., Server], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(says('[{"points": [[497, 252]], "label": "a"}]'))
    with caplog.at_level(logging.WARNING):
        (found,) = ask(server, 'llama-4').points
    assert (found.x, found.y) == (500, 250)
    assert server.requests[-1].prompt.endswith(' /no_think')
    (said,) = (record.getMessage() for record in caplog.records)
    assert said == (
        'no profile is known for llama-4: it is asked as mimo-embodied is, and its positions count '
        'as pixels of the resized image; set profile if it is another model')


def test_in_this_process_the_turn_begins_as_the_profile_says() -> None:
    processor = pytest.importorskip('mimo_embodied_ros.engine.processor')
    loaded = processor.load_processor(Path(embedded_model()))
    encoder, decode = processor.PromptEncoder(loaded), loaded.tokenizer.decode
    plain = make_prompt('Where?')
    assert plain.profile is MIMO_EMBODIED
    whole = decode(encoder.encode(plain).tokens)
    begun = encoder.encode(replace(plain, profile=PROFILES['robobrain-2.0'], thinks=True))
    assert decode(begun.tokens) == whole + '<think>'
