r"""Questions about a drawn scene, with the answers in MiMo-Embodied's own formats.

A question can be put in full, with the prompt that the package sends to any model and the think
block, JSON, ``\boxed{}`` or steps of the reply; and bare, with the informative words alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mimo_embodied_ros.core.ego_motion import format_past_path, format_speed
from mimo_embodied_ros.core.frames import Odometry
from mimo_embodied_ros.core.prompts import NO_THINK
from mimo_embodied_ros.core.tasks import TASKS, Task
from mimo_embodied_ros.worlds.scenes import (
    COLOURS,
    CONTAINERS,
    MOVABLE,
    PLACES,
    ROAD,
    SHAPES,
    Road,
    Seen,
    Table,
    Thing,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

YES_NO_TAIL = ' Answer yes or no.'
RELATIONS = ('left', 'right', 'above', 'below', 'nearest', 'bigger')
# A relation is asked only where it is plain to see.
_OFFSET = 0.1  # least offset along the axis, in sides of the picture
_NEARER = 0.12  # how much nearer than the next one, in shorter sides
_BIGGER = 1.5  # ratio of the areas


@dataclass(frozen=True)
class Question:
    """A question, its right answer, and what it is about.

    Attributes:
        kind: for the statistics: point, box, absent, relation names, plan, ...
        task: which prompt and parser it goes through.
        text: what the caller says.
        answer: what stands after the think block, coordinates in pixels of the scene.
        short: the answer without the wrappers; empty when the kind has no short form.
        reasoning: what to say in the think block when thinking is on.
        things: what the answer points at, in its order.
        odometry: where the vehicle was, for prompts that tell it.

    """

    kind: str
    task: Task
    text: str
    answer: str
    short: str = ''
    reasoning: str = ''
    things: tuple[Thing, ...] = ()
    odometry: tuple[Odometry, ...] = ()

    def prompt(self, *, thinking: bool = False) -> str:
        """The user's turn after the image, as the package sends it."""
        moved = {'speed': format_speed(self.odometry), 'path': format_past_path(self.odometry)
                 } if self.odometry else {}
        text = self.task.fill(self.text, **moved)
        return text if thinking else text + NO_THINK

    def reply(self, *, thinking: bool = False) -> str:
        """The whole of what the model says."""
        thought = f'{self.reasoning}\n' if thinking and self.reasoning else ''
        return f'<think>\n{thought}</think>\n\n{self.answer}'


def _pixel(x: float, y: float) -> str:
    return f'[{round(x)}, {round(y)}]'


def _at(thing: Thing) -> str:
    return _pixel(thing.x, thing.y)


def _boxed(text: str) -> str:
    return f'\\boxed{{{text}}}'


def _points(label: str, pixel: str) -> str:
    return f'[{{"points": [{pixel}], "label": "{label}"}}]'


def _side(scene: Table) -> float:
    return float(min(scene.pixels.shape[:2]))


def _unique(scene: Table, thing: Thing) -> list[str]:
    """Shorter names that still mean only this thing."""
    names = []
    if sum(t.shape == thing.shape for t in scene.things) == 1:
        names.append(thing.shape)
    if sum(t.colour == thing.colour for t in scene.things) == 1:
        names.append(f'{thing.colour} object')
    return names


def _missing(rng: random.Random, scene: Table) -> str:
    """A name that nothing here has; half of them share a colour or a shape with something."""
    have = {(t.colour, t.shape) for t in scene.things}
    names = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in have]
    if scene.things and rng.random() < 0.5:
        like = rng.choice(scene.things)
        names = [n for n in names if n[0] == like.colour or n[1] == like.shape]
    return ' '.join(rng.choice(names))


def _described(rng: random.Random, name: str) -> str:
    return f'the {name}' if rng.random() < 0.5 else name


def point(rng: random.Random, scene: Table, thing: Thing | None = None) -> Question:
    """Where one thing is, by its full name or a shorter one."""
    thing = thing or rng.choice(scene.things)
    names = _unique(scene, thing)
    name = rng.choice(names) if names and rng.random() < 0.25 else thing.name
    text = _described(rng, name)
    return Question('point', Task.POINTS, text, _points(text, _at(thing)), f'[{_at(thing)}]',
                    f'The {name} is at {_at(thing)}.', (thing,))


