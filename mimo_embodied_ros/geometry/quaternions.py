"""Rotations as quaternions x, y, z, w: by tf_transformations, or by transforms3d without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from transforms3d import quaternions as _wxyz

try:
    import tf_transformations as _tf
except ImportError:  # it comes with a ROS distribution and not from pip
    _tf = None

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Quaternion = tuple[float, float, float, float]


def matrix_of(quaternion: ArrayLike) -> Floats:
    """(3, 3) rotation of a quaternion of any length but zero."""
    if _tf is not None:
        return np.asarray(_tf.quaternion_matrix(quaternion))[:3, :3]
    return np.asarray(_wxyz.quat2mat(_first(quaternion)))


def quaternion_of(matrix: ArrayLike) -> Quaternion:
    """Unit quaternion of a (3, 3) rotation."""
    if _tf is not None:
        whole = np.eye(4)
        whole[:3, :3] = matrix
        return _tuple(_tf.quaternion_from_matrix(whole))
    return _tuple(_last(_wxyz.mat2quat(np.asarray(matrix, float))))


def slerp(a: ArrayLike, b: ArrayLike, share: float) -> Quaternion:
    """The rotation at a share of the shortest way from one to the other; 0 gives the first."""
    first, last = (np.asarray(q, float) / np.linalg.norm(q) for q in (a, b))
    if _tf is not None:
        return _tuple(_tf.quaternion_slerp(first, last, share))
    turn = _wxyz.qmult(_wxyz.qinverse(_first(first)), _first(last))
    turn = turn if turn[0] >= 0 else -turn  # both signs are the same rotation
    axis, angle = _wxyz.quat2axangle(turn)
    part = _wxyz.axangle2quat(axis, angle * share)
    return _tuple(_last(_wxyz.qmult(_first(first), part)))


def yaw_of(quaternion: ArrayLike) -> float:
    """Heading about z, radians, to the left positive."""
    turned = matrix_of(quaternion)
    return float(np.arctan2(turned[1, 0], turned[0, 0]))


def _first(quaternion: ArrayLike) -> Floats:
    return np.roll(np.asarray(quaternion, float), 1)


def _last(quaternion: Any) -> Floats:
    return np.roll(quaternion, -1)


def _tuple(quaternion: Any) -> Quaternion:
    x, y, z, w = (float(v) for v in quaternion)
    return x, y, z, w
