"""Instructions about a table, and the steps that carry them out, each with its points.

The steps have the words of ``config/skills/simulated_arm.yaml``. What the gripper is seen to
hold is not picked up again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mimo_embodied_ros.core.tasks import Task
from mimo_embodied_ros.worlds.things import MOVABLE, SHAPES

from .question import Question, pixel_of
from .table_questions import free_space, missing_name, short_names

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from mimo_embodied_ros.worlds.table_scene import Table, Thing

MOST = 5
"""Most things in one plan: two steps for each of them, and at most ten in a plan."""
_ABSENT = 0.12  # share of the instructions about things that are not there


class _Step(NamedTuple):
    text: str
    at: Thing | None = None  # whose point stands behind the text


class _Plan(NamedTuple):
    text: str
    steps: Sequence[_Step]


def short_plan(rng: random.Random, scene: Table) -> Question | None:
    """Instruct, as `plan`, to do something that takes few steps."""
    return plan(rng, scene, ('pick', 'put', 'stack', 'hand'))


def long_plan(rng: random.Random, scene: Table) -> Question | None:
    """Instruct, as `plan`, to do something that takes many steps."""
    return plan(rng, scene, ('clear', 'swap'))


def plan(rng: random.Random, scene: Table, kinds: Sequence[str] = ()) -> Question | None:
    """Instruct to do something with the things; the answer is steps with points.

    Args:
        rng: source of all random choices.
        scene: the table.
        kinds: some of `KINDS`; empty: all of them.

    Returns:
        None where there is nothing to do.

    """
    if not any(t.shape in MOVABLE for t in scene.things):
        return None
    if rng.random() < _ABSENT:
        return _absent(rng, scene)
    kind = rng.choices([*(kinds or KINDS)], [_SHARES[kind] for kind in kinds or KINDS])[0]
    made = KINDS[kind](rng, scene)
    if made is None:
        return None
    steps = '\n'.join(f'{i}. {step.text}{f" {pixel_of(step.at)}" if step.at else ""}'
                      for i, step in enumerate(made.steps, 1))
    things = tuple(step.at for step in made.steps if step.at)
    named = dict.fromkeys(t for t in things if t.name.strip())
    thought = ' and '.join(f'the {t.name} is at {pixel_of(t)}' for t in named)
    return Question('plan', Task.PLAN, made.text, steps, steps, f'So, {thought}.' * bool(named),
                    things)


def _absent(rng: random.Random, scene: Table) -> Question:
    """An instruction about a thing that is not there."""
    name, present = missing_name(rng, scene), rng.choice(scene.things)
    movable = rng.choice([t for t in scene.things if t.shape in MOVABLE]).name
    a, b = (name, present.name) if rng.random() < 0.5 else (movable, name)
    text = rng.choice((
        f'pick up the {name}', f'{_verb(rng)} the {a} next to the {b}', f'hand me the {name}',
        f'{_verb(rng)} the {a} {SHAPES[b.split()[1]].holds or "on"} the {b}',
        f'swap the {a} and the {b}'))
    return Question('plan_absent', Task.PLAN, text, '[]', '[]', f'There is no {name}.')


def _verb(rng: random.Random) -> str:
    return rng.choice(('put', 'put', 'place', 'move'))


def _movable(scene: Table) -> list[Thing]:
    """What can be moved now: what the gripper holds, or else all on which nothing lies."""
    movable = [t for t in scene.things if t.shape in MOVABLE and not _is_covered(scene, t)]
    return [t for t in movable if t.place == 'held'] or movable


def _is_covered(scene: Table, thing: Thing) -> bool:
    """Whether something lies on a thing."""
    return any(t.place.endswith(thing.name) for t in scene.things)


def _picked(thing: Thing) -> list[_Step]:
    """The step that picks a thing up, if it is not held already."""
    return [] if thing.place == 'held' else [_Step(f'pick up the {thing.name}', thing)]


def _moved(thing: Thing, where: str, goal: Thing) -> list[_Step]:
    return [*_picked(thing), _Step(f'put the {thing.name} {where} the {goal.name}', goal)]


def _pick(rng: random.Random, scene: Table) -> _Plan | None:
    free = [t for t in _movable(scene) if t.place != 'held']
    if not free:
        return None
    thing = rng.choice(free)
    return _Plan(f'pick up the {thing.name}', _picked(thing))


def _put(rng: random.Random, scene: Table) -> _Plan | None:
    """Put one or two things somewhere."""
    goals = [t for t in scene.things if t.place != 'held' and (
        t.shape not in MOVABLE or rng.random() < 0.3)]
    if not goals:
        return None
    goal = rng.choice(goals)
    moved = [t for t in _movable(scene) if t is not goal and not t.place.endswith(goal.name)]
    if not moved:
        return None
    moved = rng.sample(moved, 2 if len(moved) > 1 and rng.random() < 0.25 else 1)
    where = rng.choice({'in': ('in', 'in', 'into'), 'on': ('on', 'on', 'onto')}.get(
        SHAPES[goal.shape].holds, ('next to',)))
    short = goal.shape in short_names(scene, goal)
    goal_name = goal.shape if short and rng.random() < 0.3 else goal.name
    names = ' and '.join(f'the {t.name}' for t in moved)
    done = {'into': 'in', 'onto': 'on'}.get(where, where)
    return _Plan(f'{_verb(rng)} {names} {where} the {goal_name}',
                 [step for thing in moved for step in _moved(thing, done, goal)])


def _stack(rng: random.Random, scene: Table) -> _Plan | None:
    """Put a thing on a cube."""
    cubes = [t for t in scene.things if t.shape == 'cube' and t.place != 'held']
    pairs = [(thing, cube) for cube in cubes for thing in _movable(scene)
             if thing is not cube and not _is_covered(scene, cube)]
    if not pairs:
        return None
    thing, cube = rng.choice(pairs)
    text = rng.choice((f'stack the {thing.name} on the {cube.name}',
                       f'stack the {thing.name} on the {cube.name}',
                       f'{_verb(rng)} the {thing.name} on the {cube.name}'))
    return _Plan(text, _moved(thing, 'on', cube))


def _clear(rng: random.Random, scene: Table) -> _Plan | None:
    """Put everything into one container, from left to right."""
    holders = [t for t in scene.things if SHAPES[t.shape].holds and t.shape != 'cup']
    boxes = [t for t in holders if t.shape == 'box']
    if not holders or scene.hidden:
        return None
    goal = rng.choice(boxes or holders)
    where = SHAPES[goal.shape].holds
    movable = [t for t in scene.things if t.shape in MOVABLE and not t.place.endswith(goal.name)]
    # what is held is put away first
    movable.sort(key=lambda t: (t.place != 'held', t.x))
    if not 0 < len(movable) <= MOST or any(_is_covered(scene, t) for t in movable):
        return None
    text = rng.choice(('clear the table', 'clear the table', 'put everything'))
    return _Plan(f'{text} {where}to the {goal.name}',
                 [step for thing in movable for step in _moved(thing, where, goal)])


def _hand(rng: random.Random, scene: Table) -> _Plan | None:
    if not (movable := _movable(scene)):
        return None
    thing = rng.choice(movable)
    text = rng.choice((f'hand me the {thing.name}', f'hand me the {thing.name}',
                       f'give me the {thing.name}'))
    return _Plan(text, [*_picked(thing), _Step(f'hand over the {thing.name}')])


def _swap(rng: random.Random, scene: Table) -> _Plan | None:
    """Let two things change places, by way of the largest free space on the table."""
    movable = [t for t in scene.things if t.shape in MOVABLE]
    free = free_space(scene)
    if any(t.place == 'held' for t in movable) or len(movable) < 2 or free is None:
        return None
    a, b = rng.sample(movable, 2)
    if _is_covered(scene, a) or _is_covered(scene, b):
        return None

    def put(thing: Thing, old: Thing) -> _Step:
        """Put a thing where another one was."""
        holder = next((t for t in scene.things if old.place.endswith(t.name)), None)
        return (_Step(f'put the {thing.name} {old.place}', holder) if holder else
                _Step(f'put the {thing.name} on the table', old))

    if any(t.place and put(t, t).at is t for t in (a, b)):  # its container is not seen
        return None
    return _Plan(f'swap the {a.name} and the {b.name}', [
        *_picked(a), _Step(f'put the {a.name} on the table', free),
        *_picked(b), put(b, a), _Step(f'pick up the {a.name}', free), put(a, b)])


KINDS: dict[str, Callable[[random.Random, Table], _Plan | None]] = {
    'pick': _pick, 'put': _put, 'stack': _stack, 'clear': _clear, 'hand': _hand, 'swap': _swap}
"""Kinds of instructions: those of the demos, and to pick something up."""
_SHARES = {'pick': 0.1, 'put': 0.5, 'stack': 0.12, 'clear': 0.12, 'hand': 0.08, 'swap': 0.08}
