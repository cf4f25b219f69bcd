"""The bond with nav2's lifecycle manager, by which it notices that a node is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.node import Node

_TOPIC = 'bond'
_NEVER_S = 1e6  # as nav2's nodes, this one does not care whether its manager lives


class Bond:
    """The node's side of the bond, from activate to deactivate; as that of nav2's nodes.

    Without bondpy, which comes with a ROS distribution and not from pip, there is none.
    """

    def __init__(self, node: Node, period_s: float) -> None:
        """Send heartbeats.

        Args:
            node: whose name the manager knows it by.
            period_s: between two heartbeats; 0: no bond.

        """
        self._node = node
        self._bond: Any = None
        if not period_s:
            return
        try:
            from bondpy import bondpy
        except ImportError:
            return
        self._bond = bondpy.Bond(node, _TOPIC, node.get_name())
        self._bond.heartbeat_period = period_s
        self._bond.heartbeat_timeout = _NEVER_S
        publish = self._bond._publish

        def publish_while_ros_runs(active: bool) -> None:
            try:
                publish(active)
            except RuntimeError:
                if node.context.ok():
                    raise

        self._bond._publish = publish_while_ros_runs
        self._bond.start()

    def close(self) -> None:
        """Tell the manager that the node is not active any more."""
        if self._bond is not None:
            self._bond.shutdown()
            # bondpy leaves both in the node's lists
            self._node.destroy_subscription(self._bond.sub)
            self._node.destroy_publisher(self._bond.pub)
