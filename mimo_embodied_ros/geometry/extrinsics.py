"""Transforms between frames of the robot without tf2: static extrinsics from YAML, and odometry.

This suffices for a camera that is fixed to the base; other moving frames (an arm, a map) need tf2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from mimo_embodied_ros.core.characters import valid_values
from mimo_embodied_ros.core.errors import InvalidRequestError, TransformError

from .odometry import is_valid_at
from .quaternions import matrix_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from mimo_embodied_ros.core.frames import Odometry

    Floats = NDArray[np.float64]

_FIELDS = {'parent': 'str', 'child': 'str', 'translation': 'three numbers, metres',
           'rotation': 'a quaternion x, y, z, w'}


@dataclass(frozen=True, eq=False)
class Transform:
    """Maps points of a source frame to a target frame; it is the source's pose in the target."""

    rotation: Floats = field(default_factory=lambda: np.eye(3))  # (3, 3)
    translation: Floats = field(default_factory=lambda: np.zeros(3))  # (3,) metres

    @classmethod
    def of(cls, translation: ArrayLike, quaternion: ArrayLike) -> Transform:
        """Make a transform of metres and a quaternion x, y, z, w."""
        return cls(matrix_of(quaternion), np.asarray(translation, float))

    def apply(self, points: ArrayLike) -> Floats:
        """Map points, (n, 3) or (3,) metres, from the source frame to the target frame."""
        return np.asarray(np.asarray(points) @ self.rotation.T + self.translation)

    def rotate(self, directions: ArrayLike) -> Floats:
        """Map directions, (n, 3) or (3,), from the source frame to the target frame."""
        return np.asarray(np.asarray(directions) @ self.rotation.T)

    @property
    def inverse(self) -> Transform:
        """The transform from the target frame to the source frame."""
        return Transform(self.rotation.T, -self.rotation.T @ self.translation)

    def __matmul__(self, other: Transform) -> Transform:
        return Transform(self.rotation @ other.rotation, self.apply(other.translation))


class Extrinsics:
    """Fixed poses of frames in their parents, and the transforms between any two of them."""

    def __init__(self, parents: Mapping[str, tuple[str, Transform]] | None = None) -> None:
        """Take for each child frame its parent, and its pose in the parent."""
        self._parents = dict(parents or {})

    def lookup(
        self, target: str, source: str, stamp_ns: int, odometry: Odometry | None = None
    ) -> Transform:
        """Return the transform that maps points of ``source`` to ``target``.

        Args:
            target: frame.
            source: frame.
            stamp_ns: time, nanoseconds of ROS time.
            odometry: pose of the base; used if it is valid at that time.

        Raises:
            TransformError: the frames are not connected, or not at that time.

        """
        parents, remark = dict(self._parents), ''
        if odometry is not None and odometry.child_frame_id not in parents:
            if is_valid_at(odometry, stamp_ns):
                parents[odometry.child_frame_id] = (
                    odometry.frame_id, Transform.of(odometry.position, odometry.orientation))
            else:
                distance = abs(odometry.stamp_ns - stamp_ns) / 1e9
                remark = (f'; the nearest odometry is {distance:.2f} s from the image, or broken'
                          if odometry.stamp_ns else
                          '; odometry has the stamp 0; let its publisher stamp it')
        up, down = _ancestors(source, parents), _ancestors(target, parents)
        common = next((frame for frame in up if frame in down), None)
        if common is None:
            frames = sorted({*parents, *(parent for parent, _ in parents.values())})
            msg = (f'no transform connects {target!r} with {source!r}; known frames are '
                   f'{", ".join(frames) or "none"}{remark}')
            raise TransformError(msg)
        return down[common].inverse @ up[common]


def _ancestors(
    frame: str, parents: Mapping[str, tuple[str, Transform]]
) -> dict[str, Transform]:
    """Return a frame and its ancestors, nearest first, with the frame's pose in each."""
    poses, pose = {frame: Transform()}, Transform()
    while frame in parents:
        frame, parent_pose = parents[frame]
        if frame in poses:  # a cycle by odometry; those of a file are refused when it is read
            break
        pose = parent_pose @ pose
        poses[frame] = pose
    return poses


def load_extrinsics(file: str | Path) -> Extrinsics:
    """Read a YAML list of ``parent``, ``child``, ``translation`` and ``rotation``.

    Raises:
        InvalidRequestError: the file or an entry is wrong; the message names both.

    """
    try:
        entries = valid_values(yaml.safe_load(Path(file).read_text('utf-8')))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f'extrinsics_file {file} cannot be read: {error}'
        raise InvalidRequestError(msg) from error
    if not isinstance(entries, list) or not entries:
        msg = (f'extrinsics_file {file} holds no list; give one entry a frame, each with '
               f'{", ".join(_FIELDS)}')
        raise InvalidRequestError(msg)
    parents: dict[str, tuple[str, Transform]] = {}
    for number, entry in enumerate(entries, 1):
        problem = _problem(entry)
        if not problem and entry['child'] in parents:
            problem = f'{entry["child"]} has a parent already; a frame has only one'
        if not problem and entry['child'] in _ancestors(entry['parent'], parents):
            problem = f'{entry["child"]} would be its own ancestor'
        if problem:
            msg = f'extrinsics_file {file}, entry {number}: {problem}'
            raise InvalidRequestError(msg)
        parents[entry['child']] = (
            entry['parent'], Transform.of(entry['translation'], entry['rotation']))
    return Extrinsics(parents)


def _problem(entry: Any) -> str:
    """Return what is wrong with an entry; '' if nothing is."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS.keys():
        fields = ', '.join(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        return f'it has {fields}; give {", ".join(_FIELDS)}'
    for name in ('parent', 'child'):
        if not isinstance(entry[name], str) or not entry[name]:
            return f'{name} is {entry[name]!r}; give the name of a frame'
    for name, count in (('translation', 3), ('rotation', 4)):
        values = entry[name]
        if not isinstance(values, list) or len(values) != count or not all(
                isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
                for v in values):
            return f'{name} is {values!r}; give {_FIELDS[name]}'
    length = math.hypot(*entry['rotation'])
    if abs(length - 1) > 0.01:
        return f'rotation has the length {length:.3f}; a quaternion x, y, z, w has 1'
    return ''
