"""Reads and writes what is remembered, one row each, in the tables of the database."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mimo_embodied_ros.core.errors import InvalidRequestError
from mimo_embodied_ros.geometry.poses import Pose

from .database import Database
from .merging import LATE_NS, reach
from .sighting import RememberedSearch, RememberedThing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from .sighting import Vector

    Floats = NDArray[np.float64]

_THING, _SEARCH = 'thing', 'search'  # kinds of rows
_NOT_AMONG_FIELDS = ('id', 'picture', 'fit', 'place_problem')


class Box(NamedTuple):
    """A part of space, between the least and the largest x, y, z, (3,) metres."""

    low: Floats
    high: Floats

    @classmethod
    def around(cls, position: Vector, distance: float) -> Box:
        """Return the box of all that is within a distance of a position, metres."""
        return cls(np.subtract(position, distance), np.add(position, distance))

    def __and__(self, other: Box) -> Box:
        return Box(np.maximum(self.low, other.low), np.minimum(self.high, other.high))


ANYWHERE = Box.around((0.0, 0.0, 0.0), math.inf)


class Records(Database):
    """Things, searches and their pictures; those read are as they were written, without picture."""

    def things(self, box: Box = ANYWHERE) -> Iterator[RememberedThing]:
        """Yield the things that may be in a box, or be seen again there."""
        for id_, fields in self.execute(
                'SELECT id, fields FROM places JOIN remembered USING (id) '
                'WHERE max_x >= ? AND max_y >= ? AND max_z >= ? '
                'AND min_x <= ? AND min_y <= ? AND min_z <= ?', [*box.low, *box.high]):
            yield RememberedThing(id_, **_decoded(fields))

    def searches(self) -> Iterator[RememberedSearch]:
        """Yield all searches."""
        for id_, fields in self.execute(
                'SELECT id, fields FROM remembered WHERE kind = ?', [_SEARCH]):
            yield RememberedSearch(id_, **_decoded(fields))

    def picture(self, id_: int) -> bytes:
        """Return the picture of a thing or search; empty: it has none."""
        rows = self.execute('SELECT jpeg FROM remembered JOIN pictures ON pictures.id = picture '
                            'WHERE remembered.id = ?', [id_])
        return bytes(rows[0][0]) if rows else b''

    def write(self, item: RememberedThing | RememberedSearch) -> int:
        """Write a thing or search, a new one where its id is 0; return its id."""
        kind = _THING if isinstance(item, RememberedThing) else _SEARCH
        [(id_,)] = self.execute(
            'INSERT INTO remembered (id, kind, fields) VALUES (nullif(?, 0), ?, ?) '
            'ON CONFLICT (id) DO UPDATE SET fields = excluded.fields RETURNING id',
            [item.id, kind, _encoded(item)])
        if isinstance(item, RememberedThing):
            low, high = Box.around(item.position, reach(item))
            self.execute('REPLACE INTO places (id, min_x, min_y, min_z, max_x, max_y, max_z) '
                         'VALUES (?, ?, ?, ?, ?, ?, ?)', [id_, *low, *high])
        return int(id_)

    def set_picture(self, jpeg: bytes, ids: Collection[int]) -> None:
        """Give things and searches one picture; the database deletes those that nothing has."""
        [(picture,)] = self.execute(
            'INSERT INTO pictures (jpeg) VALUES (?) RETURNING id', [jpeg])
        self.execute(
            'UPDATE remembered SET picture = ? WHERE id IN (SELECT value FROM json_each(?))',
            [picture, json.dumps([*ids])])

    def delete(self, ids: Collection[int]) -> int:
        """Delete things and searches; return how many there were."""
        return len(self.execute(
            'DELETE FROM remembered WHERE id IN (SELECT value FROM json_each(?)) RETURNING id',
            [json.dumps([*ids])]))

    def limit(self, now_ns: int, max_age_ns: int, most: int, max_bytes: int) -> None:
        """Delete what is too old, and the oldest of what is too much.

        Where the clock fell back, what was before has stamps of a time to come. It is not too old,
        but goes first of what is too much.

        Args:
            now_ns: the newest stamp.
            max_age_ns: before that.
            most: things, and searches.
            max_bytes: of the file that are in use.

        """
        self.execute('DELETE FROM remembered WHERE stamp_ns < ?', [now_ns - max_age_ns])
        come = now_ns + LATE_NS
        self.execute(
            'DELETE FROM remembered WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER ('
            'PARTITION BY kind ORDER BY stamp_ns > ?, stamp_ns DESC, id DESC) AS number '
            'FROM remembered) WHERE number > ?)', [come, most])
        while self.bytes > max_bytes and self.execute(
                'DELETE FROM remembered WHERE id = (SELECT id FROM remembered '
                'ORDER BY stamp_ns <= ?, stamp_ns, id LIMIT 1) RETURNING id', [come]):
            pass


def _encoded(item: RememberedThing | RememberedSearch) -> str:
    fields = {name: value for name, value in asdict(item).items() if name not in _NOT_AMONG_FIELDS}
    try:
        return json.dumps(fields, allow_nan=False)
    except ValueError as error:
        msg = 'a number of a sighting is not finite; remember only what has a place'
        raise InvalidRequestError(msg) from error


def _decoded(fields: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(fields, object_hook=_object)
    return decoded


def _object(fields: dict[str, Any]) -> Any:
    """Make a pose, or the fields of a thing or search, of what JSON has."""
    fields = {name: tuple(value) if isinstance(value, list) else value
              for name, value in fields.items()}
    return Pose(**fields) if 'orientation' in fields else fields
