"""Short clips of a drawn table on which a gripper touches things, or carries one elsewhere.

The fields of a clip hold everything that a question can ask about it, as those of a scene do.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import cv2

from .drawing import FRACTION_BITS, fixed_point
from .table_scene import MIN_CLEARANCE, Table, Thing, clearance, draw_table, random_place
from .things import CONTAINERS, MOVABLE

if TYPE_CHECKING:
    from .drawing import Picture

FRAMES = 8
INTERVAL = 0.5
"""Seconds between two frames."""

_GRIPPER = (58, 60, 66)
_FAR = 3.0  # least way of a carried thing, in its radii
_CARRIED, _INTO, _FINISHED = 0.65, 0.6, 0.75  # shares of the clips
_TRIES = 60  # random places for a carried thing


@dataclass(frozen=True)
class TableClip:
    """What a camera sees of a table, every half second.

    Attributes:
        frames: oldest first, of one size; a thing in a container is not among their things.
        grippers: where the gripper is in each frame, (x, y) in pixels; None: out of the picture.
        moved: name of the thing that has been carried away from its place; empty: none.
        touched: names of the things that the gripper touched, oldest first.
        container: name of what the carried thing was put into; empty: nothing.

    """

    frames: tuple[Table, ...]
    grippers: tuple[tuple[float, float] | None, ...]
    moved: str
    touched: tuple[str, ...]
    container: str


class _State(NamedTuple):
    things: tuple[Thing, ...]
    gripper: tuple[float, float] | None = None


def draw_clip(rng: random.Random, width: int, height: int, number: int = FRAMES) -> TableClip:
    """Draw a clip.

    Args:
        rng: source of all random choices.
        width: columns of the pictures, pixels.
        height: rows of the pictures, pixels.
        number: of frames, at least `FRAMES`.

    """
    seed = rng.getrandbits(64)
    scene = draw_table(random.Random(seed), width, height, 3, 5)
    while len(scene.things) < 3:
        seed = rng.getrandbits(64)
        scene = draw_table(random.Random(seed), width, height, 3, 5)
    carried = goal = None
    movable = [thing for thing in scene.things if thing.shape in MOVABLE]
    if movable and rng.random() < _CARRIED:
        carried = rng.choice(movable)
        goal = _goal(rng, scene, carried)
    if goal is None:
        carried = None
    others = [thing for thing in scene.things if thing is not carried]
    touched = rng.sample(others, rng.randint(1, 2) if carried else 2)
    states = [_State(scene.things), *(_State(scene.things, (t.x, t.y)) for t in touched)]
    container = ''
    if carried is not None and goal is not None:
        touched.append(carried)
        finished = rng.random() < _FINISHED
        states += _carrying(scene, carried, goal, finished=finished)
        if finished and goal.shape in CONTAINERS:
            container = goal.name
    while len(states) < number:  # the gripper does not move at an even pace
        place = rng.randrange(len(states))
        states.insert(place, states[place])
    frames = tuple(_draw(seed, width, height, state) for state in states)
    return TableClip(
        frames, tuple(state.gripper for state in states), carried.name if carried else '',
        tuple(thing.name for thing in touched), container)


def _goal(rng: random.Random, scene: Table, carried: Thing) -> Thing | None:
    """Choose a container, or the carried thing at a free place; None where there is no room."""
    containers = [thing for thing in scene.things if thing.shape in CONTAINERS]
    if containers and rng.random() < _INTO:
        return rng.choice(containers)
    height, width = scene.pixels.shape[:2]
    others = [thing for thing in scene.things if thing is not carried]
    for _ in range(_TRIES):
        x, y = random_place(rng, width, height, carried.radius, scene.horizon)
        way = math.hypot(x - carried.x, y - carried.y)
        if way > _FAR * carried.radius and (
                clearance(x, y, carried.radius, others) > MIN_CLEARANCE):
            return replace(carried, x=x, y=y)
    return None


def _carrying(
    scene: Table, carried: Thing, goal: Thing, *, finished: bool
) -> list[_State]:
    """The gripper takes a thing and lifts it; and, where ``finished``, lets it go at the goal."""
    others = tuple(thing for thing in scene.things if thing is not carried)
    midway = replace(carried, x=(carried.x + goal.x) / 2, y=(carried.y + goal.y) / 2)
    states = [_State(scene.things, (carried.x, carried.y)),
              _State((*others, midway), (midway.x, midway.y))]
    if finished:
        there = replace(carried, x=goal.x, y=goal.y)
        left = others if goal.shape in CONTAINERS else (*others, there)
        states += [_State((*others, there), (goal.x, goal.y)), _State(left)]
    return states


def _draw(seed: int, width: int, height: int, state: _State) -> Table:
    table = draw_table(random.Random(seed), width, height, things=state.things, steady=True)
    if state.gripper is not None:
        _draw_gripper(table.pixels, *state.gripper)
    return table


def _draw_gripper(picture: Picture, x: float, y: float) -> None:
    """Draw an arm from the top, and two fingers that end at both sides of a point."""
    side = min(picture.shape[:2])
    reach, palm = 0.07 * side, y - 0.1 * side
    lines = [((x, -1.0), (x, palm)), ((x - reach, palm), (x + reach, palm)),
             ((x - reach, palm), (x - reach, y)), ((x + reach, palm), (x + reach, y))]
    for begin, end in lines:
        (first, last) = fixed_point([begin, end])
        cv2.line(picture, tuple(map(int, first)), tuple(map(int, last)), _GRIPPER,
                 max(2, round(0.025 * side)), cv2.LINE_AA, FRACTION_BITS)
