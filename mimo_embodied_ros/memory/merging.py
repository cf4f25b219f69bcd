"""Which of the things that were seen are those that are remembered, and what becomes of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .sighting import RememberedThing
from .words import detail, fit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .sighting import SeenThing, Sighting

    Numbered = dict[int, RememberedThing]  # by the number of the thing in a sighting

_NEAR_M = 0.15  # between two sightings of one thing, beside its size and their uncertainty
LATE_NS = 600 * 10**9
"""By which a stamp is older than another one because its answer took longer; no answer takes more.
Where it is older by more the clock fell back, as when a bag begins anew."""


def is_late(stamp_ns: int, known_ns: int) -> bool:
    """Whether a stamp is before a known one and tells nothing newer; see `LATE_NS`."""
    return known_ns - LATE_NS <= stamp_ns < known_ns


def new_thing(sighting: Sighting, seen: SeenThing, base_session: str) -> RememberedThing:
    """Return a thing as it is remembered after its first sighting, without an id and a picture."""
    return RememberedThing(
        id=0, name=seen.name, stamp_ns=sighting.stamp_ns, first_ns=sighting.stamp_ns, sightings=1,
        missed=0, missed_ns=0, frame_id=sighting.frame_id, session=sighting.session,
        position=seen.position, size=seen.size, covariance=seen.covariance,
        camera_pose=sighting.view.pose if sighting.view else None, base=sighting.base,
        base_frame=sighting.base_frame, base_session=base_session, camera=sighting.camera,
        question=sighting.question, pixel=seen.pixel, image_size=sighting.image_size)


def reach(thing: RememberedThing) -> float:
    """Return a distance, metres, such that no two things farther apart than both are near."""
    deviation = math.sqrt(max(sum(thing.covariance[::4]), 0.0))  # in any direction, at most
    return _NEAR_M / 2 + max(thing.size) / 2 + 2 * deviation


def same_place(new: Numbered, known: Iterable[RememberedThing]) -> Numbered:
    """Pair new things with known ones that are near and alike, nearest first."""
    return _pairs(
        ((math.dist(one.position, thing.position), -likeness), number, thing)
        for thing in known for number, one in new.items()
        if _near(one, thing) and (likeness := _likeness(one, thing)))


def moved(new: Numbered, missed: Iterable[RememberedThing]) -> Numbered:
    """Pair new things with those that are not any more where they were.

    The one that fits best is paired first; of those that fit equally, the one that was seen last.
    """
    return _pairs(
        ((-likeness, -thing.stamp_ns), number, thing)
        for thing in missed for number, one in new.items()
        if not is_late(one.stamp_ns, thing.stamp_ns)
        and (likeness := _likeness(one, thing)))


def merged(thing: RememberedThing, new: RememberedThing, *, pictured: bool) -> RememberedThing:
    """Return what is remembered of a thing that was seen once more.

    Args:
        thing: as it is remembered.
        new: from the new sighting alone.
        pictured: whether the picture of the new sighting takes the place of what there is.

    """
    name = max(thing.name, new.name, key=detail)
    first_ns, sightings = min(thing.first_ns, new.first_ns), thing.sightings + 1
    if is_late(new.stamp_ns, thing.stamp_ns):
        return replace(thing, name=name, first_ns=first_ns, sightings=sightings)
    new = replace(new, id=thing.id, name=name, first_ns=first_ns, sightings=sightings)
    if is_late(new.stamp_ns, thing.missed_ns) and _near(new, thing):  # it was gone after that
        new = replace(new, missed=thing.missed, missed_ns=thing.missed_ns)
    return new if pictured else replace(new, pixel=thing.pixel, image_size=thing.image_size)


def _near(one: RememberedThing, other: RememberedThing) -> bool:
    """Whether two things are as near as two sightings of one thing may be."""
    apart = np.subtract(one.position, other.position)
    covariance = np.add(one.covariance, other.covariance).reshape(3, 3)
    distance = float(np.linalg.norm(apart))
    variance = float(apart @ covariance @ apart) / max(distance, 1e-9) ** 2  # along that way
    return distance <= (
        _NEAR_M + max(one.size + other.size) / 2 + 2 * math.sqrt(max(variance, 0.0)))


def _likeness(one: RememberedThing, other: RememberedThing) -> float:
    """How well the names fit; one that names nothing fits no other one, 0."""
    return min(fit(one.name, other.name), fit(other.name, one.name))


def _pairs(
    candidates: Iterable[tuple[tuple[float, float], int, RememberedThing]]
) -> Numbered:
    """Pair each number and each thing at most once, lowest costs first."""
    pairs: Numbered = {}
    taken: set[int] = set()
    for _, number, thing in sorted(candidates, key=lambda found: (*found[:2], found[2].id)):
        if number not in pairs and thing.id not in taken:
            pairs[number] = thing
            taken.add(thing.id)
    return pairs
