"""Videos to servers: what arrives is what was sent, and who changes it is found out."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip('httpx2')

from mimo_embodied_ros.core.errors import (
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotReadyError,
)
from mimo_embodied_ros.core.frames import Frame
from mimo_embodied_ros.core.prompts import Prompt, build_prompt
from mimo_embodied_ros.core.query import Query
from mimo_embodied_ros.core.tasks import TASKS
from support.openai_server import connect
from support.video_server import TEXT_TOKENS, VideoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mimo_embodied_ros.engine import Engine

LIMITS = {'min_pixels': 4 * 784, 'max_pixels': 16 * 784}


@pytest.fixture
def serve() -> Iterator[Callable[..., VideoServer]]:
    """Start servers that take these forms of videos; they are stopped at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda *forms: stack.enter_context(VideoServer(*forms))


def clip(count: int = 5, interval: float = 0.6, shape: tuple[int, int] = (84, 112)) -> tuple[
        Frame, ...]:
    rng = np.random.default_rng(count)
    return tuple(Frame(rng.integers(0, 255, (*shape, 3), dtype=np.uint8),
                       round((7 + number * interval) * 1e9)) for number in range(count))


def prompt_of(engine: Engine, *frames: Frame, task: str = 'space_number') -> Prompt:
    return build_prompt(Query(TASKS[task], 'How far?', frames), engine.limits)


def ask(engine: Engine, *frames: Frame) -> Any:
    return engine.generate(prompt_of(engine, *(frames or clip())), max_new_tokens=9)


@pytest.mark.parametrize(('style', 'form'), [
    ('auto', 'jpeg'), ('vllm', 'jpeg'), ('auto', 'mp4'), ('mp4', 'mp4')])
@pytest.mark.parametrize('warm_up', [True, False])
def test_a_video_arrives_without_loss_and_with_its_time(
    serve: Callable[..., VideoServer], style: str, form: str, warm_up: bool
) -> None:
    server = serve(form)
    engine = connect(server.url, video_style=style, **LIMITS)
    if warm_up:
        engine.warm_up()
    prompt = prompt_of(engine, *clip())
    reply = engine.generate(prompt, max_new_tokens=9)
    assert engine.info.takes_video
    (sent,), (video,) = server.videos, prompt.videos
    assert sent.form == form
    assert np.array_equal(sent.frames, video.frames)
    assert sent.interval == pytest.approx(0.6, abs=0.001)
    assert (reply.text, reply.stats.image_tokens) == ('\\boxed{2.4}', 3 * 12)
    assert reply.stats.prompt_tokens == TEXT_TOKENS + 3 * 12
    body = server.asked[-1].body
    assert body['messages'][0]['content'][-1]['text'] == prompt.text
    if form == 'jpeg':  # else vLLM takes 32 frames, a second apart, and resizes them
        assert body['media_io_kwargs']['video']['num_frames'] == -1
        assert body['mm_processor_kwargs']['do_resize'] is False
    else:
        assert not {'media_io_kwargs', 'mm_processor_kwargs'} & body.keys()
    number = len(server.requests)
    ask(engine)
    assert len(server.requests) == number + 1  # it is not tried again


def test_six_videos_come_in_the_order_of_the_views(serve: Callable[..., VideoServer]) -> None:
    server = serve('jpeg', 'mp4')
    views = [clip(count=3, interval=0.5) if number else clip(count=3, interval=0.51)
             for number in range(6)]
    engine = connect(server.url, **LIMITS)
    prompt = prompt_of(engine, *(f for view in views for f in view), task='surround_video')
    engine.generate(prompt, max_new_tokens=9)
    for sent, video in zip(server.videos, prompt.videos, strict=True):
        assert np.array_equal(sent.frames, video.frames)
    # vLLM has one time between frames for all videos of a request; files have their own
    uneven = [f for number in range(6) for f in clip(count=3, interval=1.0 if number else 0.5)]
    prompt = prompt_of(engine, *uneven, task='surround_video')
    with pytest.raises(InvalidRequestError, match=r'between 0.50 s and 1.00 s; give all cameras'):
        engine.generate(prompt, max_new_tokens=9)
    engine = connect(server.url, video_style='mp4', **LIMITS)
    engine.generate(prompt, max_new_tokens=9)
    assert [v.interval for v in server.videos] == pytest.approx([0.5] + [1.0] * 5, abs=0.001)


def test_a_video_of_one_frame(serve: Callable[..., VideoServer]) -> None:
    for form in ('jpeg', 'mp4'):
        server = serve(form)
        engine = connect(server.url, **LIMITS)
        prompt = prompt_of(engine, *clip(1))
        engine.generate(prompt, max_new_tokens=9)
        assert np.array_equal(server.videos[0].frames, prompt.videos[0].frames)


