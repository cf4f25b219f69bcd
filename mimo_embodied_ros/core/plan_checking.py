"""Whether a robot can do what a plan says: its skills, their arguments, their order, and where.

Nothing is put right; only a step that would give what is so already is left out. A step that cannot
be done says why, and with it the whole plan is refused, so that none of it is done by mistake.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .answers import ArgumentType, Grounding, SkillArgument
from .instruction_matching import (
    content_words,
    may_be_same_thing,
    mentions,
    tokenize,
    uncovered_words,
)
from .skills import GROUNDED, fill, value_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .answers import Point, TaskPlan, TaskStep
    from .skills import Fact, Skill, SkillList

_PLACED = (*GROUNDED, ArgumentType.POINT)
_LONGEST = 300  # characters; no step needs more


def check_plan(plan: TaskPlan, rules: SkillList) -> TaskPlan:
    """Find the skill and the arguments of each step, and refuse a plan that has one without.

    Args:
        plan: as the model wrote it, its points in pixels of the original image.
        rules: what it may be made of.

    Returns:
        The plan with all that the steps say of skills, without those that give only what is so
        before the plan: models see badly what a gripper holds. Things whose place no step names are
        not grounded yet; see `ground_plan`.

    """
    facts: dict[tuple[str, str], int] = {}  # and the step that gave each
    for fact in rules.facts:
        name, _, value = fact.partition(' ')
        facts[name, value] = 0
    steps: list[TaskStep] = []
    for step in plan.steps:
        checked, skill = _understood(step, rules)
        if skill is not None and not checked.problem:
            if step is not plan.steps[-1] and _is_so(checked, skill, facts):
                continue
            checked = _in_order(len(steps) + 1, checked, skill, facts)
        steps.append(checked)
    problem = ''
    if len(steps) > rules.max_steps:
        problem = f'the plan has {len(steps)} steps, and at most {rules.max_steps} are allowed'
    elif steps and not any(step.problem for step in steps) and not rules.open_ended:
        steps, problem = _as_asked(plan.instruction, steps, rules)
    return _refused(replace(plan, steps=tuple(steps)), problem)


def ground_plan(
    plan: TaskPlan, rules: SkillList, locate: Callable[[str], Point | str | None]
) -> TaskPlan:
    """Find the things of a checked plan whose place no step names.

    Args:
        plan: of `check_plan`; one that is refused stays as it is.
        rules: as it was checked by.
        locate: where something is, by its words; None: it is not visible; words: why nobody knows.

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
                found = locate(argument.value)
                if found is None:
                    grounded = replace(argument, grounding=Grounding.NOT_VISIBLE)
                    unseen = '' if revealed else f'{argument.value} is not visible'
                    problem = problem or unseen
                elif isinstance(found, str):
                    problem = problem or f'nobody knows where {argument.value} is: {found}'
                else:
                    grounded = replace(argument, grounding=Grounding.SEEN, point=found)
            arguments.append(grounded)
        seen = tuple(a.point for a in arguments if a.point is not None)
        steps.append(replace(
            step, arguments=tuple(arguments), points=seen or step.points, problem=problem))
        revealed = revealed or skills[step.skill].reveals
    return _refused(replace(plan, steps=tuple(steps)))


def _refused(plan: TaskPlan, problem: str = '') -> TaskPlan:
    """The plan, with all its steps refused where one is."""
    found = [f'step {n}: {step.problem}' for n, step in enumerate(plan.steps, 1) if step.problem]
    problem = '; '.join((*found, *filter(None, (problem,))))
    if not problem:
        return plan
    steps = tuple(replace(s, problem=s.problem or 'refused with its plan') for s in plan.steps)
    return replace(plan, steps=steps, problem=problem)


def _understood(step: TaskStep, rules: SkillList) -> tuple[TaskStep, Skill | None]:
    """The step as the first skill's that fits; else with what is wrong."""
    problem = ''
    for skill in rules.skills:
        for words in skill.match(step.text) if len(step.text) <= _LONGEST else ():
            arguments, wrong = _bound(skill, words, step.points)
            if not wrong:
                values = {a.name: a.value for a in arguments}
                return replace(
                    step, skill=skill.name, arguments=arguments,
                    preconditions=tuple(fill(p, values) for p in skill.preconditions),
                    success=fill(skill.success, values)), skill
            problem = problem or wrong
    known = ', '.join(skill.name for skill in rules.skills) or 'none'
    return replace(step, problem=problem or (
        f'{step.text[:80]!r} is none of the skills that may be used: {known}')), None


