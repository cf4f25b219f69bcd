"""What a model answers, in a form in which two engines are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import MimoError
from mimo_embodied_ros.engine.answering import answer_query

if TYPE_CHECKING:
    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.engine import Engine


def outcome(engine: Engine, query: Query) -> tuple[Any, ...]:
    """Return all parts of an answer, or of its error."""
    try:
        answer, reply = answer_query(engine, query)
    except MimoError as error:
        return error.code, str(error), error.raw_text
    stats = reply.stats
    counts = stats.prompt_tokens, stats.image_tokens, stats.completion_tokens
    return answer, reply.text, reply.finish_reason, counts
