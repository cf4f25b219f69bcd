"""Markers for 3D positions: of answers, of points that are tracked, and of what is remembered."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from mimo_embodied_ros import msg
from mimo_embodied_ros.annotate import MARK, PLAN
from mimo_embodied_ros.ros.messages import duration, seconds

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

_TRACKED = (60, 230, 90)
_REMEMBERED = (255, 190, 60)
_IDS = 1000  # of each source, where a namespace has several
_HALF_S = 600.0  # the age at which a remembered thing is half transparent
_FAINTEST = 0.25


class MarkerArrays:
    """Makes arrays in which the markers of a source replace those that it had before."""

    def __init__(self) -> None:
        """Begin without any."""
        self._counts: dict[str, dict[Hashable, int]] = {}  # by namespace and source

    def replace(
        self, namespace: str, markers: Iterable[Marker], lifetime: float, source: Hashable = None
    ) -> MarkerArray:
        """Number the markers, and delete those that the source has no more.

        Args:
            namespace: of the markers.
            markers: all that the source has now.
            lifetime: seconds for which they are shown; 0: until they are replaced.
            source: of several in a namespace.

        """
        counts, array = self._counts.setdefault(namespace, {}), MarkerArray(markers=list(markers))
        count, before = len(array.markers), counts.get(source, 0)
        counts[source] = count
        array.markers += [Marker(action=Marker.DELETE) for _ in range(before - count)]
        for number, marker in enumerate(array.markers, _IDS * list(counts).index(source)):
            marker.ns, marker.id, marker.lifetime = namespace, number, duration(lifetime)
        return array


def answer_markers(answer: Any, text: str, size: float) -> Iterator[Marker]:
    """A sphere and a text for each known position, and arrows from step to step of a plan.

    Args:
        answer: ``TaskPlan``, ``AffordancePoints`` or ``SpatialAnswer``.
        text: of the request, which names points without a label.
        size: diameter of a sphere, metres.

    """
    header = Header(stamp=answer.header.stamp, frame_id=answer.position_frame_id)
    if not isinstance(answer, msg.TaskPlan):
        for point in _placed(answer.points):
            yield from _labelled(point.label or text, point.position, header, _colour(MARK), size)
        return
    placed = [(step, point.position) for step in answer.steps for point in _placed(step.points)]
    for step, position in placed:
        yield from _labelled(
            f'{step.id}. {step.description}', position, header, _colour(PLAN), size)
    for (_, start), (_, end) in itertools.pairwise(placed):
        arrow = _marker(Marker.ARROW, header, _colour(PLAN), (size / 4, size / 2, size / 2))
        arrow.points = [start, end]
        yield arrow


def tracked_markers(tracked: msg.TrackedAffordances, size: float) -> Iterator[Marker]:
    """A sphere and a text for each point that is where it says, at a known position."""
    header = Header(stamp=tracked.header.stamp, frame_id=tracked.position_frame_id)
    for point in _placed(tracked_point.point for tracked_point in tracked.points
                         if tracked_point.state == msg.TrackedPoint.TRACKED):
        yield from _labelled(
            point.label or tracked.query, point.position, header, _colour(_TRACKED), size)


def remembered_markers(
    remembered: msg.RememberedThings, elapsed: float, size: float
) -> Iterator[Marker]:
    """A sphere and a text for each thing with a place, fainter the less is known of it today.

    Args:
        remembered: what is remembered.
        elapsed: seconds since that was told.
        size: diameter of a sphere, metres.

    """
    for thing in remembered.things:
        if not thing.place_valid:
            continue
        age = max(0.0, seconds(thing.age) + elapsed)
        alpha = _FAINTEST if thing.missed else max(_FAINTEST, 0.5 ** (age / _HALF_S))
        # no stamp: where the frame is now, since tf may not reach back to when the thing was seen
        header = Header(frame_id=thing.header.frame_id)
        for marker in _labelled(f'{thing.name}, {_in_words(age)} ago', thing.position, header,
                                _colour(_REMEMBERED, alpha), size):
            marker.frame_locked = True
            yield marker


def _placed(points: Iterable[msg.AffordancePoint]) -> Iterator[msg.AffordancePoint]:
    return (point for point in points if point.position_status == msg.AffordancePoint.OK)


def _labelled(
    name: str, position: Point, header: Header, colour: ColorRGBA, size: float
) -> Iterator[Marker]:
    """A sphere, and its name above it."""
    yield _marker(Marker.SPHERE, header, colour, (size, size, size), position)
    above = Point(x=position.x, y=position.y, z=position.z)
    if 'optical' in header.frame_id:  # REP 103: there y goes down, in all others z goes up
        above.y -= size
    else:
        above.z += size
    text = _marker(Marker.TEXT_VIEW_FACING, header, colour, (0.0, 0.0, size), above)
    text.text = name
    yield text


def _marker(
    kind: int, header: Header, colour: ColorRGBA, scale: tuple[float, float, float],
    position: Point | None = None,
) -> Marker:
    pose = Pose(position=position or Point())
    pose.orientation.w = 1.0
    return Marker(header=header, type=kind, action=Marker.ADD, pose=pose, color=colour,
                  scale=Vector3(**dict(zip('xyz', scale))))


def _colour(rgb: tuple[int, int, int], alpha: float = 1.0) -> ColorRGBA:
    red, green, blue = (part / 255 for part in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def _in_words(age: float) -> str:
    """Seconds in the largest unit of which they are one at least."""
    for unit, length in (('d', 86400), ('h', 3600), ('min', 60)):
        if age >= length:
            return f'{age / length:.0f} {unit}'
    return f'{age:.0f} s'