def _bound(
    skill: Skill, words: dict[str, str], points: tuple[Point, ...]
) -> tuple[tuple[SkillArgument, ...], str]:
    """The arguments in a step's words, and what is wrong with them."""
    placed = [name for name in words if skill.argument(name).type in _PLACED]
    placed += [a.name for a in skill.arguments if a.type is ArgumentType.POINT]
    # A step names places after what they are of: fewer belong to the last ones. More than there
    # are things do not say which is meant.
    at = dict(zip(placed[-len(points):], points)) if 0 < len(points) <= len(placed) else {}
    arguments = []
    for argument in skill.arguments:
        value = words.get(argument.name) or argument.default or ''
        value = {option.casefold(): option for option in argument.options}.get(
            value.casefold(), value)
        if problem := value_problem(argument, value):
            return (), problem
        point = at.get(argument.name)
        seen = point is not None and point.in_image
        if argument.type is ArgumentType.POINT and not seen:
            return (), f'{argument.name} is a pixel, and the step names none in the image'
        arguments.append(SkillArgument(
            argument.name, argument.type, value,
            float(value) if argument.type is ArgumentType.NUMBER else None,
            Grounding.SEEN if seen else Grounding.NOT_GROUNDED, point if seen else None))
    return tuple(arguments), ''


def _in_order(
    number: int, step: TaskStep, skill: Skill, facts: dict[tuple[str, str], int]
) -> TaskStep:
    """Check what a step needs, say what it depends on, and change what is so after it."""
    values, problem, held, givers = step.values, '', set(), {number - 1}
    for fact in skill.needs:
        found = _matching(fact, values, facts)
        if not found:
            problem = problem or f'it needs {fact.words(values)}, and no step before it gives that'
        elif fact.argument:
            held.add(fact.argument)
        givers |= {facts[key] for key in found}
    for fact in skill.lacks:
        if found := _matching(fact, values, facts):
            problem = problem or f'it cannot be done while {" ".join(found[0]).strip()}'
    for fact in skill.ends:
        for key in _matching(fact, values, facts):
            del facts[key]
    for fact in skill.gives:
        facts[fact.name, values.get(fact.argument, '')] = number
    arguments = tuple(
        replace(a, grounding=Grounding.HELD, point=None) if a.name in held else a
        for a in step.arguments)
    return replace(step, arguments=arguments, problem=problem,
                   depends_on=tuple(sorted(givers - {0})))


def _is_so(step: TaskStep, skill: Skill, facts: Mapping[tuple[str, str], int]) -> bool:
    """Whether all that a step gives was so before the plan, and still is."""
    return bool(skill.gives) and all(
        any(not facts[key] for key in _matching(fact, step.values, facts)) for fact in skill.gives)


def _matching(
    fact: Fact, values: dict[str, str], facts: Iterable[tuple[str, str]]
) -> list[tuple[str, str]]:
    """What is so already of what a fact says."""
    return [
        (name, value) for name, value in facts
        if name == fact.name
        and (not fact.argument or may_be_same_thing(value, values[fact.argument]))]


def _as_asked(
    instruction: str, steps: list[TaskStep], rules: SkillList
) -> tuple[list[TaskStep], str]:
    """Refuse what the instruction does not ask for, and tell what it asks for beyond the steps.

    A step is asked for where the instruction has all words of one way to say its skill, or where it
    gives what such a step needs.
    """
    skills = {skill.name: skill for skill in rules.skills}
    ways = {s.name: [content_words(_without_arguments(says)) for says in (
        s.name.replace('_', ' '), *s.says, *s.asked)] for s in rules.skills}
    every_word = {word for some in ways.values() for words in some for word in words}
    said = set(tokenize(instruction))
    wanted: set[str] = set()  # names of facts that a later step needs
    checked: list[TaskStep] = []
    for step in reversed(steps):
        skill, problem = skills[step.skill], ''
        helps = wanted & {fact.name for fact in skill.gives}
        if helps or any(map(said.issuperset, ways[skill.name])):
            wanted |= {fact.name for fact in skill.needs}
        else:
            problem = f'nobody asked for {skill.name}'
        for argument in step.arguments:
            if argument.type in (*GROUNDED, ArgumentType.POSE):
                known = mentions(instruction, argument.value, every_word)
            elif argument.type in (ArgumentType.NUMBER, ArgumentType.TEXT):
                known = (said.issuperset(tokenize(argument.value))
                         or argument.value == skill.argument(argument.name).default)
            else:
                known = True
            if not known:
                problem = problem or f'the instruction does not name {argument.value}'
        checked.append(replace(step, problem=problem))
    checked.reverse()
    covered = [word for step in steps for words in ways[step.skill] for word in words]
    covered += tokenize(' '.join(rules.facts))
    for step in steps:
        covered += tokenize(' '.join(a.unit for a in skills[step.skill].arguments))
        covered += tokenize(' '.join(argument.value for argument in step.arguments))
    missing = uncovered_words(instruction, covered)
    problem = '' if not missing else (
        f'the plan does nothing about "{" ".join(missing)}" of the instruction; ask for skills and '
        'things by their words, or mark the request as open_ended')
    return checked, problem


def _without_arguments(says: str) -> str:
    return ' '.join(word for word in says.split() if not word.startswith('{'))
