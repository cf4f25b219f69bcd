"""Opens the SQLite file without harm to other files, and tells its errors."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from mimo_embodied_ros.core.errors import InvalidRequestError, MimoError
from mimo_embodied_ros.core.files import expand, reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_APPLICATION = 0x4D694D6F  # "MiMo", by which a file of this program is known
_VERSION = 1
_SCHEMA = """
CREATE TABLE pictures (id INTEGER PRIMARY KEY, jpeg BLOB NOT NULL);
CREATE TABLE remembered (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- not given a second time
    kind TEXT NOT NULL,  -- thing or search
    fields TEXT NOT NULL,  -- JSON
    picture INTEGER REFERENCES pictures,  -- one for all that is seen in an image
    stamp_ns INTEGER AS (json_extract(fields, '$.stamp_ns'))
);
CREATE INDEX by_picture ON remembered (picture);

-- places of things: boxes of 32 bits that hold the box which is given
CREATE VIRTUAL TABLE places USING rtree (id, min_x, max_x, min_y, max_y, min_z, max_z);

CREATE TRIGGER forget AFTER DELETE ON remembered BEGIN
    DELETE FROM places WHERE id = old.id;
    DELETE FROM pictures WHERE id = old.picture
        AND NOT EXISTS (SELECT * FROM remembered WHERE picture = old.picture);
END;
CREATE TRIGGER replace_picture AFTER UPDATE OF picture ON remembered BEGIN
    DELETE FROM pictures WHERE id = old.picture
        AND NOT EXISTS (SELECT * FROM remembered WHERE picture = old.picture);
END;
"""
_REMEDIES = {
    'file is not a database': 'give another file; this one is left as it is',
    'database disk image is malformed': 'move the file away, a new one is made',
    'database or disk is full': 'free space on the disk, or give a file on another one',
    'disk I/O error': 'see that the disk has room and the log of the system names no fault of it',
    'attempt to write a readonly database': 'see to the permissions of the file and its folder',
    'unable to open database file': 'see to the permissions of the file and its folder',
    'database is locked': 'end the other program that writes to it, or give another file',
}


class Database:
    """One open file, which only one thread uses at a time.

    All methods raise MimoError, with cause and remedy, where the file cannot be read or written. No
    other code fits better: what was requested is right, and may succeed the next time.
    """

    def __init__(self, path: Path | str) -> None:
        """Open a file, and make it and its folder where they are missing; '' is one in RAM.

        Raises:
            InvalidRequestError: it cannot be read or written, or it is of another program or of a
                newer version; then it is left as it is.

        """
        self._path = path = expand(path) if path else ':memory:'
        try:
            if not isinstance(path, str):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open('ab').close()  # tells better than SQLite why it cannot be written
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            why = reason(error, named=False) if isinstance(error, OSError) else str(error)
            msg = f'memory {path}: {why}'
            raise InvalidRequestError(msg) from error
        try:
            with self.transaction():
                self._prepare()
            self.execute('PRAGMA journal_mode = WAL')
            self.execute('PRAGMA synchronous = FULL')  # what is committed outlives a power cut
            self.execute('PRAGMA secure_delete = ON')  # what is forgotten is overwritten
        except MimoError as error:
            self.close()
            raise InvalidRequestError(str(error)) from error

    def execute(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Execute one statement and return all of its rows."""
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            remedy = _REMEDIES.get(str(error), 'move the file away, or give another one')
            msg = f'memory {self._path}: {error}; {remedy}'
            raise MimoError(msg, cause='memory') from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all that is inside or, where that raises an exception, nothing."""
        self.execute('BEGIN IMMEDIATE')
        try:
            yield
            self.execute('COMMIT')
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite has done so after some errors
                self._connection.rollback()
            raise

    @property
    def bytes(self) -> int:
        """Bytes in use; the file may have more that are free for what comes next."""
        pages, free, size = (self._number(f'PRAGMA {name}') for name in (
            'page_count', 'freelist_count', 'page_size'))
        return (pages - free) * size

    def overwrite_deleted(self) -> None:
        """Empty the log, which may still have what was deleted."""
        self.execute('PRAGMA wal_checkpoint(TRUNCATE)')

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _number(self, sql: str) -> int:
        return int(self.execute(sql)[0][0])

    def _prepare(self) -> None:
        """Make the tables of a new file, and refuse that of another program or a newer version."""
        application, version, tables = (self._number(sql) for sql in (
            'PRAGMA application_id', 'PRAGMA user_version', 'SELECT count(*) FROM sqlite_master'))
        if not (application or version or tables):
            for statement in _statements(_SCHEMA):
                self.execute(statement)
            self.execute(f'PRAGMA application_id = {_APPLICATION}')
            self.execute(f'PRAGMA user_version = {_VERSION}')
        elif application != _APPLICATION:
            msg = f'memory {self._path}: it is a database of another program; give another file'
            raise InvalidRequestError(msg)
        elif version > _VERSION:
            msg = (f'memory {self._path}: its version is {version}, and this program knows '
                   f'{_VERSION}; update the program, or give another file')
            raise InvalidRequestError(msg)


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script, which sqlite3 itself runs outside of a transaction only."""
    statement = ''
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ''
