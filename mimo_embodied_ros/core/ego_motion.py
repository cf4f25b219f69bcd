"""Speed and past path of the vehicle, written as the prompts have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .frames import Odometry


PATH_STEP_NS = 500_000_000
"""Time between the poses of a past path in ReCogDrive's prompt."""


def format_speed(odometry: Sequence[Odometry]) -> str:
    """Write the newest forward speed, metres a second, as BDD-X's question has it."""
    return f'{odometry[-1].linear[0]:.2f}'


def format_past_path(odometry: Sequence[Odometry]) -> str:
    """Write the poses as ReCogDrive's prompt has them: ``t-1: (x, y, heading), t-0: (0.00, ...)``.

    Each has the name of its time, in steps of half a second before the newest pose: a step of which
    no pose is known is left out, and a pose of a time between two steps is such as ``t-1.3``. They
    are in the frame of the newest pose: x forward and y left in metres, heading in radians.
    """
    x0, y0, _ = odometry[-1].position
    yaw0 = _yaw(odometry[-1])
    cosine, sine = math.cos(yaw0), math.sin(yaw0)
    entries = []
    for pose in odometry:
        steps = round((odometry[-1].stamp_ns - pose.stamp_ns) / PATH_STEP_NS, 2)
        dx, dy = pose.position[0] - x0, pose.position[1] - y0
        heading = _yaw(pose) - yaw0
        values = (
            cosine * dx + sine * dy,
            cosine * dy - sine * dx,
            math.atan2(math.sin(heading), math.cos(heading)),
        )
        # adding zero makes -0.00 a 0.00
        entries.append(f't-{steps:g}: ({", ".join(f"{round(v, 2) + 0.0:.2f}" for v in values)})')
    return ', '.join(entries)


def _yaw(pose: Odometry) -> float:
    x, y, z, w = pose.orientation
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
