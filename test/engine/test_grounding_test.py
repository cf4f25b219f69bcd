"""The grounding test with real models, and with servers that are broken on purpose."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('torch')
pytest.importorskip('httpx2')

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError, ResultCode
from mimo_embodied_ros.core.prompts import warm_up_prompt
from mimo_embodied_ros.engine import (
    EngineConfig,
    GroundingError,
    GroundingState,
    load_engine,
    openai_server,
)
from mimo_embodied_ros.engine.grounding_pictures import draw
from mimo_embodied_ros.engine.grounding_test import check_grounding
from mimo_embodied_ros.engine.grounding_verdict import Verdict
from support.model_server import one_dimensional_positions, serving
from support.openai_server import connect
from support.paths import EMBEDDED_MODEL
from support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mimo_embodied_ros.engine import Engine
    from support.openai_server import Handler, Server

    Serve = Callable[..., Server]

ANSWER_S = 5.0  # after its last answer a broken server is named
SIZES = {'min_pixels': 19600, 'max_pixels': 38416}  # of the embedded model
ONE = {'grounding_test': 'refuse', 'grounding_pictures': ('one',), **SIZES}


@pytest.fixture(scope='module', params=['float32', 'bfloat16'])
def embedded(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), device='cpu', dtype=request.param))
    yield engine
    engine.close()


@pytest.fixture(scope='module')
def model() -> Iterator[Engine]:
    engine = load_engine(EngineConfig(str(EMBEDDED_MODEL), device='cpu', dtype='float32'))
    yield engine
    engine.close()


def swap(x: float, y: float, *_: int) -> tuple[float, float]:
    return y, x


def per_mille(x: float, y: float, width: int, height: int) -> tuple[float, float]:
    return round(1000 * x / width), round(1000 * y / height)


def shares(x: float, y: float, width: int, height: int) -> tuple[float, float]:
    return round(x / width, 3), round(y / height, 3)


def shift(x: float, y: float, *_: int) -> tuple[float, float]:
    return x + 28, y


def test_the_embedded_model_passes_with_a_margin(embedded: Engine) -> None:
    report = check_grounding(embedded)
    assert report.right
    expected = ['one', 'two', 'wide', 'tall', 'large']
    assert [f.picture for f in report.findings][:5] == expected
    assert max(finding.error for finding in report.findings) < 4.0  # of 14 px that are allowed


def test_pictures_have_the_sizes_that_their_names_say(model: Engine) -> None:
    limits = model.limits
    for name in ('one', 'two', 'wide', 'tall'):
        for frame in draw(name, limits).queries[0].frames:
            assert frame.resized(limits)[0].shape == frame.pixels.shape, 'not resized'
    wide, tall, large = (
        draw(name, limits).queries[0].frames[0] for name in ('wide', 'tall', 'large'))
    assert wide.width > 1.5 * wide.height
    assert tall.height > 1.5 * tall.width
    assert large.width * large.height > limits.max_pixels


@pytest.mark.parametrize(('fault', 'verdict', 'words'), [
    ({}, Verdict.RIGHT, 'right in one, two, wide'),
    ({'max_pixels': 19600}, Verdict.SCALED, 'resizes the images once more; set min_pixels'),
    ({'change': per_mille}, Verdict.NORMALISED, '0 to 1000); set profile'),
    ({'change': shares}, Verdict.NORMALISED, 'to 0 to 1 ('),
    ({'change': swap}, Verdict.SWAPPED, 'the model writes y before x'),
    ({'change': shift}, Verdict.SHIFTED, 'by +2'),
], ids=['right', 'resized', '0 to 1000', '0 to 1', 'swapped', 'shifted'])
def test_a_broken_server_is_named(
    model: Engine, serve: Serve, fault: dict[str, Any], verdict: Verdict, words: str
) -> None:
    server = serve(serving(model, **fault))
    report = check_grounding(connect(server.url, **SIZES), ('one', 'two', 'wide'))
    assert time.monotonic() - server.ended < ANSWER_S
    assert report.verdict is verdict
    assert words in report.sentence


def test_one_dimensional_positions_are_named(model: Engine, serve: Serve) -> None:
    with one_dimensional_positions(model):
        server = serve(serving(model))
        # the cache of images knows the pictures that were asked about before
        report = check_grounding(connect(server.url, **{**SIZES, 'max_pixels': 37000}))
        assert time.monotonic() - server.ended < ANSWER_S
    assert report.verdict is Verdict.SCATTERED
    assert 'one-dimensional' in report.sentence


def test_another_model_is_named(random_model: Path, serve: Serve) -> None:
    random = load_engine(EngineConfig(str(random_model), device='cpu', threads=1))

    def always(handler: Handler) -> None:
        handler.start()
        handler.say('[{"points": [[90, 90]], "label": "it"}]', finish='stop')

    try:
        for behaviour, words in ((serving(random), 'cannot be read as points'),
                                 (always, 'all answers are the same point')):
            server = serve(behaviour)
            report = check_grounding(connect(server.url, **SIZES), ('one', 'wide'))
            assert time.monotonic() - server.ended < ANSWER_S
            assert report.verdict is Verdict.OTHER_MODEL
            assert words in report.sentence
            assert 'another model answers' in report.sentence
    finally:
        random.close()


def test_a_model_in_this_process_is_refused() -> None:
    engine = load_engine(EngineConfig(
        str(EMBEDDED_MODEL), device='cpu', grounding_test='refuse', grounding_pictures=('one',)))
    try:
        with one_dimensional_positions(engine), pytest.raises(GroundingError) as refused:
            engine.warm_up()
        assert refused.value.code is ResultCode.MODEL_NOT_READY
        assert refused.value.grounding.state is GroundingState.WRONG
    finally:
        engine.close()


def test_settings_that_ask_nothing_are_refused() -> None:
    for pictures in ((), ('three',)):
        with pytest.raises(InvalidRequestError, match='one, two, wide, tall, large, video'):
            EngineConfig('mimo', grounding_pictures=pictures)
    with pytest.raises(InvalidRequestError, match='off, warn, refuse'):
        EngineConfig('mimo', grounding_test='strict')


def ask(engine: Engine) -> str:
    """Ask the shortest question; return what the model says."""
    prompt = warm_up_prompt(19600, engine.limits)
    return engine.generate(prompt, max_new_tokens=2).text


def test_a_server_that_comes_back_as_another_model_is_refused_until_it_is_right(
    model: Engine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 0.0)
    server = serve(serving(model))
    engine = connect(server.url, **ONE)
    assert engine.grounding.state is GroundingState.NOT_TESTED
    engine.warm_up()
    assert engine.grounding.state is GroundingState.RIGHT
    server.stop()
    with pytest.raises(MimoError, match='cannot be reached'):
        ask(engine)
    assert engine.grounding.state is GroundingState.NOT_TESTED
    server = serve(serving(model, swap), server.server_port)
    with pytest.raises(GroundingError, match='y before x'):
        ask(engine)
    assert engine.grounding.state is GroundingState.WRONG
    assert 'y before x' in engine.health()[0].last_error
    assert len(server.requests) == 3, 'the question of the robot was not sent'
    server.behaviour = serving(model)
    ask(engine)
    assert engine.grounding.state is GroundingState.RIGHT


def test_a_server_that_comes_back_without_videos_is_tested_without_one(
    model: Engine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 0.0)
    server = serve(serving(model))
    engine = connect(server.url, **{**ONE, 'grounding_pictures': ('one', 'video')})
    engine.warm_up()
    assert engine.info.takes_video
    assert '"video_url"' in ''.join(json.dumps(request.body) for request in server.requests[-3:])
    server.stop()
    with pytest.raises(MimoError, match='cannot be reached'):
        ask(engine)

    def refuse(handler: Handler) -> None:
        if '"video_url"' in json.dumps(handler.body):
            handler.start(400, 'application/json')
            handler.send('{"error": {"message": "At most 0 video(s) may be provided"}}')
        else:
            serving(model)(handler)

    serve(refuse, server.server_port)
    ask(engine)
    assert not engine.info.takes_video
    assert engine.grounding.report.startswith('right in one:')


def test_other_servers_answer_while_one_is_tested(
    model: Engine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 0.0)
    preferred, other = serve(serving(model)), serve(serving(model))
    engine = connect(preferred.url, other.url, **ONE)
    engine.warm_up()
    preferred.stop()
    before = len(other.requests)
    ask(engine)
    assert len(other.requests) == before + 1
    ready: list[bool] = []

    def hang(handler: Handler) -> None:
        wait_for(lambda: ready)
        serving(model)(handler)

    preferred = serve(hang, preferred.server_port)
    ask(engine)  # returns while the test of the preferred one hangs
    assert len(other.requests) == before + 2
    ready.append(True)
    wait_for(lambda: engine.grounding.report.count('right in one') == 2)
    ask(engine)
    assert len(other.requests) == before + 2
    assert len(preferred.requests) == 4


def test_all_servers_that_are_wrong_are_named(
    model: Engine, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = serve(serving(model)), serve(serving(model))
    engine = connect(*(server.url for server in servers), **ONE)
    for server in servers:
        server.behaviour = serving(model, swap)
    for _ in range(2):  # the second time without another test, since the servers rest
        with pytest.raises(GroundingError) as refused:
            ask(engine)
        assert all(server.url in str(refused.value) for server in servers)
        asked = [len(server.requests) for server in servers]
    assert asked == [3, 3]
    assert all(server.url in engine.grounding.report for server in servers)


def test_a_server_is_only_warned_about(model: Engine, serve: Serve) -> None:
    engine = connect(serve(serving(model, swap)).url, **{**ONE, 'grounding_test': 'warn'})
    engine.warm_up()
    assert engine.grounding.state is GroundingState.WRONG
    ask(engine)
