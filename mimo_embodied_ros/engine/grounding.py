"""Ground a plan of skills: ask the model where the things are that the plan gives no pixels for."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import Affordances, TaskPlan
from mimo_embodied_ros.core.plan_checking import ground_plan
from mimo_embodied_ros.core.query import Query, Task

from .answering import UNREAD, answer_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from mimo_embodied_ros.core.answers import Answer, Point

    from .interface import Engine, Reply


def answer_grounded(engine: Engine, query: Query) -> tuple[Answer, Reply]:
    """Answer a query and ground the plan in the answer; see `answer_query`.

    Returns:
        The answer, and the engine's first reply.

    """
    answer, reply = answer_query(engine, query)
    return ground_answer(query, answer, lambda more: answer_query(engine, more)), reply


def ground_answer(
    query: Query, answer: Answer, ask: Callable[[Query], tuple[Answer, Any]]
) -> Answer:
    """Find the things of a plan of skills in the query's first frame.

    Args:
        query: the request; without skills, or if the answer is no plan, nothing is changed.
        answer: to the query.
        ask: answers one more query by the model.

    Raises:
        MimoError: the model could not answer.

    """
    if query.skills is None or not isinstance(answer.content, TaskPlan):
        return answer

    @functools.cache
    def locate(thing: str) -> Point | str | None:
        try:
            content = ask(Query(
                Task.POINTS, thing, query.frames[:1], system=query.system, retry=query.retry,
            ))[0].content
        except UNREAD as error:
            return str(error)
        assert isinstance(content, Affordances)
        return next((point for point in content.points if point.in_image), None)

    return replace(answer, content=ground_plan(answer.content, query.skills, locate))
