"""Answer a query: build the prompt, generate the text, parse it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import CancelledError, MimoError, RequestTimeoutError
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.readers import END_THINK

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.core.query import Query

    from .interface import Engine, Reply


class State(IntEnum):
    """The state of a request: the values of ``state`` in the actions' feedback."""

    QUEUED = 0
    PREPROCESSING = 1
    THINKING = 2
    ANSWERING = 3
    LIFTING = 4


@dataclass
class _Progress:
    """Reports new text with the state that it belongs to, THINKING or ANSWERING."""

    on_progress: Callable[[State, str, int], None]
    thinking: bool
    text: str = ''

    def add(self, delta: str, tokens: int) -> None:
        self.text += delta
        self.thinking = self.thinking and END_THINK not in self.text
        self.on_progress(State.THINKING if self.thinking else State.ANSWERING, delta, tokens)


def answer_query(
    engine: Engine,
    query: Query,
    *,
    on_progress: Callable[[State, str, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Answer, Reply]:
    """Answer a query.

    Args:
        engine: a loaded model.
        query: the request with its frames and deadline.
        on_progress: called with the state, the new text and the number of tokens so far.
        cancelled: called at every token; True ends the generation.

    Returns:
        The answer in pixels of the original images, and the engine's reply; its durations include
        the resizing of the images.

    Raises:
        MimoError: as the prompt, the engine and the parser do; CancelledError or
            RequestTimeoutError if the generation was cancelled or reached the deadline.

    """
    if query.deadline is not None and time.monotonic() >= query.deadline:
        msg = 'the deadline passed before the model was free; raise timeout or ask less often'
        raise RequestTimeoutError(msg)
    begin = time.monotonic()
    prompt = build_prompt(query, engine.limits)
    built = time.monotonic()
    reply = engine.generate(
        prompt,
        max_new_tokens=prompt.max_new_tokens,
        on_text=_Progress(on_progress, query.thinks).add if on_progress is not None else None,
        cancelled=cancelled,
        deadline=query.deadline,
    )
    stats, resized_s = reply.stats, built - begin
    reply = replace(reply, stats=replace(
        stats, preprocess_s=stats.preprocess_s + resized_s, total_s=stats.total_s + resized_s,
        first_token_s=stats.first_token_s and stats.first_token_s + resized_s))
    early_ends = {'cancelled': CancelledError, 'deadline': RequestTimeoutError}
    kind = early_ends.get(reply.finish_reason)
    if kind is not None:
        tokens = stats.completion_tokens
        remedy = '; raise timeout' if kind is RequestTimeoutError else ''
        error: MimoError = kind(f'{reply.finish_reason} after {tokens} tokens{remedy}')
        error.raw_text, error.reply = reply.text, reply
        raise error
    try:
        return parse_answer(query, prompt, reply.text, reply.finish_reason), reply
    except MimoError as error:
        error.reply = reply
        raise