def absent(rng: random.Random, scene: Table) -> Question:
    """A thing that is not there."""
    name = _missing(rng, scene)
    return Question('absent', Task.POINTS, _described(rng, name), '[]', '[]',
                    f'There is no {name}.')


def box(rng: random.Random, scene: Table) -> Question:
    """The box around one thing."""
    thing = rng.choice(scene.things)
    text = _described(rng, thing.name)
    corners = f'[{", ".join(str(round(v)) for v in thing.box)}]'
    return Question('box', Task.BOXES, text, f'[{{"bbox_2d": {corners}, "label": "{text}"}}]',
                    corners, things=(thing,))


def _yes_no(rng: random.Random, kind: str, question: str, *, yes: bool,
            things: tuple[Thing, ...] = ()) -> Question:
    tail = YES_NO_TAIL if rng.random() < 0.5 else ''
    word = 'yes' if yes else 'no'
    thought = ' and '.join(f'the {t.name} is at {_at(t)}' for t in things)
    return Question(kind, Task.SPATIAL, question + tail, _boxed(word), word,
                    f'So, {thought}.' if thought else '', things)


_OPPOSITES = {('left', 'right'): ' of', ('above', 'below'): '', ('bigger', 'smaller'): ' than'}


def _compared(scene: Table, a: Thing, b: Thing, pair: tuple[str, str]) -> str:
    """Which one of a pair of opposites ``a`` is beside ``b``; empty when too close to call."""
    height, width = scene.pixels.shape[:2]
    more, least = {
        'left': ((b.x - a.x) / width, _OFFSET),
        'above': ((b.y - a.y) / height, _OFFSET),
        'bigger': (math.log(a.size / b.size), math.log(_BIGGER)),
    }[pair[0]]
    return '' if abs(more) < least else pair[more < 0]


def opposites(rng: random.Random, scene: Table) -> Question | None:
    """Which one of two opposites holds for two things: no yes or no turns the sense around."""
    if len(scene.things) < 2:
        return None
    a, b = rng.sample(scene.things, 2)
    pair, link = rng.choice([*_OPPOSITES.items()])
    word = _compared(scene, a, b, pair)
    text = f'Is the {a.name} {pair[0]} or {pair[1]}{link} the {b.name}?'
    return Question('opposites', Task.SPATIAL, text, _boxed(word), word) if word else None


def relation(rng: random.Random, scene: Table, kind: str) -> Question | None:
    """One of RELATIONS between two things, asked only where it is plain; else None."""
    if len(scene.things) < (3 if kind == 'nearest' else 2):
        return None
    a, b = rng.sample(scene.things, 2)
    if kind != 'nearest':
        pair = next(p for p in _OPPOSITES if kind in p)
        found = _compared(scene, a, b, pair)
        words = {'left': rng.choice(('left of', 'to the left of')), 'bigger': 'bigger than',
                 'right': rng.choice(('right of', 'to the right of'))}.get(kind, kind)
        return _yes_no(rng, kind, f'Is the {a.name} {words} the {b.name}?', yes=found == kind,
                       things=(a, b)) if found else None
    nearest, gap = _neighbour(scene, b)
    if gap < _NEARER:
        return None
    others = [t for t in scene.things if t is not b and t is not nearest]
    asked = nearest if rng.random() < 0.5 else rng.choice(others)
    return _yes_no(rng, kind, f'Is the {asked.name} the nearest object to the {b.name}?',
                   yes=asked is nearest, things=(asked, b))


def _neighbour(scene: Table, thing: Thing) -> tuple[Thing, float]:
    """The nearest other thing, and by how much it is nearer than the next, in shorter sides."""
    ranked = sorted((math.hypot(t.x - thing.x, t.y - thing.y), i)
                    for i, t in enumerate(scene.things) if t is not thing)
    gap = ranked[1][0] - ranked[0][0] if len(ranked) > 1 else math.inf
    return scene.things[ranked[0][1]], gap / _side(scene)


