"""Interfaces of other packages, which are served where they are installed.

They come with a ROS distribution, or are built from their definitions; pip does not have them.
"""

from __future__ import annotations

from typing import Any

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.ros.fields import interface_class


class OptionalInterfaces:
    """Looks interfaces up, and remembers what is not served without them.

    Attributes:
        absent: what is not served, by the package that has its interface.

    """

    def __init__(self) -> None:
        """Begin."""
        self.absent: dict[str, list[str]] = {}

    def find(self, interface: str, serves: str = '') -> Any:
        """Return the class of an interface; None: it is not installed.

        Args:
            interface: full name, such as ``tf2_msgs/msg/TFMessage``.
            serves: what is not served without it: a topic, a service or an action; empty: all is.

        """
        try:
            return interface_class(interface)
        except InvalidRequestError:
            if serves:
                self.absent.setdefault(interface.partition('/')[0], []).append(serves)
            return None

    def remark(self) -> str:
        """Say what is not served, and why; empty: all is."""
        if not self.absent:
            return ''
        each = '; '.join(f'{package}: {", ".join(dict.fromkeys(names))}'
                         for package, names in self.absent.items())
        return f'not served, since these packages of messages are not installed: {each}'
