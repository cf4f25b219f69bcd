"""What physical worlds have in common: their state, their time, and what their cameras see."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import mujoco
import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.worlds.world import ThingState, View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from mimo_embodied_ros.worlds.world import WorldCamera

    from .rays import Picture

_STILL = 1e-4  # metres, radians or shares of a colour by which a picture may be behind
_WHOLE = 1e-6  # of a step, by which numbers are rounded
_FREE = int(mujoco.mjtJoint.mjJNT_FREE)


class Renderer(Protocol):
    """Renders the cameras of a model."""

    def render(self, data: mujoco.MjData, camera: str, width: int, height: int) -> Picture:
        """Return what a camera sees."""
        ...

    def close(self) -> None:
        """Give its memory back."""
        ...


class PhysicalWorld:
    """The state of a model, and pictures of it.

    Attributes:
        model: of the world.
        data: its state; hold `lock` where another thread may step or look meanwhile.
        lock: of the state.
        cameras: by name.
        bodies: names of the bodies of things, in the order of the labels of a view.
        renderer: makes a renderer of a model.

    """

    def __init__(
        self, model: mujoco.MjModel, cameras: Mapping[str, WorldCamera], bodies: Sequence[str],
        renderer: Callable[[mujoco.MjModel], Renderer],
    ) -> None:
        """Begin with the model's own state.

        Args:
            model: of the world, which has cameras and bodies of these names.
            cameras: by name.
            bodies: names of the bodies of things.
            renderer: makes the renderer, in the thread that looks first.

        """
        self.lock, self._looking = threading.RLock(), threading.RLock()
        self.renderer = renderer
        self._load(model, cameras, bodies)

    _renderer: Renderer | None = None

    def _load(
        self, model: mujoco.MjModel, cameras: Mapping[str, WorldCamera], bodies: Sequence[str]
    ) -> None:
        """Begin with the own state of a model, as of another scene."""
        with self._looking, self.lock:
            self._drop_renderer()
            self._views: dict[str, tuple[NDArray[np.float64], View]] = {}
            self._owed = 0.0  # seconds
            self.model, self.data, self._seen = model, mujoco.MjData(model), mujoco.MjData(model)
            self.cameras, self.bodies = cameras, tuple(bodies)
            self._label = np.zeros(model.ngeom + 1, np.int16)  # the last one: nothing is there
            for number, name in enumerate(self.bodies, 1):
                self._label[:-1][model.geom_bodyid == model.body(name).id] = number
            mujoco.mj_forward(model, self.data)

    @property
    def time(self) -> float:
        """Seconds since the last reset."""
        return float(self.data.time)

    def step(self, seconds: float) -> None:
        """Let time pass; what is less than a step of the physics is made up for later."""
        with self.lock:
            steps = (seconds + self._owed) / self.model.opt.timestep
            mujoco.mj_step(self.model, self.data, int(steps + _WHOLE))
            self._owed = (steps - int(steps + _WHOLE)) * self.model.opt.timestep

    def _rewind(self) -> None:
        """Go back to the model's own state, as of the time 0."""
        with self.lock:
            mujoco.mj_resetData(self.model, self.data)
            self._owed = 0.0

    def put(
        self, name: str, position: ArrayLike, orientation: ArrayLike = (0.0, 0.0, 0.0, 1.0)
    ) -> None:
        """Put a thing somewhere, at rest.

        Args:
            name: of the thing.
            position: (3,) metres in the frame of the model.
            orientation: quaternion x, y, z, w.

        Raises:
            InvalidRequestError: there is no such thing, or it is fixed.

        """
        with self.lock:
            body = self.model.body(name) if name in self.bodies else None
            joint = -1 if body is None else int(body.jntadr[0])
            if joint < 0 or int(self.model.jnt_type[joint]) != _FREE:
                free = ', '.join(self.bodies) or 'none'
                msg = f'there is no {name!r} that moves freely; things are {free}'
                raise InvalidRequestError(msg)
            q, v = int(self.model.jnt_qposadr[joint]), int(self.model.jnt_dofadr[joint])
            self.data.qpos[q : q + 3] = position
            self.data.qpos[q + 3 : q + 7] = np.roll(np.asarray(orientation, float), 1)
            self.data.qvel[v : v + 6] = 0
            mujoco.mj_forward(self.model, self.data)

    def things(self) -> tuple[ThingState, ...]:
        """Return where the bodies of things are, in the order of the labels of a view."""
        with self.lock:
            bodies = [self.data.body(name) for name in self.bodies]
            return tuple(
                ThingState(body.name, tuple(body.xpos.tolist()),
                           tuple(np.roll(body.xquat, -1).tolist())) for body in bodies)

    def look(self, camera: str) -> View:
        """Return what a camera sees now; the world may go on meanwhile in another thread."""
        with self._looking:
            with self.lock:
                model, data = self.model, self.data
                now = np.concatenate([part.ravel() for part in (
                    data.qpos, data.mocap_pos, data.mocap_quat, model.cam_pos, model.cam_quat,
                    model.geom_rgba, model.mat_rgba)])
                moment, view = self._views.get(camera) or (now, None)
                # what stands still looks the same: most of the time an arm waits for an answer
                if view is not None and np.abs(now - moment).max(initial=0) < _STILL:
                    return replace(view, time=self.time)
                mujoco.mj_copyData(self._seen, self.model, self.data)
            # after a step, positions of geoms and cameras are those before it
            mujoco.mj_kinematics(self.model, self._seen)
            mujoco.mj_camlight(self.model, self._seen)
            if self._renderer is None:
                self._renderer = self.renderer(self.model)
            size = self.cameras[camera].width, self.cameras[camera].height
            pixels, depth, geoms = self._renderer.render(self._seen, camera, *size)
            view = View(pixels, depth, self._label[geoms], float(self._seen.time))
            self._views[camera] = now, view
            return view

    def close(self) -> None:
        """Give the renderer's memory back."""
        with self._looking:
            self._drop_renderer()

    def _drop_renderer(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
