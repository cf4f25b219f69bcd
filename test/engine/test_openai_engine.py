"""The remote engine against servers on this host that answer, fail, hang or send garbage."""

from __future__ import annotations

import base64
import functools
import io
import itertools
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip('httpx2')

from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)
from mimo_embodied_ros.core.resize import PixelLimits, smart_resize
from mimo_embodied_ros.engine import Engine, EngineConfig, openai_engine, openai_server
from mimo_embodied_ros.engine.openai_engine import DEFAULT_LIMITS
from mimo_embodied_ros.engine.openai_stream import StreamedReply
from support import prompts
from support.openai_server import ANSWER, Handler, Server, connect
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.openai_server import Behaviour

make_prompt = functools.partial(prompts.make_prompt, limits=DEFAULT_LIMITS)


def ask(engine: Engine, **options: Any) -> Any:
    return engine.generate(make_prompt(), **{'max_new_tokens': 9, **options})


answer = Handler.answer


def hang(handler: Handler) -> None:
    """Send nothing until the client has closed the connection."""
    handler.connection.settimeout(WAIT_S)
    if not handler.connection.recv(1):
        handler.server.broken.set()


def status(code: int, **headers: str) -> Behaviour:
    def behave(handler: Handler) -> None:
        handler.send_response(code)
        body = b'{"error": {"message": "because of this"}}'
        for name, value in {'Content-Length': str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def test_the_request_to_a_server(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ('OPENAI_API_KEY', 'OPENAI_ORG_ID', 'OPENAI_PROJECT_ID'):
        monkeypatch.setenv(name, 'of-another-service')
    server = serve(answer)
    prompt = make_prompt('where? /no_think', images=2)
    connect(server.url).generate(prompt, max_new_tokens=17)
    (request,) = server.requests
    assert request.path == '/v1/chat/completions'
    assert 'of-another-service' not in str(request.headers)
    assert 'Authorization' not in request.headers
    body = request.body
    assert (body['model'], body['max_tokens'], body['temperature']) == ('mimo', 17, 0)
    assert body['stream'] is True
    (turn,) = body['messages']
    *media, text = turn['content']
    assert text == {'type': 'text', 'text': 'where? /no_think'}
    for part, sent in zip(media, prompt.images, strict=True):
        head, data = part['image_url']['url'].split(',')
        assert head == 'data:image/png;base64'
        seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert np.array_equal(seen, sent)


def test_an_answer(serve: Callable[..., Server]) -> None:
    engine = connect(serve(answer).url)
    pieces: list[tuple[str, int]] = []
    reply = ask(engine, on_text=lambda *piece: pieces.append(piece))
    assert (reply.text, reply.finish_reason) == (ANSWER, 'stop')
    assert ''.join(text for text, _ in pieces) == ANSWER
    assert [count for _, count in pieces] == [1, 2, 3, 4]
    stats = reply.stats
    assert (stats.prompt_tokens, stats.completion_tokens) == (70, 12)
    assert stats.image_tokens == 3 * 5
    assert 0 < stats.preprocess_s < stats.first_token_s < stats.total_s
    info = engine.info
    assert (info.name, info.backend, info.parameters) == ('mimo', 'openai', 0)
    assert engine.limits == DEFAULT_LIMITS
    assert str(info) == f'mimo on {info.device}'


@pytest.mark.parametrize('field', ['reasoning_content', 'reasoning'])
@pytest.mark.parametrize(
    ('thoughts', 'words'),
    [
        (['\nit is', ' red\n'], ['\n\n\\boxed', '{yes}']),
        (['it is red'], ['\\boxed{yes}']),
        (['\n', 'it is red', '\n'], ['\n\n', '\\boxed{yes}']),
    ],
)
def test_reasoning_that_a_server_has_split_off(
    serve: Callable[..., Server], field: str, thoughts: list[str], words: list[str]
) -> None:
    def behave(handler: Handler) -> None:
        handler.start()
        handler.say(None, role='assistant')
        for piece in thoughts:
            handler.say(None, **{field: piece})
        for piece in words:
            handler.say(piece)
        handler.say(finish='stop')

    pieces: list[str] = []
    reply = ask(connect(serve(behave).url), on_text=lambda text, _: pieces.append(text))
    assert reply.text == ANSWER == ''.join(pieces)


def test_an_answer_is_complete_with_its_finish_reason(serve: Callable[..., Server]) -> None:
    """Also where the connection is lost before the usage statistics."""

    def behave(handler: Handler) -> None:
        handler.start()
        handler.say(ANSWER, finish='stop')
        reset(handler)

    reply = ask(connect(serve(behave).url))
    assert (reply.text, reply.finish_reason) == (ANSWER, 'stop')
    assert (reply.stats.prompt_tokens, reply.stats.completion_tokens) == (0, 1)


@given(st.text(min_size=1), st.text(min_size=1), st.lists(st.integers(0, 40)), st.booleans())
def test_text_is_the_same_however_it_is_cut(
    thought: str, words: str, cuts: list[int], split: bool
) -> None:
    """A server that cuts nothing off gives the model's own text, bit by bit or at once."""
    thought, words = f'\n{thought}\n', f'\n\n{words}'
    whole = f'<think>{thought}</think>{words}'
    sent: list[str] = []
    draft = StreamedReply(make_prompt(images=0), lambda text, _: sent.append(text))
    for field, text in (('reasoning', thought), ('content', words)) if split else (
        ('content', whole),
    ):
        places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
        for start, end in itertools.pairwise(places):
            draft.add(**{'reasoning': '', 'content': '', 'usage': None, field: text[start:end]})
    assert draft.text == whole == ''.join(sent)


def partly(then: Behaviour) -> Behaviour:
    """Send two words before another behaviour."""

    def behave(handler: Handler) -> None:
        handler.start()
        handler.say('the red ')
        then(handler)

    return behave


def reset(handler: Handler) -> None:
    """Close the connection as the system does for a process that is killed."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    handler.connection.close()


def chunked_and_cut(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header('Content-Type', 'text/event-stream')
    handler.send_header('Transfer-Encoding', 'chunked')
    handler.end_headers()
    chunk = b'data: {"choices": [{"delta": {"content": "the red "}}]}\n\n'
    handler.wfile.write(b'%x\r\n%s\r\n' % (len(chunk), chunk))


FAULTS: dict[str, tuple[Behaviour, type[MimoError], str, str]] = {
    # name: behaviour, error, words in it, what is kept of the answer
    'closes': (lambda _: None, BackendUnreachableError, 'start its server', ''),
    'resets': (reset, BackendUnreachableError, 'start its server', ''),
    'hangs': (hang, BackendUnreachableError, 'nothing for', ''),
    'hangs after headers': (
        lambda h: (h.start(), hang(h))[1], BackendUnreachableError, 'first_token_timeout', '',
    ),
    'hangs in an answer': (partly(hang), BackendUnreachableError, 'nothing for 1 s', 'the red '),
    'is killed in an answer': (partly(reset), BackendUnreachableError, 'was lost', 'the red '),
    'loses the rest': (chunked_and_cut, BackendUnreachableError, 'was lost', 'the red '),
    'speaks no HTTP': (
        lambda h: h.send('SSH-2.0-OpenSSH_9.6\r\n'), BackendUnreachableError, 'reached', '',
    ),
    '401': (status(401), ModelNotReadyError, 'another key.*api_key_env', ''),
    '403': (status(403), ModelNotReadyError, 'another key.*because of this', ''),
    '404': (status(404), ModelNotReadyError, 'does not serve mimo.*/v1', ''),
    '400': (status(400), InvalidRequestError, 'because of this', ''),
    '422': (status(422), InvalidRequestError, 'because of this', ''),
    '429': (status(429), QueueFullError, 'too many.*add a server', ''),
    '500': (status(500), BackendError, 'because of this.*log', ''),
    '503': (status(503), BackendError, 'because of this', ''),
    'ends early': (partly(lambda _: None), BackendError, 'without a finish_reason', 'the red '),
    'says nothing': (lambda h: h.start(), BackendError, 'after 0 characters', ''),
    'sends a web page': (
        lambda h: (h.start(kind='text/html'), h.send('<html>hello</html>'))[1],
        BackendError, 'after 0', '',
    ),
    'sends garbage': (
        partly(lambda h: h.send('data: {"cho\n\n')), BackendError, 'no chat completion', 'the red ',
    ),
    'sends bytes': (
        partly(lambda h: h.wfile.write(b'data: \xff\xfe\n\n')), BackendError, 'sent', 'the red ',
    ),
    'sends another form': (
        partly(lambda h: h.send_json({'answer': 'cube'})), BackendError, 'without a', 'the red ',
    ),
    'sends a number': (partly(lambda h: h.send_json(5)), BackendError, 'no chat', 'the red '),
    'sends numbers as text': (partly(lambda h: h.say(5)), BackendError, 'is no string', 'the red '),
    'reports an error': (
        partly(lambda h: h.send_json({'error': 'CUDA error'})), BackendError, 'CUDA', 'the red ',
    ),
    'aborts': (partly(lambda h: h.say(finish='abort')), BackendError, "'abort'", 'the red '),
}


def patience(name: str) -> dict[str, float]:
    """Return short time limits for the faults that run into them."""
    if not name.startswith('hangs'):
        return {}
    return {'connect_timeout': 1.0, 'first_token_timeout': 2.0, 'token_timeout': 1.0}


@pytest.mark.parametrize('name', FAULTS)
def test_faults(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each gives its error within its limit; the engine answers again when the server does."""
    behaviour, kind, words, kept = FAULTS[name]
    monkeypatch.setattr(openai_engine, '_BUSY_PAUSES_S', (0.05, 0.05))
    server = serve(behaviour)
    engine = connect(server.url, ask_again=False, **patience(name))
    start = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        ask(engine)
    end = time.monotonic()
    # the answer may be here before the server's thread has noted its end
    assert end - (start if name.startswith('hangs') else server.ended or end) < WAIT_S / 2
    assert caught.value.raw_text == kept
    assert server.url in str(caught.value)
    (health,) = engine.health()
    if kind is not InvalidRequestError:
        assert (health.healthy, health.last_error) == (False, str(caught.value))
    server.behaviour = answer
    assert ask(engine).text == ANSWER
    (health,) = engine.health()
    assert health.healthy
    assert health.latency_s > 0


def test_a_server_that_is_not_there_and_then_is(serve: Callable[..., Server]) -> None:
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
    engine = connect(f'http://127.0.0.1:{port}')
    for fail in (engine.warm_up, lambda: ask(engine)):
        with pytest.raises(BackendUnreachableError, match=r'cannot be reached.*servers'):
            fail()
    serve(answer, port)
    assert ask(engine).text == ANSWER


def test_an_address_that_swallows_everything() -> None:
    """A listener with a full backlog takes no connection: what a dead network looks like."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen(0)
        address = listener.getsockname()
        fill = [socket.socket() for _ in range(4)]
        for each in fill:
            each.setblocking(False)
            each.connect_ex(address)
        engine = connect(f'http://127.0.0.1:{address[1]}', connect_timeout=0.4)
        start = time.monotonic()
        with pytest.raises(BackendUnreachableError):
            ask(engine)
        assert time.monotonic() - start < WAIT_S / 2
        for each in fill:
            each.close()


def test_cancel_closes_the_connection(serve: Callable[..., Server]) -> None:
    server = serve(hang)
    engine = connect(server.url)
    before = ask(engine, cancelled=lambda: bool(server.requests))
    assert (before.text, before.finish_reason) == ('', 'cancelled')
    assert server.broken.wait(WAIT_S)
    server.behaviour = partly(hang)
    server.broken.clear()
    pieces: list[str] = []
    within = ask(
        engine, on_text=lambda text, _: pieces.append(text), cancelled=lambda: bool(pieces))
    assert (within.text, within.finish_reason) == ('the red ', 'cancelled')
    assert server.broken.wait(WAIT_S)
    assert engine.health()[0].last_error == ''


def test_a_model_that_repeats_itself_is_stopped(serve: Callable[..., Server]) -> None:
    def repeat(handler: Handler) -> None:
        handler.start()
        while True:
            handler.say('the red cube ')

    server = serve(repeat)
    reply = ask(connect(server.url))
    assert reply.finish_reason == 'repetition'
    assert reply.text.startswith('the red cube the red cube ')
    assert len(reply.text) < 1000
    assert server.broken.wait(WAIT_S)


def test_a_reasoning_that_ends_the_answer_is_closed(serve: Callable[..., Server]) -> None:
    def reason(handler: Handler) -> None:
        handler.start()
        handler.say(reasoning_content='so')
        handler.say(finish='stop')

    assert ask(connect(serve(reason).url)).text == '<think>\nso\n</think>\n\n'


def test_deadline(serve: Callable[..., Server]) -> None:
    server = serve(partly(hang))
    engine = connect(server.url)
    late = ask(engine, deadline=time.monotonic() - 1)
    assert (late.finish_reason, server.requests) == ('deadline', [])
    reply = ask(engine, deadline=time.monotonic() + 3)
    assert (reply.text, reply.finish_reason) == ('the red ', 'deadline')
    assert reply.stats.total_s < WAIT_S / 2
    assert server.broken.wait(WAIT_S)


@pytest.mark.parametrize('kind', [ValueError, BackendError])
def test_an_error_of_a_callback_reaches_the_caller(
    serve: Callable[..., Server], kind: type[Exception]
) -> None:
    """It does not count as a fault of the server, of whatever type it is."""
    server = serve(partly(hang))
    engine = connect(server.url)

    def fail(*_: object) -> bool:
        raise kind('no subscriber')

    for callback in ('on_text', 'cancelled'):
        with pytest.raises(kind, match='no subscriber'):
            ask(engine, **{callback: fail})
    assert server.broken.wait(WAIT_S)
    assert engine.health()[0].last_error == ''


def test_the_next_server_stands_in_and_the_first_comes_back(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 10 * WAIT_S)
    first, second = serve(status(500)), serve(answer)
    engine = connect(first.url, second.url)
    assert ask(engine).text == ANSWER
    assert [health.healthy for health in engine.health()] == [False, True]
    first.behaviour = answer
    assert ask(engine).text == ANSWER
    assert (len(first.requests), len(second.requests)) == (1, 2)  # not asked again so soon
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 0.0)
    assert ask(engine).text == ANSWER
    assert (len(first.requests), len(second.requests)) == (2, 2)
    assert 'because of this' in engine.health()[0].last_error
    second.behaviour = first.behaviour = status(500)
    with pytest.raises(BackendError) as caught:
        ask(engine)
    assert first.url in str(caught.value)
    assert second.url in str(caught.value)


@pytest.mark.parametrize('name', FAULTS)
def test_only_a_request_without_text_moves_on(serve: Callable[..., Server], name: str) -> None:
    behaviour, kind, _, kept = FAULTS[name]
    second = serve(answer)
    engine = connect(serve(behaviour).url, second.url, ask_again=False, **patience(name))
    pieces: list[str] = []
    if kept or kind is InvalidRequestError:
        with pytest.raises(kind):
            ask(engine, on_text=lambda text, _: pieces.append(text))
        assert not second.requests
        assert ''.join(pieces) == kept
    else:
        assert ask(engine, on_text=lambda text, _: pieces.append(text)).text == ANSWER
        assert ''.join(pieces) == ANSWER


def test_a_busy_server_is_asked_again(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_engine, '_BUSY_PAUSES_S', (0.05, 0.05))

    def behave(handler: Handler) -> None:
        (answer if len(handler.server.requests) == 3 else status(429))(handler)

    server = serve(behave)
    engine = connect(server.url)
    assert ask(engine).text == ANSWER
    server.behaviour = status(429)
    server.requests.clear()
    with pytest.raises(QueueFullError):
        ask(engine)
    assert len(server.requests) == 3
    with socket.create_server(('127.0.0.1', 0)) as taken:
        gone = f'http://127.0.0.1:{taken.getsockname()[1]}'
    with pytest.raises(QueueFullError, match=rf'{gone}.*; .*{server.url}'):
        ask(connect(gone, server.url))


def test_key(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    def behave(handler: Handler) -> None:
        right = handler.headers['Authorization'] == 'Bearer the-secret'
        (answer if right else status(401))(handler)

    server = serve(behave)
    monkeypatch.setenv('MIMO_KEY', 'the-secret')
    assert ask(connect(server.url, api_key_env='MIMO_KEY')).text == ANSWER
    monkeypatch.setenv('MIMO_KEY', 'another-secret')
    with pytest.raises(ModelNotReadyError, match='valid one into MIMO_KEY') as caught:
        ask(connect(server.url, api_key_env='MIMO_KEY'))
    assert 'another-secret' not in str(caught.value)
    monkeypatch.delenv('MIMO_KEY')
    with pytest.raises(ModelNotReadyError, match='MIMO_KEY, which api_key_env names, is not set'):
        connect(server.url, api_key_env='MIMO_KEY')
    for value in ('the\nsecret', 'schlüssel'):  # cannot be sent in a header
        monkeypatch.setenv('MIMO_KEY', value)
        with pytest.raises(ModelNotReadyError, match=r'MIMO_KEY.* characters') as caught:
            connect(server.url, api_key_env='MIMO_KEY')
        assert value not in str(caught.value)


@pytest.mark.skipif(not shutil.which('openssl'), reason='openssl makes the certificate')
def test_tls_is_verified(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key, certificate = tmp_path / 'key.pem', tmp_path / 'certificate.pem'
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
         '/CN=server', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out',
         certificate], check=True, capture_output=True)
    server = serve(answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    url = server.url.replace('http:', 'https:')
    with pytest.raises(BackendUnreachableError, match=r'(?i)certificate'):
        ask(connect(url))
    assert not server.requests
    monkeypatch.setenv('SSL_CERT_FILE', str(certificate))
    assert ask(connect(url)).text == ANSWER


def counting(limits: PixelLimits) -> Behaviour:
    """Answer as a server that resizes images within its own limits and counts their tokens."""

    def behave(handler: Handler) -> None:
        tokens = 30
        for part in handler.body['messages'][0]['content'][:-1]:
            data = base64.b64decode(part['image_url']['url'].split(',')[1])
            width, height = Image.open(io.BytesIO(data)).size
            rows, columns = smart_resize(height, width, limits)
            tokens += rows * columns // 784
        handler.start()
        handler.say('grey', finish='stop')
        handler.send_json({'object': 'chat.completion.chunk', 'choices': [], 'usage': {
            'prompt_tokens': tokens, 'completion_tokens': 1, 'total_tokens': tokens + 1}})

    return behave


def test_a_server_that_resizes_images_is_found_out(serve: Callable[..., Server]) -> None:
    """Its coordinates would be of an image of another size."""
    limits = PixelLimits(16 * 784, 400 * 784)
    server = serve(counting(limits))
    own = {'min_pixels': limits.min_pixels, 'max_pixels': limits.max_pixels}
    assert connect(server.url, **own).warm_up().text == 'grey'
    assert connect(server.url, **{**own, 'max_pixels': 100 * 784}).warm_up().text == 'grey'
    for wrong in ({'max_pixels': 900 * 784}, {'min_pixels': 784}):
        with pytest.raises(ModelNotReadyError, match=r'changes the size.*max_pixels'):
            connect(server.url, **{**own, **wrong}).warm_up()


def listing(*models: dict[str, Any]) -> dict[str, Any]:
    return {'object': 'list', 'data': [{'object': 'model', **model} for model in models]}


def within(context: int) -> Behaviour:
    """Refuse a limit of tokens above the context, as vLLM does."""
    def behave(handler: Handler) -> None:
        (answer if handler.body['max_tokens'] <= context else status(400))(handler)

    return behave


@pytest.mark.parametrize(('models', 'context'), [
    (listing({'id': 'mimo', 'max_model_len': 40}), 40),
    (listing({'id': 'other', 'max_model_len': 9}, {'id': 'mimo', 'max_model_len': 40}), 40),
    (listing({'id': 'base', 'max_model_len': 40},
             {'id': 'mimo', 'max_model_len': None, 'parent': 'base'}), 40),  # a LoRA adapter
    *((models, 0) for models in (
        None, [], {'data': [None, 3]}, listing({'id': 'mimo'}), listing({'id': 'other'}),
        *(listing({'id': 'mimo', 'max_model_len': wrong}) for wrong in ('40', 4.5, -1, True)))),
])
def test_a_limit_above_the_context_of_a_server_is_shortened(
    serve: Callable[..., Server], models: Any, context: int
) -> None:
    server = serve(within(context or 5000))
    server.models = models
    engine = connect(server.url)
    assert engine.info.context_length == 0  # not known yet
    for limit in (4608, 7):
        assert ask(engine, max_new_tokens=limit).text == ANSWER
        assert server.requests[-1].body['max_tokens'] == min(limit, context or limit)
    assert engine.info.context_length == context


def test_the_context_is_asked_for_again_when_a_server_was_lost(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_server, '_RECOVERY_S', 0.0)
    first, second = serve(within(40)), serve(within(60))
    first.models = listing({'id': 'mimo', 'max_model_len': 40})
    second.models = listing({'id': 'mimo', 'max_model_len': 60})
    engine = connect(first.url, second.url)
    ask(engine, max_new_tokens=50)
    first.stop()
    ask(engine, max_new_tokens=80)
    assert second.requests[-1].body['max_tokens'] == 60
    assert engine.info.context_length == 40  # the shortest that servers told
    with Server(within(30), first.server_port) as again:
        again.models = listing({'id': 'mimo', 'max_model_len': 30})
        ask(engine, max_new_tokens=50)
        assert again.requests[-1].body['max_tokens'] == engine.info.context_length == 30


def test_a_server_that_tells_no_models_may_still_answer(serve: Callable[..., Server]) -> None:
    """Or tells them late, since it answers another request: longer than a connection may take."""
    server = serve(answer)
    server.models, server.lists_after_s = listing({'id': 'mimo', 'max_model_len': 40}), 1.5
    engine = connect(server.url, connect_timeout=1.0)
    assert ask(engine, max_new_tokens=50).text == ANSWER
    assert engine.info.context_length == 40
    server.lists_after_s = 60.0
    hanging = connect(server.url, connect_timeout=1.0, first_token_timeout=1.0)
    with pytest.raises(BackendUnreachableError, match=r'nothing for 2 s.*first_token_timeout'):
        ask(hanging)


def test_warm_up_asks_all_servers_and_needs_one(serve: Callable[..., Server]) -> None:
    limits = PixelLimits(16 * 784, 400 * 784)
    servers = serve(status(500)), serve(counting(limits)), serve(status(401))
    engine = connect(*(server.url for server in servers), min_pixels=limits.min_pixels,
                     max_pixels=limits.max_pixels)
    assert engine.warm_up().stats.completion_tokens == 1
    assert [health.healthy for health in engine.health()] == [False, True, False]


def test_threads_are_answered_at_once(serve: Callable[..., Server]) -> None:
    both = threading.Barrier(2, timeout=WAIT_S)

    def behave(handler: Handler) -> None:
        both.wait()
        answer(handler)

    engine = connect(serve(behave).url)
    replies: list[Any] = []
    threads = [threading.Thread(target=lambda: replies.append(ask(engine))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert [reply.text for reply in replies] == [ANSWER, ANSWER]


def test_requests_that_are_never_sent(serve: Callable[..., Server]) -> None:
    server = serve(answer)
    engine = connect(server.url)
    with pytest.raises(InvalidRequestError, match='max_new_tokens is 0'):
        ask(engine, max_new_tokens=0)
    with pytest.raises(InvalidRequestError, match=r'control token <.im_end.>'):
        engine.generate(make_prompt('cube<|im_end|>'), max_new_tokens=2)
    engine.close()
    engine.close()
    with pytest.raises(ModelNotReadyError, match='closed'):
        ask(engine)
    assert not server.requests


@pytest.mark.parametrize(
    ('setting', 'words'),
    [
        ({'servers': ()}, 'servers is empty'),
        ({'servers': ('127.0.0.1:8000',)}, 'http://127'),
        ({'servers': ('ftp://robot/v1',)}, 'http://127'),
        ({'servers': ('http://robot:port/v1',)}, 'http://127'),
        ({'servers': ('http://robot:99999/v1',)}, 'http://127'),
        ({'servers': ('http://robot:-1/v1',)}, 'http://127'),
        ({'servers': ('http://robot:0/v1',)}, 'http://127'),
        ({'servers': ('http://[::1/v1',)}, 'http://127'),
        ({'servers': ('http://robot/v1#part',)}, 'http://127'),
        ({'servers': (' http://robot/v1',)}, 'http://127'),
        ({'servers': ('https://me:hunter2@host:port/v1',)}, 'api_key_env'),
        ({'servers': ('https://me:hunter2@host/v1',)}, 'api_key_env'),
        ({'servers': ('https://host/v1?key=hunter2',)}, 'api_key_env'),
        ({'api_key_env': 'sk-hunter2'}, 'name of an environment variable'),
        ({'structured_style': 'gbnf'}, 'auto, vllm, guided, llama, openai, none'),
        ({'connect_timeout': 0.0}, 'connect_timeout'),
        ({'first_token_timeout': -1.0}, 'first_token_timeout'),
        ({'token_timeout': float('nan')}, 'token_timeout'),
    ],
)
def test_settings_out_of_range(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        EngineConfig('mimo', backend='openai', **setting)
    assert 'hunter2' not in str(caught.value)


def test_limits_that_no_image_can_meet() -> None:
    with pytest.raises(InvalidRequestError, match='min_pixels'):
        connect('http://127.0.0.1', min_pixels=9_999_999)
