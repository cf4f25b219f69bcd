"""A camera without OpenGL: MuJoCo's own ray casts, shaded by numpy.

One cast from the eye gives depth, normals and the geom that each pixel shows; each lamp that throws
shadows costs another one, from the lamp to what is seen. Pixels at edges are cast finer and
averaged. Textures are shown on planes and boxes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import mujoco
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

SEEN = np.array([1, 1, 1, 0, 0, 0], np.uint8)  # groups of geoms, as MuJoCo's own pictures show
_FAR, _SUN_AWAY = 1000.0, 500.0  # metres
_PLAIN = np.array([0.5, 0.5, 0.5, 1.0], np.float32)  # of geoms without a colour of their own
_EDGE = 0.2  # difference of brightness that makes an edge
_TEXTURED = int(mujoco.mjtGeom.mjGEOM_BOX), int(mujoco.mjtGeom.mjGEOM_PLANE)
_RGB = int(mujoco.mjtTextureRole.mjTEXROLE_RGB)
_SKYBOX = int(mujoco.mjtTexture.mjTEXTURE_SKYBOX)
_SUN = int(mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)


class Picture(NamedTuple):
    """A rendered picture: (H, W, 3) uint8 RGB, (H, W) float32 metres, (H, W) int32 geoms.

    Depth is along the optical axis, 0 where nothing is; there the geom is -1.
    """

    pixels: NDArray[np.uint8]
    depth: NDArray[np.float32]
    geoms: NDArray[np.int32]


class RayRenderer:
    """Renders the cameras of a model."""

    def __init__(self, model: mujoco.MjModel, finer: int = 2) -> None:
        """Take the model.

        Args:
            model: of the world; what is changed in it is seen.
            finer: rays along each side of a pixel at an edge; 1: edges are not smoothed.

        """
        self._model, self._finer, self._sky = model, finer, _sky(model)

    def close(self) -> None:
        """Do nothing; other renderers hold memory."""

    def render(self, data: mujoco.MjData, camera: str, width: int, height: int) -> Picture:
        """Return what a camera sees, ``width`` columns and ``height`` rows."""
        number = self._model.camera(camera).id
        eye, axes = data.cam_xpos[number], data.cam_xmat[number].reshape(3, 3)
        shape = height, width
        y, x = (index.ravel() + 0.5 for index in np.mgrid[:height, :width])
        directions, lengths = self._directions(number, x, y, shape)
        directions = directions @ axes.T
        unseen = self._around(data, number, directions[:: max(1, len(directions) // 64)])
        rgb, distances, geoms = self._cast(data, eye, directions, unseen)
        depth = np.where(geoms >= 0, distances / lengths, 0).reshape(shape)
        rgb, geoms = rgb.reshape(*shape, 3), geoms.reshape(shape)
        if self._finer > 1:
            rows, columns = np.nonzero(_edges(rgb, geoms))
            if len(rows):
                n = self._finer
                fine_y, fine_x = ((index.ravel() + 0.5) / n for index in np.mgrid[:n, :n])
                directions, _ = self._directions(
                    number, (columns[:, None] + fine_x).ravel(), (rows[:, None] + fine_y).ravel(),
                    shape)
                fine = self._cast(data, eye, directions @ axes.T, unseen)[0]
                rgb[rows, columns] = fine.reshape(len(rows), n * n, 3).mean(1)
        return Picture((rgb * 255).astype(np.uint8), depth.astype(np.float32), geoms)

    def positions(
        self, data: mujoco.MjData, camera: str, width: int, height: int, x: ArrayLike, y: ArrayLike
    ) -> Floats:
        """Return where the surfaces are that pixels show, (n, 3) metres; NaN: nothing is there.

        Args:
            data: state of the model.
            camera: its name.
            width: columns of the picture.
            height: rows of the picture.
            x: (n,) pixels.
            y: (n,) pixels.

        """
        number = self._model.camera(camera).id
        eye, axes = data.cam_xpos[number], data.cam_xmat[number].reshape(3, 3)
        directions, _ = self._directions(
            number, np.asarray(x, float), np.asarray(y, float), (height, width))
        directions = directions @ axes.T
        geoms, distances = self._multi_ray(data, eye, directions)
        return np.where((geoms >= 0)[:, None], eye + directions * distances[:, None], np.nan)

    def geoms(
        self, data: mujoco.MjData, camera: str, width: int, height: int
    ) -> NDArray[np.int32]:
        """Return (H, W), the geom at each pixel, -1 for none: `render` without its colours."""
        number = self._model.camera(camera).id
        y, x = (index.ravel() + 0.5 for index in np.mgrid[:height, :width])
        directions, _ = self._directions(number, x, y, (height, width))
        axes = data.cam_xmat[number].reshape(3, 3)
        return self._multi_ray(data, data.cam_xpos[number], directions @ axes.T)[0].reshape(
            height, width)

    def silhouette(
        self, data: mujoco.MjData, camera: str, width: int, height: int, body: int
    ) -> int:
        """Count the pixels that a body would have if nothing stood before it."""
        model, number = self._model, self._model.camera(camera).id
        y, x = (index.ravel() + 0.5 for index in np.mgrid[:height, :width])
        directions, _ = self._directions(number, x, y, (height, width))
        directions = directions @ data.cam_xmat[number].reshape(3, 3).T
        to = data.xpos[body] - data.cam_xpos[number]
        away = np.linalg.norm(np.cross(directions, to), axis=1)  # of rays from the body's middle
        near = directions[(away < 0.3) & (directions @ to > 0)]
        groups, geoms = model.geom_group.copy(), np.flatnonzero(model.geom_bodyid == body)
        try:  # a cast sees geoms by their groups
            model.geom_group[:] = len(SEEN) - 1
            model.geom_group[geoms] = groups[geoms]
            hit, _ = self._multi_ray(data, data.cam_xpos[number], near)
        finally:
            model.geom_group[:] = groups
        return int((hit >= 0).sum())

    def _directions(
        self, camera: int, x: Floats, y: Floats, shape: tuple[int, int]
    ) -> tuple[Floats, Floats]:
        """Unit vectors of pixels in the camera's frame, and their lengths at depth 1."""
        height, width = shape
        focal = height / 2 / math.tan(math.radians(self._model.cam_fovy[camera]) / 2)
        out = np.column_stack(
            [(x - width / 2) / focal, (height / 2 - y) / focal, np.full(x.shape, -1.0)])
        lengths = np.linalg.norm(out, axis=1)
        return out / lengths[:, None], lengths

    def _multi_ray(
        self, data: mujoco.MjData, origin: ArrayLike, directions: Floats,
        normals: Floats | None = None, unseen: int = -1,
    ) -> tuple[NDArray[np.int32], Floats]:
        """The geom (-1: none) and the distance at which each ray ends."""
        count = len(directions)
        geoms, distances = np.full(count, -1, np.int32), np.zeros(count)
        if count:
            mujoco.mj_multiRay(self._model, data, origin, directions.ravel(), SEEN, True, unseen,
                               geoms, distances, normals, count, _FAR)
        return geoms, distances

    def _around(self, data: mujoco.MjData, camera: int, directions: Floats) -> int:
        """The body that a camera is in, such as an eye, and does not see; -1: none."""
        model, body, normals = self._model, self._model.cam_bodyid[camera], np.zeros(
            3 * len(directions))
        geoms, distances = self._multi_ray(data, data.cam_xpos[camera], directions, normals)
        from_inside = (normals.reshape(-1, 3) * directions).sum(1) > 0
        near = distances < model.vis.map.znear * model.stat.extent
        own = (geoms >= 0) & (model.geom_bodyid[geoms] == body) & (from_inside | near)
        return int(body) if own.any() else -1

    def _cast(
        self, data: mujoco.MjData, eye: Floats, directions: Floats, unseen: int = -1
    ) -> Any:
        """Colours (n, 3) from 0 to 1, distances and geoms of rays that one body does not stop."""
        normals = np.zeros(3 * len(directions))
        geoms, distances = self._multi_ray(data, eye, directions, normals, unseen)
        rgb = np.broadcast_to(self._sky, (len(directions), 3)).copy()
        hit = np.flatnonzero(geoms >= 0)
        if len(hit):
            points = eye + directions[hit] * distances[hit, None]
            normal = normals.reshape(-1, 3)[hit]
            light = self._light(data, points, normal, directions[hit])
            rgb[hit] = np.clip(self._paint(data, geoms[hit], points, normal) * light, 0, 1)
        return rgb, distances, geoms

    def _paint(
        self, data: mujoco.MjData, geoms: NDArray[np.int32], points: Floats, normals: Floats
    ) -> Floats:
        """The surfaces' own colours at points."""
        model = self._model
        materials = model.geom_matid[geoms]
        rgb: Floats = model.geom_rgba[geoms, :3].astype(np.float64)
        # a colour of its own counts more than that of the material, as in OpenGL
        made_of = (materials >= 0) & (model.geom_rgba[geoms] == _PLAIN).all(1)
        rgb[made_of] = model.mat_rgba[materials[made_of], :3]
        for geom in np.flatnonzero(np.bincount(geoms)):
            material = model.geom_matid[geom]
            texture = model.mat_texid[material, _RGB] if material >= 0 else -1
            if texture < 0 or int(model.geom_type[geom]) not in _TEXTURED:
                continue
            these = np.flatnonzero(geoms == geom)
            axes = data.geom_xmat[geom].reshape(3, 3)
            local = (points[these] - data.geom_xpos[geom]) @ axes
            side = np.abs(normals[these] @ axes).argmax(1)
            u = np.where(side == 0, local[:, 1], local[:, 0])
            v = np.where(side == 2, local[:, 1], local[:, 2])
            rows, columns = model.tex_height[texture], model.tex_width[texture]
            channels, begin = model.tex_nchannel[texture], model.tex_adr[texture]
            picture = model.tex_data[begin : begin + rows * columns * channels].reshape(
                rows, columns, channels)
            repeat = model.mat_texrepeat[material]
            rgb[these] *= picture[(v * repeat[1] * rows).astype(int) % rows,
                                  (u * repeat[0] * columns).astype(int) % columns, :3] / 255.0
        return rgb

    def _light(
        self, data: mujoco.MjData, points: Floats, normals: Floats, directions: Floats
    ) -> Floats:
        """How much light of each colour points send to the eye, (n, 3)."""
        model, head = self._model, self._model.vis.headlight
        facing = np.clip(-(normals * directions).sum(1), 0, 1)
        total: Floats = bool(head.active) * (head.ambient + facing[:, None] * head.diffuse)
        for lamp in np.flatnonzero(model.light_active):
            at, toward = data.light_xpos[lamp], data.light_xdir[lamp]
            sun = int(model.light_type[lamp]) == _SUN
            source = points.mean(0) - _SUN_AWAY * toward if sun else at  # nearly parallel
            way = points - source
            reach = np.linalg.norm(way, axis=1)
            way /= reach[:, None]
            bright = np.clip(-(normals @ toward if sun else (normals * way).sum(1)), 0, 1)
            if not sun and model.light_cutoff[lamp] < 90:
                near_axis = np.clip(way @ toward, 0, 1)
                bright *= near_axis > math.cos(math.radians(model.light_cutoff[lamp]))
                bright *= near_axis ** model.light_exponent[lamp]
            if model.light_castshadow[lamp]:
                lit = np.flatnonzero(bright > 0)
                _, distances = self._multi_ray(data, source, way[lit])
                bright[lit[distances < reach[lit] - 2e-3]] = 0
            total = total + model.light_ambient[lamp] + (
                bright[:, None] * model.light_diffuse[lamp])
        return total


def _sky(model: mujoco.MjModel) -> Floats:
    """The colour where nothing is, 0 to 1: the mean of the model's sky, or else grey."""
    for texture in np.flatnonzero(model.tex_type == _SKYBOX):
        channels, begin = int(model.tex_nchannel[texture]), int(model.tex_adr[texture])
        size = int(model.tex_height[texture]) * int(model.tex_width[texture]) * channels
        sky = model.tex_data[begin : begin + size].reshape(-1, channels)
        return np.asarray(sky[:, :3].mean(0) / 255)
    return np.array([0.6, 0.65, 0.7])


def _edges(rgb: Floats, geoms: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels beside which another geom or another light begins."""
    edge = np.zeros(geoms.shape, bool)
    for axis in (0, 1):
        differs = (np.diff(geoms, axis=axis) != 0) | (
            np.abs(np.diff(rgb, axis=axis)).max(-1) > _EDGE)
        first = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        second = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        edge[first] |= differs
        edge[second] |= differs
    return edge
