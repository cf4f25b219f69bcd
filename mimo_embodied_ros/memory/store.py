"""The memory: which things were seen, where and when, and which were looked for in vain."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.core.instruction_matching import within

from .merging import is_late, merged, moved, new_thing, reach, same_place
from .records import ANYWHERE, Box, Records
from .sighting import RememberedSearch, RememberedThing
from .words import fit, subject_words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from .sighting import Sighting, Vector

Remembered = TypeVar('Remembered', RememberedThing, RememberedSearch)

_FARTHEST_M = 30.0  # from a camera, of what a view is taken to show
_NOWHERE = (math.nan,) * 3


class Memory:
    """Remembers sightings, and finds things by their names and places; for one thread at a time.

    All methods raise MimoError, with cause and remedy, where the file cannot be read or written;
    nothing is changed then, and the next call may succeed.
    """

    def __init__(
        self, path: Path | str, *, max_things: int = 1000, max_age_s: float = 30 * 86400.0,
        max_bytes: int = 100_000_000,
    ) -> None:
        """Open a file.

        Args:
            path: made with its folder where it is missing; '': the memory is in RAM.
            max_things: most things, and most searches.
            max_age_s: by which something is older than a new sighting, at most.
            max_bytes: of the file that are in use.

        Raises:
            InvalidRequestError: the file cannot be read or written, or it is of another program or
                of a newer version; then it is left as it is.

        """
        self._limits = int(max_age_s * 1e9), max_things, max_bytes
        self._sessions: dict[str, str] = {}  # the present ones, by their frames
        self._records = Records(path)

    def begin_session(self, frame_id: str, session: str) -> None:
        """Say which session of a frame is the present one: only its places are known."""
        self._sessions[frame_id] = session

    @property
    def sessions(self) -> Mapping[str, str]:
        """The present session of each frame that has one."""
        return self._sessions

    def latest_session(self, frame_id: str) -> tuple[str, int]:
        """Return the session in which something was seen last in a frame, and its stamp; '', 0."""
        seen = [(item.stamp_ns, item.session)
                for items in (self._records.things(), self._records.searches())
                for item in items if item.frame_id == frame_id]
        stamp_ns, session = max(seen, default=(0, ''))
        return session, stamp_ns

    @property
    def bytes(self) -> int:
        """Bytes of the file that are in use."""
        return self._records.bytes

    def close(self) -> None:
        """Close the file."""
        self._records.close()

    def add(self, sighting: Sighting) -> None:
        """Remember what was seen; when this returns, a power cut does not take it away.

        Raises:
            InvalidRequestError: a position, a pose or a size is not finite.
            MimoError: it cannot be written.

        """
        base_session = (sighting.session if sighting.base_frame == sighting.frame_id
                        else self._sessions.get(sighting.base_frame, ''))
        # sorted, so that their order does not matter
        new = {number: new_thing(sighting, seen, base_session)
               for number, seen in enumerate(sorted(sighting.things))}
        with self._records.transaction():
            known = self._identify(sighting, new)
            newest = []  # of what the sighting is the last one
            for number, one in new.items():
                thing = self._merged(known[number], one, sighting) if number in known else one
                id_ = self._records.write(thing)
                if thing.stamp_ns == sighting.stamp_ns:
                    newest.append(id_)
            if sighting.complete and not new:
                newest.append(self._records.write(RememberedSearch(
                    0, sighting.question, sighting.stamp_ns, sighting.frame_id, sighting.session,
                    sighting.view.pose if sighting.view else None, sighting.camera)))
            if sighting.picture and newest:
                self._records.set_picture(sighting.picture, newest)
            self._records.limit(sighting.stamp_ns, *self._limits)

    def recall(
        self, what: str = '', *, now_ns: int, near: tuple[str, Vector, float] | None = None,
        max_age_s: float = 0.0, view: Sighting | None = None, limit: int = 10,
    ) -> tuple[list[RememberedThing], list[RememberedSearch]]:
        """Find things, and searches that were in vain.

        Args:
            what: a name or a question; empty: everything.
            now_ns: the present time.
            near: a frame, a position in it, and a distance from that, metres: only things there.
            max_age_s: only what was seen so lately; 0: however long ago. What has a stamp of a time
                to come counts as new.
            view: only things that it shows.
            limit: most things, and most searches.

        Returns:
            Things, those whose place is known first, then what fits best, then the newest; and
            searches, the newest first, wherever they were.

        """
        since_ns = now_ns - max_age_s * 1e9 if max_age_s else -math.inf
        box = ANYWHERE
        if near:
            box &= Box.around(near[1], near[2])
        if view and view.view:
            box &= Box(*view.view.bounds(_FARTHEST_M))
        things = [
            thing for thing in _fitting(map(self._now, self._records.things(box)), what, since_ns)
            if (near is None or _is_near(thing, *near)) and (view is None or _shows(view, thing))]
        things.sort(key=lambda thing: (
            bool(thing.place_problem), -thing.fit, -thing.stamp_ns, -thing.id))
        searches = _newest_first(_fitting(self._searches(), what, since_ns))
        return ([self._pictured(thing) for thing in things[:limit]],
                [self._pictured(search) for search in searches[:limit]])

    def things(self, *, pictures: bool = True) -> list[RememberedThing]:
        """Return all things, the newest first."""
        things = _newest_first(map(self._now, self._records.things()))
        return [self._pictured(thing) for thing in things] if pictures else things

    def searches(self, *, pictures: bool = True) -> list[RememberedSearch]:
        """Return all searches, the newest first."""
        searches = _newest_first(self._searches())
        return [self._pictured(search) for search in searches] if pictures else searches

    def forget(
        self, ids: Collection[int] = (), what: str = '', everything: bool = False
    ) -> int:
        """Delete things and searches, and overwrite what the file had of them.

        Args:
            ids: these.
            what: those that fit.
            everything: all.

        Returns:
            How many were deleted.

        Raises:
            InvalidRequestError: not exactly one of the three is given, or `what` names no thing.

        """
        if bool(ids) + bool(what) + everything != 1:
            msg = 'forget needs exactly one of ids, what and everything; give that one'
            raise InvalidRequestError(msg)
        if what and not subject_words(what):
            msg = f'{what!r} names no thing; name one, or forget everything'
            raise InvalidRequestError(msg)
        with self._records.transaction():
            forgotten = self._records.delete(ids or [
                *(thing.id for thing in _fitting(self._records.things(), what)),
                *(search.id for search in _fitting(self._records.searches(), what))])
        self._records.overwrite_deleted()
        return forgotten

    def _identify(
        self, sighting: Sighting, new: dict[int, RememberedThing]
    ) -> dict[int, RememberedThing]:
        """Return which of the new things are known, by their numbers, and count what is missed."""
        near = {thing.id: thing for one in new.values()
                for thing in self._of(sighting, Box.around(one.position, reach(one)))}
        known = same_place(new, near.values())
        seen = {thing.id for thing in known.values()}
        self._miss(sighting, seen)
        rest = {number: one for number, one in new.items() if number not in known}
        if rest:
            known |= moved(rest, (thing for thing in self._of(sighting)
                                  if thing.missed and thing.id not in seen))
        return known

    def _miss(self, sighting: Sighting, seen: Collection[int]) -> None:
        """Count a view that shows the places of things without them."""
        view, stamp_ns = sighting.view, sighting.stamp_ns
        wanted = subject_words(sighting.question)
        if not (sighting.complete and view and wanted):
            return
        for thing in self._of(sighting, Box(*view.bounds(_FARTHEST_M))):
            known_ns = thing.stamp_ns, thing.missed_ns
            if (thing.id not in seen and view.shows(thing.position)
                    # a "cup" may be there where no "red cup" is
                    and within(wanted, subject_words(thing.name))
                    # an image counts once, and not where another answer has seen the thing in it
                    and stamp_ns not in known_ns and not is_late(stamp_ns, max(known_ns))):
                self._records.write(replace(
                    thing, missed=thing.missed + 1, missed_ns=stamp_ns))

    def _merged(
        self, thing: RememberedThing, new: RememberedThing, sighting: Sighting
    ) -> RememberedThing:
        pictured = bool(sighting.picture) or not self._records.picture(thing.id)
        return merged(thing, new, pictured=pictured)

    def _of(self, sighting: Sighting, box: Box = ANYWHERE) -> Iterator[RememberedThing]:
        """Yield the things in a box of the frame and session of a sighting."""
        return (thing for thing in self._records.things(box) if _same_frame(thing, sighting))

    def _searches(self) -> Iterator[RememberedSearch]:
        """Yield all searches with the poses that are valid at present."""
        for search in self._records.searches():
            problem = self._place_problem(search.frame_id, search.session)
            if search.camera_pose is None:
                problem = 'the camera had no place when it looked; look for it again'
            yield replace(search, camera_pose=None, place_problem=problem) if problem else search

    def _now(self, thing: RememberedThing) -> RememberedThing:
        """Return a thing with the poses that are valid at present."""
        if self._place_problem(thing.base_frame, thing.base_session):
            thing = replace(thing, base=None)
        if problem := self._place_problem(thing.frame_id, thing.session):
            thing = replace(thing, position=_NOWHERE, camera_pose=None, place_problem=problem)
        return thing

    def _place_problem(self, frame_id: str, session: str) -> str:
        """Return why the places of a session are not known, and the remedy; '' if they are."""
        present = self._sessions.get(frame_id)
        if present is None:
            return (f'frame {frame_id} is not there at present, so where that was is not known; '
                    'start what gives this frame, or look for it again')
        if present != session:
            return (f'frame {frame_id} was begun anew since, so where that was is not known; '
                    'look for it again')
        return ''

    def _pictured(self, item: Remembered) -> Remembered:
        return replace(item, picture=self._records.picture(item.id))


def _fitting(
    items: Iterable[Remembered], what: str, since_ns: float = -math.inf
) -> Iterator[Remembered]:
    """Yield what fits and is not older; the fit is 0 where nothing is asked for."""
    for item in items:
        likeness = fit(what, item.name if isinstance(item, RememberedThing) else item.what)
        if likeness and item.stamp_ns >= since_ns:
            yield replace(item, fit=likeness if what else 0.0)


def _newest_first(items: Iterable[Remembered]) -> list[Remembered]:
    return sorted(items, key=lambda item: (item.stamp_ns, item.id), reverse=True)


def _is_near(
    thing: RememberedThing, frame_id: str, position: Vector, distance: float
) -> bool:
    """Whether a thing is within a distance; it is not where its place is not known, NaN."""
    return thing.frame_id == frame_id and math.dist(thing.position, position) <= distance


def _shows(sighting: Sighting, thing: RememberedThing) -> bool:
    """Whether the view of a sighting shows a thing; not where the place of that is NaN."""
    return (sighting.view is not None and _same_frame(thing, sighting)
            and sighting.view.shows(thing.position))


def _same_frame(thing: RememberedThing, sighting: Sighting) -> bool:
    return (thing.frame_id, thing.session) == (sighting.frame_id, sighting.session)
