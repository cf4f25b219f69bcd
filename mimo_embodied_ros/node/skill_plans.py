"""Plans of the robot's own skills, as a request wants them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.answers import TaskPlan
from mimo_embodied_ros.core.errors import InvalidRequestError, ResultCode
from mimo_embodied_ros.core.skills import select_skills
from mimo_embodied_ros.core.tasks import AnswerKind
from mimo_embodied_ros.engine.structured import supports_grammars

if TYPE_CHECKING:
    from mimo_embodied_ros.core.answers import Content
    from mimo_embodied_ros.core.query import Query

    from .settings import Settings


def with_skills(query: Query, request: Any, settings: Settings) -> Query:
    """The query of a plan, of those of the robot's skills that the request names.

    Other queries stay as they are, and plans where the robot has no list of skills.

    Raises:
        InvalidRequestError: a skill or a fact that the robot does not know.

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
    return replace(query, skills=rules, structured=supports_grammars())


def refusal(content: Content) -> tuple[ResultCode, str]:
    """The code and message of a plan that the robot cannot do."""
    if isinstance(content, TaskPlan) and content.problem:
        return ResultCode.PLAN_REFUSED, content.problem
    return ResultCode.NONE, ''
