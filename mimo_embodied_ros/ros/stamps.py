"""Stamps of messages, and the clock that they are of."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration

from mimo_embodied_ros.core.errors import BadEncodingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.clock import JumpHandle
    from rclpy.node import Node

RESTART_NS = 1_000_000_000
"""Stamps that fall back by more show that a bag or simulator began anew."""
_SECOND_NS = 1_000_000_000
_HEADER_BYTES = 12  # of CDR's encapsulation and the stamp


def nanoseconds_of(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds.

    Raises:
        BadEncodingError: it is no time: it is negative, or has a second of nanoseconds or more.

    """
    return _nanoseconds(stamp.sec, stamp.nanosec)


def stamp_of(data: bytes) -> int:
    """The stamp, nanoseconds, of a serialised message that begins with its header.

    It is 0 where the data are too short to have a header.

    Raises:
        BadEncodingError: as ``nanoseconds_of`` does.

    """
    if len(data) < _HEADER_BYTES:
        return 0
    return _nanoseconds(*struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4))


def _nanoseconds(seconds: int, nanoseconds: int) -> int:
    if seconds < 0 or nanoseconds >= _SECOND_NS:
        text = (f'the stamp is no time: sec is {seconds} and nanosec {nanoseconds}, and neither '
                'may be negative, nor nanosec 1000000000 or more; correct its publisher')
        raise BadEncodingError(text, cause='bad stamp')
    return int(seconds) * _SECOND_NS + int(nanoseconds)


def when_time_falls_back(node: Node, callback: Callable[[], None]) -> JumpHandle:
    """Call a function after the node's clock fell back or became another one.

    It does as a bag in a loop begins anew and after a reset of a simulator; a clock of the system
    never does. ``unregister`` of what is returned ends it.
    """
    return node.get_clock().create_jump_callback(
        JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)),
        post_callback=lambda _: callback())
