"""Questions about a table, drawn or rendered: places, relations between things, and checks."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.tasks import TASKS, Task
from mimo_embodied_ros.worlds.table_scene import Thing, clearance
from mimo_embodied_ros.worlds.things import COLOURS, CONTAINERS

from . import state_questions
from .question import (
    Question,
    boxed_answer,
    pixel_of,
    points_json,
    with_random_article,
    yes_no_question,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from mimo_embodied_ros.worlds.table_scene import Table

RELATIONS = ('left', 'right', 'above', 'below', 'nearest', 'bigger')
# A relation is asked only where it is obvious.
_OFFSET = 0.1  # least offset along the axis, as a share of the picture's side
_NEARER = 0.12  # how much nearer than the next one, as a share of the shorter side
_BIGGER = 1.5  # least ratio of the areas
_GRID = 7  # places along each side of a drawn table among which the freest is found


def _side(scene: Table) -> float:
    return float(min(scene.pixels.shape[:2]))


def short_names(scene: Table, thing: Thing) -> list[str]:
    """Return shorter names that still name only this thing."""
    names: list[str] = []
    if scene.hidden:
        return names
    if sum(t.shape == thing.shape for t in scene.things) == 1:
        names.append(thing.shape)
    if sum(t.colour == thing.colour for t in scene.things) == 1:
        names.append(f'{thing.colour} object')
    return names


def missing_name(rng: random.Random, scene: Table, alike: float = 0.5) -> str:
    """Return a name that no thing here has; a share with a colour or shape that one has."""
    names = state_questions.missing_names(scene)
    if scene.things and rng.random() < alike:
        names = state_questions.like(rng.choice(scene.things).name, names)
    return rng.choice(names)


def point(rng: random.Random, scene: Table, thing: Thing | None = None) -> Question:
    """Ask for the point of one thing, by its full name or a shorter one."""
    thing = thing or rng.choice(scene.things)
    names = short_names(scene, thing)
    name = rng.choice(names) if names and rng.random() < 0.25 else thing.name
    text = with_random_article(rng, name)
    place = pixel_of(thing)
    return Question('point', Task.POINTS, text, points_json(text, place), f'[{place}]',
                    f'The {name} is at {place}.', (thing,))


def absent(rng: random.Random, scene: Table) -> Question:
    """Ask for the point of a thing that is not there."""
    name = missing_name(rng, scene)
    return Question('absent', Task.POINTS, with_random_article(rng, name), '[]', '[]',
                    f'There is no {name}.')


def free_space(scene: Table) -> Thing | None:
    """Return the middle of the largest free space, as a thing without a name; None: unknown."""
    if scene.rendered:
        return Thing('', '', *scene.free, 0.0) if scene.free else None
    height, width = scene.pixels.shape[:2]
    radius = 0.1 * min(height, width)
    top = scene.horizon + radius
    places = [(radius + (width - 2 * radius) * i / (_GRID - 1),
               top + (height - radius - top) * j / (_GRID - 1))
              for i, j in itertools.product(range(_GRID), repeat=2)]
    x, y = max(places, key=lambda place: clearance(place[0], place[1], radius, scene.things))
    return Thing('', '', x, y, 0.0)


def free_point(rng: random.Random, scene: Table) -> Question | None:
    """Ask where there is room on the table, as the executor does before a thing is put there."""
    free = free_space(scene)
    if free is None:
        return None
    text = rng.choice(('the table', 'the table', 'table', 'free space on the table'))
    place = pixel_of(free)
    return Question('free', Task.POINTS, text, points_json(text, place), f'[{place}]',
                    f'There is room at {place}.', (free,))


def box(rng: random.Random, scene: Table) -> Question:
    """Ask for the box around one thing."""
    thing = rng.choice(scene.things)
    text = with_random_article(rng, thing.name)
    corners = f'[{", ".join(str(round(v)) for v in thing.box)}]'
    return Question('box', Task.BOXES, text, f'[{{"bbox_2d": {corners}, "label": "{text}"}}]',
                    corners, things=(thing,))


_OPPOSITES = {('left', 'right'): ' of', ('above', 'below'): '', ('bigger', 'smaller'): ' than'}


def _compared(scene: Table, a: Thing, b: Thing, pair: tuple[str, str]) -> str:
    """Which of a pair of opposites holds for ``a`` and ``b``; empty when too close to call."""
    height, width = scene.pixels.shape[:2]
    more, least = {
        'left': ((b.x - a.x) / width, _OFFSET),
        'above': ((b.y - a.y) / height, _OFFSET),
        'bigger': (math.log(a.size / b.size), math.log(_BIGGER)),
    }[pair[0]]
    return '' if abs(more) < least else pair[more < 0]


def opposites(rng: random.Random, scene: Table) -> Question | None:
    """Ask which of two opposites holds for two things, so that no yes or no is involved."""
    if len(scene.things) < 2:
        return None
    a, b = rng.sample(scene.things, 2)
    pair, link = rng.choice([*_OPPOSITES.items()])
    word = _compared(scene, a, b, pair)
    text = f'Is the {a.name} {pair[0]} or {pair[1]}{link} the {b.name}?'
    return Question('opposites', Task.SPATIAL, text, boxed_answer(word), word) if word else None


def relation(rng: random.Random, scene: Table, kind: str) -> Question | None:
    """Ask whether one of `RELATIONS` holds between two things; None where it is not obvious."""
    if len(scene.things) < (3 if kind == 'nearest' else 2):
        return None
    a, b = rng.sample(scene.things, 2)
    if kind != 'nearest':
        pair = next(p for p in _OPPOSITES if kind in p)
        word = _compared(scene, a, b, pair)
        words = {'left': rng.choice(('left of', 'to the left of')), 'bigger': 'bigger than',
                 'right': rng.choice(('right of', 'to the right of'))}.get(kind, kind)
        text = f'Is the {a.name} {words} the {b.name}?'
        return (yes_no_question(rng, kind, text, yes=word == kind, things=(a, b)) if word
                else None)
    nearest, gap = _nearest(scene, b)
    if gap < _NEARER:
        return None
    others = [t for t in scene.things if t is not b and t is not nearest]
    thing = nearest if rng.random() < 0.5 else rng.choice(others)
    text = f'Is the {thing.name} the nearest object to the {b.name}?'
    return yes_no_question(rng, kind, text, yes=thing is nearest, things=(thing, b))


def _nearest(scene: Table, thing: Thing) -> tuple[Thing, float]:
    """The nearest other thing, and how much nearer it is than the next, in shorter sides."""
    ranked = sorted((math.hypot(t.x - thing.x, t.y - thing.y), i)
                    for i, t in enumerate(scene.things) if t is not thing)
    gap = ranked[1][0] - ranked[0][0] if len(ranked) > 1 else math.inf
    return scene.things[ranked[0][1]], gap / _side(scene)


def nearest_neighbour(scene: Table, thing: Thing) -> Thing | None:
    """The other thing that is clearly the nearest, or None; a target of the vision tower."""
    if len(scene.things) < 2:
        return None
    nearest, gap = _nearest(scene, thing)
    return nearest if gap >= _NEARER / 2 else None


def exists(rng: random.Random, scene: Table) -> Question:
    """Ask whether a thing is there."""
    yes = rng.random() < 0.5
    name = rng.choice(scene.things).name if yes else missing_name(rng, scene)
    article = 'an' if name[0] in 'aeiou' else 'a'
    return yes_no_question(rng, 'exists', f'Is there {article} {name}?', yes=yes)


def check_alike(rng: random.Random, scene: Table) -> Question:
    """Ask as `check`, about what has the colour or the shape of another thing."""
    return check(rng, scene, alike=1.0)


def check(rng: random.Random, scene: Table, alike: float = 0.5) -> Question:
    """Ask whether a step of a plan is possible now, or has been done.

    On a drawn table a thing in the gripper or in a bowl is not visible, and all others are.

    Args:
        rng: source of all random choices.
        scene: the table.
        alike: least share of the things asked about that have the colour or shape of another.

    """
    if scene.rendered:
        return state_questions.check(rng, scene, max(alike, 0.7))
    visible = rng.random() < 0.5
    shared = [t for t in scene.things if len(short_names(scene, t)) < 2]
    things = shared if shared and rng.random() < 2 * alike - 1 else scene.things
    present, missing = rng.choice(things).name, missing_name(rng, scene, alike)
    thing = with_random_article(rng, present if visible else missing)
    holders = [t.name for t in scene.things if t.shape in CONTAINERS and t.name != present]
    if holders and rng.random() < 0.5:
        holder = with_random_article(rng, rng.choice(holders))
        if rng.random() < 0.4:
            holder_visible = rng.random() < 0.5
            into = holder if holder_visible else with_random_article(rng, missing)
            return _check_question('is_possible', f'put {thing} in {into}', yes=holder_visible)
        text = rng.choice((f'put {thing} in {holder}', f'{thing} is in {holder}'))
        return _check_question('is_done', text, yes=not visible)
    text, task, yes = rng.choice((
        (f'pick up {thing}', 'is_possible', visible), (f'pick up {thing}', 'is_done', not visible),
        (f'{thing} can be reached', 'is_done', visible),
        (f'the gripper holds {thing}', 'is_done', not visible)))
    return _check_question(task, text, yes=yes)


def _check_question(task: str, text: str, *, yes: bool) -> Question:
    word = 'yes' if yes else 'no'
    return Question('check', TASKS[task], text, word, word)


def side(rng: random.Random, scene: Table) -> Question | None:
    """Ask in which half one thing is, which prepares for the relations."""
    thing = rng.choice(scene.things)
    pair = rng.choice((('left', 'right'), ('top', 'bottom')))
    height, width = scene.pixels.shape[:2]
    offset = (thing.x / width if pair[0] == 'left' else thing.y / height) - 0.5
    if abs(offset) < _OFFSET / 2:
        return None
    word = pair[offset > 0]
    if rng.random() < 0.5:
        text = f'Is the {thing.name} in the {pair[0]} or in the {pair[1]} half?'
        return Question('half', Task.SPATIAL, text, boxed_answer(word), word)
    half = rng.choice(pair)
    text = f'Is the {thing.name} in the {half} half?'
    return yes_no_question(rng, 'side', text, yes=word == half, things=(thing,))


def colour(rng: random.Random, scene: Table) -> Question | None:
    """Ask for the colour of a thing named by its shape, freely or with options."""
    named = [t for t in scene.things if t.shape in short_names(scene, t)]
    if not named:
        return None
    thing = rng.choice(named)
    text = f'What colour is the {thing.shape}?'
    if rng.random() < 0.5:
        return Question('colour', Task.SPATIAL, text, boxed_answer(thing.colour), thing.colour)
    return _choice(rng, text, thing.colour, [c for c in COLOURS if c != thing.colour])


def which_nearest(rng: random.Random, scene: Table) -> Question | None:
    """Ask which of several things is the nearest to another one."""
    if len(scene.things) < 4:
        return None
    thing = rng.choice(scene.things)
    nearest, gap = _nearest(scene, thing)
    if gap < _NEARER:
        return None
    others = [t.name for t in scene.things if t is not thing and t is not nearest]
    return _choice(rng, f'Which object is nearest to the {thing.name}?', nearest.name, others)


def _choice(rng: random.Random, text: str, right: str, wrong: Sequence[str]) -> Question:
    options = [right, *rng.sample(wrong, min(3, len(wrong)))]
    rng.shuffle(options)
    lines = ''.join(f'\n{letter}. {o}' for letter, o in zip('ABCD', options))
    letter = 'ABCD'[options.index(right)]
    return Question('choice', Task.SPATIAL, text + lines, boxed_answer(letter), letter)


def count(rng: random.Random, scene: Table) -> Question | None:
    """Ask how many things there are, of all or of one colour or shape; None: some are hidden."""
    if scene.hidden:
        return None
    thing = rng.choice(scene.things)
    name, things = rng.choice((
        ('objects', scene.things),
        (f'{thing.colour} objects', tuple(t for t in scene.things if t.colour == thing.colour)),
        (f'{thing.shape}s', tuple(t for t in scene.things if t.shape == thing.shape)),
    ))
    text, number = f'How many {name} are there?', str(len(things))
    return Question('count', Task.SPATIAL, text, boxed_answer(number), number, things=things)


def listing(rng: random.Random, scene: Table) -> Question | None:
    """Ask freely what is there, from left to right; None: some of it is hidden."""
    if scene.hidden:
        return None
    names = ', '.join(t.name for t in sorted(scene.things, key=lambda t: t.x))
    text = rng.choice(('What do you see?', 'What is on the table?', 'List the objects.'))
    return Question('list', Task.ASK, text, names, names)


# Relative frequency of each kind; many tries at a relation are too close to call.
_WEIGHTS: tuple[tuple[float, Callable[[random.Random, Table], Question | None]], ...] = (
    (5.0, point),
    (1.2, absent),
    (0.5, free_point),
    (0.5, box),
    (2.0, side),
    (2.0, opposites),
    (0.7, exists),
    (0.5, check),
    (0.5, check_alike),
    (1.5, colour),
    (0.7, which_nearest),
    (0.7, count),
    (0.8, listing),
    *((1.3, lambda r, s, k=kind: relation(r, s, k)) for kind in RELATIONS[:4]),
    (4.0, lambda r, s: relation(r, s, 'nearest')),
    (2.0, lambda r, s: relation(r, s, 'bigger')),
)


def about_table(rng: random.Random, scene: Table, *, relations: bool = True) -> Iterator[Question]:
    """Yield questions without end, of all kinds but plans, with the frequencies of `_WEIGHTS`."""
    weighted = _WEIGHTS if relations else _WEIGHTS[: -len(RELATIONS)]
    weights = [w for w, _ in weighted]
    makers = [m for _, m in weighted]
    while True:
        question = rng.choices(makers, weights)[0](rng, scene)
        if question is not None:
            yield question
