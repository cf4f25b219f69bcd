"""Tasks for an arm at a table: an instruction, the things that it needs, and when it is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .things import COLOURS, CONTAINERS, MOVABLE, PLACES, SHAPES

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

    from .world import ThingState

Kind = tuple[str, str]
"""Colour and shape of a thing."""

HANDED_OVER = 'in the hand'
"""Place of a thing that lies on a person's hand, see `ThingState`."""


@dataclass(frozen=True)
class TableTask:
    """A task.

    Attributes:
        kind: one of `TASKS`.
        instruction: what the planner is told.
        things: what is on the table, the task's own things first.
        goals: where things must be at the end, as `ThingState.place`, by name.
        starts: on what things stand at first, where not on the table, by name.
        open_ended: whether the instruction does not name all things.

    """

    kind: str
    instruction: str
    things: tuple[Kind, ...]
    goals: Mapping[str, str]
    starts: Mapping[str, str]
    open_ended: bool = False

    def missing(self, things: Iterable[ThingState]) -> list[str]:
        """Say what is not as it must be, such as "the red cube is in the cup"; empty: done."""
        places = {thing.name: thing.place for thing in things}

        def holds(name: str, goal: str) -> bool:
            """Whether a thing is there, or on something that is."""
            place = places.get(name, '')
            return place == goal or (
                place.startswith('on the ') and holds(place.removeprefix('on the '), goal))

        return [f'the {name} is {places[name] or "on the table"}'
                for name, goal in self.goals.items() if not holds(name, goal)]


def random_task(rng: random.Random, kind: str) -> TableTask:
    """Make a task of a kind, with other things of the same colour or shape in view."""
    task = TASKS[kind](rng)
    own = task.things
    alike = [(c, s) for c in COLOURS for s in SHAPES if (c, s) not in own
             and any((c == a) != (s == b) for a, b in own)]
    if kind == 'clear':  # everything that can be moved belongs to the task
        alike = [(c, s) for c, s in alike if s not in MOVABLE]
    return TableTask(kind, task.instruction, (*own, *rng.sample(alike, rng.randint(1, 2))),
                     task.goals, task.starts, task.open_ended)


def _kinds(rng: random.Random, *shapes: str) -> list[Kind]:
    """Things of these shapes, no two alike."""
    out: list[Kind] = []
    for shape in shapes:
        out.append((rng.choice([c for c in COLOURS if (c, shape) not in out]), shape))
    return out


def _name(kind: Kind) -> str:
    return ' '.join(kind)


def _put(rng: random.Random) -> TableTask:
    thing, place = _kinds(rng, rng.choice(MOVABLE), rng.choice((*CONTAINERS, *PLACES)))
    inside = place[1] in CONTAINERS
    word = rng.choice(('in', 'into') if inside else ('on', 'onto'))
    return TableTask(
        'put', f'put the {_name(thing)} {word} the {_name(place)}', (thing, place),
        {_name(thing): f'{"in" if inside else "on"} the {_name(place)}'}, {})


def _stack(rng: random.Random) -> TableTask:
    upper, lower = _kinds(rng, 'cube', 'cube')
    return TableTask('stack', f'stack the {_name(upper)} on the {_name(lower)}', (upper, lower),
                     {_name(upper): f'on the {_name(lower)}'}, {})


def _clear(rng: random.Random) -> TableTask:
    box, *things = _kinds(rng, 'box', *rng.choices(MOVABLE, k=rng.randint(2, 3)))
    return TableTask('clear', f'clear the table into the {_name(box)}', (box, *things),
                     {_name(thing): f'in the {_name(box)}' for thing in things}, {},
                     open_ended=True)


def _hand(rng: random.Random) -> TableTask:
    (thing,) = _kinds(rng, rng.choice(MOVABLE))
    return TableTask('hand', f'hand me the {_name(thing)}', (thing,),
                     {_name(thing): HANDED_OVER}, {})


def _swap(rng: random.Random) -> TableTask:
    one, other, plate, mat = _kinds(rng, rng.choice(MOVABLE), rng.choice(MOVABLE), *PLACES)
    return TableTask(
        'swap', f'swap the {_name(one)} and the {_name(other)}', (one, other, plate, mat),
        {_name(one): f'on the {_name(mat)}', _name(other): f'on the {_name(plate)}'},
        {_name(one): f'on the {_name(plate)}', _name(other): f'on the {_name(mat)}'},
        open_ended=True)


TASKS = {'put': _put, 'stack': _stack, 'clear': _clear, 'hand': _hand, 'swap': _swap}
"""How a task of each kind is made."""
