"""Simpler meshes for robots: those of makers have more faces than a picture has pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from .scenery import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FINE = 48  # cells along the longest side of a mesh, at least


def simplify_meshes(spec: mujoco.MjSpec, cell: float) -> None:
    """Merge the vertices of each mesh of a spec that lie in the same cube of ``cell`` metres."""
    model = compiled(spec.copy())
    for mesh in spec.meshes:
        number = model.mesh(mesh.name).id
        begin, count = model.mesh_vertadr[number], model.mesh_vertnum[number]
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.mesh_quat[number])
        vertices = (model.mesh_vert[begin : begin + count] @ turn.reshape(3, 3).T
                    + model.mesh_pos[number])
        begin, count = model.mesh_faceadr[number], model.mesh_facenum[number]
        vertices, faces = merged(vertices, model.mesh_face[begin : begin + count], cell)
        mesh.file, mesh.scale = '', [1, 1, 1]
        mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX  # others need closed meshes
        mesh.uservert, mesh.userface = vertices.ravel(), faces.ravel()


def merged(
    vertices: NDArray[np.float64], faces: NDArray[np.int32], cell: float
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Merge the vertices of a mesh in each cube of a grid, and drop what becomes a line or point.

    Args:
        vertices: (n, 3) metres.
        faces: (m, 3) numbers of vertices.
        cell: side of the cubes, metres; finer for a small mesh.

    """
    cell = min(cell, float(np.ptp(vertices, axis=0).max()) / _FINE)
    _, of, counts = np.unique(
        np.floor(vertices / cell).astype(int), axis=0, return_inverse=True, return_counts=True)
    of = of.ravel()
    means = np.stack([np.bincount(of, vertices[:, axis]) for axis in range(3)], 1)
    faces = of[faces].astype(np.int32)
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(faces, 1), axis=0, return_index=True)
    return means / counts[:, None], faces[np.sort(first)]
