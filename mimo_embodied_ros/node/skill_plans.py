"""Requests for plans of the robot's own skills."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import TaskPlan
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.core.tasks import AnswerKind

if TYPE_CHECKING:
    from mimo_embodied_ros.core.answers import Content
    from mimo_embodied_ros.core.query import Query
    from mimo_embodied_ros.engine import Engine

    from .settings import Settings


def with_skills(query: Query, request: Any, settings: Settings, engine: Engine) -> Query:
    """Restrict the query of a plan to the robot's skills, or to those that the request names.

    The answer is held to the grammar of these skills where the engine can. Queries of other kinds
    stay as they are, and so do plans where the robot has no list of skills.

    Raises:
        InvalidRequestError: the request names a skill or a fact that the list does not have.

    """
    if query.task.answer is not AnswerKind.PLAN:
        return query
    names, facts = tuple(request.skills), tuple(request.facts)
    if not settings.skills and not names:
        if facts or request.open_ended or request.max_steps:
            text = 'facts, open_ended and max_steps are for plans of skills; set skills_file'
            raise InvalidRequestError(text)
        return query
    rules = select_skills(settings.skills, names, facts=facts, open_ended=request.open_ended,
                   max_steps=request.max_steps or settings.max_steps)
    return replace(query, skills=rules, structured=engine.holds_grammars)


def refusal(content: Content) -> tuple[ResultCode, str]:
    """The error code and message of a plan that the robot cannot do; none where it can."""
    if isinstance(content, TaskPlan) and content.problem:
        return ResultCode.PLAN_REFUSED, content.problem
    return ResultCode.NONE, ''
