"""Answer a query: build the prompt, generate the text, parse it; once more where that fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.errors import (
    CancelledError,
    EmptyAnswerError,
    MimoError,
    OutputTruncatedError,
    ParseError,
    RequestTimeoutError,
)
from mimo_embodied_ros.core.grammar import grammar_of
from mimo_embodied_ros.core.parse import parse_answer
from mimo_embodied_ros.core.prompts import build_prompt
from mimo_embodied_ros.core.readers import END_THINK, split_reasoning
from mimo_embodied_ros.core.schemas import schema_of

from .interface import GenerationStats, Reply

if TYPE_CHECKING:
    from mimo_embodied_ros.core.answers import Answer
    from mimo_embodied_ros.core.query import Query

    from .early_end import Deadline
    from .interface import Engine

OnState = Callable[['State', str, int], None]
UNREAD = (ParseError, EmptyAnswerError, OutputTruncatedError)
"""With these errors the model answered, but its answer cannot be read."""


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

    on_progress: OnState
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
    on_progress: OnState | None = None,
    cancelled: Callable[[], bool] | None = None,
    deadline: Deadline = None,
) -> tuple[Answer, Reply]:
    """Answer a query.

    Where the answer cannot be read and ``query.retry`` is set, the same question is asked once
    more, with the answer held to its grammar; `_can_mend` says when. The second try begins with
    the state PREPROCESSING.

    Args:
        engine: a loaded model.
        query: the request with its frames and deadline.
        on_progress: called with the state, the new text and the number of tokens of this try.
        cancelled: called at every token; True ends the generation.
        deadline: when the generation ends, instead of the query's deadline.

    Returns:
        The answer in pixels of the original images, and the engine's reply; its durations include
        the resizing of the images.

    Raises:
        MimoError: as the prompt, the engine and the parser do; CancelledError or
            RequestTimeoutError if the generation was cancelled or reached the deadline. Where a
            second try failed, too, the text names both reasons.

    """
    begin = time.monotonic()
    try:
        return _try(engine, query, on_progress, cancelled, deadline)
    except UNREAD as error:
        if not _can_mend(engine, query, error, time.monotonic() - begin):
            raise
        first = error
    if on_progress is not None:
        on_progress(State.PREPROCESSING, '', 0)
    try:
        answer, reply = _try(
            engine, replace(query, structured=True), on_progress, cancelled, deadline)
    except MimoError as second:
        raise _failed_twice(first, second) from second
    return answer, _after(first.reply, reply)


def _can_mend(engine: Engine, query: Query, error: MimoError, seconds: float) -> bool:
    """Whether a second try, held to the grammar, may give what the first one did not.

    The grammar lets the model end only after an answer, but leaves its reasoning free, and decoding
    is greedy: a reasoning that went on to the limit, or was repeated, would be the same again. The
    second try does what the first one did, so that it needs about the same ``seconds``.
    """
    if not query.retry or query.structured or not _can_hold(engine, query):
        return False
    if query.deadline is not None and query.deadline - time.monotonic() < seconds:
        return False
    return error.reply.finish_reason == 'stop' or split_reasoning(error.raw_text)[1] != ''


def _can_hold(engine: Engine, query: Query) -> bool:
    """Whether the engine can hold the answer to its grammar, or to its schema."""
    if not grammar_of(query, engine.profile):
        return False
    return engine.holds_grammars or (
        engine.holds_schemas and schema_of(query, engine.profile) is not None)


def _failed_twice(first: MimoError, second: MimoError) -> MimoError:
    """Return the error of a question that was asked twice.

    It is the second one where that is about an answer, too, or the request was cancelled. Else the
    first one stands, since the second try was an extra.
    """
    kept = second if isinstance(second, (*UNREAD, CancelledError)) else first
    error = type(kept)(f'{first}; asked once more, with the grammar held: {second}')
    error.raw_text, error.reasoning = kept.raw_text, kept.reasoning
    error.reply = _after(first.reply, second.reply or Reply('', 'stop', GenerationStats()))
    return error


def _after(first: Reply, second: Reply) -> Reply:
    """Return the second reply with the text of the first one, and the costs of both."""
    one, two = first.stats, second.stats
    return replace(second, unread=(first.text,), stats=GenerationStats(
        prompt_tokens=one.prompt_tokens + two.prompt_tokens,
        image_tokens=one.image_tokens + two.image_tokens,
        reused_tokens=one.reused_tokens + two.reused_tokens,
        completion_tokens=one.completion_tokens + two.completion_tokens,
        preprocess_s=one.preprocess_s + two.preprocess_s,
        first_token_s=one.first_token_s,
        total_s=one.total_s + two.total_s))


def _try(
    engine: Engine, query: Query, on_progress: OnState | None,
    cancelled: Callable[[], bool] | None, deadline: Deadline,
) -> tuple[Answer, Reply]:
    """Ask once; raises as `answer_query` does."""
    if query.deadline is not None and time.monotonic() >= query.deadline:
        msg = 'the deadline passed before the model was free; raise timeout or ask less often'
        raise RequestTimeoutError(msg)
    begin = time.monotonic()
    prompt = build_prompt(query, engine.limits, engine.profile)
    built = time.monotonic()
    reply = engine.generate(
        prompt,
        max_new_tokens=prompt.max_new_tokens,
        on_text=_Progress(on_progress, prompt.thinks).add if on_progress is not None else None,
        cancelled=cancelled,
        deadline=deadline or query.deadline,
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
