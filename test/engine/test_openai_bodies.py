"""What servers send in answer to a request: every form of a chat completion, and what is none."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('httpx2')

import itertools

from mimo_embodied_ros.core.characters import valid_text
from mimo_embodied_ros.core.errors import (
    BackendError,
    BackendUnreachableError,
    InvalidRequestError,
    MimoError,
    ModelNotReadyError,
    QueueFullError,
)
from mimo_embodied_ros.engine import openai_engine
from mimo_embodied_ros.engine.openai_reader import CompletionReader
from mimo_embodied_ros.engine.openai_stream import StreamedReply
from support.openai_server import Server, connect
from support.prompts import make_prompt
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.openai_server import Behaviour, Handler

    Serve = Callable[..., Server]


ANY = st.characters() | st.sampled_from('\ud83d\ude00\0')  # halves of a pair of UTF-16, too


def event(chunk: Any) -> str:
    return f'data: {json.dumps(chunk)}\n\n'


def choice(finish: Any = None, index: Any = 0, **fields: Any) -> dict[str, Any]:
    """A chunk with one choice."""
    return {'object': 'chat.completion.chunk',
            'choices': [{'index': index, 'finish_reason': finish, **fields}]}


def text(content: Any = '', finish: Any = None, **delta: Any) -> str:
    """An event with text."""
    return event(choice(finish, delta={'content': content, **delta}))


RED, CUBE, STOP, DONE = text('the red '), text('cube'), text(finish='stop'), 'data: [DONE]\n\n'
USAGE = {'prompt_tokens': 70, 'completion_tokens': 5, 'total_tokens': 75}
WHOLE = RED + CUBE + STOP

# Bodies that all say "the red cube" and that this is all.
FORMS: dict[str, str | bytes] = {
    'a stream': RED + CUBE + STOP + DONE,
    'no [DONE]': WHOLE,
    'choices null': event({'choices': None}) + RED + event({'choices': None}) + CUBE + STOP,
    'no choices': event({'object': 'chat.completion.chunk'}) + RED + event({}) + CUBE + STOP,
    'empty choices': event({'choices': []}) + RED + event({'choices': []}) + CUBE + STOP,
    'delta null': event(choice(delta=None)) + RED + CUBE + event(choice('stop', delta=None)),
    'no delta': event(choice()) + RED + CUBE + event(choice('stop')),
    'role only': text(None, role='assistant') + RED + CUBE + STOP,
    'content null': text(None) + RED + text(None) + CUBE + text(None, 'stop'),
    'no finish_reason before the last': event({'choices': [{'delta': {'content': 'the red '}}]})
    + CUBE + STOP,
    'finish_reason of other types of nothing': text('the red ', '') + text('cube', 'null') + STOP,
    'no index': event({'choices': [{'delta': {'content': 'the red cube'},
                                    'finish_reason': 'stop'}]}),
    'a list of parts': text([{'type': 'text', 'text': 'the '}, {'type': 'text', 'text': 'red '}])
    + text([]) + CUBE + STOP,
    'further choices': RED + text().replace('"index": 0', '"index": 1') + event(choice(
        'stop', 1, delta={'content': 'blue'})) + CUBE + STOP,
    'error null': event({'error': None, **choice(delta={'content': 'the red cube'})}) + STOP,
    'ping': 'event: ping\ndata: {"type": "ping"}\n\n' + RED + 'event: ping\ndata: 2026-01-01\n\n'
    + 'event: ping\ndata\n\nevent: ping\n\n' + CUBE + STOP,
    'comments': ': keep-alive\n\n' + RED + ':\n\n: PROCESSING\n\n' + CUBE + STOP,
    'fields id and retry': 'id: 1\nretry: 3000\n' + RED + 'id: 2\n' + CUBE + STOP,
    'named events': ''.join('event: message\n' + e for e in (RED, CUBE, STOP)),
    'events of another name': ''.join('event: chunk\n' + e for e in (RED, CUBE, STOP)),
    'no space after data': WHOLE.replace('data: ', 'data:'),
    'CRLF': (WHOLE + DONE).replace('\n', '\r\n'),
    'CR': (WHOLE + DONE).replace('\n', '\r'),
    'several data lines': RED + 'data: {"choices": [{"index": 0,\ndata:  "delta": {"content": '
    '"cube"},\ndata: "finish_reason": "stop"}]}\n\n',
    'no empty lines': (WHOLE + DONE).replace('\n\n', '\n'),
    'no line end at the end': WHOLE.rstrip(),
    'empty data': 'data:\n\n' + RED + 'data: \n\n' + CUBE + STOP,
    'a byte order mark': '\ufeff' + WHOLE,
    'not streamed': json.dumps({'object': 'chat.completion', 'usage': USAGE, **choice(
        'stop', message={'role': 'assistant', 'content': 'the red cube'})}, indent=1),
    'a message in the stream': event(choice('stop', message={'content': 'the red cube'})) + DONE,
    'a message after its parts': RED + CUBE + event(choice(
        'stop', message={'content': 'the red cube'})),
    'JSON lines': '\n'.join(e.removeprefix('data: ').strip() for e in (RED, CUBE, STOP)),
    'text with the last chunk': RED + text('cube', 'stop') + DONE,
}
ENDS = {'stop': ('stop', 'STOP', 'eos', 'EOS', 'eos_token', 'end_turn', 'stop_sequence'),
        'length': ('length', 'max_tokens', 'MAX_TOKENS', 'model_length')}
# What may follow a complete answer.
TAILS: dict[str, str | bytes] = {
    'no usage': DONE,
    'usage': event({'choices': [], 'usage': USAGE}) + DONE,
    'usage null': event({'choices': [], 'usage': None}) + DONE,
    'usage of other types': event({'choices': [], 'usage': {'prompt_tokens': '70'}}) + DONE,
    'usage that is a list': event({'choices': None, 'usage': [1, 2]}) + DONE,
    'negative usage': event({'usage': {'prompt_tokens': -1, 'completion_tokens': True}}),
    'an error': event({'error': {'message': 'usage failed', 'code': 500}}) + DONE,
    'an error event': 'event: error\ndata: gone\n\n',
    'half a chunk': 'data: {"choices": [{"del',
    'half a character': 'data: {"usage": "é'.encode()[:-1],
    'no JSON': 'data: {"cho\n\n' + DONE,
    'no UTF-8': b'data: \xff\xfe\n\n',
    'a number': event(5),
    'a web page': '<html><title>502 Bad Gateway</title></html>',
    'an endless line': 'x' * 5_000_000,
    'another finish_reason': text(finish='abort') + DONE,
    'an odd choice': event({'choices': 5}),
}
# Bodies without a complete answer: words of the error, what is kept.
NO_ANSWERS: dict[str, tuple[str | bytes, str, str]] = {
    'an error': (RED + event({'error': {'message': 'CUDA error'}}), 'CUDA error', 'the red '),
    'an error at once': (event({'error': 'no memory'}), 'no memory', ''),
    'an error event': ('event: error\ndata: {"message": "gone"}\n\n', 'error .gone', ''),
    'an error event of text': (RED + 'event: error\ndata: gone\n\n', 'error .gone', 'the red '),
    'an error object': (event({'object': 'error', 'message': 'no'}), 'error .no', ''),
    'a chunk that is cut': (RED + 'data: {"choices": [{"delta": {"con', 'no chat', 'the red '),
    'a character that is cut': ((RED + 'data: "é').encode()[:-1], 'no chat', 'the red '),
    'bytes that are no UTF-8': (RED.encode() + b'data: "\xff"\n\n' + STOP.encode(), 'no chat',
                                'the red '),
    'garbage between': (RED + 'data: {"cho\n\n' + CUBE + STOP, 'no chat', 'the red '),
    'a chunk that is cut in an event of another name': (
        RED + 'event: chunk\ndata: {"cho\n\n' + STOP, 'no chat', 'the red '),
    'no finish_reason': (RED + CUBE + DONE, 'without a finish_reason', 'the red cube'),
    'nothing': ('', 'after 0 characters', ''),
    '[DONE] alone': (DONE, 'without a finish_reason', ''),
    'a web page': (('<!DOCTYPE html><html><head><title>Log in to\n the network</title></head>'
                   '<body>data</body></html>'), r'finish_reason \(Log in to the network\)', ''),
    'text': ('Service starting', 'Service starting', ''),
    'JSON of another kind': ('{"detail": "Not Found"}', 'Not Found', ''),
    'an error in JSON': ('{"error": {"message": "overloaded"}}', 'overloaded', ''),
    'half a JSON': ('{"choices": [{"message": {"content": "the red', 'no chat', ''),
    'very deep JSON': ('{"a":' * 100_000, 'no chat', ''),
    'the form of completions': (event({'choices': [{'index': 0, 'text': 'cube',
                                                    'finish_reason': 'stop'}]}), 'no chat', ''),
    'choices of another type': (event({'choices': {'delta': {}}}), 'no chat', ''),
    'a delta of another type': (event(choice('stop', delta='cube')), 'no chat', ''),
    'two first choices': (event({'choices': [{'delta': {'content': 'red'}},
                                             {'delta': {'content': 'blue'}}]}), 'no chat', ''),
    'two different texts': (RED + event(choice('stop', message={'content': 'a cube'})), 'twice',
                            'the red '),
    'a picture as content': (text([{'type': 'image_url', 'image_url': {}}], 'stop'),
                             'no string', ''),
    'a number as content': (text(5), 'no string', ''),
    'a finish_reason of another type': (text('red', {'type': 'stop'}), 'no string', ''),
    'a filter': (RED + text(finish='content_filter'), 'content_filter', 'the red '),
    'a tool call': (text(finish='tool_calls'), 'tool_calls', ''),
    'an endless line': ('x' * 5_000_000, 'bytes', ''),
}


def raw(body: str | bytes, status: int = 200, kind: str = 'text/event-stream',
        **headers: str) -> Behaviour:
    """Send a body as it is, and close the connection."""
    def behave(handler: Handler) -> None:
        handler.send_response(status)
        for name, value in {'Content-Type': kind, **headers}.items():
            handler.send_header(name.replace('_', '-'), value)
        handler.end_headers()
        handler.wfile.write(body.encode() if isinstance(body, str) else body)

    return behave


def ask(server: Server, **options: Any) -> Any:
    engine = connect(server.url, ask_again=False, **options)
    return engine.generate(make_prompt(), max_new_tokens=9)


@pytest.mark.parametrize('name', FORMS)
def test_every_form_of_an_answer_is_read(serve: Serve, name: str) -> None:
    reply = ask(serve(raw(FORMS[name])))
    assert (reply.text, reply.finish_reason) == ('the red cube', 'stop')


@pytest.mark.parametrize(('kind', 'word'), [
    (kind, word) for kind, words in ENDS.items() for word in words])
def test_finish_reasons_of_other_makers(serve: Serve, kind: str, word: str) -> None:
    reply = ask(serve(raw(RED + text('cube', word) + DONE)))
    assert (reply.text, reply.finish_reason) == ('the red cube', kind)


@pytest.mark.parametrize('name', TAILS)
def test_a_complete_answer_stays_one_whatever_follows(serve: Serve, name: str) -> None:
    tail = TAILS[name]
    body = WHOLE.encode() + (tail.encode() if isinstance(tail, str) else tail)
    server = serve(raw(body))
    reply = ask(server)
    assert (reply.text, reply.finish_reason) == ('the red cube', 'stop')
    assert reply.stats.prompt_tokens == (70 if name == 'usage' else 0)
    server.behaviour = raw(body, Content_Length=str(len(body) + 99))  # the connection breaks
    assert ask(server).text == 'the red cube'


def test_a_server_that_does_not_close_its_answer_is_not_waited_for(serve: Serve) -> None:
    def behave(handler: Handler) -> None:
        raw(WHOLE)(handler)
        handler.connection.settimeout(WAIT_S)
        handler.connection.recv(1)

    reply = ask(serve(behave), token_timeout=10 * WAIT_S)
    assert reply.text == 'the red cube'
    assert reply.stats.total_s < WAIT_S / 2


def test_an_answer_that_is_complete_is_not_cancelled_any_more(serve: Serve) -> None:
    def behave(handler: Handler) -> None:
        raw(WHOLE)(handler)
        handler.connection.settimeout(WAIT_S)
        handler.connection.recv(1)

    pieces: list[str] = []
    reply = connect(serve(behave).url).generate(
        make_prompt(), max_new_tokens=9, on_text=lambda piece, _: pieces.append(piece),
        cancelled=lambda: bool(pieces))
    assert (reply.text, reply.finish_reason) == ('the red cube', 'stop')


def test_keep_alive_is_no_progress(serve: Serve) -> None:
    def behave(handler: Handler) -> None:
        handler.start()
        while True:
            handler.send(': keep-alive\n\n')

    with pytest.raises(BackendUnreachableError, match=r'nothing for 2\.5 s.*first_token_timeout'):
        ask(serve(behave), connect_timeout=2.0, first_token_timeout=0.5)


@pytest.mark.parametrize('name', NO_ANSWERS)
def test_what_is_no_complete_answer(serve: Serve, name: str) -> None:
    body, words, kept = NO_ANSWERS[name]
    server = serve(raw(body))
    with pytest.raises(BackendError, match=words) as caught:
        ask(server)
    assert caught.value.raw_text == kept
    assert server.url in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(('code', 'kind'), [(400, InvalidRequestError), (429, QueueFullError),
                                            (500, BackendError), ('many', BackendError)])
def test_an_error_in_the_stream_has_the_type_of_its_status(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, code: Any, kind: type[MimoError]
) -> None:
    monkeypatch.setattr(openai_engine, '_BUSY_PAUSES_S', (0.05, 0.05))
    with pytest.raises(kind, match='too long') as caught:
        ask(serve(raw(event({'error': {'message': 'too long', 'code': code}}) + DONE)))
    assert type(caught.value) is kind


HTML = '<html>\r\n<head><title>{}</title></head>\r\n<body><center>nginx</center></body></html>'
DETAIL = json.dumps({'detail': [
    {'type': 'missing', 'loc': ['body', 'messages'], 'msg': 'Field required', 'input': {}},
    {'type': 'int', 'loc': ['body', 'max_tokens'], 'msg': 'Input should be an integer'}]})
FIELDS = 'body.messages: Field required; body.max_tokens: Input should be an integer'


@pytest.mark.parametrize(('status', 'body', 'kind', 'words'), [
    (413, 'Request Entity Too Large', InvalidRequestError, 'Entity Too Large.*max_pixels'),
    (413, HTML.format('413 Request Entity Too Large'), InvalidRequestError,
     r'\(413 Request Entity Too Large\).*raise its limit.*max_pixels'),
    (413, '{"detail": "Payload too large"}', InvalidRequestError, 'Payload too large.*max_pixels'),
    (413, '', InvalidRequestError, r'\(413\).*max_pixels'),
    (422, DETAIL, InvalidRequestError, FIELDS),
    (422, '{"detail": "no images"}', InvalidRequestError, 'no images'),
    (422, 'Failed to deserialize the JSON body', InvalidRequestError, 'Failed to deserialize'),
    (422, HTML.format('422'), InvalidRequestError, '422'),
    (422, '{"error": "Template error", "error_type": "x"}', InvalidRequestError, 'Template error'),
    (400, '{"object": "error", "message": "too long"}', InvalidRequestError, r'\(400 too long\)'),
    (400, '[]', InvalidRequestError, r'\(400'),
    (400, b'\xff\xfe', InvalidRequestError, r'\(400'),
    (404, HTML.format('Not Found'), ModelNotReadyError, r'\(404 Not Found\)'),
    (429, 'slow down', QueueFullError, 'slow down'),
    (502, HTML.format('502 Bad Gateway'), BackendError, '502 Bad Gateway'),
    (503, '{"error": {"message": "Loading model", "code": 503}}', BackendError, 'Loading model'),
    (504, '<p>upstream <b>timed</b> out</p>', BackendError, 'upstream timed out'),
    (500, '{"error":' * 100_000, BackendError, '500'),
])
def test_errors_of_servers_and_of_proxies_before_them(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, status: int, body: str | bytes,
    kind: type[MimoError], words: str,
) -> None:
    monkeypatch.setattr(openai_engine, '_BUSY_PAUSES_S', (0.05, 0.05))
    for length in (None, 10_000_000):  # whole, and cut off
        headers = {} if length is None else {'Content_Length': str(length)}
        with pytest.raises(kind, match=words) as caught:
            ask(serve(raw(body, status, 'text/html', **headers)))
        assert type(caught.value) is kind
        assert '<' not in str(caught.value)
        assert len(str(caught.value)) < 600


def test_the_pause_that_a_busy_server_asks_for_is_told(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_engine, '_BUSY_PAUSES_S', (0.05, 0.05))
    with pytest.raises(QueueFullError, match='Retry-After: 30'):
        ask(serve(raw('', 429, Retry_After='30')))


def test_compressed_bodies(serve: Serve) -> None:
    packed = gzip.compress(WHOLE.encode())
    server = serve(raw(packed, Content_Encoding='gzip'))
    assert ask(server).text == 'the red cube'
    assert server.requests[0].headers['Accept-Encoding'] == 'identity'
    server.behaviour = raw(WHOLE, Content_Encoding='gzip')
    with pytest.raises(BackendError, match='compressed'):
        ask(server)


@pytest.mark.parametrize('moved', [301, 302, 303])
def test_a_redirect_that_loses_the_request_is_named(serve: Serve, moved: int) -> None:
    server = serve(raw('', moved, Location='/v2/chat/completions'))
    with pytest.raises(ModelNotReadyError, match=r'on to http://.*/v2/chat.*set servers'):
        ask(server)


def test_a_redirect_that_keeps_the_request_is_followed(serve: Serve) -> None:
    target = serve(raw(WHOLE))
    server = serve(raw('', 307, Location=f'{target.url}/chat/completions'))
    assert ask(server).text == 'the red cube'


@pytest.mark.parametrize('path', ['', '/', '/v1', '/v1/', '/v1/chat/completions'])
def test_base_urls(serve: Serve, path: str) -> None:
    server = serve(raw(WHOLE))
    engine = connect(server.url.removesuffix('/v1') + path)
    assert engine.generate(make_prompt(), max_new_tokens=2).text == 'the red cube'
    assert server.requests[0].path == '/v1/chat/completions'


def test_a_base_url_below_another_path(serve: Serve) -> None:
    server = serve(raw(WHOLE))
    connect(f'{server.url}/models/mimo/').generate(make_prompt(), max_new_tokens=2)
    assert server.requests[0].path == '/v1/models/mimo/chat/completions'


def test_half_a_pair_of_utf_16_can_be_sent_on(serve: Serve) -> None:
    reply = ask(serve(raw(text('a \ud83d\ude00 \ud83d') + STOP)))
    assert reply.text == 'a \U0001f600 \ufffd'


def read(pieces: list[bytes]) -> tuple[str, str]:
    """Read a body in pieces."""
    reply = StreamedReply(make_prompt(images=0), None)
    reader = CompletionReader(reply)
    for piece in pieces:
        if reader.feed(piece):
            break
    reader.end()
    return reply.text, reader.finish


@settings(max_examples=300)
@given(st.lists(st.text(ANY, max_size=5), max_size=5), st.lists(st.integers(0, 600), max_size=8),
       st.sampled_from(['\n', '\r\n', '\r']), st.sampled_from(['', ': ping\n\n', 'data\n\n']))
def test_where_the_network_cuts_a_body_makes_no_difference(
    words: list[str], cuts: list[int], line_end: str, between: str
) -> None:
    """Nor does it where the server cuts the text, be it between the halves of a UTF-16 pair."""
    events = [f'data: {json.dumps(choice(delta={"content": word}))}\n\n' for word in words]
    body = between.join([*events, STOP, DONE]).replace('\n', line_end).encode()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(places)]
    assert read(pieces) == (valid_text(''.join(words)), 'stop')


@settings(max_examples=300)
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from(
    [value.encode() if isinstance(value, str) else value for name, value in TAILS.items()
     if name != 'an endless line'])), max_size=4))
def test_no_bytes_after_the_finish_reason_change_the_answer(tail: list[bytes]) -> None:
    assert read([WHOLE.encode(), *tail]) == ('the red cube', 'stop')
