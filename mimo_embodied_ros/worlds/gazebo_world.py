"""Writes Gazebo's world: ``python -m mimo_embodied_ros.worlds.gazebo_world gazebo/tabletop.sdf``.

It is SDF 1.9, which Gazebo Fortress to Jetty read, with all inertias. Its systems are named
``gz-sim-…``, which Fortress knows from Gazebo Sim 6.16 on. The things on the table are those of
`fixed_table`.
"""

from __future__ import annotations

import argparse
import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.geometry.extrinsics import Transform

from .fixed_table import CAMERA, THINGS, FixedCamera
from .things import COLOURS, ROOM_SHAPES, SHAPES, TABLE, TABLE_AHEAD, wall_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .things import TableThing

    Floats = NDArray[np.float64]

FLOOR_BALL = ('orange', (0.2, 0.95))
"""The ball on the floor, which the base sees: its colour, and x and y in metres."""
BASE_CAMERA = FixedCamera(0.1, 1.15, 0.25)
_TOP = 0.75  # height of the table's top, metres
_RISE = 0.001  # metres above the table at first, so that nothing begins in a collision
_WOOD, _DARK_WOOD, _METAL, _TYRE = '0.77 0.66 0.51 1', '0.54 0.46 0.36 1', '0.35 0.35 0.37 1', (
    '0.18 0.18 0.2 1')
_FLOOR = '0.65 0.65 0.63 1'
_SYSTEMS = ('physics-system', 'Physics'), ('user-commands-system', 'UserCommands'), (
    'scene-broadcaster-system', 'SceneBroadcaster')


@dataclass(frozen=True)
class Part:
    """A part of a link: it is seen and touched.

    Attributes:
        kind: box, sphere or cylinder.
        size: metres: the sides of a box, the radius of a sphere, radius and length of a cylinder.
        at: metres in the link.
        turn: roll, pitch, yaw in radians.
        mass: kilograms.
        colour: RGBA in words; empty: it is not seen.
        touched: whether it collides.
        slides: whether it has no friction.

    """

    kind: str
    size: tuple[float, ...]
    at: tuple[float, float, float] = (0, 0, 0)
    turn: tuple[float, float, float] = (0, 0, 0)
    mass: float = 0.0
    colour: str = ''
    touched: bool = True
    slides: bool = False


def inertia_of(parts: Iterable[Part]) -> tuple[float, Floats, Floats]:
    """Return the mass (kg), its centre (3,) and the inertia (3, 3) of parts around this centre."""
    parts = tuple(parts)
    mass = sum(part.mass for part in parts)
    centre = sum((part.mass * np.array(part.at) for part in parts), np.zeros(3)) / mass
    total = np.zeros((3, 3))
    for part in parts:
        away = np.array(part.at) - centre
        turn = _rotation(part.turn)
        total += turn @ np.diag(_own_inertia(part)) @ turn.T
        total += part.mass * (away @ away * np.eye(3) - np.outer(away, away))
    return mass, centre, total


def _own_inertia(part: Part) -> Floats:
    """Moments of inertia of a part around its own axes."""
    if part.kind == 'sphere':
        return np.full(3, 0.4 * part.mass * part.size[0] ** 2)
    if part.kind == 'cylinder':
        radius, length = part.size
        across = part.mass * (3 * radius**2 + length**2) / 12
        return np.array([across, across, part.mass * radius**2 / 2])
    squares = np.square(part.size)
    return np.asarray(part.mass * (squares.sum() - squares) / 12)


def _rotation(turn: Sequence[float]) -> Floats:
    """The rotation of roll, pitch and yaw."""
    roll, pitch, yaw = (angle / 2 for angle in turn)
    x, y, z = (Transform.of((0, 0, 0), (*(math.sin(half) * np.eye(3)[i]), math.cos(half))).rotation
               for i, half in enumerate((roll, pitch, yaw)))
    return np.asarray(z @ y @ x)


def parts_of(thing: TableThing) -> tuple[Part, ...]:
    """Return the parts of a thing on the table; its origin is on the ground, below its middle."""
    shape, size, colour = SHAPES[thing.shape], thing.size, _rgba(thing.colour)
    if thing.shape == 'cube':
        return (Part('box', (2 * size,) * 3, (0, 0, size), mass=shape.mass, colour=colour),)
    if thing.shape == 'ball':
        return (Part('sphere', (size,), (0, 0, size), mass=shape.mass, colour=colour),)
    wall = wall_of(shape, size)
    radius, half = wall.bottom
    bottom = Part('cylinder', (radius, 2 * half), (0, 0, half),
                  mass=wall.BOTTOM_MASS * shape.mass, colour=colour)
    mass = (1 - wall.BOTTOM_MASS) * shape.mass / len(wall.yaws)
    sides = tuple(2 * side for side in wall.stave)
    return (bottom, *(
        Part('box', sides, (wall.radius * math.cos(yaw), wall.radius * math.sin(yaw), wall.height),
             (0, wall.tilt, yaw), mass, colour) for yaw in wall.yaws))


