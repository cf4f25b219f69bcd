"""What a server says of an answer, in OpenAI's form: chunks of a stream, or one completion."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

from .errors import status_of

if TYPE_CHECKING:
    from mimo_embodied_ros.core.errors import MimoError
    from mimo_embodied_ros.engine import GenerationStats, Reply

END = 'data: [DONE]\n\n'


class Completion:
    """The form of one answer."""

    def __init__(self, model: str) -> None:
        """Give it an identifier; ``model`` is the name under which it is served."""
        self._head = {'id': f'chatcmpl-{uuid.uuid4().hex}', 'created': int(time.time()),
                      'model': model}

    def text(self, new: str) -> str:
        """Return the event of a piece of the text."""
        return self._choice({'content': new}, None)

    def end(self, reason: str) -> str:
        """Return the event of the end of the text."""
        return self._choice({}, reason)

    def counts(self, stats: GenerationStats) -> str:
        """Return the event of the counts of tokens."""
        return self._event(choices=[], usage=_usage(stats))

    def failure(self, error: MimoError) -> str:
        """Return the event of an error behind a part of the text."""
        return self._event(**error_body(error))

    def whole(self, reply: Reply) -> dict[str, Any]:
        """Return the answer as a whole."""
        return {**self._head, 'object': 'chat.completion', 'usage': _usage(reply.stats),
                'choices': [{'index': 0, 'finish_reason': reply.finish_reason,
                             'message': {'role': 'assistant', 'content': reply.text}}]}

    def _choice(self, delta: dict[str, str], reason: str | None) -> str:
        return self._event(choices=[{'index': 0, 'delta': delta, 'finish_reason': reason}])

    def _event(self, **fields: Any) -> str:
        chunk = {**self._head, 'object': 'chat.completion.chunk', **fields}
        return f'data: {json.dumps(chunk)}\n\n'


def error_body(error: MimoError) -> dict[str, Any]:
    """Return an error as OpenAI's servers do, with its HTTP status."""
    return {'error': {'message': str(error), 'type': error.code.name, 'code': status_of(error)}}


def _usage(stats: GenerationStats) -> dict[str, Any]:
    return {
        'prompt_tokens': stats.prompt_tokens,
        'completion_tokens': stats.completion_tokens,
        'total_tokens': stats.prompt_tokens + stats.completion_tokens,
        'prompt_tokens_details': {'cached_tokens': stats.reused_tokens},
    }