def neighbour(scene: Table, thing: Thing) -> Thing | None:
    """The plainly nearest other thing, or None; a training target of the vision tower."""
    if len(scene.things) < 2:
        return None
    nearest, gap = _neighbour(scene, thing)
    return nearest if gap >= _NEARER / 2 else None


def exists(rng: random.Random, scene: Table) -> Question:
    """Whether a thing is there."""
    yes = rng.random() < 0.5
    name = rng.choice(scene.things).name if yes else _missing(rng, scene)
    article = 'an' if name[0] in 'aeiou' else 'a'
    return _yes_no(rng, 'exists', f'Is there {article} {name}?', yes=yes)


def check(rng: random.Random, scene: Table) -> Question:
    """Whether a step of a plan can be done now, or has been done.

    What is in the gripper or deep in a bowl is not to be seen any more; all else is to be seen.
    """
    seen = rng.random() < 0.5
    known, missing = rng.choice(scene.things).name, _missing(rng, scene)
    what = _described(rng, known if seen else missing)
    holders = [t.name for t in scene.things if t.shape in CONTAINERS and t.name != known]
    if holders and rng.random() < 0.5:
        holder = _described(rng, rng.choice(holders))
        if rng.random() < 0.4:
            there = rng.random() < 0.5
            into = holder if there else _described(rng, missing)
            return _checked('is_possible', f'put {what} in {into}', yes=there)
        text = rng.choice((f'put {what} in {holder}', f'{what} is in {holder}'))
        return _checked('is_done', text, yes=not seen)
    text, task, yes = rng.choice((
        (f'pick up {what}', 'is_possible', seen), (f'pick up {what}', 'is_done', not seen),
        (f'{what} can be reached', 'is_done', seen),
        (f'the gripper holds {what}', 'is_done', not seen)))
    return _checked(task, text, yes=yes)


def _checked(task: str, text: str, *, yes: bool) -> Question:
    word = 'yes' if yes else 'no'
    return Question('check', TASKS[task], text, word, word)


def side(rng: random.Random, scene: Table) -> Question | None:
    """In which half one thing is: the stepping stone to the relations."""
    thing = rng.choice(scene.things)
    pair = rng.choice((('left', 'right'), ('top', 'bottom')))
    height, width = scene.pixels.shape[:2]
    offset = (thing.x / width if pair[0] == 'left' else thing.y / height) - 0.5
    if abs(offset) < _OFFSET / 2:
        return None
    found = pair[offset > 0]
    if rng.random() < 0.5:
        text = f'Is the {thing.name} in the {pair[0]} or in the {pair[1]} half?'
        return Question('half', Task.SPATIAL, text, _boxed(found), found)
    half = rng.choice(pair)
    return _yes_no(rng, 'side', f'Is the {thing.name} in the {half} half?', yes=found == half,
                   things=(thing,))


def colour(rng: random.Random, scene: Table) -> Question | None:
    """The colour of a thing named by its shape, free or as a choice."""
    named = [t for t in scene.things if t.shape in _unique(scene, t)]
    if not named:
        return None
    thing = rng.choice(named)
    text = f'What colour is the {thing.shape}?'
    if rng.random() < 0.5:
        return Question('colour', Task.SPATIAL, text, _boxed(thing.colour), thing.colour)
    return _choice(rng, text, thing.colour, [c for c in COLOURS if c != thing.colour])


def which_nearest(rng: random.Random, scene: Table) -> Question | None:
    """The nearest thing to another one, as a choice of names."""
    if len(scene.things) < 4:
        return None
    thing = rng.choice(scene.things)
    nearest, gap = _neighbour(scene, thing)
    if gap < _NEARER:
        return None
    others = [t.name for t in scene.things if t is not thing and t is not nearest]
    return _choice(rng, f'Which object is nearest to the {thing.name}?', nearest.name, others)


