"""An HTTP server in place of an OpenAI-compatible one, whose behaviour a test decides."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.engine import Engine, EngineConfig, load_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    Behaviour = Callable[['Handler'], None]

ANSWER = '<think>\nit is red\n</think>\n\n\\boxed{yes}'


class Handler(BaseHTTPRequestHandler):
    """One request; the server's behaviour decides what becomes of it."""

    server: Server
    protocol_version = 'HTTP/1.1'

    def do_POST(self) -> None:
        length = int(self.headers['Content-Length'])
        self.body = json.loads(self.rfile.read(length))
        self.close_connection = True
        self.server.requests.append(self)
        try:
            self.server.behaviour(self)
        except OSError:
            self.server.broken.set()
        self.server.ended = time.monotonic()

    def do_GET(self) -> None:
        """Say which models there are, where the server does."""
        time.sleep(self.server.lists_after_s)
        known = self.server.models is not None and self.path == '/v1/models'
        body = json.dumps(self.server.models if known else {'detail': 'Not Found'}).encode()
        self.send_response(200 if known else 404)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_CONNECT(self) -> None:
        """Refuse a tunnel, as a proxy may."""
        self.server.requests.append(self)
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        """Keep the tests' output free of it."""

    @property
    def prompt(self) -> str:
        """The text of the request, which follows its images."""
        user = next(turn for turn in self.body['messages'] if turn['role'] == 'user')
        return str(user['content'][-1]['text'])

    def start(self, status: int = 200, kind: str = 'text/event-stream') -> None:
        """Send the headers of an answer that ends when the connection does."""
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.end_headers()

    def send(self, text: str) -> None:
        """Send text as it is."""
        self.wfile.write(text.encode())
        self.wfile.flush()

    def say(self, content: Any = '', finish: Any = None, **delta: Any) -> None:
        """Send one chunk of a stream."""
        choice = {'index': 0, 'delta': {'content': content, **delta}, 'finish_reason': finish}
        self.send_json({'object': 'chat.completion.chunk', 'choices': [choice]})

    def answer(self) -> None:
        """Answer as vLLM does without a reasoning parser."""
        self.start()
        for piece in ('<think>\nit ', 'is red\n</thi', 'nk>\n\n\\boxed', '{yes}'):
            self.say(piece)
        self.say(finish='stop')
        usage = {'prompt_tokens': 70, 'completion_tokens': 12, 'total_tokens': 82}
        self.send_json({'object': 'chat.completion.chunk', 'choices': [], 'usage': usage})
        self.send('data: [DONE]\n\n')

    def send_json(self, chunk: Any) -> None:
        """Send one event of a stream."""
        self.send(f'data: {json.dumps(chunk)}\n\n')


class Server(ThreadingHTTPServer):
    """A server on a port of its own; as a context, it is stopped at the end.

    Attributes:
        behaviour: what each request leads to; may be changed at any time.
        requests: all that have come, in their order.
        broken: is set when a client has closed its connection before the answer's end.
        ended: when the last behaviour ended, by the monotonic clock.
        models: the list of models; None where it has none.
        lists_after_s: seconds that it takes to list them.

    """

    daemon_threads = True

    def __init__(self, behaviour: Behaviour, port: int = 0) -> None:
        """Start to serve."""
        super().__init__(('127.0.0.1', port), Handler)
        self.behaviour = behaviour
        self.requests: list[Handler] = []
        self.broken = threading.Event()
        self.ended = 0.0
        self.models: Any = None
        self.lists_after_s = 0.0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """The address of its API."""
        return f'http://127.0.0.1:{self.server_port}/v1'

    def stop(self) -> None:
        """Free the port; requests under way go on."""
        self.shutdown()
        self.server_close()

    def __enter__(self) -> Server:  # noqa: PYI034 (Self came with Python 3.11)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def connect(*urls: str, **options: Any) -> Engine:
    """Make an engine for servers; nothing is sent."""
    return load_engine(EngineConfig('mimo', backend='openai', servers=urls, **options))
