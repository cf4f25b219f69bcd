"""Executes a plan step by step: checks each step with the model, repeats it, or plans again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import (
    CancelledError,
    InvalidRequestError,
    MimoError,
    PlanRefusedError,
    StepFailedError,
)
from mimo_embodied_ros.core.skills import GROUNDED
from mimo_embodied_ros.msg import ExecutionStatus, SkillArgument, TaskStep
from mimo_embodied_ros.ros.placeholders import fill_placeholders, placeholder_values

from .plan_state import HeldFact
from .questions import DONE, POSSIBLE, NoModelError, Questions
from .recollection import Recollection
from .robot_calls import (
    StillRunningError,
    check_services,
    find_servers,
    goal_ids,
    make_call,
    stop_goals,
)
from .senses import sense
from .wording import argument_words, reworded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mimo_embodied_ros.client import MimoClient
    from mimo_embodied_ros.core.skills import Skill

    from .control import Control
    from .plan_state import PlanState
    from .policy import StepPolicy


@dataclass(frozen=True)
class ExecutionConfig:
    """How plans are executed.

    Attributes:
        skills: the robot's skills by name.
        policies: what to do when a step of a skill fails, by the skill's name.
        target_frame: frame of the positions that calls get; empty: pixels only.
        max_plans: how many plans one goal may take, the first one included.
        settle_s: seconds after a step until the cameras show its result.
        stand_off: distance from an object at which a base stops, metres.
        check_goal: whether the model is asked after the last step if the instruction is done.
        wait_for_model_s: seconds for which the node that answers may be absent or not ready.
        memory: name of the node that remembers; empty: there is none.

    """

    skills: Mapping[str, Skill]
    policies: Mapping[str, StepPolicy]
    target_frame: str = ''
    max_plans: int = 4
    settle_s: float = 0.5
    stand_off: float = 0.8
    check_goal: bool = True
    wait_for_model_s: float = 0.0
    memory: str = ''


class Execution:
    """Executes one instruction, in the thread that calls `run`."""

    def __init__(
        self, mimo: MimoClient, config: ExecutionConfig, state: PlanState, control: Control,
        report: Callable[[PlanState, int, Any, int, str], None],
    ) -> None:
        """Take the instruction or plan; nothing begins before `run`.

        Args:
            mimo: client that asks the model and calls the robot's actions and services.
            config: skills, policies and limits.
            state: the state to begin from; it is updated in place.
            control: pauses and cancels the execution.
            report: called whenever something begins or ends, with the state, the phase, the step
                or None, the number of the attempt, and a text.

        """
        self._mimo, self._config, self._state = mimo, config, state
        self._control, self._report_to = control, report
        self._questions = Questions(
            mimo, state.cameras, config.settle_s, config.wait_for_model_s, control,
            lambda reason: self._report(ExecutionStatus.WAITING, text=reason), self._report_paused)
        self._recollection = Recollection(
            mimo, config.memory, config.target_frame, config.skills, config.policies, control)

    @property
    def fault(self) -> MimoError | None:
        """How the newest request to the model or the robot failed; None where it did not."""
        return self._questions.fault

    def run(self) -> None:
        """Execute until the instruction is done.

        Raises:
            StepFailedError: a step failed and its policy gives up, the robot may still be doing
                what failed, or ``max_plans`` is reached.
            PlanRefusedError: the instruction cannot be done with these skills.
            CancelledError: the execution was cancelled, and with it the step under way.
            MimoError: the node that plans did not answer the request for a plan, or the one that
                answers was not there in time.

        """
        try:
            self._run()
        except NoModelError as error:
            assert self.fault is not None
            msg = f'{self.fault}; waited {self._config.wait_for_model_s:g} s (wait_for_model)'
            raise type(self.fault)(msg) from error

    def _run(self) -> None:
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
        result = self._questions.ask(
            self._mimo.plan, state.instruction, facts=facts, skills=state.plan.skills,
            open_ended=state.plan.open_ended, max_steps=state.plan.max_steps,
            remembered=self._recollection.sentences(state.instruction),
            target_frame=self._config.target_frame)
        if not result.plan.steps:
            msg = f'the model says that this cannot be done: {state.instruction}'
            raise PlanRefusedError(msg)
        state.plan = result.plan

    def _plan_again(self, problem: str) -> None:
        """Plan again on new images.

        Raises:
            StepFailedError: ``max_plans`` is reached.

        """
        while self._state.plans < self._config.max_plans:
            self._forget_lost_facts()
            try:
                self._plan()
                self._check(self._state.plan)
            except CancelledError:
                raise
            except MimoError as error:
                problem = f'{problem}; planning again failed: {error}'
            else:
                return
        msg = f'{problem}; gave up after {self._state.plans} plans (max_plans)'
        raise StepFailedError(msg)

    def _check(self, plan: Any) -> None:
        """Check that each step of a plan has a skill of this robot.

        Raises:
            PlanRefusedError: the node that planned has refused the plan.
            InvalidRequestError: a step has no skill, or one that this robot does not have.

        """
        if plan.problem:
            raise PlanRefusedError(plan.problem)
        for step in plan.steps:
            if step.skill not in self._config.skills:
                wrong = f'has the unknown skill {step.skill}' if step.skill else 'has no skill'
                skill_names = ', '.join(self._config.skills)
                msg = (f'step {step.id} ({step.description}) {wrong}; the executor knows '
                       f'{skill_names}: give the node that plans the same skills_file')
                raise InvalidRequestError(msg)

    def _check_goal(self) -> str:
        """Ask after the last step whether the instruction is done; return the problem or ''."""
        if not self._config.check_goal:
            return ''
        self._report(ExecutionStatus.VERIFYING, text=self._state.instruction)
        done, problem = self._questions.is_done(self._state.instruction)
        if done is None:
            return f'the model could not tell whether the instruction is done: {problem}'
        return '' if done else (
            f'all steps are done, but the model says that this is not: {self._state.instruction}')

    # -- one step

    def _check_interrupted_step(self) -> None:
        """After a restart: ask whether the step that was under way has been done."""
        for step in self._state.plan.steps:
            if step.status != TaskStep.EXECUTING:
                continue
            runs = self._config.skills[step.skill].runs
            stop_goals(self._mimo, runs, self._state.goal_ids, self._control)
            # it stays EXECUTING until the answer, so that it is asked about after another restart
            self._control.checkpoint(self._report_paused, self._config.settle_s)
            condition = self._asked_condition(step)
            self._report(ExecutionStatus.VERIFYING, step, text=condition or step.description)
            if self._holds(step.skill, condition):
                self._succeed(step, 0)
                continue
            check_services(self._mimo, self._state.servers, self._control)
            step.status = TaskStep.PENDING

    def _do_step(self, step: Any) -> str:
        """Try a step as often as its policy allows; return the problem, or '' when it is done.

        Raises:
            StepFailedError: the step failed, and its policy gives up or its call may still run.

        """
        policy = self._config.policies[step.skill]
        problem = ''
        for attempt in range(1, policy.repeat + 2):
            self._control.checkpoint(self._report_paused)
            if attempt > 1 and not self._needs_still_hold(step):
                break
            step.status, step.problem = TaskStep.PENDING, ''
            try:
                said = self._attempt(step, policy, attempt)
            except CancelledError as error:
                self._end(step, TaskStep.CANCELLED, attempt, str(error))
                raise
            except MimoError as error:
                problem = f'step {step.id} ({step.description}): {error}'
                self._end(step, TaskStep.FAILED, attempt, str(error))
                if isinstance(error, StillRunningError):  # whatever is done next is done beside it
                    raise StepFailedError(f'{problem}; the plan is given up') from error
            else:
                self._succeed(step, attempt, said)
                return ''
        if policy.then == 'give_up':
            raise StepFailedError(problem)
        return problem

    def _attempt(self, step: Any, policy: StepPolicy, attempt: int) -> str:
        """Do a step; return who says that it is done, where the robot itself does."""
        def words(text: str) -> str:
            # the same question about the same view would get the same wrong answer
            return text if attempt % 2 else reworded(text, step)

        if policy.before:
            self._report(ExecutionStatus.CHECKING, step, attempt, step.description)
            for task, text in ((POSSIBLE, step.description),
                               *((DONE, condition) for condition in step.preconditions)):
                if not self._questions.yes_no(task, words(text)):
                    unmet = ('it is not possible now' if task == POSSIBLE
                             else f'this precondition does not hold: {text}')
                    msg = f'the model says that {unmet}'
                    raise StepFailedError(msg)
        if policy.look:
            self._report(ExecutionStatus.LOOKING, step, attempt, step.description)
            self._find_things(step, words)
        skill = self._config.skills[step.skill]
        step.status, self._state.goal_ids = TaskStep.EXECUTING, goal_ids(skill.runs)
        self._state.servers = {}
        self._report(ExecutionStatus.EXECUTING, step, attempt, step.description)
        results = self._run_skill(step, attempt, self._state.goal_ids)
        condition = self._asked_condition(step)
        if condition or skill.conditions:
            self._report(ExecutionStatus.VERIFYING, step, attempt, condition or step.description)
        if skill.conditions:
            return self._check_sensed(skill, results, words(condition))
        if condition and not self._questions.yes_no(DONE, words(condition)):
            msg = f'the robot did it, but the model says that this is not so: {condition}'
            raise StepFailedError(msg)
        return ''

    def _run_skill(self, step: Any, attempt: int, ids: Sequence[str]) -> dict[str, Any]:
        """Make the calls of a step's skill; return their results by their names."""
        skill, config, results = self._config.skills[step.skill], self._config, {}
        values = placeholder_values(step, skill, config.target_frame, config.stand_off)
        for call, goal_id in zip(skill.runs, ids):
            if not call.action:  # noted before it is called
                self._state.servers[call.name] = self._questions.noted(
                    find_servers, self._mimo, call.name, self._control)
                self._report(ExecutionStatus.EXECUTING, step, attempt, step.description)
            fields = fill_placeholders(call.fields, step, values)
            results[call.name] = self._questions.noted(
                make_call, self._mimo, call, fields, goal_id, self._control)
        self._control.checkpoint(self._report_paused, config.settle_s)
        return results

    def _asked_condition(self, step: Any) -> str:
        """The words that the model is asked about when a step has ended; empty: it is not asked."""
        return step.success_condition if self._config.policies[step.skill].after else ''

    def _check_sensed(self, skill: Skill, results: Mapping[str, Any], condition: str) -> str:
        """Check what the robot itself says, which decides; return that and the model's word."""
        holds, said = self._questions.noted(
            sense, self._mimo, skill.conditions, results, self._control)
        if condition:
            model, problem = self._questions.is_done(condition)
            self._questions.fault = None  # nothing hangs on its answer
            answer = {True: 'yes', False: 'no', None: f'nothing ({problem})'}[model]
            said = f'{said}; the model says {answer}'
        if not holds:
            raise StepFailedError(said)
        return said

    def _find_things(self, step: Any, words: Callable[[str], str]) -> None:
        """Find the objects and places of a step again in new images."""
        for argument in step.arguments:
            if argument.type not in GROUNDED or argument.grounding == SkillArgument.HELD:
                continue
            point = self._find(argument.value, words)
            if point is None:
                why = f'; {said}' if (said := self._recollection.problem) else ''
                msg = f'{argument.value} is not visible{why}'
                raise StepFailedError(msg)
            argument.grounding, argument.point = SkillArgument.SEEN, point
        step.points = [a.point for a in step.arguments if a.grounding == SkillArgument.SEEN]

    def _find(self, name: str, words: Callable[[str], str]) -> Any:
        """Find a thing; where it is not visible, look where it was seen last. None: nowhere."""
        point = self._visible(words(name))
        for look in () if point is not None else self._recollection.looks(name):
            self._report(ExecutionStatus.LOOKING, text=look.description)
            self._run_skill(look, 0, goal_ids(self._config.skills[look.skill].runs))
            point = self._visible(words(name))
            if point is not None:
                break
        return point

    def _visible(self, name: str) -> Any:
        """The best point of a thing in a new image; None: it is not there."""
        result = self._questions.ask(
            self._mimo.find, name, target_frame=self._config.target_frame)
        return next((p for p in result.affordances.points if p.in_image), None)

    def _succeed(self, step: Any, attempt: int, said: str = '') -> None:
        """Note the facts that a successful step gives and ends, and who says that it is done."""
        skill, state = self._config.skills[step.skill], self._state
        values = argument_words(step)
        ended = [fact.words(values) for fact in skill.ends]
        state.held = [h for h in state.held if h.fact not in ended]
        state.held += [
            HeldFact(f.words(values), step.success_condition, skill.name) for f in skill.gives]
        if not skill.gives:
            state.done.append(step.description)
        self._end(step, TaskStep.SUCCEEDED, attempt, said or step.description)

    def _end(self, step: Any, status: int, attempt: int, text: str) -> None:
        step.status = status
        step.problem = '' if status == TaskStep.SUCCEEDED else text
        self._state.history.append(copy.deepcopy(step))
        self._report(ExecutionStatus.EXECUTING, step, attempt, text)

    # -- facts

    def _needs_still_hold(self, step: Any) -> bool:
        """Whether the facts that a step needs from earlier steps still hold."""
        values = argument_words(step)
        needed = {fact.words(values) for fact in self._config.skills[step.skill].needs}
        self._forget_lost_facts(needed)
        return needed <= {held.fact for held in self._state.held}

    def _forget_lost_facts(self, facts: set[str] | None = None) -> None:
        """Look whether these facts, or all, still hold, and drop those that do not."""
        self._state.held = [
            held for held in self._state.held
            if (facts is not None and held.fact not in facts) or self._may_hold(held)]

    def _may_hold(self, held: HeldFact) -> bool:
        """Whether a fact holds, or nobody can tell."""
        try:
            return self._holds(held.skill, held.condition) is not False
        except CancelledError:
            raise
        except MimoError:
            return True

    def _holds(self, skill: str, condition: str) -> bool | None:
        """Whether what a step has brought about is so now; None where nobody is asked.

        What the robot says in topics decides; results of calls are not known any more.
        """
        conditions, holds = self._config.skills[skill].conditions, None
        if any(c.type for c in conditions):
            holds, _ = self._questions.noted(sense, self._mimo, conditions, {}, self._control)
        if holds is None and condition:
            holds = self._questions.yes_no(DONE, condition)
        return holds

    def _report(self, phase: int, step: Any = None, attempt: int = 0, text: str = '') -> None:
        self._report_to(self._state, phase, step, attempt, text)

    def _report_paused(self) -> None:
        self._report(ExecutionStatus.PAUSED, text='paused')
