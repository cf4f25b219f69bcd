"""Odometry at the time of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimo_embodied_ros.core.frames import Odometry

from .quaternions import slerp

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_GAP_NS = 1_000_000_000  # between messages further apart too much may have happened
TOLERANCE_NS = 200_000_000
"""How far from a time odometry may be that is taken for it."""


def interpolate(before: Odometry, after: Odometry, stamp_ns: int) -> Odometry:
    """Interpolate odometry between two messages: linearly, and by the shortest rotation.

    Nothing is extrapolated: if the stamp is not between the messages, or if they have different
    frames, are more than a second apart or are broken, the nearer message is returned.
    """
    gap = after.stamp_ns - before.stamp_ns
    same = (before.frame_id, before.child_frame_id) == (after.frame_id, after.child_frame_id)
    usable = _usable(before) and _usable(after)
    inside = before.stamp_ns <= stamp_ns <= after.stamp_ns and 0 < gap <= _MAX_GAP_NS
    if not (same and usable and inside):
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
    """Whether odometry is usable and at most 0.2 s from a stamp."""
    return odometry is not None and not why_not_valid_at(odometry, stamp_ns)


def why_not_valid_at(odometry: Odometry, stamp_ns: int) -> str:
    """Why odometry is of no use for an image with this stamp, with the remedy; empty if it is."""
    if not odometry.stamp_ns:
        return 'odometry has the stamp 0; let its publisher stamp it'
    if not stamp_ns:
        return 'the image has the stamp 0; let whoever sends it stamp it'
    apart_ns = abs(odometry.stamp_ns - stamp_ns)
    if apart_ns > TOLERANCE_NS:
        side = 'before' if odometry.stamp_ns < stamp_ns else 'after'
        return (f'the nearest odometry is {apart_ns / 1e9:.2f} s {side} the image, more than '
                f'{TOLERANCE_NS / 1e9:g} s; see whether it is still published and whether both '
                'clocks agree')
    if not _usable(odometry):
        return ('odometry of that time is broken: a number is not finite, or its orientation no '
                'unit quaternion; correct its publisher')
    return ''


def _usable(odometry: Odometry) -> bool:
    """Whether all numbers are finite and the orientation is a unit quaternion."""
    numbers = (*odometry.position, *odometry.linear, *odometry.angular)
    return bool(np.isfinite(numbers).all()
                and abs(np.linalg.norm(odometry.orientation) - 1) < 0.01)
