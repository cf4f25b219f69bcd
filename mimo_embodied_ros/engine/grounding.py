"""Where the things of a plan are: those whose place the plan does not name are asked for."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import Affordances, TaskPlan
from mimo_embodied_ros.core.errors import MimoError, ResultCode
from mimo_embodied_ros.core.plan_checking import ground_plan
from mimo_embodied_ros.core.query import Query, Task

from .answering import answer_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.core.answers import Answer, Point

    from .interface import Engine, Reply

# With these the model answered, and did not say where.
_UNSAID = (ResultCode.OUTPUT_TRUNCATED, ResultCode.PARSE_FAILED, ResultCode.EMPTY_ANSWER)


def answer_grounded(engine: Engine, query: Query) -> tuple[Answer, Reply]:
    """Ask the model, and for the places that it does not name; see `answer_query`.

    Returns:
        The answer, and what the model said and cost at first.

    """
    answer, reply = answer_query(engine, query)
    return ground_answer(query, answer, lambda more: answer_query(engine, more)), reply


def ground_answer(
    query: Query, answer: Answer, ask: Callable[[Query], tuple[Answer, Any]]
) -> Answer:
    """Find the things of a plan of skills on its own frame, the first of several.

    Args:
        query: what was asked; without skills, or where no plan came, the answer stays as it is.
        answer: to it.
        ask: asks the model one question more.

    Raises:
        MimoError: the model could not be asked.

    """
    if query.skills is None or not isinstance(answer.content, TaskPlan):
        return answer

    @functools.cache
    def locate(words: str) -> Point | str | None:
        try:
            found = ask(Query(Task.POINTS, words, query.frames[:1]))[0].content
        except MimoError as error:
            if error.code in _UNSAID:
                return str(error)
            raise
        assert isinstance(found, Affordances)
        return next((point for point in found.points if point.in_image), None)

    return replace(answer, content=ground_plan(answer.content, query.skills, locate))
