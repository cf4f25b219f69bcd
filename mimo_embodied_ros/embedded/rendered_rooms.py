"""Rendered rooms with their labels, as the camera of a mobile base sees them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from mimo_embodied_ros.worlds.physics import lens, scenery
from mimo_embodied_ros.worlds.physics.base import CAMERA_POSE, RADIUS
from mimo_embodied_ros.worlds.physics.base_skills import STAND_OFF
from mimo_embodied_ros.worlds.physics.rays import RayRenderer
from mimo_embodied_ros.worlds.physics.room import Room, add_room, random_room
from mimo_embodied_ros.worlds.room_scene import RoomScene
from mimo_embodied_ros.worlds.things import COLOURS, ROOM_SHAPES

from . import labelling

if TYPE_CHECKING:
    import random

    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.physics.room import RoomThing
    from mimo_embodied_ros.worlds.table_scene import SeenThing

SHARE = 0.4
"""Least share of a thing in the picture that must be seen."""
_CAMERA = 'camera'
_FOCAL = 525 / 640  # focal length in widths of the picture
_WHOLE = 0.35  # least share of a thing at the picture's edge that must be seen, roughly
_NEAR = 0.45  # share of the pictures from where a base stands before a thing
_EMPTY = 0.06  # share of the pictures with nothing that are kept
_LARGE = 200_000  # pixels of a picture
_TRIES = 30


def rendered_room(rng: random.Random, width: int, height: int) -> RoomScene | None:
    """Render a room; None: something is hidden, or too small to be told.

    Args:
        rng: source of all random choices.
        width: columns.
        height: rows.

    """
    room = random_room(rng, rng.choice((3, 4, 5, 5, 6, 6)), _names(rng))
    pose = _pose_of_base(rng, room)
    if pose is None:
        return None
    spec = mujoco.MjSpec()
    add_room(spec, rng, room, fixed=True)
    eye, axes = _view(rng, pose)
    focal = _FOCAL * max(width, height) * rng.uniform(0.9, 1.1)
    spec.worldbody.add_camera(name=_CAMERA, pos=eye, quat=scenery.quaternion_of(axes),
                              fovy=scenery.fovy_of(focal, height))
    model = scenery.compiled(spec)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    # the model gets large pictures smaller, which smooths their edges
    renderer = RayRenderer(model, finer=2 if width * height < _LARGE else 1)
    seen = renderer.render(data, _CAMERA, width, height)
    pixels, geoms = lens.distort(rng, seen.pixels, seen.geoms)
    shown = np.where(geoms >= 0, model.geom_bodyid[geoms], -1)
    things: list[SeenThing] = []
    labels, taken = np.zeros((height, width), np.uint8), set[tuple[int, int]]()
    for thing in room.things:
        mask = shown == model.body(thing.name).id
        count = int(mask.sum())
        if not count:
            continue
        alone = 4 * renderer.silhouette(
            data, _CAMERA, width // 2, height // 2, model.body(thing.name).id)
        ground = _ground(thing, pose)
        label = labelling.seen_thing(thing.colour, thing.shape, mask, taken, ground=ground)
        if label is None or count < max(
                labelling.least_pixels(width, height), SHARE * alone,
                _least(thing, label, focal, width, height, ground)):
            return None
        taken.add(labelling.cell(label.x, label.y))
        things.append(label)
        labels[mask] = len(things)
    if not things and rng.random() > _EMPTY:
        return None
    return RoomScene(pixels, tuple(things), 0.0, rendered=True, labels=labels, front=RADIUS)


def _names(rng: random.Random) -> list[tuple[str, str]]:
    """Two things that are alike in half of the rooms: of the same colour, or the same shape."""
    colour, shape = rng.choice([*COLOURS]), rng.choice([*ROOM_SHAPES])
    if rng.random() < 0.5:
        return [(colour, shape)]
    if rng.random() < 0.5:
        return [(colour, shape), (colour, rng.choice([s for s in ROOM_SHAPES if s != shape]))]
    return [(colour, shape), (rng.choice([c for c in COLOURS if c != colour]), shape)]


def _pose_of_base(rng: random.Random, room: Room) -> tuple[float, float, float] | None:
    """Where a base stands: before a thing, or anywhere; None: no place was found."""
    left, right, low, high = room.walls
    target = rng.choice(room.things)
    near = rng.random() < _NEAR
    for _ in range(_TRIES):
        if near:
            away = target.radius + RADIUS + STAND_OFF + rng.uniform(-0.15, 0.2)
            angle = rng.uniform(0, 2 * math.pi)
            x, y = target.x + away * math.cos(angle), target.y + away * math.sin(angle)
        else:
            x, y = rng.uniform(left, right), rng.uniform(low, high)
        if (left + 0.3 < x < right - 0.3 and low + 0.3 < y < high - 0.3 and all(
                math.hypot(x - t.x, y - t.y) > t.radius + RADIUS + 0.25 for t in room.things)):
            yaw = math.atan2(target.y - y, target.x - x)
            return x, y, yaw + (rng.gauss(0, 0.08) if near else rng.uniform(-0.5, 0.5))
    return None


def _view(
    rng: random.Random, pose: tuple[float, float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the camera is, and its axes as MuJoCo has them; nearly as on the simulated base."""
    x, y, yaw = pose
    cos, sin = math.cos(yaw), math.sin(yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    tilt = rng.gauss(0, 0.03)
    nod = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)],
                    [0, math.sin(tilt), math.cos(tilt)]])
    eye = turn @ CAMERA_POSE.translation + [x, y, rng.gauss(0, 0.03)]
    return eye, turn @ CAMERA_POSE.rotation @ nod * [1, -1, -1]


def _ground(
    thing: RoomThing, pose: tuple[float, float, float]
) -> tuple[float, float, float]:
    """The circle that holds a thing, in the frame of the base."""
    x, y, yaw = thing.x - pose[0], thing.y - pose[1], pose[2]
    return (math.cos(yaw) * x + math.sin(yaw) * y, math.cos(yaw) * y - math.sin(yaw) * x,
            thing.radius)


def _least(
    thing: RoomThing, label: SeenThing, focal: float, width: int, height: int,
    ground: tuple[float, float, float],
) -> float:
    """Fewest pixels that tell what a thing at the picture's edge is."""
    left, top, right, bottom = label.edges
    if left > 0 and top > 0 and right < width and bottom < height:
        return 0
    scale = focal / max(0.3, ground[0])
    return _WHOLE * 1.6 * thing.size * thing.height * scale * scale
