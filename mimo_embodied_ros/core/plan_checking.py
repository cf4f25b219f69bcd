"""Check a plan against the robot's skills: their arguments, their order, and where things are.

Steps are not corrected; only a step that would give a fact that holds already is left out. A step
that cannot be done says why, and then the whole plan is refused, so that no part of it is done by
mistake.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .action_verbs import holds_order
from .answers import ArgumentType, Grounding, SkillArgument
from .instruction_matching import (
    content_words,
    may_be_same_thing,
    mentions,
    tokenize,
    uncovered_words,
)
from .skills import GROUNDED, PLACEHOLDER, fill, is_chinese, value_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .answers import Point, TaskPlan, TaskStep
    from .skills import Argument, Fact, Skill, SkillList

_WITH_PIXEL = (*GROUNDED, ArgumentType.POINT)
_MAX_LENGTH = 300  # characters of a step; longer ones fit no skill


def check_plan(plan: TaskPlan, rules: SkillList) -> TaskPlan:
    """Find the skill and the arguments of each step, and refuse the plan if a step has none.

    Args:
        plan: as the model wrote it, its points in pixels of the original image.
        rules: the skills that the plan may use.

    Returns:
        The plan with the skill fields of its steps filled. Steps that give only facts that hold
        before the plan are left out, because models often do not see what a gripper holds. Things
        whose place no step names are not grounded yet; see `ground_plan`.

    """
    facts: dict[tuple[str, str], int] = {}  # the facts that hold, with the step that gave each
    for fact in rules.facts:
        name, _, value = fact.partition(' ')
        facts[name, value] = 0
    steps: list[TaskStep] = []
    for step in plan.steps:
        checked, skill = _match_skill(step, rules)
        if skill is not None and not checked.problem:
            if step is not plan.steps[-1] and _is_done(checked, skill, facts):
                continue
            checked = _check_order(len(steps) + 1, checked, skill, facts)
        steps.append(checked)
    problem = ''
    if len(steps) > rules.max_steps:
        problem = f'the plan has {len(steps)} steps, and at most {rules.max_steps} are allowed'
    elif steps and not any(step.problem for step in steps) and not rules.open_ended:
        steps, problem = _check_instruction(plan.instruction, steps, rules)
    return _refuse_if_wrong(replace(plan, steps=tuple(steps)), problem)


def ground_plan(
    plan: TaskPlan, rules: SkillList, locate: Callable[[str], Point | str | None]
) -> TaskPlan:
    """Find the things of a checked plan whose place no step names.

    Args:
        plan: of `check_plan`; one that is refused stays as it is.
        rules: the skills that it was checked against.
        locate: takes a thing's name and returns where it is, None if it is not visible, or a
            string that says why its place is unknown.

    """
    if plan.problem:
        return plan
    skills = {skill.name: skill for skill in rules.skills}
    steps, revealed = [], False
    for step in plan.steps:
        arguments, problem = [], ''
        for argument in step.arguments:
            grounded = argument
            if argument.type in GROUNDED and argument.grounding is Grounding.NOT_GROUNDED:
                place = locate(argument.value)
                if place is None:
                    grounded = replace(argument, grounding=Grounding.NOT_VISIBLE)
                    if not revealed:
                        problem = problem or f'{argument.value} is not visible'
                elif isinstance(place, str):
                    problem = problem or f'the place of {argument.value} is unknown: {place}'
                else:
                    grounded = replace(argument, grounding=Grounding.SEEN, point=place)
            arguments.append(grounded)
        points = tuple(a.point for a in arguments if a.point is not None)
        steps.append(replace(
            step, arguments=tuple(arguments), points=points or step.points, problem=problem))
        revealed = revealed or skills[step.skill].reveals
    return _refuse_if_wrong(replace(plan, steps=tuple(steps)))


def _refuse_if_wrong(plan: TaskPlan, problem: str = '') -> TaskPlan:
    """Refuse the plan and all its steps where it or one of its steps has a problem."""
    problems = [f'step {n}: {step.problem}' for n, step in enumerate(plan.steps, 1) if step.problem]
    problem = '; '.join((*problems, *filter(None, (problem,))))
    if not problem:
        return plan
    steps = tuple(replace(s, problem=s.problem or 'refused with its plan') for s in plan.steps)
    return replace(plan, steps=steps, problem=problem)


def _match_skill(step: TaskStep, rules: SkillList) -> tuple[TaskStep, Skill | None]:
    """Fill the step by the first skill that fits; without one, say what is wrong with it."""
    problem = ''
    orders = frozenset(PLACEHOLDER.split(says)[0].split(' ')[0].casefold()
                       for skill in rules.skills for says in skill.says)
    for skill in rules.skills:
        for words in skill.match(step.text) if len(step.text) <= _MAX_LENGTH else ():
            arguments, argument_problem = _bind_arguments(skill, words, step.points, orders)
            if not argument_problem:
                values = {a.name: a.value for a in arguments}
                return replace(
                    step, skill=skill.name, arguments=arguments,
                    preconditions=tuple(fill(p, values) for p in skill.preconditions),
                    success=fill(skill.success, values)), skill
            problem = problem or argument_problem
    allowed = ', '.join(skill.name for skill in rules.skills) or 'none'
    return replace(step, problem=problem or (
        f'{step.text[:80]!r} is none of the skills that may be used: {allowed}')), None


def _bind_arguments(
    skill: Skill, words: dict[str, str], points: tuple[Point, ...], orders: frozenset[str]
) -> tuple[tuple[SkillArgument, ...], str]:
    """Return the arguments in a step's words, and what is wrong with them."""
    names = [name for name in words if skill.argument(name).type in _WITH_PIXEL]
    names += [a.name for a in skill.arguments if a.type is ArgumentType.POINT]
    # A step writes a pixel after the thing that it belongs to: if there are fewer pixels than
    # things, they belong to the last ones. If there are more, it is unclear which thing is meant.
    pixels = dict(zip(names[-len(points):], points)) if 0 < len(points) <= len(names) else {}
    arguments = []
    for argument in skill.arguments:
        value = words.get(argument.name) or argument.default or ''
        value = {option.casefold(): option for option in argument.options}.get(
            value.casefold(), value)
        if problem := value_problem(argument, value):
            return (), problem
        if argument.type in GROUNDED and holds_order(value, orders):
            return (), f'{argument.name} is {value!r}, which says something more to do'
        point = pixels.get(argument.name)
        visible = point is not None and point.in_image
        if argument.type is ArgumentType.POINT and not visible:
            return (), f'{argument.name} is a pixel, and the step names no pixel in the image'
        arguments.append(SkillArgument(
            argument.name, argument.type, value,
            float(value) if argument.type is ArgumentType.NUMBER else None,
            Grounding.SEEN if visible else Grounding.NOT_GROUNDED, point if visible else None))
    return tuple(arguments), ''


