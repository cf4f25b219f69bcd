"""What an answer has shown at which places: for a node that remembers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CompressedImage

from mimo_embodied_ros import msg
from mimo_embodied_ros.geometry.lifting import PositionStatus
from mimo_embodied_ros.geometry.poses import Pose
from mimo_embodied_ros.pictures import jpeg
from mimo_embodied_ros.ros.messages import pose_message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mimo_embodied_ros.core.frames import Frame
    from mimo_embodied_ros.geometry.lifting import Lifter
    from mimo_embodied_ros.ros.request_kinds import Kind

_PICTURE = 320  # columns of the small picture, at most
_QUALITY = 80
_SAMPLES = 64  # columns of the depth that goes with it, at most


def observation_message(
    kind: Kind, text: str, frame: Frame, answer: Any, lifter: Lifter
) -> Any | None:
    """The message ``msg/Observation`` of an answer; None where it has shown no place.

    Args:
        kind: of the request.
        text: of the request.
        frame: that the answer is about.
        answer: its message, with positions.
        lifter: that has computed the positions.

    """
    places = [*_places(answer, text)]
    is_search = kind.message is msg.AffordancePoints
    lifted = [(name, place) for name, place in places
              if place.position_status == PositionStatus.OK]
    if lifter.prepare()[0] is not PositionStatus.OK or not (lifted or (is_search and not places)):
        return None
    camera, samples = lifter.camera.matrix, _samples(lifter.depth)
    height, width = frame.pixels.shape[:2]
    scale = min(1.0, _PICTURE / width)
    return msg.Observation(
        header=answer.header, camera=answer.camera, image_width=answer.image_width,
        image_height=answer.image_height, base=answer.base, kind=kind.action_name, text=text,
        # what is there without a place may be any of the things that are remembered
        complete=is_search and len(lifted) == len(places), frame_id=lifter.target_frame,
        camera_pose=pose_message(Pose.of(lifter.transform), answer.header).pose,
        fx=camera[0, 0], fy=camera[1, 1], cx=camera[0, 2], cy=camera[1, 2],
        depth_columns=samples.shape[1], depth=samples.ravel().tolist(), picture=CompressedImage(
            header=answer.header, format='jpeg', data=jpeg(
                frame.pixels, _QUALITY, (round(width * scale), max(1, round(height * scale))))),
        things=[_thing(name, place) for name, place in lifted])


def _places(answer: Any, text: str) -> Iterator[tuple[str, Any]]:
    """The points and boxes of an answer, each with the name of what is there."""
    if not isinstance(answer, msg.TaskPlan):
        yield from ((place.label or text, place) for place in (*answer.points, *answer.boxes))
        return
    for step in answer.steps:
        yield from ((point.label or step.object or step.description, point)
                    for point in step.points)
        yield from ((argument.value, argument.point) for argument in step.arguments
                    if argument.grounding == msg.SkillArgument.SEEN)


def _thing(name: str, place: Any) -> Any:
    if isinstance(place, msg.AffordanceBox):
        return msg.ObservedThing(
            name=name, x=(place.x_min + place.x_max) / 2, y=(place.y_min + place.y_max) / 2,
            position=place.center, size=place.size)
    return msg.ObservedThing(name=name, x=place.x, y=place.y, position=place.position,
                             depth_stddev=place.depth_stddev)


def _samples(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The depth in the middle of each cell of a grid over the image, (rows, columns) metres."""
    height, width = depth.shape
    columns = min(_SAMPLES, width)
    rows = max(1, round(height * columns / width))
    middles = [((np.arange(count) + 0.5) * size / count).astype(int)
               for count, size in ((rows, height), (columns, width))]
    return depth[np.ix_(*middles)]
