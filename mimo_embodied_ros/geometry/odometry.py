"""Where the base was when an image was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.core.frames import Odometry

from .quaternions import slerp

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP_NS = 1_000_000_000  # between messages further apart too much may have happened
_TOLERANCE_NS = 200_000_000


def interpolate(before: Odometry, after: Odometry, stamp_ns: int) -> Odometry:
    """Odometry at a stamp between two messages: linear, and the shortest turn.

    Where the stamp is not between them, where they are of different frames, more than a second
    apart or broken, it is the nearer one with its own stamp: nothing is extrapolated.
    """
    gap = after.stamp_ns - before.stamp_ns
    alike = (before.frame_id, before.child_frame_id) == (after.frame_id, after.child_frame_id)
    whole = _usable(before) and _usable(after)
    inside = before.stamp_ns <= stamp_ns <= after.stamp_ns and 0 < gap <= _GAP_NS
    if not (alike and whole and inside):
        return min(before, after, key=lambda o: abs(o.stamp_ns - stamp_ns))
    share = (stamp_ns - before.stamp_ns) / gap

    def between(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
        x, y, z = (float(v) for v in (1 - share) * np.asarray(a) + share * np.asarray(b))
        return x, y, z

    return Odometry(
        stamp_ns, before.frame_id, before.child_frame_id,
        between(before.position, after.position),
        slerp(before.orientation, after.orientation, share),
        between(before.linear, after.linear), between(before.angular, after.angular))


def is_valid_at(odometry: Odometry | None, stamp_ns: int) -> bool:
    """Whether odometry says where the base was at a stamp: it is not more than 0.2 s from it."""
    return (odometry is not None and abs(odometry.stamp_ns - stamp_ns) <= _TOLERANCE_NS
            and _usable(odometry))


def _usable(odometry: Odometry) -> bool:
    """Whether all numbers are finite and the orientation is a rotation; 0, 0, 0, 0 is none."""
    numbers = (*odometry.position, *odometry.linear, *odometry.angular)
    return bool(np.isfinite(numbers).all()
                and abs(np.linalg.norm(odometry.orientation) - 1) < 0.01)