def _choice(rng: random.Random, text: str, right: str, wrong: Sequence[str]) -> Question:
    options = [right, *rng.sample(wrong, min(3, len(wrong)))]
    rng.shuffle(options)
    lines = ''.join(f'\n{letter}. {o}' for letter, o in zip('ABCD', options))
    letter = 'ABCD'[options.index(right)]
    return Question('choice', Task.SPATIAL, text + lines, _boxed(letter), letter)


def count(rng: random.Random, scene: Table) -> Question:
    """How many things there are, of all or of one colour or shape."""
    thing = rng.choice(scene.things)
    what, number = rng.choice((
        ('objects', len(scene.things)),
        (f'{thing.colour} objects', sum(t.colour == thing.colour for t in scene.things)),
        (f'{thing.shape}s', sum(t.shape == thing.shape for t in scene.things)),
    ))
    return Question('count', Task.SPATIAL, f'How many {what} are there?', _boxed(str(number)),
                    str(number))


def listing(rng: random.Random, scene: Table) -> Question:
    """A free question: what is there, from left to right."""
    names = ', '.join(t.name for t in sorted(scene.things, key=lambda t: t.x))
    text = rng.choice(('What do you see?', 'What is on the table?', 'List the objects.'))
    return Question('list', Task.ASK, text, names, names)


def plan(rng: random.Random, scene: Table) -> Question | None:
    """An instruction to pick up or to put things somewhere, done in steps with their places."""
    movable = [t for t in scene.things if t.shape in MOVABLE]
    if not movable:
        return None
    verb = rng.choice(('put', 'put', 'place', 'move'))
    if rng.random() < 0.12:
        name = _missing(rng, scene)
        there = rng.choice(scene.things)
        pair = (name, there.name) if rng.random() < 0.5 else (rng.choice(movable).name, name)
        text = rng.choice((f'pick up the {name}', f'{verb} the {pair[0]} next to the {pair[1]}'))
        return Question('plan_absent', Task.PLAN, text, '[]', '[]', f'There is no {name}.')
    if rng.random() < 0.15:
        thing = rng.choice(movable)
        steps = f'1. pick up the {thing.name} {_at(thing)}'
        return Question('plan', Task.PLAN, f'pick up the {thing.name}', steps, steps, '', (thing,))
    goals = [t for t in scene.things if t.shape not in MOVABLE or rng.random() < 0.3]
    if not goals:
        return None
    goal = rng.choice(goals)
    moved = [t for t in movable if t is not goal]
    if not moved:
        return None
    moved = rng.sample(moved, 2 if len(moved) > 1 and rng.random() < 0.25 else 1)
    where = 'next to'
    if goal.shape in CONTAINERS:
        where = rng.choice(('in', 'in', 'into'))
    elif goal.shape in PLACES:
        where = rng.choice(('on', 'on', 'onto'))
    short_names = [goal.shape] if goal.shape in _unique(scene, goal) else []
    called = rng.choice(short_names) if short_names and rng.random() < 0.3 else goal.name
    what = ' and '.join(f'the {t.name}' for t in moved)
    where_done = {'into': 'in', 'onto': 'on'}.get(where, where)
    lines: list[str] = []
    for thing in moved:
        lines.append(f'pick up the {thing.name} {_at(thing)}')
        lines.append(f'put the {thing.name} {where_done} the {goal.name} {_at(goal)}')
    steps = '\n'.join(f'{i}. {line}' for i, line in enumerate(lines, 1))
    things = tuple(t for thing in moved for t in (thing, goal))
    thought = ' and '.join(f'the {t.name} is at {_at(t)}' for t in (*moved, goal))
    return Question('plan', Task.PLAN, f'{verb} {what} {where} the {called}', steps, steps,
                    f'So, {thought}.', things)


def action(scene: Road) -> tuple[str, str]:
    """What to do next on a road, and why."""
    if scene.light == 'red':
        return 'stop', 'the traffic light is red'
    if scene.pedestrian is not None:
        return 'stop', 'a pedestrian is on the road'
    if scene.car is None:
        if scene.bend != 'straight':
            return f'turn {scene.bend}', f'the road bends {scene.bend}'
        return 'keep going', 'the road is clear'
    return ('slow down', 'a car is near') if scene.car.near else ('keep going', 'the car is far')