def world_file() -> str:
    """Return Gazebo's world as XML."""
    root = ET.Element('sdf', version='1.9')
    root.append(ET.Comment(
        " A table with things that the embedded model knows, an arm's camera over it and a mobile"
        ' base with a camera. worlds/gazebo_world.py writes this file; bridge.yaml brings the'
        ' topics to ROS; launch/gazebo.launch.py starts the simulator, the bridge and the nodes. '))
    world = _child(root, 'world', name='tabletop')
    _add_surroundings(world)
    _add_model(world, 'table', (0, 0, 0), {'link': (
        Part('box', TABLE, (0, 0, _TOP - TABLE[2] / 2), colour=_WOOD),
        *(Part('box', (0.05, 0.05, _TOP - TABLE[2]),
               (x * (TABLE[0] / 2 - 0.05), y * (TABLE[1] / 2 - 0.05), (_TOP - TABLE[2]) / 2),
               colour=_DARK_WOOD) for x, y in product((1, -1), repeat=2)))}, static=True)
    for thing in THINGS:
        _add_model(world, thing.name, (thing.x - TABLE_AHEAD, thing.y, _TOP + _RISE),
                   {'link': parts_of(thing)}, yaw=thing.yaw)
    (colour, place), shape = FLOOR_BALL, ROOM_SHAPES['ball']
    radius = shape.mean_size
    _add_model(world, f'{colour} ball', (*place, 0), {'link': (Part(
        'sphere', (radius,), (0, 0, radius), mass=shape.mass, colour=_rgba(colour)),)})
    arm = _add_model(world, 'arm', (-TABLE_AHEAD, 0, _TOP), {'base_link': (Part(
        'cylinder', (0.03, 0.6), (0, 0, 0.3), colour=_METAL),)}, static=True)
    _add_camera(arm, 'arm', CAMERA)
    _add_base(world)
    ET.indent(root)
    return f'<?xml version="1.0"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add_surroundings(world: ET.Element) -> None:
    """Add physics, the simulator's systems, light and floor."""
    physics = _child(world, 'physics', name='1ms', type='ignored')
    _texts(physics, max_step_size='0.001', real_time_factor='1', real_time_update_rate='1000')
    _texts(world, gravity='0 0 -9.8', magnetic_field='6e-06 2.3e-05 -4.2e-05')
    _child(world, 'atmosphere', type='adiabatic')
    for file, name in _SYSTEMS:
        _child(world, 'plugin', filename=f'gz-sim-{file}', name=f'gz::sim::systems::{name}')
    _texts(_child(world, 'plugin', filename='gz-sim-sensors-system',
                  name='gz::sim::systems::Sensors'), render_engine='ogre2')
    _texts(_child(world, 'scene'), ambient='0.8 0.8 0.8 1', background='0.8 0.82 0.85 1',
           shadows='true')
    _texts(_child(world, 'light', name='sun', type='directional'), pose='0 0 10 0 0 0',
           cast_shadows='true', diffuse='0.6 0.6 0.6 1', specular='0 0 0 1',
           direction='-0.3 0.2 -0.9')
    floor = _child(world, 'model', name='floor')
    _texts(floor, static='true')
    link = _child(floor, 'link', name='link')
    for kind in ('collision', 'visual'):
        element = _child(link, kind, name=kind)
        _texts(_child(_child(element, 'geometry'), 'plane'), normal='0 0 1', size='20 20')
    _texts(_child(element, 'material'), ambient=_FLOOR, diffuse=_FLOOR)