def _check_order(
    number: int, step: TaskStep, skill: Skill, facts: dict[tuple[str, str], int]
) -> TaskStep:
    """Check the facts that a step needs, note which steps gave them, and update the facts."""
    values, problem, held, givers = step.values, '', set(), {number - 1}
    for fact in skill.needs:
        holding = _matching_facts(fact, values, facts)
        if not holding:
            problem = problem or f'it needs {fact.words(values)}, and no step before it gives that'
        elif fact.argument:
            held.add(fact.argument)
        givers |= {facts[key] for key in holding}
    for fact in skill.lacks:
        if holding := _matching_facts(fact, values, facts):
            problem = problem or f'it cannot be done while {" ".join(holding[0]).strip()}'
    for fact in skill.ends:
        for key in _matching_facts(fact, values, facts):
            del facts[key]
    for fact in skill.gives:
        facts[fact.name, values.get(fact.argument, '')] = number
    arguments = tuple(
        replace(a, grounding=Grounding.HELD, point=None) if a.name in held else a
        for a in step.arguments)
    return replace(step, arguments=arguments, problem=problem,
                   depends_on=tuple(sorted(givers - {0})))


def _is_done(step: TaskStep, skill: Skill, facts: Mapping[tuple[str, str], int]) -> bool:
    """Whether all facts that a step gives held before the plan, and still hold."""
    return bool(skill.gives) and all(
        any(not facts[key] for key in _matching_facts(fact, step.values, facts))
        for fact in skill.gives)


def _matching_facts(
    fact: Fact, values: dict[str, str], facts: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Return the facts that hold and match a skill's fact with the step's values."""
    return [
        (name, value) for name, value in facts
        if name == fact.name
        and (not fact.argument or may_be_same_thing(value, values[fact.argument]))]


def _check_instruction(
    instruction: str, steps: list[TaskStep], rules: SkillList
) -> tuple[list[TaskStep], str]:
    """Refuse steps that the instruction does not ask for, and an instruction that is not covered.

    The instruction asks for a step if it has all content words of one way to say its skill, or if
    the step gives a fact that such a step needs.
    """
    skills = {skill.name: skill for skill in rules.skills}
    phrases = {s.name: [content_words(_without_arguments(says)) for says in (
        s.name.replace('_', ' '), *s.says, *s.asked)] for s in rules.skills}
    skill_words = {word for ways in phrases.values() for words in ways for word in words}
    skill_words |= {option for skill in rules.skills for argument in skill.arguments
                    for option in argument.options if is_chinese(option)}
    instruction_words = set(tokenize(instruction, skill_words))
    needed: set[str] = set()  # names of facts that a later step needs
    checked: list[TaskStep] = []
    for step in reversed(steps):
        skill, problem = skills[step.skill], ''
        helps = needed & {fact.name for fact in skill.gives}
        if helps or any(map(instruction_words.issuperset, phrases[skill.name])):
            needed |= {fact.name for fact in skill.needs}
        else:
            problem = f'{skill.name} is not among the skills that the instruction asks for'
        for argument in step.arguments:
            if not _names_value(
                    instruction, argument, skill.argument(argument.name), skill_words):
                problem = problem or f'the instruction does not name {argument.value}'
        checked.append(replace(step, problem=problem))
    checked.reverse()
    covered = tokenize(' '.join(rules.facts), skill_words)
    for step in steps:
        covered += [word for words in phrases[step.skill] for word in words]
        covered += tokenize(' '.join(a.unit for a in skills[step.skill].arguments))
        covered += tokenize(' '.join(argument.value for argument in step.arguments))
    missing = uncovered_words(instruction, covered)
    problem = '' if not missing else (
        f'the plan does nothing about "{" ".join(missing)}" of the instruction; ask for skills and '
        'things by their words, or mark the request as open_ended')
    return checked, problem


def _names_value(
    instruction: str, argument: SkillArgument, declared: Argument, skill_words: Iterable[str]
) -> bool:
    """Whether the instruction names an argument's value; pixels and choices need no name."""
    if argument.type in (*GROUNDED, ArgumentType.POSE):
        return mentions(instruction, argument.value, skill_words)
    if argument.type in (ArgumentType.NUMBER, ArgumentType.TEXT):
        return (set(tokenize(instruction, skill_words)).issuperset(tokenize(argument.value))
                or argument.value == declared.default)
    return True


def _without_arguments(says: str) -> str:
    return PLACEHOLDER.sub(' ', says)