@pytest.mark.parametrize(('take', 'said'), [
    (lambda taken: (0, *taken[1:]), 'in any video, and so ignores them'),
    (lambda taken: (min(taken[0], 32), *taken[1:]), 'not all frames.* 64 tokens .* that has 80'),
    (lambda taken: (max(2, taken[0] // 2), *taken[1:]), 'not all frames'),  # it samples at 2 Hz
    (lambda taken: (taken[0], min(taken[1], 84), min(taken[2], 84)), 'changes the size'),
    (lambda taken: (taken[0], max(taken[1], 84), max(taken[2], 84)), 'or not in their size'),
], ids=['ignores', 'takes 32', 'samples', 'reduces', 'enlarges'])
def test_a_server_that_changes_videos_is_found_out(
    serve: Callable[..., VideoServer], take: Any, said: str
) -> None:
    server = serve('jpeg', 'mp4')
    server.take = take
    engine = connect(server.url, **LIMITS)
    engine.warm_up()
    assert not engine.info.takes_video
    with pytest.raises(InvalidRequestError, match=f'takes no videos .*{said}'):
        ask(engine)
    assert not server.asked
    for style in ('vllm', 'mp4'):
        with pytest.raises(ModelNotReadyError, match=f'{style}: it .*{said}.*set video_style'):
            connect(server.url, video_style=style, **LIMITS).warm_up()
    connect(server.url, video_style='none', **LIMITS).warm_up()


def test_a_server_that_refuses_videos(serve: Callable[..., VideoServer]) -> None:
    server = serve()
    engine = connect(server.url, **LIMITS)
    engine.warm_up()
    info = engine.info
    assert not info.takes_video
    assert 'At most 0 video(s) may be provided' in info.video_problem
    for style in ('vllm', 'mp4'):
        with pytest.raises(ModelNotReadyError, match='At most 0 video'):
            connect(server.url, video_style=style, **LIMITS).warm_up()
    never = connect(serve('jpeg').url, video_style='none', **LIMITS)
    assert not never.info.takes_video
    with pytest.raises(InvalidRequestError, match='video_style is none'):
        ask(never)


def test_a_server_that_lets_no_request_say_how_its_video_is_read(
    serve: Callable[..., VideoServer]
) -> None:
    """As vLLM, unless it trusts requests: then a file has the times of its frames."""
    server = serve('jpeg', 'mp4')
    server.trusts = False
    with pytest.raises(ModelNotReadyError, match='Start with --trust-request-mm-kwargs'):
        connect(server.url, video_style='vllm', **LIMITS).warm_up()
    engine = connect(server.url, **LIMITS)
    engine.warm_up()
    ask(engine)
    assert [v.form for v in server.videos] == ['mp4']


def test_a_server_that_counts_nothing_is_trusted_only_by_name(
    serve: Callable[..., VideoServer]
) -> None:
    server = serve('jpeg')
    server.counts = False
    engine = connect(server.url, **LIMITS)
    engine.warm_up()
    assert 'does not tell the number of tokens' in engine.info.video_problem
    engine = connect(server.url, video_style='vllm', **LIMITS)
    engine.warm_up()
    assert ask(engine).text == '\\boxed{2.4}'


def test_without_pyav_a_file_cannot_be_made(
    serve: Callable[..., VideoServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'av', None)
    server = serve('mp4')
    with pytest.raises(ModelNotReadyError, match=r'PyAV is missing; install it with .*video\.txt'):
        connect(server.url, video_style='mp4', **LIMITS).warm_up()
    engine = connect(server.url, **LIMITS)
    engine.warm_up()
    assert not engine.info.takes_video


def test_the_next_server_stands_in_for_one_without_videos(
    serve: Callable[..., VideoServer]
) -> None:
    without, other = serve(), serve('jpeg')
    engine = connect(without.url, other.url, **LIMITS)
    engine.warm_up()
    assert engine.info.takes_video
    ask(engine)
    assert (len(without.asked), len(other.asked)) == (0, 1)


def test_a_server_that_comes_back_is_tried_again(serve: Callable[..., VideoServer]) -> None:
    server = serve()
    engine = connect(server.url, **LIMITS)
    engine.warm_up()
    assert not engine.info.takes_video
    server.stop()
    with pytest.raises(BackendUnreachableError):
        engine.generate(prompt_of(engine, clip(1)[0], task='points'), max_new_tokens=9)
    with VideoServer('jpeg', port=server.server_port):
        assert ask(engine).text == '\\boxed{2.4}'
        assert engine.info.takes_video
