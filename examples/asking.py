"""Shared by the examples: find an object through the node, and show a pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.qos import DurabilityPolicy, QoSProfile

from mimo_embodied_ros.srv import GetAffordances

if TYPE_CHECKING:
    from rclpy.node import Node


def find(node: Node, query: str, frame: str, timeout_s: float = 30.0) -> Any:
    """Ask the node where an object is, in 3D.

    Args:
        node: node that sends the request; it is spun meanwhile. Remap ``mimo_embodied`` where the
            node has another name.
        query: what to find, in plain words.
        frame: frame of the positions.
        timeout_s: how long to wait for the service, and for its answer, seconds each.

    Returns:
        mimo_embodied_ros/AffordancePoints, whose first point has a position.

    Raises:
        SystemExit: there is no position; with the reason.

    """
    client = node.create_client(GetAffordances, 'mimo_embodied/get_affordances')
    if not client.wait_for_service(timeout_s):
        raise SystemExit(f'there is no {client.srv_name}; start the node, or remap the name')
    future = client.call_async(GetAffordances.Request(query=query, target_frame=frame))
    rclpy.spin_until_future_complete(node, future, timeout_sec=timeout_s)
    reply = future.result()
    if reply is None:
        raise SystemExit(f'no answer within {timeout_s:g} s')
    if reply.error_code:
        raise SystemExit(f'error {reply.error_code}: {reply.error_msg}')
    points = reply.affordances.points
    if not points:
        raise SystemExit(f'{query}: the model does not see it')
    if points[0].position_status != points[0].OK:
        raise SystemExit(f'{query}: {points[0].position_problem}')
    return reply.affordances


def show(node: Node, topic: str, pose: PoseStamped) -> None:
    """Print a pose in one line, and publish it as a latched message."""
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_publisher(PoseStamped, topic, latched).publish(pose)
    at, turn = pose.pose.position, pose.pose.orientation
    print(f'{pose.header.frame_id}: position {at.x:.3f} {at.y:.3f} {at.z:.3f}, orientation '
          f'{turn.x:.3f} {turn.y:.3f} {turn.z:.3f} {turn.w:.3f}')
