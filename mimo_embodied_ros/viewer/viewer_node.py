"""The node ``mimo_viewer``: draws what is answered, tracked and remembered for RViz and Foxglove.

It subscribes to nothing while its own outputs have no subscribers. While the annotated image has
one, it keeps the cameras' newest images undecoded until an answer names the image that it is about.
That image is then decoded and drawn on, in a thread of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from array import array
from collections import OrderedDict, deque
from functools import partial
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from mimo_embodied_ros import msg, srv
from mimo_embodied_ros.annotate import Canvas
from mimo_embodied_ros.core.errors import BadEncodingError, MimoError, ResultCode
from mimo_embodied_ros.pictures import jpeg
from mimo_embodied_ros.program import run
from mimo_embodied_ros.ros import messages, process
from mimo_embodied_ros.ros.images import decode_compressed, decode_image, encode_image
from mimo_embodied_ros.ros.parameters import read_table
from mimo_embodied_ros.ros.request_kinds import KINDS
from mimo_embodied_ros.ros.stamps import stamp_of

from .markers import MarkerArrays, answer_markers, remembered_markers, tracked_markers
from .viewer_parameters import PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from numpy.typing import NDArray
    from rclpy.subscription import Subscription
    from visualization_msgs.msg import Marker

NAME = 'mimo_viewer'
_POLL_S = 0.5  # how often the outputs are checked for subscribers
_IMAGE_WAIT_S = 1.0  # how long after its answer an image may arrive
_LIST_RETRY_S = 2.0  # after how long the node is asked again for its cameras
_REMEMBERED_S = 5.0  # how often what is remembered is shown anew, since it ages
_MAX_UNPAIRED = 32  # outcomes without their answers yet, or the other way round
_MAX_TO_DRAW = 8  # answers in the queue; when they come too fast, the oldest are not drawn
_REASONING = 400  # most letters of the reasoning below a picture
_GREY = 480, 640  # height and width of the picture where no image is known
# Not shown: these are frequent, and there is nothing to see.
_SILENT = {ResultCode.CANCELLED, ResultCode.PREEMPTED}
_REQUEST_FIELDS = {kind.message: kind.request_field for kind in KINDS}
_WITH_POSITIONS = (msg.TaskPlan, msg.AffordancePoints, msg.SpatialAnswer)

_logger = logging.getLogger(__name__)


class ImageHistory:
    """The newest serialised images of all cameras, up to a number of bytes."""

    def __init__(self, capacity: int) -> None:
        """Keep at most ``capacity`` bytes, but one image in any case."""
        self._capacity, self._bytes = capacity, 0
        self._held: deque[tuple[str, int, type, bytes]] = deque()
        self._arrived = threading.Condition()

    def store(self, camera: str, kind: type, message: bytes) -> None:
        """Store a serialised ``Image`` or ``CompressedImage`` of a camera."""
        try:
            stamp_ns = stamp_of(message)
        except BadEncodingError:  # the node answers on no such image
            return
        with self._arrived:
            self._held.append((camera, stamp_ns, kind, message))
            self._bytes += len(message)
            while self._bytes > self._capacity and len(self._held) > 1:
                self._bytes -= len(self._held.popleft()[3])
            self._arrived.notify_all()

    def clear(self) -> None:
        """Drop all images."""
        with self._arrived:
            self._held.clear()
            self._bytes = 0

    def find(self, camera: str, stamp_ns: int, wait_s: float) -> tuple[type, bytes] | None:
        """Return the type and message of the image with this stamp; wait if it has not arrived."""
        image: tuple[type, bytes] | None = None

        def decided() -> bool:
            """Whether it is there, or a later one is, after which it cannot arrive."""
            nonlocal image
            later = False
            for name, stamp, kind, message in self._held:
                if name == camera:
                    later = later or stamp > stamp_ns
                    image = (kind, message) if stamp == stamp_ns else image
            return later or image is not None

        with self._arrived:
            self._arrived.wait_for(decided, wait_s)
        return image

    def newest(self) -> tuple[type, bytes] | None:
        """Return the type and message of the newest image of any camera."""
        with self._arrived:
            return self._held[-1][2:] if self._held else None


class MimoViewer(Node):
    """Draws what other nodes answer, track and remember as pictures, markers and a path."""

    _drawing: threading.Thread | None = None

    def __init__(self, name: str = NAME, **options: Any) -> None:
        """Offer the outputs; the inputs are subscribed to when an output has a subscriber."""
        super().__init__(name, **options)
        settings = read_table(self, PARAMETERS)
        self._answering_node, self._memory_node = settings['node'], settings['memory']
        self._reliable = settings['reliable']
        self._quality, self._lifetime = settings['jpeg_quality'], settings['lifetime']
        self._size = settings['marker_size']
        self._image = self.create_publisher(Image, '~/annotated', 1)
        self._compressed = self.create_publisher(CompressedImage, '~/annotated/compressed', 1)
        self._markers = self.create_publisher(MarkerArray, '~/markers', 10)
        self._path = self.create_publisher(Path, '~/path', 10)
        self._history = ImageHistory(settings['history_mb'] * 10**6)
        self._inputs: dict[str, Subscription] = {}  # by topic
        self._cameras: dict[str, Subscription] = {}  # by name
        self._list_cameras = self.create_client(
            srv.ListCameras, f'{self._answering_node}/list_cameras')
        self._cameras_subscribed = False  # whether all cameras of the node are subscribed to
        self._list_requested_s = -_LIST_RETRY_S
        self._unpaired: OrderedDict[Any, dict[type, Any]] = OrderedDict()
        self._marker_arrays = MarkerArrays()
        self._remembered: msg.RememberedThings | None = None  # the newest ones
        self._to_draw: deque[tuple[Any, Any]] = deque(maxlen=_MAX_TO_DRAW)
        self._changed = threading.Condition()
        self._open = True
        self._drawing = threading.Thread(target=self._draw_all, name='drawing', daemon=True)
        self._drawing.start()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_POLL_S, self._update_subscriptions, clock=steady)
        self.create_timer(_REMEMBERED_S, self._show_remembered, clock=steady)

    def destroy_node(self) -> None:
        """End the drawing thread, too."""
        if self._drawing is not None:  # else it could not be made
            with self._changed:
                self._open = False
                self._changed.notify_all()
            self._drawing.join()
        super().destroy_node()

    # -- subscriptions

    @property
    def _image_wanted(self) -> bool:
        """Whether the annotated image has a subscriber."""
        return bool(self._image.get_subscription_count()
                    + self._compressed.get_subscription_count())

    def _wanted(self) -> dict[str, tuple[type, Callable[[Any], None], QoSProfile | int]]:
        """Topics that the outputs with subscribers need: their types, callbacks and quality."""
        node, markers = self._answering_node, self._markers.get_subscription_count()
        wanted: dict[str, tuple[type, Callable[[Any], None], QoSProfile | int]] = {}
        for kind in KINDS:
            if self._image_wanted or (markers and kind.message in _WITH_POSITIONS):
                callback = partial(self._on_answer, kind.topic)
                wanted[f'{node}/{kind.topic}'] = kind.message, callback, 10
        if self._image_wanted:
            wanted[f'{node}/outcome'] = msg.Outcome, self._on_outcome, 10
        if markers:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            wanted[f'{node}/tracked_affordances'] = (
                msg.TrackedAffordances, self._on_tracked, 10)
            wanted[f'{self._memory_node}/things'] = (
                msg.RememberedThings, self._on_remembered, latched)
        if self._path.get_subscription_count():
            wanted[f'{node}/driving_trajectory'] = (
                msg.DrivingTrajectory, self._on_trajectory, 10)
        return wanted

    def _update_subscriptions(self) -> None:
        """Subscribe to the inputs of those outputs that have subscribers, and to nothing else."""
        wanted = self._wanted()
        for topic in [t for t in self._inputs if t not in wanted]:
            self.destroy_subscription(self._inputs.pop(topic))
        for topic, (type_, callback, quality) in wanted.items():
            if topic not in self._inputs:
                self._inputs[topic] = self.create_subscription(type_, topic, callback, quality)
        if not self._markers.get_subscription_count():
            self._remembered = None
        if not self._image_wanted:
            self._forget_cameras()
            self._history.clear()
            self._unpaired.clear()
        elif not self._cameras_subscribed and self._list_cameras.service_is_ready() and (
                time.monotonic() > self._list_requested_s + _LIST_RETRY_S):
            self._list_requested_s = time.monotonic()
            self._list_cameras.call_async(srv.ListCameras.Request()).add_done_callback(
                self._on_cameras)

    def _forget_cameras(self) -> None:
        for subscription in self._cameras.values():
            self.destroy_subscription(subscription)
        self._cameras.clear()
        self._cameras_subscribed, self._list_requested_s = False, -_LIST_RETRY_S

    def _on_cameras(self, done: Any) -> None:
        """Subscribe to the images of the node's cameras."""
        if not self._image_wanted:
            return
        cameras = done.result().cameras
        types = dict(self.get_topic_names_and_types())
        quality = ReliabilityPolicy.RELIABLE if self._reliable else ReliabilityPolicy.BEST_EFFORT
        for camera in cameras:
            offered = types.get(camera.image_topic, ())
            type_ = next((type_ for type_ in (Image, CompressedImage)
                          if f'sensor_msgs/msg/{type_.__name__}' in offered), None)
            if type_ is not None and camera.name not in self._cameras:
                self._cameras[camera.name] = self.create_subscription(
                    type_, camera.image_topic, partial(self._history.store, camera.name, type_),
                    QoSProfile(depth=5, reliability=quality), raw=True)
        self._cameras_subscribed = bool(cameras) and all(c.name in self._cameras for c in cameras)

    # -- inputs

    def _on_outcome(self, outcome: msg.Outcome) -> None:
        if outcome.topic:
            self._pair(outcome.topic, outcome.text, outcome)
        elif outcome.error_code not in _SILENT:
            self._queue_drawing(outcome, None)

    def _on_answer(self, topic: str, answer: Any) -> None:
        if self._markers.get_subscription_count() and isinstance(answer, _WITH_POSITIONS):
            self._show(topic, answer_markers(answer, _request_text(answer), self._size),
                       self._lifetime)
        if self._image_wanted:
            self._pair(topic, _request_text(answer), answer)
            if answer.camera and self._cameras_subscribed and answer.camera not in self._cameras:
                self._forget_cameras()  # the node has other cameras now

    def _pair(self, topic: str, text: str, half: Any) -> None:
        """Draw an answer once its outcome has arrived, too; either may come first."""
        key = topic, text, Time.from_msg(half.header.stamp).nanoseconds
        halves = self._unpaired.setdefault(key, {})
        halves[msg.Outcome if isinstance(half, msg.Outcome) else object] = half
        if len(halves) == 2:
            del self._unpaired[key]
            self._queue_drawing(halves[msg.Outcome], halves[object])
        elif len(self._unpaired) > _MAX_UNPAIRED:
            self._unpaired.popitem(last=False)

    def _on_trajectory(self, trajectory: msg.DrivingTrajectory) -> None:
        path = Path(header=trajectory.header)
        start = Time.from_msg(trajectory.header.stamp)
        for point in trajectory.points:
            stamp = start + rclpy.duration.Duration.from_msg(point.time_from_start)
            header = Header(stamp=stamp.to_msg(), frame_id=trajectory.header.frame_id)
            path.poses.append(PoseStamped(header=header, pose=point.pose))
        self._path.publish(path)

    # -- markers

    def _on_tracked(self, tracked: msg.TrackedAffordances) -> None:
        goal = tracked.camera, tracked.query  # several may be under way
        self._show('tracked_affordances', tracked_markers(tracked, self._size), self._lifetime,
                   goal)

    def _on_remembered(self, remembered: msg.RememberedThings) -> None:
        self._remembered = remembered
        self._show_remembered()

    def _show_remembered(self) -> None:
        if self._remembered is not None:
            told = Time.from_msg(self._remembered.header.stamp)
            elapsed = (self.get_clock().now() - told).nanoseconds / 1e9
            markers = remembered_markers(self._remembered, elapsed, self._size)
            self._show('memory', markers, lifetime=0.0)

    def _show(
        self, namespace: str, markers: Iterable[Marker], lifetime: float, source: Hashable = None
    ) -> None:
        self._markers.publish(self._marker_arrays.replace(namespace, markers, lifetime, source))

    # -- pictures

    def _queue_drawing(self, outcome: Any, answer: Any) -> None:
        with self._changed:
            self._to_draw.append((outcome, answer))
            self._changed.notify()

    def _draw_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._to_draw or not self._open)
                if not self._open:
                    return
                outcome, answer = self._to_draw.popleft()
            try:
                self._publish(outcome.header, self._draw(outcome, answer))
            except Exception:  # an answer that cannot be drawn must not end the thread
                _logger.exception('an answer could not be drawn')

    def _draw(self, outcome: Any, answer: Any) -> NDArray[np.uint8]:
        """Draw an answer on its image; the answer is None where the request failed."""
        canvas, stats = Canvas(self._pixels(outcome, answer)), outcome.stats
        if answer is None:
            code = ResultCode(outcome.error_code).name
            canvas.note(outcome.text, f'{code}: {outcome.error_msg}')
        else:
            canvas.answer(outcome.text, messages.content_of(answer))
        canvas.note(f'{outcome.kind}: {messages.seconds(stats.total_time):.2f} s, image '
                    f'{messages.seconds(stats.image_age):.2f} s old')
        if outcome.reasoning:
            canvas.note(shorten(outcome.reasoning, _REASONING, placeholder=' ...'))
        return canvas.picture()

    def _pixels(self, outcome: Any, answer: Any) -> NDArray[np.uint8]:
        """The image that an outcome is about; grey where it is not known."""
        image = None
        if outcome.camera:
            stamp = Time.from_msg(outcome.header.stamp).nanoseconds
            image = self._history.find(outcome.camera, stamp, _IMAGE_WAIT_S)
        elif answer is None and outcome.header == Header():
            image = self._history.newest()  # the request failed before it took an image
        try:
            if image is not None:
                kind, message = image
                decode = decode_compressed if kind is CompressedImage else decode_image
                return decode(deserialize_message(message, kind))
            if outcome.camera:
                self.get_logger().warning(
                    f'the image of {outcome.camera} that an answer is about is no longer kept, or '
                    'did not arrive; raise history_mb, or use compressed images',
                    throttle_duration_sec=10.0)
        except MimoError as error:
            self.get_logger().warning(str(error), throttle_duration_sec=10.0)
        height, width = _GREY
        if answer is not None and answer.image_width:
            height, width = answer.image_height, answer.image_width
        return np.full((height, width, 3), 96, np.uint8)

    def _publish(self, header: Header, picture: NDArray[np.uint8]) -> None:
        if self._image.get_subscription_count():
            self._image.publish(encode_image(picture, header))
        if self._compressed.get_subscription_count():
            data = array('B', jpeg(picture, self._quality))
            self._compressed.publish(
                CompressedImage(header=header, format='jpeg', data=data))


def _request_text(answer: Any) -> str:
    """The text of the request that an answer belongs to."""
    return str(getattr(answer, _REQUEST_FIELDS[type(answer)]))


def main(args: Sequence[str] | None = None) -> int:
    """Run the viewer until it is interrupted; exit code 1 when it cannot start."""
    return process.run(MimoViewer, NAME, args)


if __name__ == '__main__':
    run(main)
