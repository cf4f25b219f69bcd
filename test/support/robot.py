"""A robot for tests: the node with the embedded model, a camera, and clients; over real DDS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.action import ActionClient
from rclpy.duration import Duration
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mimo_embodied_ros.node.lifecycle_node import MimoEmbodied
from mimo_embodied_ros.ros.images import encode_image
from support.tabletop import SCENE, draw_tabletop
from support.waiting import WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from mimo_embodied_ros.core.prompts import Prompt
    from mimo_embodied_ros.worlds import table_scene
    from support.openai_server import Server
    from support.ros import Ros

FRAME = 'camera_optical_frame'


def parameters(**values: Any) -> list[Parameter]:
    """Make parameters by their names, with two underscores for each dot."""
    return [Parameter(name.replace('__', '.'), value=value) for name, value in values.items()]


class Robot:
    """A node under test, a camera that publishes the scene, and clients.

    Attributes:
        node: under test.
        other: of the robot, with the camera and the clients.
        camera: publisher of images.

    """

    def __init__(self, ros: Ros, **values: Any) -> None:
        """Make the node, unconfigured, with these parameters."""
        # on a busy machine an answer may take long
        values = {'camera__reliable': True, 'max_image_age': 600.0, 'timeout': 600.0,
                  # it takes half a second, and most servers of tests answer one thing only
                  'grounding_test': 'off', **values}
        self.ros = ros
        self.node = ros.node(
            'mimo_embodied', MimoEmbodied, parameter_overrides=parameters(**values))
        self.other = ros.node('robot')
        self.camera = self.other.create_publisher(Image, 'camera/image_raw', 1)
        self.clients: dict[str, ActionClient] = {}

    def start(self) -> Robot:
        """Configure and activate the node, and wait until it hears the camera."""
        assert self.ros.call(self.node.trigger_configure) is TransitionCallbackReturn.SUCCESS
        self.activate()
        return self

    def activate(self) -> None:
        """Activate the node, and wait until it hears the camera."""
        assert self.ros.call(self.node.trigger_activate) is TransitionCallbackReturn.SUCCESS
        self.ros.wait_for(lambda: self.camera.get_subscription_count() == 1)

    def see(self, pixels: np.ndarray[Any, Any] = SCENE.pixels, age_s: float = 0.0) -> Header:
        """Publish an image and wait until the node has it; return its header."""
        stamp = self.other.get_clock().now() - Duration(nanoseconds=int(age_s * 1e9))
        header = Header(stamp=stamp.to_msg(), frame_id=FRAME)
        stream: Any = self.node.session.intake.cameras['camera'].image
        received = stream.received
        self.camera.publish(encode_image(pixels, header))
        self.ros.wait_for(lambda: stream.poll() or stream.received > received)
        return header

    def show(self, things: Iterable[table_scene.Thing]) -> None:
        """Publish an image of these things on the table, whether the node has it or not."""
        header = Header(stamp=self.other.get_clock().now().to_msg(), frame_id=FRAME)
        self.camera.publish(encode_image(draw_tabletop(things).pixels, header))

    def send(
        self, kind: Any, name: str, feedback: list[Any] | None = None, /, **goal: Any
    ) -> Any:
        """Send a goal and return its handle; feedback is appended to the list."""
        client = self.clients.get(name)
        if client is None:
            client = self.clients[name] = self.ros.call(
                ActionClient, self.other, kind, f'/mimo_embodied/{name}')
            assert client.wait_for_server(WAIT_S)
        # here, rclpy could get the response before it notes that it waits for one
        future = self.ros.call(
            client.send_goal_async, kind.Goal(**goal),
            None if feedback is None else lambda m: feedback.append(m.feedback))
        self.ros.wait_for(future.done)
        handle = future.result()
        assert handle.accepted
        return handle

    def result(self, handle: Any) -> Any:
        """Wait for the end of a goal and return its status and result."""
        future = self.ros.call(handle.get_result_async)
        self.ros.wait_for(future.done)
        return future.result()

    def ask(self, kind: Any, name: str, /, **goal: Any) -> Any:
        """Send a goal, wait for its end, and return its status and result."""
        return self.result(self.send(kind, name, **goal))

    def call(self, kind: Any, name: str, /, **request: Any) -> Any:
        """Call a service of the node and return the response."""
        return self.ros.call_service(self.other, kind, f'/mimo_embodied/{name}', **request)

    def received(self, kind: Any, topic: str) -> list[Any]:
        """Subscribe to a topic; return a list that grows with each message."""
        messages: list[Any] = []
        self.other.create_subscription(kind, topic, messages.append, 100)
        self.ros.wait_for(lambda: self.other.count_publishers(topic))
        return messages

    def prompts(self) -> list[Prompt]:
        """Return a list that grows with each prompt that the node's engine gets."""
        prompts: list[Prompt] = []
        engine = self.node.engine
        generate = engine.generate

        def watched(prompt: Prompt, **options: Any) -> Any:
            prompts.append(prompt)
            return generate(prompt, **options)

        engine.generate = watched
        return prompts


def remote(ros: Any, server: Server, **values: Any) -> Robot:
    """A robot whose model is on a server."""
    return Robot(ros, backend='openai', model='mimo', servers=[server.url], **values)
