"""What physical worlds have in common: textures, lights, turned meshes, and the model's options."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.worlds.world import WorldCamera

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

STEP = 0.002
"""Seconds of one step of the physics on a table."""
TEXTURE_SIDE = 256  # pixels
HIDDEN_GROUP = 3
"""Group of the geoms that are touched and not seen."""
_SIDES = 32  # of a turned mesh
_OPTICAL = np.array([1, -1, -1])  # MuJoCo's cameras look along -z, and their y points up
OPTICAL_POSE = Transform(np.diag(_OPTICAL).astype(float))
"""Pose of a camera's optical frame in the frame that MuJoCo gives the camera."""
_NOISE = np.random.default_rng(0).standard_normal((TEXTURE_SIDE, TEXTURE_SIDE)).astype(np.float32)


def set_options(spec: mujoco.MjSpec, step: float = STEP) -> None:
    """Set the options under which fingers hold things and wheels do not slide sideways."""
    spec.option.timestep = step
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1920, 1080
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 20
    spec.visual.quality.shadowsize = 1024


def compiled(spec: mujoco.MjSpec) -> mujoco.MjModel:
    """Compile a spec without MuJoCo's warning that an attached robot has options of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return spec.compile()


def random_texture(rng: random.Random) -> NDArray[np.uint8]:
    """Draw the surface of a table, a floor or a wall, (256, 256, 3) RGB."""
    base = rng.uniform(60, 215) + np.array([rng.uniform(-25, 25) for _ in range(3)], np.float32)
    y, x = np.mgrid[:TEXTURE_SIDE, :TEXTURE_SIDE].astype(np.float32) / TEXTURE_SIDE
    count = rng.randint(2, 8)
    noise = np.roll(
        _NOISE, (rng.randrange(TEXTURE_SIDE), rng.randrange(TEXTURE_SIDE)), (0, 1))
    kind = rng.choice(('plain', 'planks', 'checks', 'noise', 'wood'))
    tone = np.zeros_like(x)
    if kind == 'planks':
        tone = -0.14 * ((x * count) % 1 < 0.04)
    elif kind == 'checks':
        tone = -0.1 * (((x * count).astype(int) + (y * count).astype(int)) % 2)
    elif kind == 'noise':
        tone = 0.08 * noise
    elif kind == 'wood':
        tone = 0.08 * np.sin(40 * x + 3 * np.sin(5 * y + 4 * x)) + 0.03 * noise
    picture: NDArray[np.uint8] = np.clip(base * (1 + tone[:, :, None]), 0, 255).astype(np.uint8)
    return picture


def add_material(
    spec: mujoco.MjSpec, name: str, picture: NDArray[np.uint8], repeat: float, shine: float = 0.0
) -> None:
    """Add a material with a texture.

    Args:
        spec: of the world.
        name: of material and texture.
        picture: (rows, columns, 3) uint8, RGB.
        repeat: how often the texture comes in a metre.
        shine: specular reflection, 0 to 1.

    """
    rows, columns, _ = picture.shape
    texture = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=columns, height=rows, nchannel=3)
    texture.data = picture.tobytes()
    material = spec.add_material(name=name, specular=shine)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    material.texrepeat = [repeat, repeat]


def add_lights(spec: mujoco.MjSpec, rng: random.Random, target: ArrayLike) -> None:
    """Light a place from all sides a little, and from one or two lamps above; one throws shadows.

    Args:
        spec: of the world.
        rng: source of all random choices.
        target: (3,) metres, the middle of what is lit.

    """
    head = spec.visual.headlight
    head.ambient, head.diffuse, head.specular = [rng.uniform(0.5, 0.9)] * 3, [0.0] * 3, [0.0] * 3
    middle = np.asarray(target, float)
    for number in range(rng.randint(1, 2)):
        at = middle + np.array([rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(1.2, 2.2)])
        kind = rng.choice(
            (mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, mujoco.mjtLightType.mjLIGHT_SPOT))
        bright = rng.uniform(0.3, 0.6) / (number + 1)
        spec.worldbody.add_light(
            pos=at, dir=middle - at, castshadow=number == 0, cutoff=60, exponent=1, type=kind,
            diffuse=[bright * rng.uniform(0.95, 1.05) for _ in range(3)])


def add_turned_mesh(
    spec: mujoco.MjSpec, name: str, profile: Sequence[tuple[float, float]], size: float
) -> None:
    """Add the mesh of a profile turned around the vertical axis.

    It is smooth around the axis and sharp between two parts of the profile.

    Args:
        spec: of the world.
        name: of the mesh.
        profile: (radius, height), see `Shape`.
        size: metres.

    """
    angles = 2 * math.pi * np.arange(_SIDES) / _SIDES
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    vertices, faces = [], []
    for number, ends in enumerate(pairwise(profile)):
        rings = [np.column_stack([radius * circle, np.full(_SIDES, height)])
                 for radius, height in ends]
        vertices.append(np.stack(rings, 1).reshape(-1, 3) * size)
        low = 2 * (number * _SIDES + np.arange(_SIDES))
        next_low = np.roll(low, -1)
        faces += [np.stack([low, next_low, low + 1], 1),
                  np.stack([next_low, next_low + 1, low + 1], 1)]
    mesh = spec.add_mesh(name=name, uservert=np.concatenate(vertices).ravel(),
                         userface=np.concatenate(faces).ravel())
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
    mesh.needsdf = False


def yaw_quaternion(yaw: float) -> list[float]:
    """Return the quaternion w, x, y, z, as MuJoCo has it, of a turn around the vertical axis."""
    return [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)]


def quaternion_of(rotation: ArrayLike) -> NDArray[np.float64]:
    """Return the quaternion w, x, y, z of a (3, 3) rotation."""
    out = np.zeros(4)
    mujoco.mju_mat2Quat(out, np.asarray(rotation, float).ravel())
    return out


def looking_at(eye: ArrayLike, target: ArrayLike, roll: float = 0.0) -> NDArray[np.float64]:
    """Return the rotation of MuJoCo's camera that looks from a point at another one.

    Args:
        eye: (3,) metres.
        target: (3,) metres, not straight above or below the eye.
        roll: radians around the camera's axis.

    Returns:
        (3, 3): its columns are the picture's right, up, and backwards.

    """
    back = np.asarray(eye, float) - np.asarray(target, float)
    back /= np.linalg.norm(back)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    cos, sin = math.cos(roll), math.sin(roll)
    return np.column_stack([cos * right + sin * up, cos * up - sin * right, back])


def add_camera(body: Any, name: str, pose: Transform, focal: float, height: int) -> None:
    """Add a camera to a body of a spec.

    Args:
        body: of the spec.
        name: of the camera.
        pose: of its optical frame (x right, y down, z ahead) in the body's frame.
        focal: focal length in pixels.
        height: rows of its pictures.

    """
    body.add_camera(name=name, pos=pose.translation, fovy=fovy_of(focal, height),
                    quat=quaternion_of(pose.rotation * _OPTICAL))


def pose_looking_at(eye: ArrayLike, target: ArrayLike) -> Transform:
    """Return the pose of the optical frame of a camera, see `looking_at`."""
    return Transform(looking_at(eye, target) * _OPTICAL, np.asarray(eye, float))


def world_camera(model: mujoco.MjModel, number: int, size: tuple[int, int]) -> WorldCamera:
    """Return a camera of a model, for pictures of ``size``, (columns, rows); see `WorldCamera`."""
    camera, body, axes = model.camera(number), int(model.cam_bodyid[number]), np.zeros(9)
    mujoco.mju_quat2Mat(axes, camera.quat)
    return WorldCamera(
        camera.name, *size, size[1] / 2 / math.tan(math.radians(model.cam_fovy[number]) / 2),
        f'{camera.name}_color_optical_frame', model.body(body).name if body else '',
        Transform(axes.reshape(3, 3) * _OPTICAL, camera.pos.copy()))


def fovy_of(focal: float, height: int) -> float:
    """Return the vertical field of view in degrees of a focal length in pixels."""
    return math.degrees(2 * math.atan(height / 2 / focal))


def find(model: mujoco.MjModel, kind: Any, name: str) -> int:
    """Return the number of a named element, such as a body; -1: there is none."""
    return int(mujoco.mj_name2id(model, kind, name))
