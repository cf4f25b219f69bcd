"""Does a plan step by step: asks the model before and after, repeats, plans again or gives up."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    MimoError,
    ParseError,
    PlanRefusedError,
    StepFailedError,
)
from mimo_embodied_ros.core.skills import GROUNDED
from mimo_embodied_ros.msg import ExecutionStatus, SkillArgument, SpatialAnswer, TaskStep

from .arguments import filled, values_of
from .fields import interface, set_fields, unmet
from .plan_state import Held

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.core.skills import Call, Skill

    from .control import Control
    from .plan_state import PlanState
    from .policy import StepPolicy

_POSSIBLE, _DONE = 'is_possible', 'is_done'  # tasks of RoboVQA


@dataclass(frozen=True)
class Config:
    """How plans are done.

    Attributes:
        skills: of the robot.
        policies: of each of them.
        target_frame: of positions; empty: pixels only.
        max_plans: how often may be planned, the first one counted.
        settle_s: from the end of a step until the cameras have seen what it did, seconds.
        stand_off: how far before a thing a base stops, metres.
        check_goal: whether the model is asked if all is done after the last step.

    """

    skills: Mapping[str, Skill]
    policies: Mapping[str, StepPolicy]
    target_frame: str = ''
    max_plans: int = 4
    settle_s: float = 0.5
    stand_off: float = 0.8
    check_goal: bool = True


class Execution:
    """One plan under way, in one thread."""

    def __init__(
        self, mimo: MimoClient, config: Config, progress: PlanState, control: Control,
        tell: Callable[[PlanState, int, Any, int, str], None],
    ) -> None:
        """Take what there is to do.

        Args:
            mimo: asks the model and the robot.
            config: how.
            progress: where to begin; kept up to date.
            control: pauses and cancels it.
            tell: called with the progress, the phase, the step or None, its attempt, and words,
                whenever something begins or ends.

        """
        self._mimo, self._config, self._progress = mimo, config, progress
        self._control, self._tell_others = control, tell

    def run(self) -> None:
        """Do all of it.

        Raises:
            StepFailedError: a step failed, and the policy gives up.
            PlanRefusedError: what is to be done is not possible with these skills.
            CancelledError: it was cancelled; so is the step that was under way.
            MimoError: the model could not be asked for a plan.

        """
        progress = self._progress
        if not progress.plan.steps:
            self._plan()
        self._check(progress.plan)
        self._see_what_was_under_way()
        problem = ''
        while True:
            for step in progress.plan.steps:
                if step.status in (TaskStep.SUCCEEDED, TaskStep.SKIPPED):
                    continue
                problem = self._do(step)
                if problem:
                    break
            else:
                problem = self._unfinished()
                if not problem:
                    self._tell(ExecutionStatus.ENDED, text='done')
                    return
            self._plan_again(problem)

    # -- planning

    def _plan(self) -> None:
        progress = self._progress
        self._control.checkpoint(self._say_paused)
        progress.plans += 1
        self._tell(ExecutionStatus.PLANNING, text=progress.instruction)
        facts = [held.fact for held in progress.held] + [f'done {done}' for done in progress.done]
        result = self._ask(self._mimo.plan(
            progress.instruction, facts=facts, target_frame=self._config.target_frame,
            **self._look_at()))
        if not result.plan.steps:
            msg = f'the model says that it cannot be done: {progress.instruction}'
            raise PlanRefusedError(msg)
        progress.plan = result.plan

    def _plan_again(self, problem: str) -> None:
        """Plan from the present view.

        Raises:
            StepFailedError: it was planned too often, or there is no plan.

        """
        while self._progress.plans < self._config.max_plans:
            self._still_held()
            try:
                self._plan()
                self._check(self._progress.plan)
            except CancelledError:
                raise
            except MimoError as error:
                problem = f'{problem}; planned again: {error}'
            else:
                return
        msg = f'{problem}; planned {self._progress.plans} times'
        raise StepFailedError(msg)

    def _check(self, plan: Any) -> None:
        """Refuse a plan that is not of these skills.

        Raises:
            PlanRefusedError: it was refused already.
            InvalidRequestError: a step is of no skill.

        """
        if plan.problem:
            raise PlanRefusedError(plan.problem)
        for step in plan.steps:
            if step.skill not in self._config.skills:
                named = f'is of the skill {step.skill}' if step.skill else 'is of no skill'
                known = ', '.join(self._config.skills)
                msg = (f'step {step.id} ({step.description}) {named}; the executor knows {known}: '
                       'give the node that plans the same skills_file')
                raise InvalidRequestError(msg)

    def _unfinished(self) -> str:
        """What is left to do after the last step, in words."""
        if not self._config.check_goal:
            return ''
        self._tell(ExecutionStatus.VERIFYING, text=self._progress.instruction)
        try:
            done = self._holds(_DONE, self._progress.instruction)
        except CancelledError:
            raise
        except MimoError as error:
            return f'nobody knows whether all is done: {error}'
        return '' if done else f'all steps are done, and this is not: {self._progress.instruction}'

    # -- one step

    def _see_what_was_under_way(self) -> None:
        """After a restart: see whether the step that was under way was done."""
        for step in self._progress.plan.steps:
            if step.status != TaskStep.EXECUTING:
                continue
            step.status = TaskStep.PENDING
            if self._config.policies[step.skill].after:
                self._control.checkpoint(self._say_paused, self._config.settle_s)
                self._tell(ExecutionStatus.VERIFYING, step, text=step.success_condition)
                if self._holds(_DONE, step.success_condition):
                    self._succeed(step, 0)

    def _do(self, step: Any) -> str:
        """Try a step as often as its policy allows; returns what is wrong, or nothing.

        Raises:
            StepFailedError: the policy gives up.

        """
        policy = self._config.policies[step.skill]
        problem = ''
        for attempt in range(1, policy.repeat + 2):
            self._control.checkpoint(self._say_paused)
            if attempt > 1 and not self._needs_hold(step):
                break
            step.status, step.problem = TaskStep.PENDING, ''
            try:
                self._attempt(step, policy, attempt)
            except CancelledError:
                self._end(step, TaskStep.CANCELLED, attempt, 'cancelled')
                raise
            except MimoError as error:
                problem = f'step {step.id} ({step.description}): {error}'
                self._end(step, TaskStep.FAILED, attempt, str(error))
            else:
                self._succeed(step, attempt)
                return ''
        if policy.then == 'give_up':
            raise StepFailedError(problem)
        return problem

    def _attempt(self, step: Any, policy: StepPolicy, attempt: int) -> None:
        def words(text: str) -> str:
            # the same question about the same view would get the same wrong answer
            return text if attempt % 2 else _reworded(text, step)

        if policy.before:
            self._tell(ExecutionStatus.CHECKING, step, attempt, step.description)
            for task, text in ((_POSSIBLE, step.description),
                               *((_DONE, condition) for condition in step.preconditions)):
                if not self._holds(task, words(text)):
                    not_so = 'it is not possible now' if task == _POSSIBLE else f'not so: {text}'
                    raise StepFailedError(not_so)
        if policy.look:
            self._tell(ExecutionStatus.LOOKING, step, attempt, step.description)
            self._look(step, words)
        step.status = TaskStep.EXECUTING
        self._tell(ExecutionStatus.EXECUTING, step, attempt, step.description)
        skill, config = self._config.skills[step.skill], self._config
        values = values_of(step, skill, config.target_frame, config.stand_off)
        for call in skill.runs:
            self._run(call, filled(call.fields, step, values))
        self._control.checkpoint(self._say_paused, config.settle_s)
        if policy.after:
            self._tell(ExecutionStatus.VERIFYING, step, attempt, step.success_condition)
            if not self._holds(_DONE, words(step.success_condition)):
                msg = f'it was done, and this is not so: {step.success_condition}'
                raise StepFailedError(msg)

    def _run(self, call: Call, fields: Mapping[str, Any]) -> None:
        kind = interface(call.type)
        if call.action:
            request = self._mimo.send(kind, call.name, set_fields(kind.Goal(), fields))
        else:
            request = self._mimo.call(kind, call.name, set_fields(kind.Request(), fields))
        result = self._ask(request, call.timeout)
        if wrong := unmet(result, call.expect):
            msg = f'{call.name} says that {wrong}'
            raise StepFailedError(msg)

    def _look(self, step: Any, words: Callable[[str], str]) -> None:
        """Find a step's things in the present view."""
        for argument in step.arguments:
            if argument.type not in GROUNDED or argument.grounding == SkillArgument.HELD:
                continue
            found = self._ask(self._mimo.find(
                words(argument.value), target_frame=self._config.target_frame, **self._look_at()))
            points = [point for point in found.affordances.points if point.in_image]
            if not points:
                msg = f'{argument.value} is not visible'
                raise StepFailedError(msg)
            argument.grounding, argument.point = SkillArgument.SEEN, points[0]
        step.points = [a.point for a in step.arguments if a.grounding == SkillArgument.SEEN]

    def _succeed(self, step: Any, attempt: int) -> None:
        """Note what is so after a step."""
        skill, progress = self._config.skills[step.skill], self._progress
        values = _words_of(step)
        ended = [fact.words(values) for fact in skill.ends]
        progress.held = [h for h in progress.held if h.fact not in ended]
        progress.held += [Held(f.words(values), step.success_condition) for f in skill.gives]
        if not skill.gives:
            progress.done.append(step.description)
        self._end(step, TaskStep.SUCCEEDED, attempt, step.description)

    def _end(self, step: Any, status: int, attempt: int, text: str) -> None:
        step.status = status
        step.problem = '' if status == TaskStep.SUCCEEDED else text
        self._progress.history.append(copy.deepcopy(step))
        self._tell(ExecutionStatus.EXECUTING, step, attempt, text)

    # -- what is so

    def _needs_hold(self, step: Any) -> bool:
        """Whether what earlier steps gave to this one is still so."""
        values = _words_of(step)
        needed = {fact.words(values) for fact in self._config.skills[step.skill].needs}
        self._still_held(needed)
        return needed <= {held.fact for held in self._progress.held}

    def _still_held(self, facts: set[str] | None = None) -> None:
        """Ask about facts, or about all, and forget those that are not so any more."""
        def still(held: Held) -> bool:
            if facts is not None and held.fact not in facts:
                return True
            try:
                return self._holds(_DONE, held.condition)
            except CancelledError:
                raise
            except MimoError:  # who cannot say does not know of a change
                return True

        self._progress.held = [held for held in self._progress.held if still(held)]

    def _holds(self, task: str, text: str) -> bool:
        answer = self._ask(self._mimo.answer_spatial(text, task=task, **self._look_at())).answer
        if answer.answer_type != SpatialAnswer.YES_NO:
            msg = f'the model answers neither yes nor no to {text!r}: {answer.answer}'
            raise ParseError(msg)
        return bool(answer.yes)

    def _look_at(self) -> dict[str, Any]:
        # an image from before the end of the last step does not show what it did
        return {'cameras': list(self._progress.cameras), 'max_image_age': self._config.settle_s}

    def _ask(self, request: Any, timeout_s: float | None = None) -> Any:
        return self._control.result_of(request, timeout_s)

    def _tell(self, phase: int, step: Any = None, attempt: int = 0, text: str = '') -> None:
        self._tell_others(self._progress, phase, step, attempt, text)

    def _say_paused(self) -> None:
        self._tell(ExecutionStatus.PAUSED, text='paused')


def _words_of(step: Any) -> dict[str, str]:
    return {argument.name: argument.value for argument in step.arguments}


def _reworded(text: str, step: Any) -> str:
    """The same with articles before a step's things, or without where they have some."""
    for name in (a.value for a in step.arguments if a.type in GROUNDED):
        with_article = f'the {name}'
        text = (text.replace(with_article, name) if with_article in text
                else text.replace(name, with_article))
    return text
