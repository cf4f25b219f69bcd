"""A camera by OpenGL without a screen: EGL or OSMesa, where there is one.

Contexts of OpenGL belong to a thread, so one thread of the process does all of its work.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from .rays import Picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

PLATFORMS = ('egl', 'osmesa')
_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string('<mujoco/>')
mujoco.Renderer(model, 8, 8).render()
"""
_LONGEST = 60.0  # seconds of a probe
_MAX_GEOMS = 5000
_GEOM = int(mujoco.mjtObj.mjOBJ_GEOM)
_FLAGS = int(mujoco.mjtRndFlag.mjRND_SEGMENT), int(mujoco.mjtRndFlag.mjRND_IDCOLOR)
_THREAD = ThreadPoolExecutor(1, 'opengl')


@lru_cache(maxsize=1)
def platform() -> str:
    """Return `egl` or `osmesa`, whichever renders on this machine; empty: none does.

    The environment's ``MUJOCO_GL`` restricts the choice. It is tried in another process, which a
    broken driver may end.
    """
    wanted = os.environ.get('MUJOCO_GL', '').strip().lower()
    return next((name for name in PLATFORMS
                 if wanted in {'', name} and _renders({**os.environ, 'MUJOCO_GL': name})), '')


def _renders(environment: Mapping[str, str]) -> bool:
    try:
        probe = subprocess.run([sys.executable, '-c', _PROBE], env=environment, timeout=_LONGEST,
                               capture_output=True, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return probe.returncode == 0


class OpenGLRenderer:
    """Renders the cameras of a model; may be used from any thread."""

    def __init__(self, model: mujoco.MjModel) -> None:
        """Take the model.

        Args:
            model: of the world; its visual.global sizes are the largest pictures.

        """
        self._model = model
        _THREAD.submit(self._begin).result()

    def render(self, data: mujoco.MjData, camera: str, width: int, height: int) -> Picture:
        """Return what a camera sees, ``width`` columns and ``height`` rows."""
        return _THREAD.submit(self._render, data, camera, width, height).result()

    def close(self) -> None:
        """Give its memory back."""
        _THREAD.submit(self._end).result()

    def _begin(self) -> None:
        model = self._model
        size = model.vis.global_.offwidth, model.vis.global_.offheight
        # mujoco.Renderer would take the platform that was chosen when mujoco was imported
        self._gl: Any = import_module(f'mujoco.{platform()}').GLContext(*size)
        self._gl.make_current()
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._context: Any = mujoco.MjrContext(
            model, int(mujoco.mjtFontScale.mjFONTSCALE_100))
        mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR

    def _end(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def _render(self, data: mujoco.MjData, camera: str, width: int, height: int) -> Picture:
        self._gl.make_current()
        scene, view = self._scene, mujoco.MjvCamera()
        view.type, view.fixedcamid = (
            mujoco.mjtCamera.mjCAMERA_FIXED, self._model.camera(camera).id)
        mujoco.mjv_updateScene(self._model, data, mujoco.MjvOption(), None, view,
                               int(mujoco.mjtCatBit.mjCAT_ALL), scene)
        pixels = self._read(width, height)[0]
        scene.flags[list(_FLAGS)] = 1  # a second picture: of each geom's number, without light
        numbers, nearness = self._read(width, height)
        scene.flags[list(_FLAGS)] = 0
        geoms = self._geoms(numbers)
        return Picture(pixels, np.where(geoms >= 0, self._metres(nearness), 0), geoms)

    def _read(self, width: int, height: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Draw the scene; return its pixels and its depth buffer, the upper row first."""
        area = mujoco.MjrRect(0, 0, width, height)
        pixels, depth = np.empty((height, width, 3), np.uint8), np.empty((height, width), 'f4')
        mujoco.mjr_render(area, self._scene, self._context)
        mujoco.mjr_readPixels(pixels, depth, area, self._context)
        return np.ascontiguousarray(pixels[::-1]), depth[::-1]

    def _geoms(self, numbers: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The geoms of a picture whose colours are numbers, from 1 on."""
        table = np.full(self._scene.ngeom + 1, -1, np.int32)
        for drawn in self._scene.geoms[: self._scene.ngeom]:
            if drawn.segid >= 0 and int(drawn.objtype) == _GEOM:
                table[drawn.segid + 1] = drawn.objid
        geoms: NDArray[np.int32] = table[numbers @ np.array([1, 1 << 8, 1 << 16])]
        return geoms

    def _metres(self, nearness: NDArray[np.float32]) -> NDArray[np.float32]:
        """Metres along the optical axis: the buffer is 1 at the near plane and 0 at the far one."""
        vis, extent = self._model.vis.map, self._model.stat.extent
        near, far = vis.znear * extent, vis.zfar * extent
        metres: NDArray[np.float32] = (
            near * far / (near + nearness.astype(np.float64) * (far - near))).astype(np.float32)
        return metres
