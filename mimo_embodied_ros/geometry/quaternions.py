"""Quaternions x, y, z, w, computed by tf_transformations if installed, else by transforms3d."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from transforms3d import quaternions as _wxyz

try:
    import tf_transformations as _tf
except ImportError:  # it is part of ROS distributions and not on PyPI
    _tf = None

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Quaternion = tuple[float, float, float, float]


def matrix_of(quaternion: ArrayLike) -> Floats:
    """Return the (3, 3) rotation matrix of a quaternion of any length but zero."""
    if _tf is not None:
        return np.asarray(_tf.quaternion_matrix(quaternion))[:3, :3]
    return np.asarray(_wxyz.quat2mat(_w_first(quaternion)))


def quaternion_of(matrix: ArrayLike) -> Quaternion:
    """Return the unit quaternion of a (3, 3) rotation matrix."""
    if _tf is not None:
        homogeneous = np.eye(4)
        homogeneous[:3, :3] = matrix
        return _tuple(_tf.quaternion_from_matrix(homogeneous))
    return _tuple(_w_last(_wxyz.mat2quat(np.asarray(matrix, float))))


def slerp(a: ArrayLike, b: ArrayLike, share: float) -> Quaternion:
    """Interpolate between two rotations along the shortest way; share 0 gives ``a``, 1 ``b``."""
    first, last = (np.asarray(q, float) / np.linalg.norm(q) for q in (a, b))
    if _tf is not None:
        return _tuple(_tf.quaternion_slerp(first, last, share))
    rotation = _wxyz.qmult(_wxyz.qinverse(_w_first(first)), _w_first(last))
    rotation = rotation if rotation[0] >= 0 else -rotation  # both signs are the same rotation
    axis, angle = _wxyz.quat2axangle(rotation)
    part = _wxyz.axangle2quat(axis, angle * share)
    return _tuple(_w_last(_wxyz.qmult(_w_first(first), part)))


def yaw_of(quaternion: ArrayLike) -> float:
    """Return the yaw about z, radians, positive to the left."""
    matrix = matrix_of(quaternion)
    return float(np.arctan2(matrix[1, 0], matrix[0, 0]))


def _w_first(quaternion: ArrayLike) -> Floats:
    return np.roll(np.asarray(quaternion, float), 1)


def _w_last(quaternion: Any) -> Floats:
    return np.roll(quaternion, -1)


def _tuple(quaternion: Any) -> Quaternion:
    x, y, z, w = (float(v) for v in quaternion)
    return x, y, z, w
