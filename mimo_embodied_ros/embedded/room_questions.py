"""Questions about a room as a base sees it: places, what is nearer, plans and checks.

The steps and conditions have the words of ``config/skills/room.yaml``.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

from mimo_embodied_ros.core.tasks import TASKS, Task

from . import table_questions
from .question import (
    Question,
    boxed_answer,
    pixel_of,
    with_random_article,
    yes_no_question,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from mimo_embodied_ros.worlds.room_scene import RoomScene
    from mimo_embodied_ros.worlds.table_scene import SeenThing

NEXT_TO, NOT_NEXT_TO = 1.0, 1.35
"""Metres between base and thing up to which it is next to it, and from which it is not."""
_NEARER = 0.5  # metres from which on it is obvious what is nearer


def _things(scene: RoomScene) -> tuple[SeenThing, ...]:
    return cast('tuple[SeenThing, ...]', scene.things)


def plan(rng: random.Random, scene: RoomScene) -> Question:
    """Instruct to go somewhere; the answer is steps with points."""
    if not scene.things or rng.random() < 0.2:
        name = table_questions.missing_name(rng, scene)
        text = f'{_verb(rng)} the {name}'
        return Question('plan_absent', Task.PLAN, text, '[]', '[]', f'There is no {name}.')
    count = 2 if len(scene.things) > 1 and rng.random() < 0.2 else 1
    goals = tuple(rng.sample(scene.things, count))
    verb = _verb(rng) if count == 1 else 'go to'
    text = f'{verb} {" and then to ".join(f"the {t.name}" for t in goals)}'
    steps = '\n'.join(f'{i}. go to the {t.name} {pixel_of(t)}' for i, t in enumerate(goals, 1))
    thought = ' and '.join(f'the {t.name} is at {pixel_of(t)}' for t in goals)
    return Question('plan', Task.PLAN, text, steps, steps, f'So, {thought}.', goals)


def _verb(rng: random.Random) -> str:
    return rng.choice(('go to', 'go to', 'drive to', 'approach'))


def check(rng: random.Random, scene: RoomScene) -> Question | None:
    """Ask whether the base can go to a thing, or stands before it; None: that is hard to say."""
    name = table_questions.missing_name(rng, scene)
    yes = False
    near = [t for t in _things(scene) if scene.gap(t) < NEXT_TO]
    far = [t for t in _things(scene) if scene.gap(t) > NOT_NEXT_TO]
    if rng.random() < 0.35:
        if scene.things and rng.random() < 0.5:
            name, yes = rng.choice(scene.things).name, True
        thing = with_random_article(rng, name)
        task, text = rng.choice((
            ('is_possible', f'go to {thing}'), ('is_done', f'{thing} can be reached')))
    else:
        if near and rng.random() < 0.6:
            name, yes = rng.choice(near).name, True
        elif far and rng.random() < 0.7:
            name = rng.choice(far).name
        thing = with_random_article(rng, name)
        task, text = 'is_done', rng.choice((f'go to {thing}', f'the robot is next to {thing}'))
    word = 'yes' if yes else 'no'
    return Question('check', TASKS[task], text, word, word)


def nearer(rng: random.Random, scene: RoomScene) -> Question | None:
    """Ask which of two things is nearer to the robot; None: that is hard to say."""
    if len(scene.things) < 2:
        return None
    a, b = rng.sample(_things(scene), 2)
    if abs(scene.gap(a) - scene.gap(b)) < _NEARER:
        return None
    yes = scene.gap(a) < scene.gap(b)
    if rng.random() < 0.35:
        word = 'nearer' if yes else 'farther'
        text = f'Is the {a.name} nearer or farther than the {b.name}?'
        return Question('opposites', Task.SPATIAL, text, boxed_answer(word), word)
    return yes_no_question(
        rng, 'nearer', f'Is the {a.name} nearer than the {b.name}?', yes=yes, things=(a, b))


def _side(rng: random.Random, scene: RoomScene) -> Question | None:
    return table_questions.relation(rng, scene, rng.choice(('left', 'right')))


_WEIGHTS: tuple[tuple[float, Callable[[random.Random, RoomScene], Question | None]], ...] = (
    (5.0, table_questions.point), (0.5, table_questions.box), (0.8, table_questions.exists),
    (1.0, table_questions.colour), (0.6, table_questions.count), (0.6, table_questions.listing),
    (1.2, table_questions.absent), (2.5, check), (1.5, _side), (2.0, nearer))
MAKERS = (lambda rng, scene: table_questions.point(rng, scene) if scene.things else None,
          table_questions.absent, check, nearer, plan)
"""What is asked about each room in an evaluation; each may return None."""
_NOTHING = (table_questions.absent, check)  # what can be asked where nothing is seen


def about_room(rng: random.Random, scene: RoomScene) -> Iterator[Question]:
    """Yield questions without end, of all kinds but plans, with the frequencies of `_WEIGHTS`."""
    weights, makers = zip(*_WEIGHTS)
    while True:
        maker = rng.choices(makers, weights)[0] if scene.things else rng.choice(_NOTHING)
        question = maker(rng, scene)
        if question is not None:
            yield question


def questions(rng: random.Random, scene: RoomScene, number: int, want: str) -> list[Question]:
    """Make questions of one kind.

    Args:
        rng: source of all random choices.
        scene: the room.
        number: how many are needed.
        want: plan, box, nearest (what is nearer to the robot), point, any or easy (all kinds but
            plans); others: all but plans and points.

    """
    if want == 'plan':
        return [plan(rng, scene) for _ in range(number)]
    if want == 'box' and scene.things:
        return [table_questions.box(rng, scene) for _ in range(number)]
    if want == 'nearest' and len(scene.things) > 1:
        tries = (nearer(rng, scene) for _ in range(4 * number))
        return [question for question in tries if question is not None]
    made = list(itertools.islice(about_room(rng, scene), 4 * number))
    if want in {'any', 'easy'}:
        return made
    return [q for q in made if (q.task is Task.POINTS) == (want == 'point')]
