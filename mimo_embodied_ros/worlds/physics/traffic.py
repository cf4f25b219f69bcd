"""What is on a road, as MuJoCo's bodies: lanes, houses, cars, a pedestrian, a traffic light.

They are moved by their poses, not by tyres: for a driver's view it is geometry that counts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from mimo_embodied_ros.worlds.things import COLOURS

from .road_plan import BEGIN, CAR, END, LANE
from .scenery import add_material, random_texture, yaw_quaternion

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from .road_plan import Course, Light

LAMPS = {'red': 3.75, 'green': 3.05}
"""Height of the lamps of a traffic light, metres."""
_BRIGHT, _DARK = {'red': (1.0, 0.16, 0.16), 'green': (0.16, 1.0, 0.35)}, 0.2
_GEOM = mujoco.mjtGeom
_UNTOUCHED = {'contype': 0, 'conaffinity': 0}
_LYING = [math.sqrt(0.5), math.sqrt(0.5), 0, 0]  # quaternion of a cylinder on its side


def _rgba(colour: str, factor: float = 1.0) -> list[float]:
    return [min(1.0, c / 255 * factor) for c in COLOURS[colour]] + [1.0]


def add_road(spec: mujoco.MjSpec, rng: random.Random, course: Course) -> None:
    """Add grass, a road of two lanes with its lines, houses and trees beside it, and the sun."""
    add_material(spec, 'grass', random_texture(rng), 0.1)
    spec.material('grass').rgba = [*(c * rng.uniform(0.8, 1.2) for c in (0.55, 0.8, 0.45)), 1]
    spec.worldbody.add_geom(type=_GEOM.mjGEOM_PLANE, size=[250, 250, 1], pos=[0, 0, -0.05],
                            material='grass', **_UNTOUCHED)
    grey = rng.uniform(0.22, 0.36)
    _add_strips(spec, 'asphalt', course, [(BEGIN, END, 0.0, LANE + 0.4)], 0.0, grey)
    edges = [(BEGIN, END, left, 0.1) for left in (-LANE, LANE)]
    dashes = [(along, along + 3.5, 0.0, 0.08) for along in np.arange(BEGIN, END - 4, 8.0)]
    _add_strips(spec, 'lines', course, [*edges, *dashes], 0.02, 0.92)
    for number, along in enumerate(np.arange(BEGIN, END, 14.0)):
        for side in (-1, 1):
            if rng.random() < 0.75:
                at = course.place(along + rng.uniform(-3, 3), side * rng.uniform(11, 17))
                adder = _add_house if rng.random() < 0.5 else _add_tree
                adder(spec, rng, f'{number} {side}', at, course.heading(along))
    _add_sky(spec, rng)


def _add_sky(spec: mujoco.MjSpec, rng: random.Random) -> None:
    head, bright = spec.visual.headlight, rng.uniform(0.5, 0.75)
    head.ambient, head.diffuse, head.specular = [rng.uniform(0.9, 1.0)] * 3, [0.0] * 3, [0.0] * 3
    spec.worldbody.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0, 0, 60],
        dir=[rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), -1], diffuse=[bright] * 3)
    sky = [min(1.0, c + rng.uniform(-0.1, 0.1)) for c in (0.6, 0.75, 0.9)]
    spec.add_texture(name='sky', type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, width=8, height=8,
                     builtin=mujoco.mjtBuiltin.mjBUILTIN_FLAT, rgb1=sky, rgb2=sky)


def _add_strips(
    spec: mujoco.MjSpec, name: str, course: Course,
    strips: Sequence[tuple[float, float, float, float]], top: float, grey: float,
) -> None:
    """Add strips that follow the road, as one thin mesh.

    Each has a begin and an end along the road, its middle to the left of the road's, and half of
    its width.
    """
    vertices, faces = list[tuple[float, ...]](), list[tuple[int, ...]]()
    for begin, end, middle, half in strips:
        first, steps = len(vertices), np.linspace(begin, end, max(2, round((end - begin) / 2)))
        corners = ((half, top), (-half, top), (-half, top - 0.02), (half, top - 0.02))
        vertices += [(*course.place(s, middle + aside), z) for s in steps for aside, z in corners]
        last = len(vertices) - 4
        for ring in range(first, last, 4):
            for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
                faces += [(ring + a, ring + b, ring + 4 + a),
                          (ring + b, ring + 4 + b, ring + 4 + a)]
        faces += [(first, first + 2, first + 1), (first, first + 3, first + 2),
                  (last, last + 1, last + 2), (last, last + 2, last + 3)]
    mesh = spec.add_mesh(name=name, uservert=np.ravel(vertices), userface=np.ravel(faces))
    mesh.inertia, mesh.needsdf = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL, False
    spec.worldbody.add_geom(type=_GEOM.mjGEOM_MESH, meshname=name, rgba=[grey] * 3 + [1],
                            **_UNTOUCHED)


def _add_house(spec: mujoco.MjSpec, rng: random.Random, name: str, at: Sequence[float],
               yaw: float) -> None:
    tall = rng.uniform(1.5, 4)
    add_material(spec, f'house {name}', random_texture(rng), 0.25)
    spec.worldbody.add_geom(
        type=_GEOM.mjGEOM_BOX, size=[rng.uniform(3, 6), rng.uniform(2.5, 4), tall],
        pos=[*at, tall], quat=yaw_quaternion(yaw), material=f'house {name}', **_UNTOUCHED)


def _add_tree(spec: mujoco.MjSpec, rng: random.Random, _: str, at: Sequence[float],
              __: float) -> None:
    tall, green = rng.uniform(2, 3.5), rng.uniform(0.25, 0.4)
    spec.worldbody.add_geom(type=_GEOM.mjGEOM_CYLINDER, size=[0.18, tall / 2, 0],
                            pos=[*at, tall / 2], rgba=[0.3, 0.22, 0.15, 1], **_UNTOUCHED)
    spec.worldbody.add_geom(type=_GEOM.mjGEOM_ELLIPSOID, size=[1.5, 1.5, rng.uniform(1.4, 2.2)],
                            pos=[*at, tall + 1], rgba=[0.7 * green, green, 0.5 * green, 1],
                            **_UNTOUCHED)


def add_car(spec: mujoco.MjSpec, name: str, colour: str) -> Any:
    """Add a car, and return its body; the origin is on the ground, below its middle."""
    body = spec.worldbody.add_body(name=name, mocap=True)
    half = [CAR[0] / 2, CAR[1] / 2]
    body.add_geom(type=_GEOM.mjGEOM_BOX, size=[*half, 0.36], pos=[0, 0, 0.62],
                  rgba=_rgba(colour), **_UNTOUCHED)
    body.add_geom(type=_GEOM.mjGEOM_BOX, size=[1.1, 0.8, 0.24], pos=[-0.25, 0, 1.2],
                  rgba=[0.14, 0.17, 0.24, 1], **_UNTOUCHED)
    body.add_geom(type=_GEOM.mjGEOM_BOX, size=[1.0, 0.78, 0.03], pos=[-0.25, 0, 1.46],
                  rgba=_rgba(colour), **_UNTOUCHED)
    for x in (-1.3, 1.3):
        for y in (-0.82, 0.82):
            body.add_geom(type=_GEOM.mjGEOM_CYLINDER, size=[0.34, 0.11, 0], pos=[x, y, 0.34],
                          quat=_LYING, rgba=[0.05] * 3 + [1], **_UNTOUCHED)
    return body


def add_pedestrian(spec: mujoco.MjSpec, coat: str) -> None:
    """Add a body named ``pedestrian``; its origin is between the feet."""
    body = spec.worldbody.add_body(name='pedestrian', mocap=True)
    for y in (-0.13, 0.13):
        body.add_geom(type=_GEOM.mjGEOM_CAPSULE, size=[0.11, 0.33, 0], pos=[0, y, 0.44],
                      rgba=[0.17, 0.17, 0.35, 1], **_UNTOUCHED)
    body.add_geom(type=_GEOM.mjGEOM_CAPSULE, size=[0.25, 0.25, 0], pos=[0, 0, 1.13],
                  rgba=_rgba(coat), **_UNTOUCHED)
    body.add_geom(type=_GEOM.mjGEOM_SPHERE, size=[0.15, 0, 0], pos=[0, 0, 1.7],
                  rgba=[0.88, 0.68, 0.55, 1], **_UNTOUCHED)


def add_traffic_light(spec: mujoco.MjSpec, light: Light, course: Course) -> None:
    """Add a pole, and a body named ``traffic light`` with a lamp of each colour."""
    at, turn = course.place(light.along, light.left), yaw_quaternion(course.heading(light.along))
    spec.worldbody.add_geom(type=_GEOM.mjGEOM_CYLINDER, size=[0.08, 1.35, 0],
                            pos=[*at, 1.35], rgba=[0.35] * 3 + [1], **_UNTOUCHED)
    body = spec.worldbody.add_body(name='traffic light', pos=[*at, 0], quat=turn)
    middle = sum(LAMPS.values()) / 2
    body.add_geom(type=_GEOM.mjGEOM_BOX, size=[0.2, 0.42, 0.75], pos=[0, 0, middle],
                  rgba=[0.1] * 3 + [1], **_UNTOUCHED)
    for colour, z in LAMPS.items():
        body.add_geom(name=f'{colour} lamp', type=_GEOM.mjGEOM_SPHERE, size=[0.3, 0, 0],
                      pos=[-0.15, 0, z], **_UNTOUCHED)


def show_light(model: mujoco.MjModel, shows: str) -> None:
    """Let the traffic light of a model show red or green."""
    for colour, rgb in _BRIGHT.items():
        factor = 1.4 if colour == shows else _DARK
        model.geom(f'{colour} lamp').rgba[:3] = [factor * c for c in rgb]
