"""Sequences of pictures from a simulated table, with the truth about points on its things."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from mimo_embodied_ros.tracking.small_image import CameraPlace
from mimo_embodied_ros.worlds.physics.arm_table import CAMERA, EYE, ArmTable
from mimo_embodied_ros.worlds.physics.renderers import renderer_called
from mimo_embodied_ros.worlds.physics.scenery import pose_looking_at, quaternion_of
from mimo_embodied_ros.worlds.physics.table import MIDDLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mimo_embodied_ros.worlds.world import View

    Floats = NDArray[np.float64]

RATE = 30.0
"""Pictures a second."""
KINDS = ('camera', 'thing', 'occluder', 'leaves', 'gone', 'lights')
"""The camera moves; a thing moves; something passes before it; it leaves and comes back; it is
taken away at once; the lights change while the camera moves."""
_SIZE = 640, 480
_INSIDE = 3  # pixels from the edge of a thing, of the points that are chosen
_OPTICAL = np.array([1.0, -1.0, -1.0])  # axes of MuJoCo's cameras in an optical frame
_SWING, _TREMOR = 0.12, 0.015  # metres that a camera moves; and one that nobody moves
_AWAY = (0.0, 0.0, -5.0)
_SAME = 0.02  # metres: what is seen is the point itself


class Picture(NamedTuple):
    """A picture and the truth about it.

    Attributes:
        stamp_ns: nanoseconds.
        view: what the camera sees.
        camera: where it is.
        points: (n, 2) columns and rows of the points, whether they are seen or not.
        seen: (n,) which of them are seen.

    """

    stamp_ns: int
    view: View
    camera: CameraPlace
    points: Floats
    seen: NDArray[np.bool_]


class PictureSequence:
    """A sequence of pictures of a table.

    Attributes:
        things: (n,) the points' things, by their labels in the views.

    """

    def __init__(self, kind: str, seed: int, seconds: float) -> None:
        """Set the table.

        Args:
            kind: one of `KINDS`.
            seed: of table, points and motions.
            seconds: how long it is.

        """
        self._kind, self._rng = kind, random.Random(f'{kind} {seed}')
        self._frames = round(seconds * RATE)
        self._world = ArmTable(seed, others=(2, 4), size=_SIZE, renderer=renderer_called('auto'))
        model, data = self._world.model, self._world.data
        self._number = model.camera(CAMERA).id
        self._lights = model.light_diffuse.copy(), model.vis.headlight.diffuse.copy()
        self._phase = self._rng.uniform(0, 2 * math.pi)
        self._rest = {name: (data.body(name).xpos.copy(), np.roll(data.body(name).xquat, -1))
                      for name in self._world.bodies}
        names = list(self._world.bodies)
        self._rng.shuffle(names)
        self._moved, *_, self._passer = names
        self._act(0.0)
        self.things, self._local = self._choose(*self._look(0.0))

    def close(self) -> None:
        """Give the renderer's memory back."""
        self._world.close()

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures, one after the other."""
        for frame in range(self._frames):
            self._act(frame / self._frames)
            view, camera = self._look(frame / self._frames)
            points, depths = self._project(camera)
            columns, rows = np.round(points).astype(int).T
            inside = (columns >= 0) & (columns < _SIZE[0]) & (rows >= 0) & (rows < _SIZE[1])
            at = np.where(inside, rows, 0), np.where(inside, columns, 0)
            seen = inside & (view.labels[at] == self.things) & (
                np.abs(view.depth[at] - depths) < _SAME)
            yield Picture(round(frame / RATE * 1e9), view, camera, points, seen)

    def _act(self, done: float) -> None:
        """Move what moves, when this share of the sequence is done."""
        at, turn = self._rest[self._moved]
        angle = 2 * math.pi * done
        if self._kind == 'thing':
            along = np.array([0.06 * (1 - math.cos(angle)), 0.12 * math.sin(angle), 0])
            self._world.put(self._moved, at + along, _turned(turn, 0.6 * math.sin(angle)))
        elif self._kind == 'leaves':
            aside = np.array([0, 1.6 * math.sin(math.pi * done), 0])
            self._world.put(self._moved, at + aside, turn)
        elif self._kind == 'gone' and done > 0.4:
            self._world.put(self._moved, _AWAY, turn)
        elif self._kind == 'occluder':
            between = 0.45 * np.array(EYE) + 0.55 * at
            self._world.put(self._passer, between + np.array([0, 1.2 * (done - 0.5), 0]),
                            self._rest[self._passer][1])

    def _look(self, done: float) -> tuple[View, CameraPlace]:
        model, turn = self._world.model, 2 * math.pi * done + self._phase
        swing = _SWING if self._kind in {'camera', 'lights'} else _TREMOR
        eye = np.array(EYE) + swing * np.array(
            [math.sin(turn), math.cos(turn), 0.5 * math.sin(turn)])
        pose = pose_looking_at(eye, np.array(MIDDLE) + 0.2 * swing * math.cos(2 * turn))
        model.cam_pos[self._number] = pose.translation
        model.cam_quat[self._number] = quaternion_of(pose.rotation * _OPTICAL)
        if self._kind == 'lights':
            bright = 1 + 0.5 * math.sin(3 * turn)
            model.light_diffuse[:] = bright * self._lights[0]
            model.vis.headlight.diffuse[:] = bright * self._lights[1]
        matrix = np.array(self._world.cameras[CAMERA].matrix).reshape(3, 3)
        return self._world.look(CAMERA), CameraPlace(matrix, pose)

    def _choose(self, view: View, camera: CameraPlace) -> tuple[NDArray[np.int64], Floats]:
        """Choose a point on each thing that is seen; return their things, and places on them."""
        things, local = [], []
        for number, name in enumerate(self._world.bodies, 1):
            own = (view.labels == number).astype(np.uint8)
            own[[0, -1]] = own[:, [0, -1]] = 0
            inner = np.argwhere(cv2.erode(own, np.ones((2 * _INSIDE + 1,) * 2)) > 0)
            if not len(inner) or (self._kind == 'occluder' and name == self._passer):
                continue
            row, column = inner[self._rng.randrange(len(inner))]
            at = camera.point_at(np.array([column, row]), float(view.depth[row, column]))
            body = self._world.data.body(name)
            things.append(number)
            local.append(body.xmat.reshape(3, 3).T @ (at - body.xpos))
        return np.array(things), np.array(local)

    def _project(self, camera: CameraPlace) -> tuple[Floats, Floats]:
        """Return where the points are: (n, 2) pixels, and (n,) metres of depth."""
        bodies = [self._world.data.body(self._world.bodies[number - 1]) for number in self.things]
        at = np.array([body.xmat.reshape(3, 3) @ local + body.xpos
                       for body, local in zip(bodies, self._local, strict=True)])
        seen = camera.pose.inverse.apply(at) @ camera.matrix.T
        return seen[:, :2] / seen[:, 2:], seen[:, 2]


def _turned(quaternion: Floats, yaw: float) -> tuple[float, float, float, float]:
    """Turn an orientation x, y, z, w around the vertical axis, by radians."""
    x, y, z, w = quaternion
    sin, cos = math.sin(yaw / 2), math.cos(yaw / 2)
    return cos * x - sin * y, sin * x + cos * y, cos * z + sin * w, cos * w - sin * z
