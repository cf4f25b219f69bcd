"""The truth about the things of a table: where they are, and what they lie in, on, or between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.worlds.world import ThingState

from .scenery import HIDDEN_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.things import TableThing

    Floats = NDArray[np.float64]

_INNER = 0.93  # radius of a container's inside, in units of its size
_BELOW = 0.001  # metres by which a thing may seem to stand lower than what it stands on
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
_SPHERE = int(mujoco.mjtGeom.mjGEOM_SPHERE)


def thing_states(
    model: mujoco.MjModel, data: mujoco.MjData, things: Sequence[TableThing],
    fingers: Iterable[str] = (), hand: str = '',
) -> tuple[ThingState, ...]:
    """Return the truth about things.

    Args:
        model: of the world, with a body for each thing.
        data: its state.
        things: whose truth is asked for.
        fingers: bodies of the finger tips.
        hand: body of a person's hand; empty: none.

    """
    bodies = {thing.name: model.body(thing.name).id for thing in things}
    names = {number: name for name, number in bodies.items()}
    touching: dict[int, set[int]] = {number: set() for number in names}
    for one, other in model.geom_bodyid[data.contact.geom]:
        for a, b in ((int(one), int(other)), (int(other), int(one))):
            if a in touching:
                touching[a].add(b)
    tips = {model.body(name).id for name in fingers}
    palm = model.body(hand).id if hand else -1
    lowest = {number: _lowest(model, data, number) for number in names}

    def place(thing: TableThing) -> str:
        number = bodies[thing.name]
        below = {other for other in touching[number] & names.keys()
                 if lowest[number][2] > lowest[other][2] + _BELOW}
        on_table = 0 in touching[number]  # the world's own geoms are table, floor and wall
        if tips and tips <= touching[number] and not below and not on_table:
            return 'held'
        if palm in touching[number]:
            return f'in the {hand}'
        for other in things:
            if (other is not thing and other.kind.holds == 'in'
                    and _inside(data, lowest[number], bodies[other.name], other)):
                return f'in the {other.name}'
        for other in things:
            if bodies[other.name] in below and _over(data, number, bodies[other.name], other):
                lower = place(other)  # a pile in a box is in the box
                return lower if lower.startswith('in ') else f'on the {other.name}'
        return ''

    def state(thing: TableThing) -> ThingState:
        x, y, z = lowest[bodies[thing.name]].tolist()
        qw, qx, qy, qz = data.xquat[bodies[thing.name]].tolist()
        return ThingState(thing.name, (x, y, z), (qx, qy, qz, qw), place(thing))

    return tuple(map(state, things))


def _lowest(model: mujoco.MjModel, data: mujoco.MjData, body: int) -> Floats:
    """The middle of a body, at the height of its lowest point."""
    points = []
    for geom in np.flatnonzero(model.geom_bodyid == body):
        if int(model.geom_group[geom]) == HIDDEN_GROUP:
            continue
        axes, at = data.geom_xmat[geom].reshape(3, 3), data.geom_xpos[geom]
        middle, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        if int(model.geom_type[geom]) == _SPHERE:
            points.append(at + _CORNERS * half)
        else:
            points.append(at + (middle + _CORNERS * half) @ axes.T)
    corners = np.concatenate(points)
    low, high = corners.min(0), corners.max(0)
    return np.array([*((low + high) / 2)[:2], low[2]])


def _inside(data: mujoco.MjData, lowest: Floats, container: int, thing: TableThing) -> bool:
    """Whether a lowest point is within the walls of a container."""
    local = (lowest - data.xpos[container]) @ data.xmat[container].reshape(3, 3)
    if thing.shape == 'box':
        wide = bool((np.abs(local[:2]) < thing.size).all())
    else:
        wide = float(np.hypot(*local[:2])) < _INNER * thing.size
    return wide and -_BELOW < local[2] < thing.height - _BELOW


def _over(data: mujoco.MjData, upper: int, lower: int, thing: TableThing) -> bool:
    """Whether a body's middle is above a thing."""
    return bool(np.hypot(*(data.xipos[upper] - data.xipos[lower])[:2]) < thing.radius)