def _add_base(world: ET.Element) -> None:
    """Add a base of two driven wheels with a camera; base_link is on the floor between them."""
    radius, width, apart = 0.06, 0.03, 0.34
    base = _add_model(world, 'base', (-2.2, 0, 0), {
        'base_link': (
            Part('box', (0.4, 0.3, 0.12), (0, 0, 0.11), mass=5.76, colour=_METAL),
            *(Part('sphere', (0.025,), (x, 0, 0.025), mass=0.01, slides=True)
              for x in (0.16, -0.16)),
            Part('cylinder', (0.02, 1), (0.05, 0, 0.67), colour=_METAL, touched=False)),
        **{f'{side}_wheel': (Part('cylinder', (radius, width), mass=0.17, colour=_TYRE),)
           for side in ('left', 'right')}})
    for side, y in (('left', apart / 2), ('right', -apart / 2)):
        link = base.find(f"link[@name='{side}_wheel']")
        assert link is not None
        link.insert(0, _text('pose', (0, y, radius, -math.pi / 2, 0, 0)))
        joint = _child(base, 'joint', name=f'{side}_wheel_joint', type='revolute')
        _texts(joint, parent='base_link', child=f'{side}_wheel')
        axis = _child(joint, 'axis')
        _texts(axis, xyz='0 0 1')
        _texts(_child(axis, 'limit'), lower='-1e16', upper='1e16')
    _add_camera(base, 'base', BASE_CAMERA)
    _texts(_child(base, 'plugin', filename='gz-sim-diff-drive-system',
                  name='gz::sim::systems::DiffDrive'),
           left_joint='left_wheel_joint', right_joint='right_wheel_joint',
           wheel_separation=_words([apart]), wheel_radius=_words([radius]),
           max_linear_velocity='0.6', max_linear_acceleration='1', topic='base/cmd_vel',
           odom_topic='base/odom', odom_publish_frequency='50', tf_topic='base/tf',
           frame_id='base/odom', child_frame_id='base/base_link')


def _add_model(
    world: ET.Element, name: str, at: Sequence[float], links: dict[str, tuple[Part, ...]], *,
    yaw: float = 0.0, static: bool = False,
) -> ET.Element:
    model = _child(world, 'model', name=name)
    if static:
        _texts(model, static='true')
    model.append(_text('pose', (*at, 0, 0, yaw)))
    for link_name, parts in links.items():
        link = _child(model, 'link', name=link_name)
        if not static:
            _add_inertia(link, parts)
        for number, part in enumerate(parts, 1):
            if part.touched:
                collision = _add_part(link, 'collision', number, part)
                if part.slides:
                    friction = _child(_child(collision, 'surface'), 'friction')
                    _texts(_child(friction, 'ode'), mu='0', mu2='0')
            if part.colour:
                _texts(_child(_add_part(link, 'visual', number, part), 'material'),
                       ambient=part.colour, diffuse=part.colour)
    return model


def _add_inertia(link: ET.Element, parts: tuple[Part, ...]) -> None:
    mass, centre, inertia = inertia_of(part for part in parts if part.mass)
    inertial = _child(link, 'inertial')
    inertial.append(_text('pose', (*centre, 0, 0, 0)))
    _texts(inertial, mass=_words([mass]))
    _texts(_child(inertial, 'inertia'), **{
        f'i{"xyz"[i]}{"xyz"[j]}': _words([inertia[i, j]]) for i in range(3) for j in range(i, 3)})


def _add_part(link: ET.Element, kind: str, number: int, part: Part) -> ET.Element:
    element = _child(link, kind, name=f'{kind}_{number}')
    element.append(_text('pose', (*part.at, *part.turn)))
    names = {'box': ('size',), 'sphere': ('radius',), 'cylinder': ('radius', 'length')}[part.kind]
    values = [part.size] if part.kind == 'box' else [[value] for value in part.size]
    _texts(_child(_child(element, 'geometry'), part.kind),
           **{name: _words(value) for name, value in zip(names, values)})
    return element


def _add_camera(model: ET.Element, robot: str, camera: FixedCamera) -> None:
    link = model.find("link[@name='base_link']")
    assert link is not None
    sensor = _child(link, 'sensor', name='camera', type='rgbd_camera')
    sensor.append(_text('pose', (camera.x, 0, camera.z, 0, camera.pitch, 0)))
    _texts(sensor, topic=f'{robot}/camera', update_rate='15', always_on='true')
    element = _child(sensor, 'camera')
    _texts(element, horizontal_fov=_words([camera.across]))
    _texts(_child(element, 'image'), width=str(camera.width), height=str(camera.height),
           format='R8G8B8')
    _texts(_child(element, 'clip'), near='0.1', far='8')
    _texts(element, optical_frame_id=f'{robot}/camera_color_optical_frame')


def _child(parent: ET.Element, tag: str, /, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)


def _text(tag: str, values: Iterable[float]) -> ET.Element:
    element = ET.Element(tag)
    element.text = _words(values)
    return element


def _texts(parent: ET.Element, /, **texts: str) -> None:
    for tag, text in texts.items():
        _child(parent, tag).text = text


def _words(values: Iterable[float]) -> str:
    """Numbers with six digits, without traces of rounding and without a negative zero."""
    return ' '.join(f'{0.0 if abs(value) < 1e-12 else value:.6g}' for value in values)


def _rgba(colour: str) -> str:
    return f'{" ".join(f"{c / 255:.2f}" for c in COLOURS[colour])} 1'


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('out', type=Path)
    parser.parse_args().out.write_text(world_file(), 'utf-8')


if __name__ == '__main__':
    main()
