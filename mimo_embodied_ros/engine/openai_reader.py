"""Read the body of a chat completion, as strictly as its text needs and no more."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.characters import TextJoiner, valid_text
from mimo_embodied_ros.core.files import parse_json
from mimo_embodied_ros.core.masking import mask

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .openai_stream import StreamedReply

    Event = tuple[bytes, list[bytes]]  # its type and its data lines

# The names that servers have for the two ends of an answer, in lower case.
_STOPS = {'stop', 'eos', 'eos_token', 'end_turn', 'stop_sequence', 'stop_token'}
_LENGTHS = {'length', 'max_tokens', 'max_length', 'model_length', 'max_output_tokens',
            'max_new_tokens'}
_FINISH = dict.fromkeys(_STOPS, 'stop') | dict.fromkeys(_LENGTHS, 'length') | {
    'repetition': 'repetition'}

# A carriage return at the end waits for its line feed.
_LINE_END = re.compile(rb'\r\n|\n|\r(?=[\s\S])')
_MAX_BYTES = 4_000_000  # a longer line or body is no part of an answer
_CHUNKS = (b'', b'message')  # the types of events that are chunks in any case
_QUOTED = 2000  # bytes of a body that are kept for an error message


class StreamError(Exception):
    """The body is no chat completion, or reports an error.

    Attributes:
        status: the HTTP status that the body gives for its error; 0 if it gives none.

    """

    def __init__(self, message: str, status: int = 0) -> None:
        """Take what is wrong, without the name of the server."""
        super().__init__(message)
        self.status = status


def describe(body: bytes) -> str:
    """Return what the body of an error says, on one line of at most 300 characters.

    OpenAI's form, FastAPI's ``detail``, the title of a web page, or else the text itself.
    """
    text = body.decode('utf-8', 'replace')
    try:
        text = _message(parse_json(text)) or text
    except ValueError:
        if title := re.search(r'(?is)<title[^>]*>(.*?)</title>', text):
            text = title[1]
        elif text.lstrip().startswith('<'):
            text = re.sub(r'(?s)<[^>]*>', ' ', text)
    return excerpt(text)


def excerpt(value: Any, length: int = 300) -> str:
    """Return the beginning of what a server sent, on one line, to be quoted in a message.

    Secrets are masked before it is cut, since half a key has no form of its own.
    """
    text = ''.join(c if c.isprintable() else ' ' for c in valid_text(str(value)))
    return mask(' '.join(text.split()))[:length]


def _message(value: Any) -> str:
    """The message in an error's JSON; empty if there is none."""
    if isinstance(value, dict):
        for name in ('error', 'message', 'detail', 'msg'):
            if value.get(name):
                place = value.get('loc') if name == 'msg' else None
                where = '.'.join(map(str, place)) + ': ' if isinstance(place, list) else ''
                return where + _message(value[name])
        return json.dumps(value)
    if isinstance(value, list):
        return '; '.join(map(_message, value))
    return '' if value is None else str(value)


class _EventDecoder:
    """Splits bytes into server-sent events, as the HTML standard (section 9.2.6) defines them."""

    def __init__(self) -> None:
        self._rest = b''
        self._kind, self._data = b'', list[bytes]()

    def feed(self, data: bytes) -> Iterator[Event]:
        """Take bytes; yield the type and the data lines of each event that they complete."""
        *lines, self._rest = _LINE_END.split(self._rest + data)
        for line in lines:
            name, _, value = line.partition(b':')
            value = value.removeprefix(b' ')
            if name == b'event':
                self._kind = value
            elif name == b'data':
                self._data.append(value)
            elif not line:
                yield from self._take()
        if len(self._rest) > _MAX_BYTES:
            raise StreamError(f'sent a line of more than {_MAX_BYTES} bytes')

    def end(self) -> Iterator[Event]:
        """Yield the event that no empty line has ended."""
        yield from self.feed(b'\n\n')

    def _take(self) -> Iterator[Event]:
        event, self._kind, self._data = (self._kind, self._data), b'', []
        if event[1]:
            yield event


