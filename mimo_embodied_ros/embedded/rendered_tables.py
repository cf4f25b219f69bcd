"""Rendered tables with their labels: things of all kinds, in, on and beside each other, and an arm.

A stage is a compiled table; each of its pictures has other places, colours, surfaces, lights and
another camera. Things come to rest by physics, and where they are then is the truth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import mujoco
import numpy as np

from mimo_embodied_ros.worlds.physics import lens, scenery, table
from mimo_embodied_ros.worlds.physics.arm import Arm
from mimo_embodied_ros.worlds.physics.arm_table import EYE
from mimo_embodied_ros.worlds.physics.physical_world import PhysicalWorld
from mimo_embodied_ros.worlds.physics.rays import RayRenderer
from mimo_embodied_ros.worlds.physics.robots import ur5e
from mimo_embodied_ros.worlds.physics.truth import thing_states
from mimo_embodied_ros.worlds.table_camera import FOCAL, HEIGHT, WIDTH
from mimo_embodied_ros.worlds.table_scene import SeenThing, Table
from mimo_embodied_ros.worlds.things import COLOURS, CONTAINERS, MOVABLE, SHAPES, TableThing

from . import labelling

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from numpy.typing import NDArray

SHARE = 0.5
"""Least share of a thing on the table that must be seen."""
_NEARLY = 0.9  # of what must be seen, in a coarse picture
_SHARE_INSIDE = 0.3  # the same for a thing in or on another one
_CAMERA = 'camera'
_MOST = 6  # things on a table
_SETTLE, _CLOSING = 400, 250  # steps until everything is at rest, and the fingers have closed
_MOVING = 0.03  # metres or radians a second
_LYING = 0.01  # metres above the table
_WITH_ARM = 0.3  # share of the tables with an arm
_AT_HOME, _EMPTY = 0.25, 0.35  # of those: out of the way; of the others: with nothing held
_AS_DEMOS = 0.35  # share of the pictures seen from where the demo's camera is
_ABOVE = (0.14, 0.32)  # metres of the tool above the table
_LARGE = 200_000  # pixels of a picture
_TIP = 6  # pixels of a finger's tip that is in the picture


class _Body(NamedTuple):
    number: int
    at: int  # of its position in qpos
    thing: TableThing


class TableStage:
    """A compiled table, and pictures of it."""

    def __init__(self, rng: random.Random, arm: float = _WITH_ARM) -> None:
        """Choose things and whether an arm is there, and compile the table."""
        robot = ur5e() if rng.random() < arm else None
        spec = robot.spec() if robot else mujoco.MjSpec()
        things = _choose_things(rng)
        table.add_table(spec, rng, things)
        spec.worldbody.add_camera(name=_CAMERA)
        world = PhysicalWorld(scenery.compiled(spec), {}, [t.name for t in things], RayRenderer)
        self._model, self._data = world.model, world.data
        self._arm = Arm(world, robot) if robot else None
        self._gravity = self._model.opt.gravity.copy()
        self._bodies = []
        for thing in things:
            body = self._model.body(thing.name).id
            joint = self._model.body_jntadr[body]
            self._bodies.append(_Body(body, self._model.jnt_qposadr[joint], thing))

    def picture(self, rng: random.Random, width: int, height: int) -> Table | None:
        """Render a picture; None: something is hidden, or too small to be told."""
        mujoco.mj_resetData(self._model, self._data)
        held = self._pose(rng)
        if not self._place(rng, held):
            return None
        names = self._paint(rng)
        if held is not None:
            self._grip()
        mujoco.mj_step(self._model, self._data, _SETTLE)
        mujoco.mj_forward(self._model, self._data)
        places = self._places(names)
        if places is None:
            return None
        self._aim(rng, width, height, above='held' in places)
        mujoco.mj_forward(self._model, self._data)
        return self._see(rng, names, places, width, height)

    def _pose(self, rng: random.Random) -> _Body | None:
        """Put the arm above the table or out of the way; return what its gripper is to hold."""
        if self._arm is None:
            return None
        left, right, low, high = table.SPACE
        point = [rng.uniform(left, right), rng.uniform(low, high), rng.uniform(*_ABOVE)]
        yaw = rng.uniform(-1.6, 1.6)
        joints = self._arm.joints_at(point, yaw)
        if joints is None or rng.random() < _AT_HOME:
            self._arm.put(self._arm.robot.home)
            return None
        movable = [body for body in self._bodies if body.thing.shape in MOVABLE]
        if not movable or rng.random() < _EMPTY:
            # with its fingers anywhere between open and closed
            self._arm.put(joints + [rng.gauss(0, 0.1) for _ in joints], rng.random())
            return None
        self._arm.put(joints)
        held = rng.choice(movable)
        x, y, z = point
        along, turn = rng.uniform(-0.006, 0.006), yaw + rng.gauss(0, 0.08)
        self._data.qpos[held.at : held.at + 7] = (
            x + along * math.cos(yaw), y + along * math.sin(yaw),
            z - max(0.018, held.thing.height - rng.uniform(0.02, 0.035)),
            *scenery.yaw_quaternion(turn))
        return held

    def _grip(self) -> None:
        """Close the fingers on what is between them."""
        assert self._arm is not None
        self._arm.put(self._arm.set_points, 1.0)
        self._model.opt.gravity[:] = 0  # so that it does not fall meanwhile
        mujoco.mj_step(self._model, self._data, _CLOSING)
        self._model.opt.gravity[:] = self._gravity

    def _place(self, rng: random.Random, held: _Body | None) -> bool:
        """Put the things on, in, above and beside each other; False: there is no room."""
        gap = rng.uniform(0.005, 0.04)
        placed: list[TableThing] = []
        order = sorted((body for body in self._bodies if body is not held),
                       key=lambda body: body.thing.shape in MOVABLE)
        filled = rng.choice((0.0, 0.6, 0.95))  # share of the movable things that are put on others
        into = order[0] if order else None  # what takes several things
        tops: dict[int, float] = {}
        for body in order:
            thing, size = body.thing, body.thing.size
            holders = [other for other in order
                       if other.number in tops and _can_hold(other.thing, thing)]
            x = y = z = 0.0
            if thing.shape in MOVABLE and holders and rng.random() < filled:
                holder = into if into in holders and rng.random() < 0.7 else rng.choice(holders)
                at = self._data.qpos[holder.at : holder.at + 3]
                loose = 0.5 * max(0.0, holder.thing.size - size)
                away, angle = loose * rng.random(), rng.uniform(0, 2 * math.pi)
                x, y = at[0] + away * math.cos(angle), at[1] + away * math.sin(angle)
                z = tops[holder.number] + 0.002
                tops[holder.number] = z + thing.height
                if thing.shape == 'cube':
                    tops[body.number] = z + thing.height
            else:
                beside = rng.choice(placed) if placed and rng.random() < 0.15 else None
                free = (_beside(rng, thing, beside, placed) if beside else
                        table.free_place(rng, thing.radius, placed, gap))
                if free is None:
                    return False
                (x, y), z = free, 0.001
                placed.append(TableThing(thing.colour, thing.shape, size, x, y))
                tops[body.number] = 0.25 * size if thing.shape in CONTAINERS else thing.height
            self._data.qpos[body.at : body.at + 7] = (
                x, y, z, *scenery.yaw_quaternion(rng.uniform(0, 2 * math.pi)))
        return True

    def _paint(self, rng: random.Random) -> list[tuple[str, str]]:
        """Give things, table, wall and lamps another look; return colour and shape of each."""
        model = self._model
        palette = rng.sample([*COLOURS], rng.choice((2, 3, 6)))
        names: list[tuple[str, str]] = []
        for body in self._bodies:
            shape = body.thing.shape
            free = ([c for c in palette if (c, shape) not in names]
                    or [c for c in COLOURS if (c, shape) not in names])
            colour = rng.choice(free)
            names.append((colour, shape))
            material = model.mat(body.thing.name).id
            gain = rng.uniform(0.9, 1.1)
            model.mat_rgba[material, :3] = [
                min(1.0, c / 255 * gain * rng.uniform(0.94, 1.06)) for c in COLOURS[colour]]
        for name in ('table', 'wall'):
            texture = model.tex(name)
            surface = scenery.random_texture(rng).ravel()
            begin = model.tex_adr[texture.id]
            model.tex_data[begin : begin + surface.size] = surface
            model.mat_texrepeat[model.mat(name).id] = rng.uniform(1, 5)
        model.vis.headlight.ambient[:] = rng.uniform(0.5, 0.9)
        for lamp in range(model.nlight):
            at = np.array([rng.uniform(-0.5, 1.5), rng.uniform(-1, 1), rng.uniform(1.2, 2.2)])
            way = np.array(table.MIDDLE) - at
            model.light_pos[lamp], model.light_dir[lamp] = at, way / np.linalg.norm(way)
            bright = rng.uniform(0.3, 0.6) / (lamp + 1)
            model.light_diffuse[lamp] = [bright * rng.uniform(0.95, 1.05) for _ in range(3)]
        return names

    def _places(self, names: Sequence[tuple[str, str]]) -> list[str] | None:
        """Where each thing is; None: that is hard to say, or something still moves."""
        data = self._data
        left, right, low, high = table.SPACE
        robot = self._arm.robot if self._arm else None
        states = thing_states(self._model, data, [body.thing for body in self._bodies],
                              robot.fingers if robot else ())
        now = {body.thing.name: ' '.join(name) for body, name in zip(self._bodies, names)}
        places = []
        for body, state in zip(self._bodies, states):
            x, y, z = state.position
            if np.abs(data.cvel[body.number]).max() > _MOVING:
                return None
            where, _, what = state.place.partition(' the ')
            if not where and (z > _LYING or not (
                    left - 0.05 < x < right + 0.05 and low - 0.05 < y < high + 0.05)):
                return None
            places.append(f'{where} the {now[what]}' if what else where)
        return places

    def _aim(self, rng: random.Random, width: int, height: int, *, above: bool) -> None:
        """Put the camera where the things fill much of the picture, or where demos have it."""
        model, camera = self._model, self._model.camera(_CAMERA).id
        if rng.random() < _AS_DEMOS and not above:
            eye = np.add(EYE, [rng.uniform(-0.08, 0.08) for _ in EYE])
            centre = np.add(table.MIDDLE, [rng.uniform(-0.04, 0.04), rng.uniform(-0.04, 0.04), 0])
            focal = FOCAL / HEIGHT * min(height, HEIGHT / WIDTH * width) * rng.uniform(0.9, 1.15)
            fovy = scenery.fovy_of(focal, height)
        else:
            middles = np.array([self._data.xipos[body.number] for body in self._bodies])
            radii = np.array([body.thing.radius for body in self._bodies])
            centre = (middles.max(0) + middles.min(0)) / 2
            centre[:2] += rng.uniform(-0.03, 0.03), rng.uniform(-0.03, 0.03)
            reach = max(0.14, float((np.linalg.norm(middles - centre, axis=1) + radii).max()))
            side = rng.gauss(0, 0.6)
            up = math.radians(rng.uniform(15, 50) if above else rng.uniform(30, 78))
            fovy = rng.uniform(30, 65)
            far = (reach * rng.uniform(0.85, 1.25) / math.sin(math.radians(fovy) / 2)
                   * max(1, 0.9 * height / width))
            eye = centre + far * np.array([
                math.cos(up) * math.cos(side), math.cos(up) * math.sin(side), math.sin(up)])
        model.cam_pos[camera], model.cam_fovy[camera] = eye, fovy
        model.cam_quat[camera] = scenery.quaternion_of(
            scenery.looking_at(eye, centre, rng.gauss(0, 0.03)))

    def _see(
        self, rng: random.Random, names: Sequence[tuple[str, str]], places: Sequence[str],
        width: int, height: int,
    ) -> Table | None:
        """Render, and label what is seen."""
        model, data = self._model, self._data
        # the model gets large pictures smaller, which smooths their edges
        renderer = RayRenderer(model, finer=2 if width * height < _LARGE else 1)
        half = height // 2, width // 2
        coarse = self._bodies_of(renderer.geoms(data, _CAMERA, half[1], half[0]))
        alone = [renderer.silhouette(data, _CAMERA, half[1], half[0], body.number)
                 for body in self._bodies]
        least = [max(labelling.least_pixels(width, height) / 4,
                     count * (_SHARE_INSIDE if place else SHARE))
                 for count, place in zip(alone, places)]
        if any((coarse == body.number).sum() < _NEARLY * few and not place.startswith('in ')
               for body, few, place in zip(self._bodies, least, places)):
            return None
        seen = renderer.render(data, _CAMERA, width, height)
        pixels, geoms = lens.distort(rng, seen.pixels, seen.geoms)
        shown = self._bodies_of(geoms)
        things: list[SeenThing] = []
        hidden: list[SeenThing] = []
        labels, taken = np.zeros((height, width), np.uint8), set[tuple[int, int]]()
        # what lies on another thing keeps its middle; the other one is pointed at beside it
        heights = [data.xipos[body.number][2] for body in self._bodies]
        for index in np.argsort(heights)[::-1]:
            body, place, (colour, shape) = self._bodies[index], places[index], names[index]
            mask = shown == body.number
            x, y = data.xipos[body.number][:2]
            thing = labelling.seen_thing(colour, shape, mask, taken, place=place, ground=(
                float(x), float(y), body.thing.radius))
            if thing is None or mask.sum() < 4 * least[index]:
                if not place.startswith('in '):
                    return None
                hidden.append(SeenThing(colour, shape, 0, 0, 0, place))
                continue
            taken.add(labelling.cell(thing.x, thing.y))
            things.append(thing)
            labels[mask] = len(things)
        free = labelling.middle_of_free_space(geoms == model.geom('table').id)
        return Table(pixels, tuple(things), 0.0, rendered=True, hidden=tuple(hidden),
                     gripper=self._shows_fingers(shown), free=free, labels=labels)

    def _bodies_of(self, geoms: NDArray[np.int32]) -> NDArray[np.int32]:
        """The body of each geom; -1: none."""
        return np.where(geoms >= 0, self._model.geom_bodyid[geoms], -1)

    def _shows_fingers(self, shown: NDArray[np.int32]) -> bool:
        """Whether both fingers are in the picture."""
        if self._arm is None:
            return False
        return all((shown == self._model.body(name).id).sum() >= _TIP
                   for name in self._arm.robot.fingers)


def _choose_things(rng: random.Random) -> tuple[TableThing, ...]:
    """Choose things, often with something to put into others and something that takes them."""
    first = [rng.choice(MOVABLE), rng.choice(MOVABLE), rng.choice([*SHAPES])]
    holders = [name for name, shape in SHAPES.items() if shape.holds]
    if rng.random() < 0.7:
        first[1] = rng.choice(holders)
    if rng.random() < 0.3:  # things of one shape in several colours
        first[2] = first[0]
    rng.shuffle(first)
    kinds: list[tuple[str, str]] = []
    for shape in first[: rng.randint(2, 3)]:
        kinds.append((rng.choice([c for c in COLOURS if (c, shape) not in kinds]), shape))
    count = max(len(kinds), rng.choice((2, 3, 4, 4, 5, 5, _MOST)))
    return table.random_things(rng, count, kinds, gap=0.005)


def _can_hold(holder: TableThing, thing: TableThing) -> bool:
    """Whether a thing may be put on another one, or in it."""
    if holder.shape == 'cube':
        return thing.shape in {'cube', 'cone'}
    return bool(SHAPES[holder.shape].holds)


def _beside(
    rng: random.Random, thing: TableThing, other: TableThing, placed: Sequence[TableThing]
) -> tuple[float, float] | None:
    """A place right beside another thing, as if it had been dropped there; None: no room."""
    for _ in range(20):
        away = thing.radius + other.radius + rng.uniform(0, 0.02)
        angle = rng.uniform(0, 2 * math.pi)
        x, y = other.x + away * math.cos(angle), other.y + away * math.sin(angle)
        left, right, low, high = table.SPACE
        if left < x < right and low < y < high and all(
                math.hypot(x - t.x, y - t.y) >= thing.radius + t.radius for t in placed):
            return x, y
    return None