def hazards(scene: Road) -> tuple[tuple[Seen, str], ...]:
    """What a driver must watch, with the reason."""
    seen = (
        (scene.traffic_light if scene.light == 'red' else None, 'the traffic light is red'),
        (scene.pedestrian, 'a pedestrian is on the road'),
        (scene.car, 'a car is near' if scene.car and scene.car.near else 'a car is ahead'),
    )
    return tuple((thing, why) for thing, why in seen if thing is not None)


def drive(rng: random.Random, scene: Road) -> Question:
    """The next action, with the speed and path of the vehicle in the prompt."""
    do, why = action(scene)
    speed = rng.uniform(0, 15)
    path = tuple(
        Odometry(0, 'odom', 'base_link', (-speed * age, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0),
                 (speed, 0.0, 0.0), (0.0, 0.0, 0.0)) for age in (1.5, 1.0, 0.5, 0.0))
    route = rng.choice(('Follow the road.', 'Go straight on.', 'Drive to the next junction.'))
    words = f'{do}, justification: {why}.'
    return Question('drive', TASKS['drive'], route, _boxed(words), words,
                    f'{why.capitalize()}.', odometry=path)


def critical(scene: Road) -> Question:
    """The boxes around what a driver must watch."""
    reasons = ' and '.join(why for _, why in hazards(scene)) or 'the road is clear'
    boxes = [f'{{"bbox_2d": [{", ".join(str(round(v)) for v in thing.box)}], "caption": "{why}"}}'
             for thing, why in hazards(scene)]
    words = f'[{", ".join(boxes)}]'
    return Question('critical', TASKS['critical_object'], '', words, words,
                    f'{reasons.capitalize()}.')


def road(rng: random.Random, scene: Road) -> list[Question]:
    """What a driver would ask of a road."""
    words = ', '.join(action(scene))
    out = [
        _yes_no(rng, 'road', 'Is there a car ahead?', yes=scene.car is not None),
        _yes_no(rng, 'road', 'Is there a pedestrian on the road?',
                yes=scene.pedestrian is not None),
        Question('road', Task.SPATIAL, 'Which way does the road bend?', _boxed(scene.bend),
                 scene.bend),
        Question('road', Task.SPATIAL, 'What colour is the traffic light?', _boxed(scene.light),
                 scene.light),
        Question('road', Task.ASK, 'What should the car do?', words, words),
    ]
    there = {thing.name: thing for thing in scene.things}
    for name in ROAD:
        place = there.get(name)
        text = _described(rng, name)
        if place is None:
            out.append(Question('absent', Task.POINTS, text, '[]', '[]', f'There is no {name}.'))
        else:
            at = _pixel(place.x, place.y)
            out.append(Question('road_point', Task.POINTS, text, _points(text, at), f'[{at}]',
                                f'The {name} is at {at}.'))
    return out


# How often each kind is asked of a table; many tries at a relation are too close to call.
_WEIGHTS: tuple[tuple[float, Callable[[random.Random, Table], Question | None]], ...] = (
    (5.0, point),
    (1.2, absent),
    (0.5, box),
    (2.0, side),
    (2.0, opposites),
    (0.7, exists),
    (1.0, check),
    (1.5, colour),
    (0.7, which_nearest),
    (0.7, count),
    (0.8, listing),
    *((1.3, lambda r, s, k=kind: relation(r, s, k)) for kind in RELATIONS[:4]),
    (4.0, lambda r, s: relation(r, s, 'nearest')),
    (2.0, lambda r, s: relation(r, s, 'bigger')),
)


def about_table(rng: random.Random, scene: Table, *, relations: bool = True) -> Iterator[Question]:
    """Questions without end, all kinds but plans, each as often as its weight says."""
    chosen = _WEIGHTS if relations else _WEIGHTS[: -len(RELATIONS)]
    weights = [w for w, _ in chosen]
    makers = [m for _, m in chosen]
    while True:
        question = rng.choices(makers, weights)[0](rng, scene)
        if question is not None:
            yield question
