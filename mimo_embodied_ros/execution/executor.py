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

from .arguments import fill_placeholders, placeholder_values
from .fields import interface_class, mismatch, set_fields
from .plan_state import HeldFact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.core.skills import Call, Skill

    from .control import Control
    from .plan_state import PlanState
    from .policy import StepPolicy

_POSSIBLE, _DONE = 'is_possible', 'is_done'  # tasks of RoboVQA


@dataclass(frozen=True)
class ExecutionConfig:
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
        self, mimo: MimoClient, config: ExecutionConfig, state: PlanState, control: Control,
        report: Callable[[PlanState, int, Any, int, str], None],
    ) -> None:
        """Take what there is to do.

        Args:
            mimo: asks the model and the robot.
            config: how.
            state: where to begin; kept up to date.
            control: pauses and cancels it.
            report: called with the state, the phase, the step or None, its attempt, and words,
                whenever something begins or ends.

        """
        self._mimo, self._config, self._state = mimo, config, state
        self._control, self._report_to = control, report

    def run(self) -> None:
        """Do all of it.

        Raises:
            StepFailedError: a step failed, and the policy gives up.
            PlanRefusedError: what is to be done is not possible with these skills.
            CancelledError: it was cancelled; so is the step that was under way.
            MimoError: the model could not be asked for a plan.

        """
        state = self._state
        if not state.plan.steps:
            self._plan()
        self._check(state.plan)
        self._check_interrupted_step()
        problem = ''
        while True:
            for step in state.plan.steps:
                if step.status in (TaskStep.SUCCEEDED, TaskStep.SKIPPED):
                    continue
                problem = self._do_step(step)
                if problem:
                    break
            else:
                problem = self._check_goal()
                if not problem:
                    self._report(ExecutionStatus.ENDED, text='done')
                    return
            self._plan_again(problem)

    # -- planning

    def _plan(self) -> None:
        state = self._state
        self._control.checkpoint(self._report_paused)
        state.plans += 1
        self._report(ExecutionStatus.PLANNING, text=state.instruction)
        facts = [held.fact for held in state.held] + [f'done {done}' for done in state.done]
        result = self._result_of(self._mimo.plan(
            state.instruction, facts=facts, target_frame=self._config.target_frame,
            **self._view()))
        if not result.plan.steps:
            msg = f'the model says that it cannot be done: {state.instruction}'
            raise PlanRefusedError(msg)
        state.plan = result.plan

    def _plan_again(self, problem: str) -> None:
        """Plan from the present view.

        Raises:
            StepFailedError: it was planned too often, or there is no plan.

        """
        while self._state.plans < self._config.max_plans:
            self._forget_lost_facts()
            try:
                self._plan()
                self._check(self._state.plan)
            except CancelledError:
                raise
            except MimoError as error:
                problem = f'{problem}; planned again: {error}'
            else:
                return
        msg = f'{problem}; planned {self._state.plans} times'
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
                skill_names = ', '.join(self._config.skills)
                msg = (f'step {step.id} ({step.description}) {named}; the executor knows '
                       f'{skill_names}: give the node that plans the same skills_file')
                raise InvalidRequestError(msg)

    def _check_goal(self) -> str:
        """What is left to do after the last step, in words."""
        if not self._config.check_goal:
            return ''
        self._report(ExecutionStatus.VERIFYING, text=self._state.instruction)
        done, problem = self._is_done(self._state.instruction)
        if done is None:
            return f'nobody knows whether all is done: {problem}'
        return '' if done else f'all steps are done, and this is not: {self._state.instruction}'

    # -- one step

    def _check_interrupted_step(self) -> None:
        """After a restart: see whether the step that was under way was done."""
        for step in self._state.plan.steps:
            if step.status != TaskStep.EXECUTING:
                continue
            step.status = TaskStep.PENDING
            if self._config.policies[step.skill].after:
                self._control.checkpoint(self._report_paused, self._config.settle_s)
                self._report(ExecutionStatus.VERIFYING, step, text=step.success_condition)
                if self._ask_yes_no(_DONE, step.success_condition):
                    self._succeed(step, 0)

    def _do_step(self, step: Any) -> str:
        """Try a step as often as its policy allows; returns what is wrong, or nothing.

        Raises:
            StepFailedError: the policy gives up.

        """
        policy = self._config.policies[step.skill]
        problem = ''
        for attempt in range(1, policy.repeat + 2):
            self._control.checkpoint(self._report_paused)
            if attempt > 1 and not self._needs_still_hold(step):
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
            self._report(ExecutionStatus.CHECKING, step, attempt, step.description)
            for task, text in ((_POSSIBLE, step.description),
                               *((_DONE, condition) for condition in step.preconditions)):
                if not self._ask_yes_no(task, words(text)):
                    not_so = 'it is not possible now' if task == _POSSIBLE else f'not so: {text}'
                    raise StepFailedError(not_so)
        if policy.look:
            self._report(ExecutionStatus.LOOKING, step, attempt, step.description)
            self._find_things(step, words)
        step.status = TaskStep.EXECUTING
        self._report(ExecutionStatus.EXECUTING, step, attempt, step.description)
        skill, config = self._config.skills[step.skill], self._config
        values = placeholder_values(step, skill, config.target_frame, config.stand_off)
        for call in skill.runs:
            self._make_call(call, fill_placeholders(call.fields, step, values))
        self._control.checkpoint(self._report_paused, config.settle_s)
        if policy.after:
            self._report(ExecutionStatus.VERIFYING, step, attempt, step.success_condition)
            if not self._ask_yes_no(_DONE, words(step.success_condition)):
                msg = f'it was done, and this is not so: {step.success_condition}'
                raise StepFailedError(msg)

    def _make_call(self, call: Call, fields: Mapping[str, Any]) -> None:
        kind = interface_class(call.type)
        if call.action:
            request = self._mimo.send(kind, call.name, set_fields(kind.Goal(), fields))
        else:
            request = self._mimo.call(kind, call.name, set_fields(kind.Request(), fields))
        result = self._result_of(request, call.timeout)
        if wrong := mismatch(result, call.expect):
            msg = f'{call.name} says that {wrong}'
            raise StepFailedError(msg)

    def _find_things(self, step: Any, words: Callable[[str], str]) -> None:
        """Find a step's things in the present view."""
        for argument in step.arguments:
            if argument.type not in GROUNDED or argument.grounding == SkillArgument.HELD:
                continue
            result = self._result_of(self._mimo.find(
                words(argument.value), target_frame=self._config.target_frame, **self._view()))
            points = [point for point in result.affordances.points if point.in_image]
            if not points:
                msg = f'{argument.value} is not visible'
                raise StepFailedError(msg)
            argument.grounding, argument.point = SkillArgument.SEEN, points[0]
        step.points = [a.point for a in step.arguments if a.grounding == SkillArgument.SEEN]

    def _succeed(self, step: Any, attempt: int) -> None:
        """Note what is so after a step."""
        skill, state = self._config.skills[step.skill], self._state
        values = _argument_words(step)
        ended = [fact.words(values) for fact in skill.ends]
        state.held = [h for h in state.held if h.fact not in ended]
        state.held += [HeldFact(f.words(values), step.success_condition) for f in skill.gives]
        if not skill.gives:
            state.done.append(step.description)
        self._end(step, TaskStep.SUCCEEDED, attempt, step.description)

    def _end(self, step: Any, status: int, attempt: int, text: str) -> None:
        step.status = status
        step.problem = '' if status == TaskStep.SUCCEEDED else text
        self._state.history.append(copy.deepcopy(step))
        self._report(ExecutionStatus.EXECUTING, step, attempt, text)

    # -- what is so

    def _needs_still_hold(self, step: Any) -> bool:
        """Whether what earlier steps gave to this one is still so."""
        values = _argument_words(step)
        needed = {fact.words(values) for fact in self._config.skills[step.skill].needs}
        self._forget_lost_facts(needed)
        return needed <= {held.fact for held in self._state.held}

    def _forget_lost_facts(self, facts: set[str] | None = None) -> None:
        """Ask about facts, or about all, and forget those that are not so any more."""
        self._state.held = [
            held for held in self._state.held
            if (facts is not None and held.fact not in facts)
            # who cannot say does not know of a change
            or self._is_done(held.condition)[0] is not False]

    def _is_done(self, condition: str) -> tuple[bool | None, str]:
        """Whether the model sees that something is so; None and the reason where it cannot say."""
        try:
            return self._ask_yes_no(_DONE, condition), ''
        except CancelledError:
            raise
        except MimoError as error:
            return None, str(error)

    def _ask_yes_no(self, task: str, text: str) -> bool:
        answer = self._result_of(self._mimo.answer_spatial(text, task=task, **self._view())).answer
        if answer.answer_type != SpatialAnswer.YES_NO:
            msg = f'the model answers neither yes nor no to {text!r}: {answer.answer}'
            raise ParseError(msg)
        return bool(answer.yes)

    def _view(self) -> dict[str, Any]:
        # an image from before the end of the last step does not show what it did
        return {'cameras': list(self._state.cameras), 'max_image_age': self._config.settle_s}

    def _result_of(self, request: Any, timeout_s: float | None = None) -> Any:
        return self._control.result_of(request, timeout_s)

    def _report(self, phase: int, step: Any = None, attempt: int = 0, text: str = '') -> None:
        self._report_to(self._state, phase, step, attempt, text)

    def _report_paused(self) -> None:
        self._report(ExecutionStatus.PAUSED, text='paused')


def _argument_words(step: Any) -> dict[str, str]:
    return {argument.name: argument.value for argument in step.arguments}


def _reworded(text: str, step: Any) -> str:
    """The same with articles before a step's things, or without where they have some."""
    for name in (a.value for a in step.arguments if a.type in GROUNDED):
        with_article = f'the {name}'
        text = (text.replace(with_article, name) if with_article in text
                else text.replace(name, with_article))
    return text
