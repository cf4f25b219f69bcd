"""Checks of steps on rendered tables, where things are seen in the gripper and in bowls.

The truth is the world's, not what is seen. Things of the same colour or the same shape as the one
that a check is about are asked for often, since a model that looks at one of the two takes them for
it. What is handed over, or held by a gripper that is out of the picture, is not to be seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from mimo_embodied_ros.core.tasks import TASKS
from mimo_embodied_ros.worlds import table_scene
from mimo_embodied_ros.worlds.table_scene import SeenThing
from mimo_embodied_ros.worlds.things import COLOURS, MOVABLE, SHAPES

from .question import Question, with_random_article

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterable

    from mimo_embodied_ros.worlds.table_scene import Table, Thing

_BESIDE, _APART = 0.05, 0.12  # metres between two things that are next to each other, and are not
_WORDS = {'in': ('in', 'in', 'into'), 'on': ('on', 'on', 'onto', 'on top of')}


class _Check(NamedTuple):
    task: str
    text: str
    yes: bool


def all_things(scene: Table) -> tuple[Thing, ...]:
    """Return the things that are seen, and those in others that are not."""
    return (*scene.things, *scene.hidden)


def missing_names(scene: Table) -> list[str]:
    """Return the names that no thing here has, though one could have it."""
    have = {t.name for t in all_things(scene)}
    shapes = SHAPES if scene.rendered else table_scene.SHAPES
    return [name for c in COLOURS for s in shapes if (name := f'{c} {s}') not in have]


def like(name: str, names: Iterable[str]) -> list[str]:
    """Return the names with the same colour or the same shape as ``name``."""
    colour, shape = name.split()
    return [n for n in names if n != name and (colour in n.split() or shape in n.split())]


def check(rng: random.Random, scene: Table, alike: float = 0.7) -> Question:
    """Ask whether a step is possible now, or has been done.

    Args:
        rng: source of all random choices.
        scene: the table.
        alike: share of the wrong things that have the colour or shape of the right one.

    """
    made = None
    while made is None:
        made = rng.choices(_MAKERS, _SHARES)[0](rng, scene, alike)
    word = 'yes' if made.yes else 'no'
    return Question('check', TASKS[made.task], made.text, word, word)


def held_thing(scene: Table) -> Thing | None:
    """Return what the gripper holds; None: nothing, or that is not seen."""
    return next((t for t in all_things(scene) if t.place == 'held'), None)


def _another(
    rng: random.Random, names: Collection[str], right: str, alike: float
) -> str | None:
    """One of the names that the truth is not about, often one like the right one; None: none."""
    near = like(right, names) if right else []
    candidates = near if near and rng.random() < alike else [n for n in names if n != right]
    return rng.choice(candidates) if candidates else None


def _place(rng: random.Random, scene: Table, alike: float) -> _Check | None:
    """Is one thing in or on another one?"""
    inside = [t for t in all_things(scene) if t.place not in {'', 'held'}]
    holders = [t for t in scene.things if SHAPES[t.shape].holds]
    if rng.random() < 0.5:
        if not inside:
            return None
        thing = rng.choice(inside)
        name, (where, _, holder) = thing.name, thing.place.split(' ', 2)
        yes = True
    else:
        if not holders:
            return None
        used = [t for t in holders if any(i.place.endswith(t.name) for i in inside)]
        other = rng.choice(used if used and rng.random() < 0.7 else holders)
        holder, where = other.name, SHAPES[other.shape].holds
        there = [t.name for t in inside if t.place.endswith(holder)]
        names = [t.name for t in all_things(scene) if t.shape in MOVABLE and t.name not in there]
        if other.shape != 'cup':  # into which a camera often cannot look
            names += [n for n in missing_names(scene) if n.split()[1] in MOVABLE]
        if not names:
            return None
        seen = [n for n in names if n not in missing_names(scene)]
        names = seen if seen and rng.random() < 0.6 else names
        picked = _another(rng, names, rng.choice(there) if there else '', alike)
        if picked is None:
            return None
        name, yes = picked, False
    where = rng.choice(_WORDS[where])
    name, holder = with_random_article(rng, name), with_random_article(rng, holder)
    stacked = where != 'in' and holder.endswith('cube') and rng.random() < 0.3
    text = (f'stack {name} {where} {holder}' if stacked else
            rng.choice((f'put {name} {where} {holder}', f'{name} is {where} {holder}')))
    return _Check('is_done', text, yes)


def _held(rng: random.Random, scene: Table, alike: float) -> _Check | None:
    """Does the gripper hold a thing?"""
    held, missing = held_thing(scene), missing_names(scene)
    name: str | None
    if held and rng.random() < 0.5:
        name, yes = held.name, True
    elif not scene.gripper and rng.random() < 0.5:
        name, yes = rng.choice(missing), True  # out of the picture, with the gripper
    else:
        lying = [t.name for t in scene.things if t is not held and t.shape in MOVABLE]
        names = lying if lying and (not scene.gripper or rng.random() < 0.7) else (
            missing if scene.gripper else [])
        name, yes = _another(rng, names, held.name if held else '', alike), False
    if name is None:
        return None
    name = with_random_article(rng, name)
    return _Check('is_done', rng.choice((f'pick up {name}', f'the gripper holds {name}')), yes)


def _empty(rng: random.Random, scene: Table, _: float) -> _Check | None:
    """Is the gripper empty?"""
    text = rng.choice(('the gripper is empty', 'the gripper holds nothing'))
    return _Check('is_done', text, held_thing(scene) is None) if scene.gripper else None


def _possible(rng: random.Random, scene: Table, alike: float) -> _Check | None:
    """Can a thing be picked up, reached, or put somewhere?"""
    held, missing = held_thing(scene), missing_names(scene)
    there = [t.name for t in scene.things if t is not held]
    if not there:
        return None
    yes = rng.random() < 0.5
    seen = rng.choice(there)
    name = seen if yes else _another(rng, missing, seen, alike)
    if name is None:
        return None
    name = with_random_article(rng, name)
    if held and rng.random() < 0.7:
        moved = with_random_article(rng, held.name)
        return _Check('is_possible', f'put {moved} {rng.choice(("in", "on", "next to"))} {name}',
                      yes)
    if rng.random() < 0.3:
        holders = [t for t in scene.things if SHAPES[t.shape].holds and t.name in there]
        gone = [n for n in missing if SHAPES[n.split()[1]].holds]
        movable = [n for n in there if n.split()[1] in MOVABLE]
        if not movable or not holders:
            return None
        near = rng.choice(holders).name
        holder = near if yes else _another(rng, gone, near, alike) or rng.choice(gone)
        where = rng.choice(_WORDS[SHAPES[holder.split()[1]].holds])
        moved = with_random_article(rng, rng.choice(movable))
        return _Check('is_possible', f'put {moved} {where} {with_random_article(rng, holder)}', yes)
    if rng.random() < 0.5 or held:
        return _Check('is_done', f'{name} can be reached', yes)
    return _Check('is_possible', f'pick up {name}', yes)


def _handed(rng: random.Random, scene: Table, alike: float) -> _Check | None:
    """Has a thing been handed over, so that it is not seen any more?"""
    yes = rng.random() < 0.5
    name: str | None = rng.choice(scene.things).name
    if yes:
        name = _another(rng, missing_names(scene), name or '', alike)
    if name is None:
        return None
    name = with_random_article(rng, name)
    return _Check('is_done', rng.choice((f'hand over {name}', f'a person holds {name}')), yes)


def _beside(rng: random.Random, scene: Table, _: float) -> _Check | None:
    """Does a thing lie next to another one?"""
    lying = [t for t in scene.things if isinstance(t, SeenThing) and not t.place]
    pairs = []
    for a in lying:
        for b in lying:
            gap = math.dist(a.ground[:2], b.ground[:2]) - a.ground[2] - b.ground[2]
            if a is not b and not _BESIDE < gap < _APART:
                pairs.append((a.name, b.name, gap < _APART / 2))
    yes = rng.random() < 0.5
    pairs = [pair for pair in pairs if pair[2] == yes and pair[0].split()[1] in MOVABLE]
    if not pairs:
        return None
    name, other = (with_random_article(rng, name) for name in rng.choice(pairs)[:2])
    return _Check('is_done', rng.choice((
        f'put {name} next to {other}', f'{name} is next to {other}')), yes)


def _cleared(rng: random.Random, scene: Table, _: float) -> _Check | None:
    """Is everything that can be moved in one container?"""
    movable = [t for t in all_things(scene) if t.shape in MOVABLE]
    holders = [t for t in scene.things if SHAPES[t.shape].holds == 'in']
    if not movable or not holders:
        return None
    holder = rng.choice(holders)
    return _Check('is_done', f'clear the table into {with_random_article(rng, holder.name)}',
                  all(t.place == f'in the {holder.name}' for t in movable))


_KINDS: tuple[tuple[float, Callable[[random.Random, Table, float], _Check | None]], ...] = (
    (4.0, _place), (3.0, _held), (1.0, _empty), (2.0, _possible), (0.6, _handed), (1.0, _beside),
    (0.4, _cleared))
_SHARES, _MAKERS = zip(*_KINDS)
