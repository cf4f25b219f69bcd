"""Between the messages of a memory and what it remembers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import Point, PoseStamped, Vector3
from geometry_msgs.msg import Pose as PoseMsg
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from mimo_embodied_ros import msg
from mimo_embodied_ros.geometry.extrinsics import Transform
from mimo_embodied_ros.geometry.poses import Pose
from mimo_embodied_ros.memory.sighting import SeenThing, Sighting, View
from mimo_embodied_ros.ros.messages import duration, pose_message, stamp_message
from mimo_embodied_ros.ros.stamps import nanoseconds_of

if TYPE_CHECKING:
    from mimo_embodied_ros.memory.sighting import RememberedSearch, RememberedThing

_NOWHERE = Point(x=math.nan, y=math.nan, z=math.nan)


def sighting_of(observation: Any) -> Sighting:
    """What ``msg/Observation`` tells, in no session yet; see `_told`."""
    o = observation
    columns = o.depth_columns
    depth = np.asarray(o.depth, np.float32)
    return _told(o.base, Sighting(
        nanoseconds_of(o.header.stamp), o.camera, o.text, o.frame_id, '',
        tuple(SeenThing(
            thing.name, _xyz(thing.position), _xyz(thing.size),
            _covariance(thing), (thing.x, thing.y))
            for thing in o.things),
        View(_pose(o.camera_pose), (o.fx, o.fy), (o.cx, o.cy), (o.image_width, o.image_height),
             depth.reshape(-1, columns) if columns else depth.reshape(0, 0)),
        complete=o.complete, image_size=(o.image_width, o.image_height),
        picture=bytes(o.picture.data)))


def sighting_of_tracked(tracked: Any) -> Sighting:
    """What ``msg/TrackedAffordances`` tells of the points that have a position; see `_told`."""
    t = tracked
    return _told(t.base, Sighting(
        nanoseconds_of(t.header.stamp), t.camera, t.query, t.position_frame_id, '',
        tuple(SeenThing(
            p.point.label or t.query, _xyz(p.point.position),
            covariance=_covariance(p.point), pixel=(p.point.x, p.point.y))
            for p in t.points if p.state == msg.TrackedPoint.TRACKED
            and p.point.position_status == msg.AffordancePoint.OK),
        image_size=(t.image_width, t.image_height)))


def thing_message(thing: RememberedThing, now_ns: int, *, picture: bool = True) -> Any:
    """The message ``msg/RememberedThing``; its age is at a time, nanoseconds."""
    header = Header(stamp=stamp_message(thing.stamp_ns), frame_id=thing.frame_id)
    valid = not thing.place_problem
    return msg.RememberedThing(
        id=thing.id, name=thing.name, header=header, age=_age(thing.stamp_ns, now_ns),
        first_seen=stamp_message(thing.first_ns), sightings=thing.sightings, missed=thing.missed,
        last_missed=stamp_message(thing.missed_ns), place_valid=valid,
        place_problem=thing.place_problem,
        position=Point(**dict(zip('xyz', thing.position))) if valid else _NOWHERE,
        size=Vector3(**dict(zip('xyz', thing.size))), position_covariance=thing.covariance,
        camera_pose=_pose_message(thing.camera_pose if valid else None, header),
        base_pose=PoseStamped() if thing.base is None else pose_message(
            thing.base, Header(stamp=header.stamp, frame_id=thing.base_frame)),
        camera=thing.camera, question=thing.question, x=thing.pixel[0], y=thing.pixel[1],
        image_width=thing.image_size[0], image_height=thing.image_size[1],
        picture=_picture(thing.picture if picture else b'', header), fit=thing.fit)


def search_message(search: RememberedSearch, now_ns: int, *, picture: bool = True) -> Any:
    """The message ``msg/RememberedSearch``; its age is at a time, nanoseconds."""
    header = Header(stamp=stamp_message(search.stamp_ns), frame_id=search.frame_id)
    return msg.RememberedSearch(
        id=search.id, what=search.what, header=header, age=_age(search.stamp_ns, now_ns),
        place_valid=not search.place_problem, place_problem=search.place_problem,
        camera_pose=_pose_message(search.camera_pose, header), camera=search.camera,
        picture=_picture(search.picture if picture else b'', header), fit=search.fit)


def _covariance(placed: Any) -> tuple[float, ...]:
    """That of a position by its depth, in all directions alike."""
    return tuple((np.eye(3) * placed.depth_stddev ** 2).ravel().tolist())


def _told(base: Any, sighting: Sighting) -> Sighting:
    """A sighting with ``msg/BaseState``; in odometry's frame where it was told in the base's."""
    if not base.valid:
        return sighting
    pose, view = _pose(base.pose.pose), sighting.view
    sighting = replace(sighting, base=pose, base_frame=base.pose.header.frame_id)
    if sighting.frame_id != base.twist.header.frame_id:
        return sighting
    moved = Transform.of(pose.position, pose.orientation)
    if view is not None:
        view = replace(view, pose=_moved(view.pose, moved))
    return replace(sighting, frame_id=sighting.base_frame, view=view, things=tuple(
        thing._replace(position=_three(moved.apply(thing.position)),
                       size=_extent(thing.size, moved)) for thing in sighting.things))


def told_in(thing: RememberedThing, frame_id: str, transform: Transform) -> RememberedThing:
    """A thing told in another frame, to which a transform leads from its own."""
    rotation, camera = transform.rotation, thing.camera_pose
    covariance = rotation @ np.reshape(thing.covariance, (3, 3)) @ rotation.T
    return replace(
        thing, frame_id=frame_id, position=_three(transform.apply(thing.position)),
        size=_extent(thing.size, transform), covariance=tuple(covariance.ravel().tolist()),
        camera_pose=camera and _moved(camera, transform))


def _moved(pose: Pose, transform: Transform) -> Pose:
    return Pose.of(transform @ Transform.of(pose.position, pose.orientation))


def _extent(size: tuple[float, float, float], transform: Transform) -> tuple[float, float, float]:
    """Along the axes of another frame; what is turned in it may be less than that."""
    return _three(np.abs(transform.rotation) @ size)


def _age(stamp_ns: int, now_ns: int) -> Any:
    return duration(max(0, now_ns - stamp_ns) / 1e9)


def _picture(jpeg: bytes, header: Header) -> CompressedImage:
    return CompressedImage(header=header, format='jpeg', data=jpeg) if jpeg else CompressedImage()


def _pose_message(pose: Pose | None, header: Header) -> PoseMsg:
    return PoseMsg() if pose is None else pose_message(pose, header).pose


def _pose(message: Any) -> Pose:
    turn = message.orientation
    return Pose(_xyz(message.position), (turn.x, turn.y, turn.z, turn.w))


def _xyz(message: Any) -> tuple[float, float, float]:
    return message.x, message.y, message.z


def _three(values: Any) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