class CompletionReader:
    """Reads the body of an answer: a stream of chunks, or a completion as a whole.

    Nothing that follows the finish reason changes the answer, be it wrong or missing; only the
    counts of tokens are still taken from there.

    Attributes:
        finish: 'stop', 'length' or 'repetition' once the answer is complete; empty before.
        finished: ``time.monotonic()`` seconds at which it was.

    """

    def __init__(self, reply: StreamedReply) -> None:
        """Add to a reply what the body says."""
        self.finish, self.finished = '', 0.0
        self._reply, self._start = reply, len(reply.text)
        self._events = _EventDecoder()
        self._body = b''  # all of it where it is JSON, else its beginning
        self._begun = self._is_json = self._done = False
        self._content = ''  # without reasoning
        self._reasoning_joiner, self._content_joiner = TextJoiner(), TextJoiner()

    def feed(self, data: bytes) -> bool:
        """Take bytes of the body; return whether the rest is not needed.

        Raises:
            StreamError: the body is no chat completion, or reports an error.

        """
        if not self._begun:
            data = data.lstrip(b'\xef\xbb\xbf \t\r\n')
            self._begun, self._is_json = bool(data), data.startswith(b'{')
        if self._is_json or len(self._body) < _QUOTED:
            self._body += data
        if not self._is_json:
            self._read(self._events.feed(data))
        elif len(self._body) > _MAX_BYTES:
            raise StreamError(f'sent a body of more than {_MAX_BYTES} bytes')
        return self._done

    def end(self) -> None:
        """Take the end of the body.

        Raises:
            StreamError: the answer is not complete.

        """
        if not self._done:
            self._read([(b'', [self._body])] if self._is_json else self._events.end())
        if not self.finish:
            said = '' if self._reply.text else f' ({describe(self._body[:_QUOTED])})'
            raise StreamError(
                f'ended its answer after {len(self._reply.text)} characters without a '
                f'finish_reason{said}')

    def _read(self, events: Iterable[Event]) -> None:
        for kind, lines in events:
            if lines[-1].strip() == b'[DONE]':
                self._done = True
                lines.pop()
            data = b'\n'.join(lines)
            try:
                chunks = list(_values(data))
            except (ValueError, RecursionError) as error:
                if kind == b'error' and not self.finish:
                    raise StreamError(f'reports an error ({describe(data)})') from error
                # what a ping holds is no object that is cut off
                may_be_chunk = kind in _CHUNKS or data.lstrip().startswith(b'{')
                if may_be_chunk and not self.finish:
                    raise StreamError(
                        f'sent a chunk that is no chat completion ({error})') from error
                chunks = []
            for chunk in chunks:
                self._take(kind, chunk)
            if self._done:
                return

    def _take(self, kind: bytes, chunk: Any) -> None:
        """Take one chunk; events of other types than its own, such as ping, need not be one."""
        if self.finish:
            if isinstance(chunk, dict):
                self._reply.add('', '', chunk.get('usage'))
            return
        if not isinstance(chunk, dict):
            if kind == b'error':
                raise StreamError(f'reports an error ({excerpt(_message(chunk))})')
            if kind in _CHUNKS:
                raise _no_completion(chunk)
            return
        error = chunk.get('error')
        if kind == b'error' or error or chunk.get('object') == 'error':
            code = (error if isinstance(error, dict) else chunk).get('code')
            raise StreamError(
                f'reports an error ({excerpt(_message(chunk))})',
                code if type(code) is int and 400 <= code < 600 else 0)
        reasoning, content, finish = self._joined(*self._choice(chunk))
        self._content += content
        if self._reply.add(reasoning, content, chunk.get('usage')):
            self._done, finish = True, 'repetition'  # closing the connection stops the server
        if finish:
            if finish.lower() not in _FINISH:
                raise StreamError(
                    f'ended its answer after {len(self._reply.text)} characters with '
                    f'finish_reason {excerpt(finish, 100)!r} instead of stop or length')
            self.finish, self.finished = _FINISH[finish.lower()], time.monotonic()
            if self.finish == 'stop':
                self._reply.close()

    def _joined(self, reasoning: str, content: str, finish: str) -> tuple[str, str, str]:
        """Return what can be sent on of the pieces of both texts, which may be cut anywhere."""
        reasoning = self._reasoning_joiner.feed(reasoning)
        if content or finish:
            reasoning += self._reasoning_joiner.end()
        content = self._content_joiner.feed(content)
        if finish:
            content += self._content_joiner.end()
        return reasoning, content, finish

    def _choice(self, chunk: dict[str, Any]) -> tuple[str, str, str]:
        """Return reasoning, content and finish reason of the first choice; empty if missing."""
        choices = chunk.get('choices') or []
        if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
            raise _no_completion(chunk)
        first = [choice for choice in choices if choice.get('index') in (None, 0)]
        if not first:
            return '', '', ''  # only the usage, or further choices that were not asked for
        choice, *more = first
        part = choice.get('delta') or choice.get('message') or {}
        if more or not isinstance(part, dict) or (choice.get('text') and not part):
            raise _no_completion(chunk)
        content = _text(part.get('content'))
        reasoning = _text(part.get('reasoning_content') or part.get('reasoning'))
        if not choice.get('delta') and len(self._reply.text) > self._start:
            # the whole answer, after its parts
            if content and valid_text(content) != self._content:
                raise StreamError('sent its answer twice, and in different words')
            content = reasoning = ''
        finish = choice.get('finish_reason') or ''
        if not isinstance(finish, str):
            raise StreamError(f'sent a finish_reason that is no string ({excerpt(finish, 200)})')
        return reasoning, content, finish * (finish != 'null')


def _no_completion(chunk: Any) -> StreamError:
    return StreamError(f'sent a chunk that is no chat completion ({excerpt(chunk, 200)})')


def _values(data: bytes) -> Iterator[Any]:
    """Yield the JSON values that follow each other in the data of an event; none in an empty one.

    Raises:
        ValueError: it holds something else.

    """
    text, decoder = data.decode().strip(), json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:].lstrip()


def _text(value: Any) -> str:
    """The text of a content, which is a string, a list of parts or null."""
    parts = value if isinstance(value, list) else [value or '']
    texts: list[Any] = [
        part.get('text') if isinstance(part, dict) and part.get('type') == 'text' else part
        for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise StreamError(f'sent a chunk whose text is no string ({excerpt(value, 200)})')
    return ''.join(texts)
